"""What two sources of one host tell differently."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from probe.cpuset import CpuSet, NodeId
from probe.snapshot import Disagreement, HostSnapshot, NodeMemory, Occupant
from probe.topology import HostTopology, NumaNode

FREE_TOLERANCE = 0.05
"""Free memory moves between two reads, and some tell whole MiB: up to this part of the total, or 1 MiB, it is no
disagreement."""

Difference = tuple[str, object, object]
"""What it is, and the two readings; None where a source does not tell."""


def disagreements(first: HostSnapshot, second: HostSnapshot) -> Iterator[Disagreement]:
    """Each thing that both tell, and tell differently; the first reading is the first source's."""
    names = ", ".join(first.sources), ", ".join(second.sources)
    if names[0] == names[1]:
        return
    for what, mine, theirs in (*_hardware(first.topology, second.topology), *_moment(first, second)):
        if mine is not None and theirs is not None and mine != theirs:
            yield Disagreement(what=what, readings={names[0]: str(mine), names[1]: str(theirs)})


def _hardware(mine: HostTopology, theirs: HostTopology) -> Iterator[Difference]:
    yield "nodes", mine.node_ids, theirs.node_ids
    yield "online CPUs", mine.online_cpus, theirs.online_cpus
    yield "packages", _partition(p.cpus for p in mine.packages), _partition(p.cpus for p in theirs.packages)
    yield "cores", _partition(c.cpus for c in mine.cores), _partition(c.cpus for c in theirs.cores)
    yield "L3 domains", _partition(d.cpus for d in mine.l3), _partition(d.cpus for d in theirs.l3)
    yield "L3 sizes in KiB", _l3_sizes(mine), _l3_sizes(theirs)
    for node in mine.nodes:
        if node.node_id in theirs.node_ids:
            yield from _node(node, theirs.node(node.node_id))


def _node(mine: NumaNode, theirs: NumaNode) -> Iterator[Difference]:
    label = f"node {mine.node_id}"
    yield f"{label} cpus", mine.cpus, theirs.cpus
    if not _same_in_mib(mine.memory_total_kib, theirs.memory_total_kib):
        yield f"{label} memory total", mine.memory_total_kib, theirs.memory_total_kib
    yield f"{label} distances", _plain(mine.distances), _plain(theirs.distances)


def _moment(first: HostSnapshot, second: HostSnapshot) -> Iterator[Difference]:
    for memory in first.memory:
        if memory.node_id in second.topology.node_ids:
            yield from _memory(memory, second.memory_of(memory.node_id))
    yield from _occupants(first.occupants, second.occupants)


def _memory(mine: NodeMemory, theirs: NodeMemory) -> Iterator[Difference]:
    label = f"node {mine.node_id}"
    whole_kib = mine.total_kib or theirs.total_kib or max(mine.free_kib or 0, theirs.free_kib or 0)
    if abs((mine.free_kib or 0) - (theirs.free_kib or 0)) > max(FREE_TOLERANCE * whole_kib, 1024):
        yield f"{label} memory free", mine.free_kib, theirs.free_kib
    pools = {pool.size_kib: pool.total for pool in theirs.hugepages}
    for pool in mine.hugepages:
        yield f"{label} pages of {pool.size_kib} KiB", pool.total, pools.get(pool.size_kib)


def _occupants(mine: Iterable[Occupant], theirs: Iterable[Occupant]) -> Iterator[Difference]:
    known: Mapping[str, Occupant] = {occupant.guest: occupant for occupant in theirs}
    for occupant in mine:
        other = known.get(occupant.guest)
        if other is not None:
            for what in ("uuid", "state", "vcpus", "effective_cpus"):
                yield (
                    f"{what.replace('_', ' ')} of guest {occupant.guest}",
                    *(getattr(each, what) for each in (occupant, other)),
                )


def _partition(sets: Iterable[CpuSet]) -> str | None:
    """The CPUs of each part, in order; None where the source does not tell."""
    return " ".join(sorted(str(cpus) for cpus in sets if cpus)) or None


def _l3_sizes(topology: HostTopology) -> dict[str, int] | None:
    return {str(domain.cpus): domain.size_kib for domain in topology.l3 if domain.size_kib} or None


def _plain(distances: Mapping[NodeId, int] | None) -> dict[NodeId, int] | None:
    return None if distances is None else dict(distances)


def _same_in_mib(mine: int | None, theirs: int | None) -> bool:
    """Whether two amounts of KiB are one, where a source tells whole MiB (`numactl -H`, `xl info -n`)."""
    if mine is None or theirs is None:
        return True
    return mine == theirs or (abs(mine - theirs) < 1024 and (mine % 1024 == 0 or theirs % 1024 == 0))
