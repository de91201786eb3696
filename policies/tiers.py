"""The objective of a plan, tier by tier, counted on the decisions themselves."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from policies.fleet import Fleet
from policies.plan import Decision, Placement, Tier
from policies.request import GuestRequest
from probe.cpuset import NodeSet
from probe.topology import LOCAL_DISTANCE, HostTopology

TIERS = ("placed", "nodes-spanned", "distance", "packing")
"""Guests placed, weighted by priority (more is better); and, less is better: host nodes that their
vCPUs may use, Σ over guests; distance within guests (`span_distance`), Σ over guests; hosts with a
guest of this plan. An unpinned guest may use every node of its host."""


def objective_of(decisions: Sequence[Decision], requests: Sequence[GuestRequest], fleet: Fleet) -> tuple[Tier, ...]:
    """The four tiers of a plan, without bounds."""
    priority = {request.name: request.priority for request in requests}
    placed = [d for d in decisions if isinstance(d, Placement)]
    values = (
        sum(priority[p.guest] for p in placed),
        sum(_nodes_spanned(p, fleet) for p in placed),
        sum(_distance(p, fleet) for p in placed),
        len({p.host for p in placed}),
    )
    return tuple(Tier(tier=i, name=n, value=v) for i, (n, v) in enumerate(zip(TIERS, values, strict=True), 1))


def _cells(placement: Placement, fleet: Fleet) -> list[tuple[NodeSet, NodeSet]]:
    """The CPU nodes and memory nodes of each cell; what is unpinned has all of the host's."""
    nodes = fleet.host(placement.host).topology.nodes
    with_cpus = NodeSet.of(*(n.node_id for n in nodes if n.cpus))
    with_memory = NodeSet.of(*(n.node_id for n in nodes if n.memory_total_kib != 0))
    return [
        (with_cpus, with_memory) if cell.cpu_nodes is None else (cell.cpu_nodes, cell.memory_nodes)
        for cell in placement.cells
    ]


def _nodes_spanned(placement: Placement, fleet: Fleet) -> int:
    return len(NodeSet.union(cpu_nodes for cpu_nodes, _ in _cells(placement, fleet)))


def _distance(placement: Placement, fleet: Fleet) -> int:
    return span_distance(fleet.host(placement.host).topology, _cells(placement, fleet))


def span_distance(topology: HostTopology, cells: Sequence[tuple[NodeSet, NodeSet]]) -> int:
    """The distance within a guest whose cells have these (CPU nodes, memory nodes).

    Σ over pairs of its CPU nodes of the larger SLIT distance, plus for memory that is on none of
    its cell's CPU nodes what the nearest of them is farther than local. 0 for a guest on one node.
    """
    cpu_nodes = sorted(NodeSet.union(cpus for cpus, _ in cells))
    pairs = itertools.combinations(cpu_nodes, 2)
    total = sum(max(topology.distance(a, b), topology.distance(b, a)) for a, b in pairs)
    for cpus, memory in cells:
        for node in memory - cpus:
            total += max(0, min((topology.distance(cpu, node) for cpu in cpus), default=0) - LOCAL_DISTANCE)
    return total
