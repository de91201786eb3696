"""The hard rules of the model, each a sentence. A test fails for each when it is taken away.

What holds for a guest whoever else is there (its hosts, its nodes' reach and number, Xen) is not
here: ways that break it are no candidates (`policies.homes.refusal`, `policies.candidates`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

from ortools.sat.python.cp_model import IntVar, LinearExpr

from policies.candidates import Part
from policies.capacity import HostCapacity, NodeCapacity
from policies.cores import whole_cores
from policies.solver.groups import all_have_a_place_or_none, members_keep_to_their_groups
from policies.solver.l3_rooms import domains_of, pcpus_of_an_l3_domain_are_not_given_out_twice, shared_pcpus_lost
from policies.solver.model import FleetModel, Terms, Way, total
from policies.solver.problem import Counts

Rule = Callable[[FleetModel], None]


def no_guest_lives_twice(fleet: FleetModel) -> None:
    """Hard: of a class live no more guests than there are."""
    by_class: dict[int, list[tuple[int, Way]]] = defaultdict(list)
    for way in fleet.ways:
        by_class[way.guest_class.index].append((way.guests, way))
    for guest_class in fleet.problem.classes:
        fleet.model.add(total(by_class[guest_class.index]) <= len(guest_class.members))


def memory_is_not_overcommitted(fleet: FleetModel) -> None:
    """Hard: on each node guests take no more KiB of a page size than may be promised there."""
    taken: dict[tuple[str, int, int], list[tuple[int, Way]]] = defaultdict(list)
    for way in fleet.ways:
        for part in way.parts:
            for page_kib, kib in part.memory_kib.items():
                taken[way.host.name, part.home.memory_node, page_kib].append((kib, way))
    for (host, node_id, page_kib), terms in taken.items():
        free_kib = fleet.problem.fleet.host(host).node(node_id).memory_kib.get(page_kib, 0)
        unit = math.gcd(*(kib for kib, _ in terms)) or 1
        fleet.model.add(total([(kib // unit, way) for kib, way in terms]) <= free_kib // unit)


def dedicated_pcpus_are_not_shared_out_twice(fleet: FleetModel) -> None:
    """Hard: what becomes a dedicated guest's own are free pCPUs of its nodes."""
    for _, node, parts in fleet.nodes():
        need = _own(parts)
        if need:
            fleet.model.add(total(need) <= len(node.free_cpus))


def whole_cores_are_not_given_out_twice(fleet: FleetModel) -> None:
    """Hard: on each node guests on whole cores take no more of these than are free as a whole."""
    for host, node, parts in fleet.nodes():
        need = [(part.cores, way) for way, part in parts if part.cores]
        if need:
            fleet.model.add(total(need) <= len(whole_cores(host.topology, node.free_cpus.ids)))


def shared_vcpus_stay_within_the_overcommit(fleet: FleetModel) -> None:
    """Hard: where a plan puts shared vCPUs, all of the node's are at most overcommit × shared pCPUs left.

    In an undivided host a dedicated pCPU leaves the shared ones, but only when no other is free.
    """
    for host, node, parts in fleet.nodes():
        need = _floating(parts)
        if not need:
            continue
        lost = _shared_pcpus_lost(fleet, host, node, parts)
        ratio = host.overcommit
        vcpus, pcpus = total(need) + node.shared_vcpus, len(node.shared_cpus) - lost
        within = fleet.model.add(ratio.denominator * vcpus <= ratio.numerator * pcpus)
        if node.shared_vcpus > ratio * (len(node.shared_cpus) - _most_lost(node, parts)):
            within.only_enforce_if(_whether(fleet, need))


def no_guest_is_overcommitted_against_itself(fleet: FleetModel) -> None:
    """Hard: the shared vCPUs of one part are no more than the shared pCPUs left on its node."""
    for host, node, parts in fleet.nodes():
        most, lost = _most_lost(node, parts), _shared_pcpus_lost(fleet, host, node, parts)
        for way, part in parts:
            if not part.floating or part.floating + most <= len(node.shared_cpus):
                continue
            left = fleet.model.add(part.floating + lost <= len(node.shared_cpus))
            left.only_enforce_if(_whether(fleet, [(1, way)]))


ROOM_RULES: tuple[Rule, ...] = (
    memory_is_not_overcommitted,
    dedicated_pcpus_are_not_shared_out_twice,
    whole_cores_are_not_given_out_twice,
    pcpus_of_an_l3_domain_are_not_given_out_twice,
    shared_vcpus_stay_within_the_overcommit,
    no_guest_is_overcommitted_against_itself,
)
"""What holds of each node by itself."""

HARD_RULES: tuple[Rule, ...] = (
    no_guest_lives_twice,
    *ROOM_RULES,
    members_keep_to_their_groups,
    all_have_a_place_or_none,
)


def _own(parts: list[tuple[Way, Part]]) -> Terms:
    """pCPUs that become guests' own."""
    return [(part.pcpus, way) for way, part in parts if part.pcpus]


def _floating(parts: list[tuple[Way, Part]]) -> Terms:
    """vCPUs that float."""
    return [(part.floating, way) for way, part in parts if part.floating]


def _whether(fleet: FleetModel, terms: Terms) -> IntVar:
    """A 0-1 variable that is 1 where anybody lives in one of the ways."""
    some = fleet.model.new_bool_var("")
    for _, way in terms:
        fleet.model.add(way.count == 0).only_enforce_if(~some)
    fleet.derived.append((some, lambda counts: int(any(counts.get(way.way_id) for _, way in terms))))
    return some


def _most_lost(node: NodeCapacity, parts: list[tuple[Way, Part]]) -> int:
    """Shared pCPUs that dedicated guests can take at most."""
    return len(node.free_cpus & node.shared_cpus) if _own(parts) else 0


def _shared_pcpus_lost(
    fleet: FleetModel, host: HostCapacity, node: NodeCapacity, parts: list[tuple[Way, Part]]
) -> IntVar | int:
    """Shared pCPUs that dedicated guests take: what they need beyond the pCPUs that are only free.

    And what of whole cores is shared, those with the least first: of k cores that is the largest, over
    n, of n × k − Σ over cores of how many fewer than n of its siblings are shared. Where L3 domains are chosen, both
    are said of each domain too.
    """
    most = _most_lost(node, parts)
    if not most:
        return 0
    free = _own(parts)
    losses = [(1, free, len(node.free_cpus) - len(node.free_cpus & node.shared_cpus))]
    if cores := [(part.cores, way) for way, part in parts if part.cores]:
        shared = [len(core & node.shared_cpus.ids) for core in whole_cores(host.topology, node.free_cpus.ids)]
        losses += [(n, cores, sum(max(0, n - s) for s in shared)) for n in range(1, max(shared, default=0) + 1)]
    lost = fleet.model.new_int_var(0, most, "")
    for each, need, spare in losses:
        fleet.model.add(lost >= each * total(need) - spare)
    domains = domains_of(fleet, (host, node), parts)
    fleet.model.add(lost >= LinearExpr.sum(list(shared_pcpus_lost(fleet, domains))))

    def value(counts: Counts) -> int:
        taken = [(each * sum(n * counts.get(w.way_id, 0) for n, w in need), spare) for each, need, spare in losses]
        return max(0, sum(d.lost_in(counts) for d in domains), *(amount - spare for amount, spare in taken))

    fleet.derived.append((lost, value))
    return lost
