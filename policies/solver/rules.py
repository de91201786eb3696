"""The hard rules of the model, each a sentence. A test fails for each when it is taken away."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

from ortools.sat.python.cp_model import IntVar, LinearExpr

from policies.capacity import NodeCapacity
from policies.solver.model import FleetModel, Part, Way

Rule = Callable[[FleetModel], None]


def no_guest_lives_twice(fleet: FleetModel) -> None:
    """Hard: of a class live no more guests than there are."""
    by_class: dict[int, list[IntVar]] = defaultdict(list)
    for way in fleet.ways:
        by_class[id(way.guest_class)].append(way.count)
    for guest_class in fleet.classes:
        fleet.model.add(sum(by_class[id(guest_class)]) <= len(guest_class.members))


def memory_is_not_overcommitted(fleet: FleetModel) -> None:
    """Hard: on each node guests take no more KiB of a page size than may be promised there."""
    taken: dict[tuple[str, int, int], list[tuple[int, IntVar]]] = defaultdict(list)
    for way in fleet.ways:
        for part in way.parts:
            for page_kib, kib in part.memory_kib.items():
                taken[way.host.name, part.home.memory_node, page_kib].append((kib, way.count))
    for (host, node_id, page_kib), terms in taken.items():
        free_kib = fleet.fleet.host(host).node(node_id).memory_kib.get(page_kib, 0)
        unit = math.gcd(*(kib for kib, _ in terms))
        fleet.model.add(_sum([(kib // unit, count) for kib, count in terms]) <= free_kib // unit)


def dedicated_pcpus_are_not_shared_out_twice(fleet: FleetModel) -> None:
    """Hard: each vCPU of a dedicated guest has a free pCPU of its node for itself."""
    for _, node, parts in fleet.nodes():
        need = _vcpus(parts, dedicated=True)
        if need:
            fleet.model.add(_sum(need) <= len(node.free_cpus))


def shared_vcpus_stay_within_the_overcommit(fleet: FleetModel) -> None:
    """Hard: where a plan puts shared vCPUs, all of the node's are at most overcommit × shared pCPUs left.

    In an undivided host a dedicated pCPU leaves the shared ones, but only when no other is free.
    """
    for host, node, parts in fleet.nodes():
        need = _vcpus(parts, dedicated=False)
        if not need:
            continue
        lost = _shared_pcpus_lost(fleet, node, parts)
        ratio = host.overcommit
        some = _whether(fleet, f"shared_{host.name}_{node.node_id}", [count for _, count in need])
        fleet.model.add(
            ratio.denominator * (_sum(need) + node.shared_vcpus) <= ratio.numerator * (len(node.shared_cpus) - lost)
        ).only_enforce_if(some)


def no_guest_is_overcommitted_against_itself(fleet: FleetModel) -> None:
    """Hard: the shared vCPUs of one part are no more than the shared pCPUs left on its node."""
    for _, node, parts in fleet.nodes():
        lost = _shared_pcpus_lost(fleet, node, parts)
        for way, part in parts:
            if way.is_dedicated:
                continue
            if part.vcpus > len(node.shared_cpus):
                fleet.model.add(way.count == 0)
            elif not isinstance(lost, int) and part.vcpus + len(node.free_cpus & node.shared_cpus) > len(
                node.shared_cpus
            ):
                here = _whether(fleet, f"here_{way.count.name}_{node.node_id}", [way.count])
                fleet.model.add(part.vcpus + lost <= len(node.shared_cpus)).only_enforce_if(here)


HARD_RULES: tuple[Rule, ...] = (
    no_guest_lives_twice,
    memory_is_not_overcommitted,
    dedicated_pcpus_are_not_shared_out_twice,
    shared_vcpus_stay_within_the_overcommit,
    no_guest_is_overcommitted_against_itself,
)

Terms = list[tuple[int, IntVar]]


def _vcpus(parts: list[tuple[Way, Part]], *, dedicated: bool) -> Terms:
    return [(part.vcpus, way.count) for way, part in parts if way.is_dedicated is dedicated]


def _sum(terms: Terms) -> LinearExpr:
    return LinearExpr.weighted_sum([count for _, count in terms], [factor for factor, _ in terms])


def _whether(fleet: FleetModel, name: str, counts: list[IntVar]) -> IntVar:
    """A 0-1 variable that is 1 where any of the counts is not 0."""
    some = fleet.model.new_bool_var(name)
    for count in counts:
        fleet.model.add(count == 0).only_enforce_if(~some)
    fleet.derived.append((some, lambda given: int(any(given.get(count) for count in counts))))
    return some


def _shared_pcpus_lost(fleet: FleetModel, node: NodeCapacity, parts: list[tuple[Way, Part]]) -> IntVar | int:
    """Shared pCPUs that dedicated guests take: what they need beyond the pCPUs that are only free."""
    need = _vcpus(parts, dedicated=True)
    both = len(node.free_cpus & node.shared_cpus)
    if not need or not both:
        return 0
    spare = len(node.free_cpus) - both
    lost = fleet.model.new_int_var(0, both, "")
    fleet.model.add(lost >= _sum(need) - spare)
    fleet.derived.append((lost, lambda given: max(0, sum(v * given.get(count, 0) for v, count in need) - spare)))
    return lost
