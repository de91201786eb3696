"""Several sources of one host make one snapshot; what they tell differently is listed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

from probe.errors import BadInputError
from probe.snapshot import Disagreement, HostSnapshot, NodeMemory, Occupant
from probe.topology import HostTopology, NumaNode

FREE_TOLERANCE = 0.05
"""Free memory moves between two reads: up to this part of the total it is no disagreement."""


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
    found = [*second.disagreements, *_disagreements(first, second)]
    return replace(
        first,
        hostname=first.hostname or second.hostname,
        sources=tuple(dict.fromkeys([*first.sources, *second.sources])),
        topology=_topology(mine, theirs),
        memory=tuple(_memory(memory, second) for memory in first.memory),
        usable_cpus=first.usable_cpus & second.usable_cpus or first.usable_cpus,
        hypervisor=first.hypervisor or second.hypervisor,
        occupants=(*first.occupants, *_new_occupants(first, second)),
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
        hugepages=memory.hugepages or other.hugepages,
        source=memory.source if whole or other.free_kib is None else other.source,
    )


def _new_occupants(first: HostSnapshot, second: HostSnapshot) -> Iterator[Occupant]:
    """Guests that only the second tells of; one guest is known by its uuid, else by its name."""
    uuids = {occupant.uuid for occupant in first.occupants if occupant.uuid}
    names = {occupant.guest for occupant in first.occupants}
    for occupant in second.occupants:
        if occupant.uuid not in uuids and occupant.guest not in names:
            yield occupant


def _disagreements(first: HostSnapshot, second: HostSnapshot) -> Iterator[Disagreement]:
    names = ", ".join(first.sources), ", ".join(second.sources)

    def differ(what: str, mine: object, theirs: object) -> Iterator[Disagreement]:
        if mine is not None and theirs is not None and mine != theirs and names[0] != names[1]:
            yield Disagreement(what=what, readings={names[0]: str(mine), names[1]: str(theirs)})

    yield from differ("nodes", first.topology.node_ids, second.topology.node_ids)
    yield from differ("online CPUs", first.topology.online_cpus, second.topology.online_cpus)
    for node in first.topology.nodes:
        if node.node_id not in second.topology.node_ids:
            continue
        other, label = second.topology.node(node.node_id), f"node {node.node_id}"
        yield from differ(f"{label} cpus", node.cpus, other.cpus)
        yield from differ(f"{label} memory total", node.memory_total_kib, other.memory_total_kib)
        mine, theirs = first.memory_of(node.node_id), second.memory_of(node.node_id)
        if None not in (mine.free_kib, theirs.free_kib, node.memory_total_kib):
            apart = abs((mine.free_kib or 0) - (theirs.free_kib or 0))
            if apart > FREE_TOLERANCE * (node.memory_total_kib or 0):
                yield from differ(f"{label} memory free", mine.free_kib, theirs.free_kib)
        if node.distances is not None and other.distances is not None:
            yield from differ(f"{label} distances", dict(node.distances), dict(other.distances))
