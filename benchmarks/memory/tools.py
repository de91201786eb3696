"""Running `numactl` and `stress-ng`, and reading what stress-ng says.

Bandwidth is its stressor `stream` (the four loops of STREAM over arrays that no cache holds): every instance says at
its end what it read and wrote in a second. Latency is its stressor `randlist`: it goes along a list whose items lie in
random order, twice for each operation, so each load waits for the one before it. What setting the list up takes falls
out of the difference between a run of one operation and a run of three. (Debian 12 has stress-ng 0.15.06; `ptr-chase`,
which tells its own nanoseconds, came with 0.18.06.)
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from probe.cpuset import CpuSet, NodeSet
from probe.errors import BadInputError, SourceMalformedError
from probe.limits import DEFAULT_LIMITS
from probe.sources.commands import run_to_end

STREAM_PARTS = 12
"""stream has three arrays, each four times what it is told of the cache; all instances share them (stress-stream.c)."""

ITEM_BYTES = 32
"""An item of the list with its 16 bytes of data; 8 more for each while the list is made (stress-randlist.c)."""

LIST_BYTES = ITEM_BYTES + 8
_DATA_BYTES = 16
_PASSES = 2
_FEW, _MORE = 1, 3
_TRIES = 4
"""A run that took longer than one of more operations was disturbed; then both are run again, and the least counts."""
_MOST_S, _SLACK_S = 1800.0, 300.0

_RATE = re.compile(
    r"stream: memory rate: (?P<read>[\d.]+) MB read/sec, (?P<written>[\d.]+) MB write/sec,"
    r".*\(instance (?P<instance>\d+)\)",
    re.ASCII,
)
"""MB are MiB here (stress-ng.h). The same words from 0.15 to 0.18."""

_METRIC = re.compile(
    r"^\s+(?:- )?(?P<key>stressor|bogo-ops|user-time|system-time): (?P<value>\S+)\s*$", re.MULTILINE | re.ASCII
)
_LONGER = (1, 2, 4)
"""An instance that had less than 4.5 s of its own says nothing (stress-stream.c); then it is given longer."""


class ToolMissingError(BadInputError):
    """A tool that measures is not installed."""


class ToolFailedError(SourceMalformedError):
    """A tool did not do what it is for."""


class TooShortError(ToolFailedError):
    """An instance had too little time of its own to tell a rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Where a tool runs and has its memory; None: nothing binds it.

    Attributes:
        policy: numactl's word for the memory: "membind", "interleave" or "preferred".
    """

    cpus: CpuSet | None
    nodes: NodeSet | None
    policy: str = "membind"

    @property
    def argv(self) -> list[str]:
        """The words that stand before a command."""
        words = [f"--physcpubind={self.cpus}"] if self.cpus else []
        words += [f"--{self.policy}={self.nodes}"] if self.nodes else []
        return ["numactl", *words] if words else []


def tools_are_there() -> None:
    """Raises `ToolMissingError`."""
    for tool in ("numactl", "stress-ng"):
        if shutil.which(tool) is None:
            raise ToolMissingError(f"{tool} is not installed.", advice=f"Maybe: apt install {tool}")


def bandwidth_mib_s(bound: Bound, *, instances: int, memory_kib: int, seconds: float) -> float:
    """MiB read and written in a second by so many streams at once, with all their arrays in this much memory.

    Raises:
        ToolFailedError: it failed, or said something else.
    """
    cache_bytes = memory_kib * 1024 // STREAM_PARTS
    words = ["--stream", str(instances), "--stream-l3-size", str(cache_bytes)]
    error: TooShortError
    for duration_s in (seconds * longer for longer in _LONGER):
        try:
            said = _said([*bound.argv, "stress-ng", *words, "-t", f"{duration_s:.0f}"], duration_s + _SLACK_S)
            return parse_stream(said, instances=instances)
        except TooShortError as too_short:
            error = too_short
    raise error


def parse_stream(text: str, *, instances: int) -> float:
    """The sum over all instances. Raises `ToolFailedError` where one is missing."""
    found = {int(m["instance"]): float(m["read"]) + float(m["written"]) for m in _RATE.finditer(text)}
    if found.keys() != set(range(instances)):
        expected = f"a memory rate of each of {instances} instances"
        advice = "Maybe others keep the host busy: --seconds gives it longer."
        kind = TooShortError if found.keys() < set(range(instances)) else ToolFailedError
        raise kind("stress-ng --stream", expected, f"{len(found)}: {_last_line(text)}", advice=advice)
    return sum(found.values())


def latency_ns(bound: Bound, *, memory_kib: int) -> float:
    """Nanoseconds from one item of a list in random order to the next, the list having this much memory.

    Raises:
        ToolFailedError: it failed, or said something else.
    """
    items = memory_kib * 1024 // LIST_BYTES
    few = more = math.inf
    for _ in range(_TRIES):
        few = min(few, _list_s(bound, items, _FEW))
        more = min(more, _list_s(bound, items, _MORE))
        if more > few:
            return (more - few) / ((_MORE - _FEW) * _PASSES * items) * 1e9
    raise ToolFailedError(
        "stress-ng --randlist",
        f"more CPU time for {_MORE} operations than for {_FEW}",
        f"{more:.3f} s and {few:.3f} s, the least of {_TRIES} runs",
        advice="Maybe others keep the host too busy: measure again when it is quiet.",
    )


def _list_s(bound: Bound, items: int, operations: int) -> float:
    with tempfile.TemporaryDirectory(prefix="numaplace-bench-") as folder:
        metrics = Path(folder) / "metrics.yaml"
        words = ["--randlist", "1", "--randlist-compact", "--randlist-items", str(items)]
        words += ["--randlist-size", str(_DATA_BYTES), "--randlist-ops", str(operations)]
        said = _said([*bound.argv, "stress-ng", *words, "--metrics", "--yaml", str(metrics)], _MOST_S)
        text = metrics.read_text(encoding="utf-8", errors="replace")[:100_000] if metrics.is_file() else said
    return parse_cpu_s(text, stressor="randlist", operations=operations)


def parse_cpu_s(text: str, *, stressor: str, operations: int) -> float:
    """CPU time of a stressor's run from stress-ng's YAML: who else ran on that CPU does not count.

    Raises:
        ToolFailedError: it did not do all of its operations.
    """
    values = {match["key"]: match["value"] for match in _METRIC.finditer(text)}
    try:
        if values["stressor"] == stressor and int(values["bogo-ops"]) == operations:
            return float(values["user-time"]) + float(values["system-time"])
    except (KeyError, ValueError):
        pass
    raise ToolFailedError(f"stress-ng --{stressor}", f"the CPU time of {operations} operations", _last_line(text))


def version_told() -> str:
    """ "stress-ng, version 0.15.06 …" without what it was built with; "" where it does not tell."""
    return _said(["stress-ng", "--version"], 60).strip().partition(" (")[0]


def _said(argv: Sequence[str], timeout_s: float) -> str:
    """All that a tool printed: stress-ng writes its figures to standard error, whatever their number."""
    merged = ["sh", "-c", 'exec "$@" 2>&1', "sh", *argv]
    ended = run_to_end(merged, limits=DEFAULT_LIMITS, timeout_s=timeout_s)
    if ended.status != 0:
        raise ToolFailedError(" ".join(argv), "exit status 0", f"{ended.status}: {_last_line(ended.output)}")
    return ended.output


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")
