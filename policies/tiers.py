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
"""Guests placed, weighted by priority (more is better); host nodes that they use, Σ over guests;
distance within guests (`Candidate.distance`); hosts with a guest of this plan (less is better)."""


def objective_of(decisions: Sequence[Decision], requests: Sequence[GuestRequest], fleet: Fleet) -> tuple[Tier, ...]:
    """The four tiers of a plan, without bounds."""
    priority = {request.name: request.priority for request in requests}
    placed = [d for d in decisions if isinstance(d, Placement)]
    values = (
        sum(priority[p.guest] for p in placed),
        sum(len(_cpu_nodes(p)) or 1 for p in placed),
        sum(_distance(p, fleet) for p in placed),
        len({p.host for p in placed}),
    )
    return tuple(Tier(tier=i, name=n, value=v) for i, (n, v) in enumerate(zip(TIERS, values, strict=True), 1))


def _cpu_nodes(placement: Placement) -> frozenset[int]:
    return frozenset().union(*(cell.cpu_nodes.ids for cell in placement.cells if cell.cpu_nodes is not None))


def _distance(placement: Placement, fleet: Fleet) -> int:
    cells = [(cell.cpu_nodes or cell.memory_nodes, cell.memory_nodes) for cell in placement.cells]
    return span_distance(fleet.host(placement.host).topology, cells)


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
            total += max(0, min(topology.distance(cpu, node) for cpu in cpus) - LOCAL_DISTANCE)
    return total
