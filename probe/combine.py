"""Several sources of one host make one snapshot; what they tell differently is listed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

from probe.compare import disagreements
from probe.errors import BadInputError
from probe.snapshot import HostSnapshot, HugepagePool, NodeMemory, Occupant
from probe.topology import HostTopology, NumaNode


def combine(snapshots: Sequence[HostSnapshot]) -> HostSnapshot:
    """One snapshot of one host. The first source that tells something is believed; the rest fills in.

    Raises:
        BadInputError: two sources tell of different hosts (no node or no CPU in common).
    """
    combined = snapshots[0]
    for other in snapshots[1:]:
        combined = _two(combined, other)
    return combined


def _two(first: HostSnapshot, second: HostSnapshot) -> HostSnapshot:
    mine, theirs = first.topology, second.topology
    if mine.online_cpus.isdisjoint(theirs.online_cpus) or mine.node_ids.isdisjoint(theirs.node_ids):
        raise BadInputError(
            f"{', '.join(first.sources)} and {', '.join(second.sources)} tell of different hosts:"
            " no node or no CPU in common.",
            advice="Maybe one of them is another host's.",
        )
    known = {d.what for d in first.disagreements}
    found = [*second.disagreements, *disagreements(first, second)]
    return replace(
        first,
        hostname=first.hostname or second.hostname,
        sources=tuple(dict.fromkeys([*first.sources, *second.sources])),
        topology=_topology(mine, theirs),
        memory=tuple(_memory(memory, second) for memory in first.memory),
        usable_cpus=first.usable_cpus & second.usable_cpus or first.usable_cpus,
        hypervisor=first.hypervisor or second.hypervisor,
        occupants=tuple(_occupants(first.occupants, second.occupants)),
        cpupools=first.cpupools or second.cpupools,
        disagreements=(*first.disagreements, *(d for d in found if d.what not in known)),
    )


def _topology(mine: HostTopology, theirs: HostTopology) -> HostTopology:
    """Mine, with each list that it lacks taken from theirs where that fits the same CPUs and nodes."""
    nodes = tuple(_node(node, theirs) for node in mine.nodes)
    if mine.online_cpus != theirs.online_cpus or mine.node_ids != theirs.node_ids:
        return replace(mine, nodes=nodes)
    names = [f.name for f in fields(mine) if f.init and f.name not in ("nodes", "online_cpus")]
    return replace(mine, nodes=nodes, **{name: getattr(mine, name) or getattr(theirs, name) for name in names})


def _node(node: NumaNode, theirs: HostTopology) -> NumaNode:
    if node.node_id not in theirs.node_ids:
        return node
    other = theirs.node(node.node_id)
    distances = node.distances
    if distances is None and other.distances is not None and theirs.node_ids.ids >= set(other.distances):
        distances = other.distances
    total = node.memory_total_kib if node.memory_total_kib is not None else other.memory_total_kib
    caches = node.memory_side_caches or other.memory_side_caches
    return replace(node, memory_total_kib=total, distances=distances, memory_side_caches=caches)


def _memory(memory: NodeMemory, second: HostSnapshot) -> NodeMemory:
    if memory.node_id not in second.topology.node_ids:
        return memory
    other = second.memory_of(memory.node_id)
    whole = memory.free_kib is not None
    return replace(
        memory,
        total_kib=memory.total_kib if memory.total_kib is not None else other.total_kib,
        free_kib=memory.free_kib if whole else other.free_kib,
        reclaimable_kib=memory.reclaimable_kib if memory.reclaimable_kib is not None else other.reclaimable_kib,
        hugepages=_pools(memory.hugepages, other.hugepages),
        source=memory.source if whole or other.free_kib is None else other.source,
    )


def _pools(mine: tuple[HugepagePool, ...], theirs: tuple[HugepagePool, ...]) -> tuple[HugepagePool, ...]:
    """Mine, with the free pages that only the other source tells (capabilities tell totals alone)."""
    told = {pool.size_kib: pool for pool in theirs}
    filled = (
        told[pool.size_kib] if pool.free is None and told.get(pool.size_kib, pool).total == pool.total else pool
        for pool in mine
    )
    return tuple(filled) or theirs


def _occupants(mine: Sequence[Occupant], theirs: Sequence[Occupant]) -> Iterator[Occupant]:
    """Each guest once: known by its uuid, else by its name; what the first lacks is filled in."""
    uuids = {occupant.uuid: occupant for occupant in theirs if occupant.uuid}
    names = {occupant.guest: occupant for occupant in theirs}
    seen = set()
    for occupant in mine:
        twin = uuids.get(occupant.uuid or "") or names.get(occupant.guest)
        seen.add(twin)
        yield occupant if twin is None else _filled(occupant, twin)
    yield from (occupant for occupant in theirs if occupant not in seen)


def _filled(occupant: Occupant, twin: Occupant) -> Occupant:
    names = ("uuid", "declared_cpus", "effective_cpus", "ledger", "claim")
    missing = {name: getattr(twin, name) for name in names if getattr(occupant, name) is None}
    return replace(occupant, memory=occupant.memory or twin.memory, **missing)
