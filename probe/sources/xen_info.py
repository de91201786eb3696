"""The text of `xl info -n`: CPUs, nodes, free memory, distances (Xen, tools/xl/xl_info.c).

`memsize` is the range that a node's memory spans, holes included (TRAPS.md 6): 67584 MiB were shown
for 63.5 GiB, 3072 for 2048. So a node has no total here; what is free is exact.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from probe.cpuset import MAX_ID, CpuSet, NodeId
from probe.errors import SourceMalformedError
from probe.topology import UNREACHABLE_DISTANCE, Core, HostTopology, NumaNode, Package, TopologyInvalidError

_N = r"\d{1,10}"
_CPU_ROW = re.compile(rf"\s*(?P<cpu>{_N}):\s+(?P<core>{_N})\s+(?P<socket>{_N})\s+(?P<node>{_N})\s*", re.ASCII)
_NODE_ROW = re.compile(
    rf"\s*(?P<node>{_N}):\s+(?P<size>{_N})\s+(?P<free>{_N})\s+(?P<distances>{_N}(?:,{_N})*)?,?\s*", re.ASCII
)
_OLD_ROW = re.compile(
    r"(?:(?P<key>node_to_\w+)\s*:\s*|\s+)node(?P<node>\d{1,5}):(?P<value>[\d,-]*|no cpus)\s*", re.ASCII
)
_KEY_ROW = re.compile(r"(?P<key>[a-z_]+)\s*:\s?(?P<value>.*)", re.ASCII)

_ADVICE = "Maybe it is what `xl info` printed; `xl info -n` is needed."


@dataclass(frozen=True, slots=True, kw_only=True)
class NumaRow:
    """A row of `numa_info`.

    `memsize` is what the node spans and no total, so it is passed over. Distances are by position,
    which is the node.
    """

    node_id: NodeId
    free_kib: int
    distances: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class XenInfo:
    """What `xl info -n` tells. `free_kib` has an entry for each node that it tells it of."""

    hostname: str
    topology: HostTopology
    free_kib: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _CpuRow:
    cpu: int
    core: int
    socket: int
    node: int


def parse_xl_info(text: str, *, origin: str) -> XenInfo:
    """Read the text of `xl info -n`, of Xen 4.0 (`node_to_cpu`) to 4.19.

    Raises:
        SourceMalformedError: it has no CPUs, as without `-n`, or contradicts itself.
    """
    rows = numa_rows(text, origin=origin)
    cpus = list(_cpu_rows(text, origin)) or list(_old_cpu_rows(text, origin))
    if not cpus:
        raise SourceMalformedError(origin, "a 'cpu_topology' table", text.strip()[:60], advice=_ADVICE)
    try:
        topology = _topology(cpus, rows)
    except TopologyInvalidError as error:
        raise SourceMalformedError(origin, "tables that fit together", error.message) from error
    names = (match["value"].strip() for line in text.splitlines() if (match := _key(line, "host")))
    return XenInfo(hostname=next(names, ""), topology=topology, free_kib={r.node_id: r.free_kib for r in rows})


def numa_rows(text: str, *, origin: str) -> tuple[NumaRow, ...]:
    """The rows of `numa_info`, or of Xen 4.0's `node_to_memory`; empty where there is neither."""
    rows = []
    for line in _table(text, "node:"):
        if not (match := _NODE_ROW.fullmatch(line)):
            raise SourceMalformedError(origin, "a row 'node: memsize memfree distances'", line)
        distances = filter(None, (match["distances"] or "").split(","))
        rows.append(
            NumaRow(
                node_id=NodeId(_id(match["node"], line, origin)),
                free_kib=int(match["free"]) * 1024,
                distances=tuple(min(int(d), UNREACHABLE_DISTANCE) for d in distances),
            )
        )
    if rows:
        return tuple(rows)
    old = _old_rows(text, "node_to_memory").items()
    return tuple(NumaRow(node_id=NodeId(node), free_kib=int(mib) * 1024) for node, mib in old if mib.isdecimal())


def _cpu_rows(text: str, origin: str) -> Iterator[_CpuRow]:
    for line in _table(text, "cpu:"):
        if not (match := _CPU_ROW.fullmatch(line)):
            raise SourceMalformedError(origin, "a row 'cpu: core socket node'", line)
        cpu = _id(match["cpu"], line, origin)
        yield _CpuRow(cpu, int(match["core"]), int(match["socket"]), int(match["node"]))


def _old_cpu_rows(text: str, origin: str) -> Iterator[_CpuRow]:
    """Xen 4.0: no cores and sockets, marked by -1."""
    for node, cpus in _old_rows(text, "node_to_cpu").items():
        try:
            ids = CpuSet.parse("" if cpus == "no cpus" else cpus)
        except ValueError as error:
            raise SourceMalformedError(origin, "node_to_cpu as a list like 0-3", cpus) from error
        yield from (_CpuRow(cpu, -1, -1, node) for cpu in ids)


def _table(text: str, heading: str) -> Iterator[str]:
    """The rows below the line that begins with `heading`, up to the first that is no row."""
    inside = False
    for line in text.splitlines():
        if line.startswith(heading):
            inside = True
        elif inside:
            if not re.match(r"\s*\d+:", line):
                return
            yield line


def _old_rows(text: str, wanted: str) -> dict[int, str]:
    """`node_to_cpu : node0:0-3` and the indented lines that go on with it."""
    values, key = {}, ""
    for line in text.splitlines():
        match = _OLD_ROW.fullmatch(line)
        key = (match["key"] or key) if match else ""
        if match and key == wanted:
            values[int(match["node"])] = match["value"]
    return values


def _key(line: str, key: str) -> re.Match[str] | None:
    match = _KEY_ROW.fullmatch(line)
    return match if match and match["key"] == key else None


def _id(text: str, line: str, origin: str) -> int:
    if int(text) > MAX_ID:
        raise SourceMalformedError(origin, f"an id up to {MAX_ID}", line)
    return int(text)


def _topology(cpus: Iterable[_CpuRow], rows: tuple[NumaRow, ...]) -> HostTopology:
    """A CPU whose node is Xen's "no node" (2^32-1) is online and on no node."""
    on_node, on_socket, on_core = defaultdict(set), defaultdict(set), defaultdict(set)
    for row in cpus:
        if row.node <= MAX_ID:
            on_node[row.node].add(row.cpu)
        if row.socket >= 0:
            on_socket[row.socket].add(row.cpu)
            on_core[row.socket, row.node, row.core].add(row.cpu)
    told = {row.node_id: row.distances for row in rows}
    known = sorted({*on_node, *told})
    return HostTopology(
        nodes=tuple(_node(node, _set(on_node[node]), told.get(NodeId(node), ()), known) for node in known),
        online_cpus=_set({row.cpu for row in cpus}),
        packages=tuple(
            sorted(
                (Package(package_id=socket, cpus=_set(ids)) for socket, ids in on_socket.items()),
                key=lambda package: min(package.cpus),
            )
        ),
        cores=tuple(
            sorted(
                (
                    Core(cpus=_set(ids), node_id=NodeId(node) if node <= MAX_ID else None, package_id=socket)
                    for (socket, node, _), ids in on_core.items()
                ),
                key=lambda core: min(core.cpus),
            )
        ),
    )


def _node(node: int, cpus: CpuSet, distances: tuple[int, ...], known: list[int]) -> NumaNode:
    told = {NodeId(n): distances[n] for n in known if n < len(distances)}
    return NumaNode(node_id=NodeId(node), cpus=cpus, memory_total_kib=None, distances=told or None)


def _set(ids: set[int]) -> CpuSet:
    return CpuSet(frozenset(ids))
