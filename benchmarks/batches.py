"""How good and how fast whole batches are placed: a row per case, each in a process of its own."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.fleets import different_states, huawei, random_fleet
from policies.patterns.place import Placed, place
from policies.patterns.question import Batch, Supply
from policies.patterns.verify import broken_rules
from probe.errors import BadInputError

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A question, and what its answer must reach.

    Attributes:
        make: the question.
        full: whether it is asked by `--full` only.
        most_s, most_mib: from arrays to arrays, the checker included.
        most_gap: of the guests placed, by weight.
        keeps_room: whether the room kept must end within 1 % or one guest of its bound.
    """

    make: Callable[[], tuple[Supply, Batch]]
    full: bool = False
    most_s: float | None = None
    most_mib: int | None = None
    most_gap: float = 0.0
    keeps_room: bool = False


def _data() -> Path:
    return Path(os.environ.get("NUMAPLACE_DATA") or "../shared/data")


def _huawei(*batches: str, by_vcpu: bool = False) -> tuple[Supply, Batch]:
    return huawei(_data(), batches, by_vcpu=by_vcpu)


CASES: Mapping[str, Case] = {
    **{
        f"huawei {batch}": Case(make=partial(_huawei, batch), most_s=30, most_mib=1024, keeps_room=True)
        for batch in ("C1", "C2")
    },
    "huawei C1+C2": Case(make=partial(_huawei, "C1", "C2"), most_s=30, most_mib=1024, most_gap=0.003),
    "huawei C1+C2 by vCPU": Case(
        make=partial(_huawei, "C1", "C2", by_vcpu=True), most_s=30, most_mib=1024, most_gap=0.003
    ),
    **{
        f"random {hosts:,} hosts": Case(make=partial(random_fleet, hosts), full=hosts > 4_000, most_gap=0.005)
        for hosts in (1_000, 2_000, 4_000, 10_000, 30_000)
    },
    "random 4,000 hosts, 64 MiB overhead": Case(make=partial(random_fleet, 4_000, overhead_mib=64), most_gap=0.005),
    "random 100,000 hosts": Case(
        make=partial(random_fleet, 100_000), full=True, most_s=30, most_mib=3 * 1024, most_gap=0.005
    ),
    "random 100,000 hosts, 128 MiB overhead": Case(
        make=partial(random_fleet, 100_000, overhead_mib=128), full=True, most_gap=0.005
    ),
}
"""By name, in the order of a run."""


def measure_apart(name: str) -> Row:
    """`measure` in a new process, so that its memory is its own.

    Raises:
        BadInputError: the case cannot be asked here.
    """
    ended = subprocess.run([sys.executable, "-m", __name__, name], capture_output=True, text=True, check=False)
    if ended.returncode:
        last = ended.stderr.strip().rpartition("\n")[2]
        raise BadInputError(f"benchmark {name!r} failed: {last}")
    row: Row = json.loads(ended.stdout)
    return row


def measure(name: str) -> Row:
    """Ask once, check the answer, and say what it missed."""
    case = CASES[name]
    supply, batch = case.make()
    began = time.perf_counter()
    answer = place(supply, batch)
    broken = broken_rules(supply, batch, answer.homes)
    wall_s = time.perf_counter() - began
    row: Row = {
        "case": name,
        "hosts": supply.hosts,
        "host_states": different_states(supply),
        "guests": len(batch.flavour_of),
        "placed": int(answer.homes.placed().sum()),
        "value": answer.value,
        "bound": answer.bound,
        "gap": (answer.bound - answer.value) / max(1, answer.value),
        "kept": answer.kept if case.keeps_room else None,
        "kept_bound": answer.packing_bound if case.keeps_room else None,
        "broken_rules": broken,
        "wall_s": wall_s,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    return {**row, "missed": _missed(case, row, answer)}


def _missed(case: Case, row: Row, answer: Placed) -> list[str]:
    """What the case must reach and did not."""
    short = answer.packing_bound - answer.kept
    checks = (
        (bool(row["broken_rules"]), "breaks a hard rule"),
        (row["gap"] > case.most_gap, f"gap over {case.most_gap:.1%}"),
        (case.most_s is not None and row["wall_s"] > case.most_s, f"over {case.most_s} s"),
        (case.most_mib is not None and row["peak_mib"] > case.most_mib, f"over {case.most_mib} MiB"),
        (case.keeps_room and short > max(1, 0.01 * answer.packing_bound), "room kept is over 1 % below its bound"),
    )
    return [text for failed, text in checks if failed]


def machine() -> dict[str, Any]:
    """Where and with what a run was made."""
    return {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "ortools", "numaplace")},
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
