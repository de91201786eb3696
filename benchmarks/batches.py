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
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.as_requests import fleet_of, request_of, requests_of
from benchmarks.fleets import different_states, huawei, random_fleet
from benchmarks.sweeps.where import Where, engine_of
from policies.check import violations
from policies.objective import Term, objective_with
from policies.patterns.place import place
from policies.patterns.question import Batch, Supply
from policies.patterns.verify import broken_rules
from policies.plan import Placement
from policies.policy import Effort
from policies.solver.solve import solver
from policies.spread import Spread, here
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
        as_requests: whether the policy `solver` is asked, with hosts, requests and pCPUs as objects.
    """

    make: Callable[[], tuple[Supply, Batch]]
    full: bool = False
    most_s: float | None = None
    most_mib: int | None = None
    most_gap: float = 0.0
    keeps_room: bool = False
    as_requests: bool = False


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
    "huawei C1 as requests": Case(
        make=partial(_huawei, "C1"), most_s=30, most_mib=1024, keeps_room=True, as_requests=True
    ),
    "huawei C1+C2 as requests": Case(
        make=partial(_huawei, "C1", "C2"), most_s=30, most_mib=1024, most_gap=0.003, as_requests=True
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


def measure_apart(name: str, where: Where | None = None) -> Row:
    """`measure` in a new process, so that its memory is its own.

    Raises:
        BadInputError: the case cannot be asked here.
    """
    told = [name] if where is None else [name, where.to_text()]
    ended = subprocess.run([sys.executable, "-m", __name__, *told], capture_output=True, text=True, check=False)
    if ended.returncode:
        last = ended.stderr.strip().rpartition("\n")[2]
        raise BadInputError(f"benchmark {name!r} failed: {last}")
    row: Row = json.loads(ended.stdout)
    return row


def measure(name: str, spread: Spread = here) -> Row:
    """Ask once, check the answer, and say what it missed."""
    case = CASES[name]
    supply, batch = case.make()
    began = time.perf_counter()
    found = (_by_policy if case.as_requests else _by_arrays)(supply, batch, spread)
    wall_s = time.perf_counter() - began
    row: Row = {
        "case": name,
        "hosts": supply.hosts,
        "host_states": different_states(supply),
        "guests": len(batch.flavour_of),
        **asdict(found),
        "gap": (found.bound - found.value) / max(1, found.value),
        "wall_s": wall_s,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    if not case.keeps_room:
        row |= {"kept": None, "kept_bound": None}
    return {**row, "missed": _missed(case, row)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What an answer reached, its bounds, and the rules that it breaks."""

    placed: int
    value: int
    bound: int
    kept: int
    kept_bound: int
    broken_rules: list[str]


def _by_arrays(supply: Supply, batch: Batch, spread: Spread) -> _Found:
    answer = place(supply, batch, spread=spread)
    return _Found(
        placed=int(answer.homes.placed().sum()),
        value=answer.value,
        bound=answer.bound,
        kept=answer.kept,
        kept_bound=answer.packing_bound or 0,
        broken_rules=list(broken_rules(supply, batch, answer.homes)),
    )


def _by_policy(supply: Supply, batch: Batch, spread: Spread) -> _Found:
    """The last flavour is the reference. What limits the search is the size of the batch, not the clock."""
    requests, fleet = requests_of(batch), fleet_of(supply)
    room = replace(objective_with(Term.KEEP_LARGEST), flavours=(request_of(batch.flavours[-1], "reference"),))
    answer = solver(requests, fleet, Effort(time_limit_s=20, objective=room, spread=spread))
    placed, *_, kept = answer.objective
    return _Found(
        placed=sum(isinstance(decision, Placement) for decision in answer.decisions),
        value=placed.value,
        bound=placed.bound or 0,
        kept=kept.value,
        kept_bound=kept.bound or 0,
        broken_rules=[str(broken) for broken in violations(answer.decisions, requests, fleet)],
    )


def _missed(case: Case, row: Row) -> list[str]:
    """What the case must reach and did not."""
    checks = (
        (bool(row["broken_rules"]), "breaks a hard rule"),
        (row["gap"] > case.most_gap, f"gap over {case.most_gap:.1%}"),
        (case.most_s is not None and row["wall_s"] > case.most_s, f"over {case.most_s} s"),
        (case.most_mib is not None and row["peak_mib"] > case.most_mib, f"over {case.most_mib} MiB"),
        (case.keeps_room and _is_short_of_room(row), "room kept is over 1 % below its bound"),
    )
    return [text for failed, text in checks if failed]


def _is_short_of_room(row: Row) -> bool:
    return bool(row["kept_bound"] - row["kept"] > max(1, 0.01 * row["kept_bound"]))


def machine() -> dict[str, Any]:
    """Where and with what a run was made."""
    return {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "ortools", "numaplace")},
    }


def main(name: str, where: str = "") -> None:
    """Print the row of a case."""
    if not where:
        print(json.dumps(measure(name)))
        return
    with engine_of(Where.of_text(where)) as engine:
        print(json.dumps(measure(name, engine.map)))


if __name__ == "__main__":
    main(*sys.argv[1:])
