"""The terms of the objective, counted on the decisions themselves (`policies.objective` says what each is)."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from policies.capacity import HostCapacity, Resident
from policies.fleet import Fleet
from policies.groups import Domain, broken_wishes, domains_of, nodes_of
from policies.l3 import cpus_of, l3_groups
from policies.near import wishes_missed
from policies.objective import DEFAULT_OBJECTIVE, Objective, Term
from policies.plan import Decision, Placement, Tier
from policies.request import GuestRequest
from policies.usage import kept_for, load_squares, use_of
from probe.cpuset import NodeSet
from probe.topology import LOCAL_DISTANCE, HostTopology


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A plan whose terms are counted."""

    placed: Sequence[Placement]
    requests: Sequence[GuestRequest]
    fleet: Fleet
    objective: Objective


def objective_of(
    decisions: Sequence[Decision],
    requests: Sequence[GuestRequest],
    fleet: Fleet,
    objective: Objective = DEFAULT_OBJECTIVE,
) -> tuple[Tier, ...]:
    """The tiers of a plan, without bounds."""
    return tiers_with(terms_of(decisions, requests, fleet, objective), objective)


def tiers_with(values: Mapping[Term, int], objective: Objective) -> tuple[Tier, ...]:
    """The tiers of an objective whose terms have these values."""
    return tuple(
        Tier(tier=i, name=tier.name, value=tier.value(values), more_is_better=tier.more_is_better)
        for i, tier in enumerate(objective.tiers, 1)
    )


def terms_of(
    decisions: Sequence[Decision], requests: Sequence[GuestRequest], fleet: Fleet, objective: Objective
) -> Mapping[Term, int]:
    """The value of each term of the objective."""
    placed = [decision for decision in decisions if isinstance(decision, Placement)]
    made = _Made(placed=placed, requests=requests, fleet=fleet, objective=objective)
    return {term: _COUNTS[term](made) for term in objective.terms}


def _guests_placed(made: _Made) -> int:
    priority = {request.name: request.priority for request in made.requests}
    return sum(priority[placement.guest] for placement in made.placed)


def _nodes_spanned(made: _Made) -> int:
    return sum(nodes_spanned(placement, made.fleet) for placement in made.placed)


def _distance(made: _Made) -> int:
    return sum(distance_within(placement, made.fleet) for placement in made.placed)


def _wishes_broken(made: _Made) -> int:
    """Of the soft groups that the batch names, members that live there already count too; and devices missed."""
    groups = {m.group.name: m.group for request in made.requests for m in request.groups if not m.group.hard}
    there: dict[str, dict[Domain, Counter[str]]] = {name: defaultdict(Counter) for name in groups}
    members = [placement for placement in made.placed if placement.groups]
    living = [(host, _as_resident(p, host)) for p in members for host in (made.fleet.host(p.host),)]
    living += [(host, resident) for host in made.fleet for resident in host.residents]
    for host, who in living:
        for member in who.groups:
            if member.group.name in groups:
                for domain in domains_of(groups[member.group.name].level, host, who.nodes, who.cpus):
                    there[member.group.name][domain][member.part] += 1
    missed = sum(wishes_missed(p.devices, made.fleet.host(p.host), p.cpu_nodes or ()) for p in made.placed)
    return missed + sum(group.weight * broken_wishes(group.rule, there[name]) for name, group in groups.items())


def _as_resident(placement: Placement, host: HostCapacity) -> Resident:
    cpus = cpus_of(placement, (node.shared_cpus for node in host.nodes)) if l3_groups(placement.groups) else None
    return Resident(groups=placement.groups, nodes=nodes_of(placement), cpus=cpus)


def _hosts_used(made: _Made) -> int:
    return len({placement.host for placement in made.placed})


def _room_kept(made: _Made) -> int:
    used = use_of(made.placed, made.fleet)
    return sum(kept_for(flavour, made.fleet, used) for flavour in made.objective.reference(made.requests))


def _load(made: _Made) -> int:
    return load_squares(made.fleet, use_of(made.placed, made.fleet))


_COUNTS: Mapping[Term, Callable[[_Made], int]] = {
    Term.PLACED: _guests_placed,
    Term.NODES_SPANNED: _nodes_spanned,
    Term.DISTANCE: _distance,
    Term.SOFT_WISHES: _wishes_broken,
    Term.FEWEST_HOSTS: _hosts_used,
    Term.KEEP_LARGEST: _room_kept,
    Term.BALANCE: _load,
}


def nodes_spanned(placement: Placement, fleet: Fleet) -> int:
    """Host nodes that its vCPUs may use. An unpinned guest may use every node of its host."""
    return len(NodeSet.union(cpus for cpus, _ in _cells(placement, fleet)))


def distance_within(placement: Placement, fleet: Fleet) -> int:
    """Its `span_distance`."""
    return span_distance(fleet.host(placement.host).topology, _cells(placement, fleet))


def _cells(placement: Placement, fleet: Fleet) -> list[tuple[NodeSet, NodeSet]]:
    """The CPU nodes and memory nodes of each cell; what is unpinned has all of the host's."""
    nodes = fleet.host(placement.host).topology.nodes
    with_cpus = NodeSet.of(*(n.node_id for n in nodes if n.cpus))
    with_memory = NodeSet.of(*(n.node_id for n in nodes if n.memory_total_kib != 0))
    return [
        (with_cpus, with_memory) if cell.cpu_nodes is None else (cell.cpu_nodes, cell.memory_nodes)
        for cell in placement.cells
    ]


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
