"""A host that is started again with more or fewer NUMA nodes per package: NPS1 to NPS4, and back.

The new nodes are counted from 0, in the order of the old. A node is cut into runs of whole L3 domains, or of
whole cores where it has too few domains; its memory, and each pool of huge pages, into equal parts.
Two new nodes are as far from each other as those that they come from, the farthest of these; those of
one old node are as far as the change says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from policies.host_rules import HostRules
from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.snapshot import HostSnapshot, HugepagePool, NodeMemory, Occupant, OccupantMemory
from probe.topology import LOCAL_DISTANCE, HostTopology, NumaNode
from scheduler.ledger import WHOLE_HOST
from scheduler.planning import HostView
from scheduler.what_if.change import ChangeInvalidError, NodesPerPackage
from scheduler.what_if.leaving import emptied
from scheduler.what_if.supposed import Supposed


@dataclass(frozen=True, slots=True, kw_only=True)
class _New:
    """A new node: the part `index` of `of` parts of one old node, or several old ones as a whole."""

    origins: tuple[NumaNode, ...]
    cpus: CpuSet
    index: int = 0
    of: int = 1

    @property
    def is_kept(self) -> bool:
        return len(self.origins) == self.of == 1


def with_nodes(supposed: Supposed, change: NodesPerPackage) -> Supposed:
    """The host with so many nodes per package, and its guests asked for again: it is started anew.

    Raises:
        ChangeInvalidError: there is no such host, it has so many, or its nodes cannot be cut or joined so.
    """
    view = supposed.view(change.host, change)
    made = _new_nodes(view.snapshot.topology, change)
    if all(new.is_kept for new in made):
        raise ChangeInvalidError(f"--what-if {change}: {change.host} has them already.")
    supposed = emptied(supposed, view, lambda _: True, lambda _: False)
    left = supposed.view(change.host, change)
    supposed = supposed.with_view(_renewed(left, made, change.distance))
    if strangers := [occupant.guest for occupant in left.snapshot.occupants]:
        counted = f"{', '.join(strangers)} on {change.host}: counted on every node that the memory could be on."
        supposed = replace(supposed, notes=(*supposed.notes, counted))
    return supposed


def _new_nodes(topology: HostTopology, change: NodesPerPackage) -> list[_New]:
    """In the order of the old nodes; a node without pCPUs is kept."""
    made = [_New(origins=(node,), cpus=node.cpus) for node in topology.nodes if not node.cpus]
    for package, nodes in _by_package(topology, change).items():
        have, want = len(nodes), change.count
        if want % have == 0:
            made += [new for node in nodes for new in _cut(topology, node, want // have, change)]
        elif have % want == 0:
            runs = [nodes[i : i + have // want] for i in range(0, have, have // want)]
            made += [_New(origins=tuple(run), cpus=CpuSet.union(node.cpus for node in run)) for run in runs]
        else:
            raise ChangeInvalidError(
                f"--what-if {change}: {package} of {change.host} has {have} nodes, which make no {want}."
            )
    order = {node.node_id: i for i, node in enumerate(topology.nodes)}
    return sorted(made, key=lambda new: (order[new.origins[0].node_id], new.index))


def _by_package(topology: HostTopology, change: NodesPerPackage) -> Mapping[str, list[NumaNode]]:
    """The nodes with pCPUs; those of no package that is known are one package."""
    found: dict[str, list[NumaNode]] = {}
    for node in topology.nodes:
        packages = [p.package_id for p in topology.packages if not p.cpus.isdisjoint(node.cpus)]
        if len(packages) > 1:
            raise ChangeInvalidError(
                f"--what-if {change}: node {node.node_id} of {change.host} is on packages {packages}; expected one."
            )
        if node.cpus:
            found.setdefault(f"package {packages[0]}" if packages else "the package", []).append(node)
    return found


def _cut(topology: HostTopology, node: NumaNode, parts: int, change: NodesPerPackage) -> Iterator[_New]:
    units = [domain.cpus & node.cpus for domain in topology.l3 if not domain.cpus.isdisjoint(node.cpus)]
    if len(units) < parts or CpuSet.union(units) != node.cpus:
        units = [core.cpus & node.cpus for core in topology.cores if not core.cpus.isdisjoint(node.cpus)]
        units += [CpuSet.of(cpu) for cpu in node.cpus - CpuSet.union(units)]
    if len(units) < parts:
        where = f"node {node.node_id} of {change.host}"
        raise ChangeInvalidError(f"--what-if {change}: {where} has {len(units)} cores, too few for {parts} nodes.")
    units.sort(key=lambda cpus: min(cpus.ids))
    bounds = [len(units) * i // parts for i in range(parts + 1)]
    for i, (start, end) in enumerate(pairwise(bounds)):
        yield _New(origins=(node,), cpus=CpuSet.union(units[start:end]), index=i, of=parts)


def _renewed(view: HostView, made: Sequence[_New], distance: int) -> HostView:
    """The host with these nodes; what hangs on a node's id is told for the new ones."""
    now: dict[int, list[NodeId]] = {}
    for i, new in enumerate(made):
        for node in new.origins:
            now.setdefault(node.node_id, []).append(NodeId(i))
    old = view.snapshot
    snapshot = replace(
        old,
        topology=_topology(old, made, now, distance),
        memory=tuple(_memory(old, new, NodeId(i)) for i, new in enumerate(made)),
        occupants=tuple(_moved(occupant, old.topology, now) for occupant in old.occupants),
    )
    cordons = [
        replace(cordon, node=node)
        for cordon in view.cordons
        for node in ([WHOLE_HOST] if cordon.node == WHOLE_HOST else now.get(cordon.node, []))
    ]
    config = replace(view.config, rules=_rules(view.config.rules, made))
    return replace(view, config=config, snapshot=snapshot, cordons=tuple(dict.fromkeys(cordons)))


def _topology(
    snapshot: HostSnapshot, made: Sequence[_New], now: Mapping[int, Sequence[NodeId]], distance: int
) -> HostTopology:
    """What is not known of the new nodes is told no more: the node of a device, and how fast memory is."""
    old = snapshot.topology
    nodes = tuple(
        NumaNode(
            node_id=NodeId(i),
            cpus=new.cpus,
            memory_total_kib=_total([_part_of_all(snapshot, node, node.memory_total_kib, new) for node in new.origins]),
            distances={NodeId(j): _distance(old, new, other, distance) for j, other in enumerate(made)},
            memory_side_caches=new.origins[0].memory_side_caches if new.is_kept else (),
        )
        for i, new in enumerate(made)
    )
    home = {cpu: NodeId(i) for i, new in reversed(list(enumerate(made))) for cpu in new.cpus}

    def only(node_id: NodeId | None) -> NodeId | None:
        found = now.get(node_id, []) if node_id is not None else []
        return found[0] if len(found) == 1 else None

    return replace(
        old,
        nodes=nodes,
        cores=tuple(
            core if core.node_id is None else replace(core, node_id=home.get(min(core.cpus.ids))) for core in old.cores
        ),
        devices=tuple(replace(device, node_id=only(device.node_id)) for device in old.devices),
        memory_access=(),
        memory_tiers=tuple(replace(tier, nodes=_told(tier.nodes, now)) for tier in old.memory_tiers),
    )


def _distance(old: HostTopology, new: _New, other: _New, distance: int) -> int:
    if new is other:
        return old.distance(new.origins[0].node_id, new.origins[0].node_id) if new.is_kept else LOCAL_DISTANCE
    if new.origins == other.origins:
        return distance
    return max(old.distance(a.node_id, b.node_id) for a in new.origins for b in other.origins)


def _memory(old: HostSnapshot, new: _New, node_id: NodeId) -> NodeMemory:
    parts = [old.memory_of(node.node_id) for node in new.origins]
    sizes = sorted({pool.size_kib for part in parts for pool in part.hugepages})
    return NodeMemory(
        node_id=node_id,
        total_kib=_total([_part_of_all(old, node, old.memory_of(node.node_id).total_kib, new) for node in new.origins]),
        free_kib=_total([_part(part.free_kib, new) for part in parts]),
        reclaimable_kib=_total([_part(part.reclaimable_kib, new) for part in parts]),
        hugepages=tuple(
            _pool([p for part in parts for p in part.hugepages if p.size_kib == size], new) for size in sizes
        ),
        source=parts[0].source,
    )


def _part_of_all(old: HostSnapshot, node: NumaNode, total_kib: int | None, new: _New) -> int | None:
    """Its part of each pool, and of what is beside the pools: no part has more pages than memory."""
    if total_kib is None:
        return None
    memory = old.memory_of(node.node_id)
    pools = sum(_share(pool.total, new) * pool.size_kib for pool in memory.hugepages)
    return pools + (_part(total_kib - memory.hugepages_kib, new) or 0)


def _pool(pools: Sequence[HugepagePool], new: _New) -> HugepagePool:
    """Pages of one size, of all origins together."""
    return HugepagePool(
        size_kib=pools[0].size_kib,
        total=sum(_share(pool.total, new) for pool in pools),
        free=_total([None if pool.free is None else _share(pool.free, new) for pool in pools]),
        surplus=_total([None if pool.surplus is None else _share(pool.surplus, new) for pool in pools]),
    )


def _part(kib: int | None, new: _New) -> int | None:
    """The new node's part of an old one's memory, in whole 4 KiB pages; the first has what is over."""
    if kib is None:
        return None
    return _share(kib // 4, new) * 4 + (kib % 4 if new.index == 0 else 0)


def _share(count: int, new: _New) -> int:
    each, over = divmod(count, new.of)
    return each + (new.index < over)


def _total(amounts: Sequence[int | None]) -> int | None:
    """None where one is not told."""
    told = [amount for amount in amounts if amount is not None]
    return sum(told) if len(told) == len(amounts) else None


def _moved(occupant: Occupant, old: HostTopology, now: Mapping[int, Sequence[NodeId]]) -> Occupant:
    """A guest that stays: memory that could be on a node may be on any of its parts, also beyond what one holds."""
    with_memory = NodeSet.of(*(node.node_id for node in old.nodes if node.memory_total_kib != 0))
    near = old.nodes_of_cpus(occupant.possible_cpus(old.online_cpus)) & with_memory
    return replace(occupant, memory=tuple(_share_moved(share, near or with_memory, now) for share in occupant.memory))


def _share_moved(share: OccupantMemory, near: NodeSet, now: Mapping[int, Sequence[NodeId]]) -> OccupantMemory:
    """`near`: where it could be if nothing binds it."""
    could = NodeSet.of(share.node_id) if share.node_id is not None else share.nodes or near
    found = _told(could, now)
    if share.node_id is not None and len(found) == 1:
        return replace(share, node_id=NodeId(min(found)))
    return replace(share, node_id=None, nodes=found)


def _told(nodes: NodeSet, now: Mapping[int, Sequence[NodeId]]) -> NodeSet:
    return NodeSet.of(*(node for each in nodes for node in now.get(each, ())))


def _rules(rules: HostRules, made: Sequence[_New]) -> HostRules:
    """A reserve of a node's own goes with its memory; the one for each node stays one for each."""
    own = rules.node_reserve_kib
    reserves = {
        i: sum(_part(own.get(node.node_id, rules.reserve_kib), new) or 0 for node in new.origins)
        for i, new in enumerate(made)
        if any(node.node_id in own for node in new.origins)
    }
    return replace(rules, node_reserve_kib=reserves)
