"""What `numactl -H` printed.

Traps (TRAPS.md 10): in 2008 there was no "cpus" line; today a node without CPUs has an empty one.
Sizes are MB of 1024 KiB, cut off (numactl, `hardware()` in numactl.c).
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from probe.cpuset import CpuSet, NodeId
from probe.errors import SourceMalformedError
from probe.limits import ReadLimits
from probe.snapshot import HostSnapshot, NodeMemory
from probe.sources.files import read_text_file
from probe.topology import HostTopology, NumaNode

_LINE = re.compile(r"node (?P<node>\d{1,5}) (?P<key>cpus|size|free):(?P<value>.*)")
_ROW = re.compile(r"\s*(?P<node>\d{1,5}):\s+(?P<values>[\d\s]+)")


def read_numactl(rest: str, *, limits: ReadLimits, now: datetime, spec: str) -> HostSnapshot:
    """Read `numactl:FILE`. Raises `SourceUnreadableError`, `SourceMalformedError`."""
    return parse_numactl(read_text_file(Path(rest), limits=limits), origin=rest, now=now, spec=spec)


def parse_numactl(text: str, *, origin: str, now: datetime, spec: str) -> HostSnapshot:
    """Read the text of `numactl -H`.

    Raises:
        SourceMalformedError: no node in it, or a line that cannot be read.
    """
    told: dict[int, dict[str, str]] = {}
    for match in filter(None, map(_LINE.match, text.splitlines())):
        told.setdefault(int(match["node"]), {})[match["key"]] = match["value"].strip()
    if not told:
        raise SourceMalformedError(origin, "lines like 'node 0 cpus: 0 1'", text[:80])
    cpus = {node: _cpus(values.get("cpus", ""), f"{origin}: node {node} cpus") for node, values in told.items()}
    sizes = {node: _kib(values.get("size"), f"{origin}: node {node} size") for node, values in told.items()}
    distances = _distances(text, sorted(told), origin)
    nodes = tuple(
        NumaNode(node_id=NodeId(node), cpus=cpus[node], memory_total_kib=sizes[node], distances=distances.get(node))
        for node in sorted(told)
    )
    online = CpuSet.union(cpus.values())
    return HostSnapshot(
        hostname="",
        sources=(spec,),
        taken_at=now,
        topology=HostTopology(nodes=nodes, online_cpus=online),
        memory=tuple(
            NodeMemory(
                node_id=node.node_id,
                total_kib=node.memory_total_kib,
                free_kib=_kib(told[node.node_id].get("free"), f"{origin}: node {node.node_id} free"),
                source=spec,
            )
            for node in nodes
        ),
        usable_cpus=online,
    )


def _cpus(text: str, origin: str) -> CpuSet:
    try:
        return CpuSet.parse(",".join(text.split()))
    except ValueError as error:
        raise SourceMalformedError(origin, "CPU numbers", text) from error


def _kib(text: str | None, origin: str) -> int | None:
    """`64215 MB`; None where there is no such line."""
    if text is None:
        return None
    number, _, unit = text.partition(" ")
    if not (number.isascii() and number.isdecimal() and len(number) < 13 and unit == "MB"):
        raise SourceMalformedError(origin, "a size like '64215 MB'", text)
    return int(number) * 1024


def _distances(text: str, nodes: list[int], origin: str) -> dict[int, dict[NodeId, int]]:
    """The rows under "node distances:"; their columns are the nodes that the header row names."""
    head, found, below = text.partition("node distances:")
    del head
    if not found:
        return {}
    rows: dict[int, dict[NodeId, int]] = {}
    for match in filter(None, map(_ROW.fullmatch, below.splitlines())):
        values = [int(value) for value in match["values"].split()]
        if len(values) != len(nodes) or max(values) > 2**16:
            raise SourceMalformedError(origin, f"{len(nodes)} distances in a row", match[0])
        rows[int(match["node"])] = {NodeId(n): value for n, value in zip(nodes, values, strict=True)}
    return rows
