"""The rules of groups in the model: which domains a group's members live in."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ortools.sat.python.cp_model import IntVar, LinearExpr

from policies.capacity import HostCapacity
from policies.cores import threads_per_core
from policies.groups import LEVELS_WITHIN_A_HOST, Domain, domains_of, l3_domains_with, name_of_l3
from policies.l3 import l3_domains, looks_at_l3
from policies.places import nodes_of_homes
from policies.request import GroupRule, Membership
from policies.solver.model import FleetModel, Way, total
from policies.solver.problem import Counts, Problem, WayId


@dataclass(frozen=True, slots=True)
class Touch:
    """Members that touch a domain.

    Attributes:
        count: how many do in the model; of members whose group looks at L3 domains, whether any of a class does.
        most: how many can.
        value_of: how many do in an answer.
        pcpus: of an L3 domain, what they own there, and
        room: what is free there.
    """

    count: IntVar
    most: int
    value_of: Callable[[Counts], int]
    pcpus: LinearExpr | None = None
    room: int = 0


TouchesIn = Mapping[Domain, Mapping[str, list[Touch]]]
"""Domain to part to the members that touch it."""


def members_keep_to_their_groups(fleet: FleetModel) -> None:
    """Hard: with affinity in one domain, with anti-affinity one in each, of fault domains one part in each."""
    for member, touching in groups_in(fleet, hard=True):
        there = residents_in(fleet.problem, member)
        if member.group.rule is GroupRule.AFFINITY:
            _together(fleet, touching, there)
        elif member.group.rule is GroupRule.ANTI_AFFINITY:
            _apart(fleet, touching, there)
        elif member.group.rule is GroupRule.FAULT_DOMAINS:
            _one_part_each(fleet, touching, there)


def all_have_a_place_or_none(fleet: FleetModel) -> None:
    """Hard: of an all-or-nothing group all members live somewhere, on hosts that are left out too, or none does."""
    problem = fleet.problem
    living: dict[int, list[tuple[int, Way]]] = defaultdict(list)
    for way in fleet.ways:
        living[way.guest_class.index].append((way.guests, way))
    for indices in problem.whole_groups.values():
        whole = fleet.model.new_bool_var("")
        for index in indices:
            away = problem.elsewhere.get(index, 0)
            fleet.model.add(total(living[index]) + away == problem.sizes[index] * whole)
        fleet.derived.append((whole, functools.partial(_is_whole, problem, indices)))


def _is_whole(problem: Problem, indices: frozenset[int], counts: Counts) -> int:
    return int(any(problem.elsewhere.get(i) for i in indices) or any(way.of_class in indices for way in counts))


def groups_in(fleet: FleetModel, *, hard: bool) -> Iterator[tuple[Membership, TouchesIn]]:
    """Each hard, or soft, group of the batch with its members; of relaxed ways whole guests only."""
    found: dict[str, tuple[Membership, list[tuple[Membership, Way]]]] = {}
    for way in fleet.ways:
        for member in way.guest_class.request.groups:
            if member.group.hard is hard:
                _, ways = found.setdefault(member.group.name, (member, []))
                if way.guests and (way.way_id.of is None or member.group.level not in LEVELS_WITHIN_A_HOST):
                    ways.append((member, way))
    for member, ways in found.values():
        yield member, _by_l3(fleet, ways) if looks_at_l3(member) else _by_ways(ways)


def _by_ways(ways: Sequence[tuple[Membership, Way]]) -> TouchesIn:
    touching: dict[Domain, dict[str, list[Touch]]] = defaultdict(lambda: defaultdict(list))
    for member, way in ways:
        touch = Touch(way.count, len(way.guest_class.members), functools.partial(_living, way.way_id))
        for domain in domains_of(member.group.level, way.host, nodes_of_homes(way.way_id.homes)):
            touching[domain][member.part].append(touch)
    return touching


def _living(way_id: WayId, counts: Counts) -> int:
    return counts.get(way_id, 0)


class _Taken(NamedTuple):
    """What tells that a class is in an L3 domain: guests who float there, and what each owns there of so many pCPUs."""

    floating: list[IntVar]
    own: list[tuple[IntVar, int]]


def _by_l3(fleet: FleetModel, ways: Sequence[tuple[Membership, Way]]) -> TouchesIn:
    """Whether any of a class is in an L3 domain: where it owns a pCPU there, or floats on a node that has some."""
    taken: dict[tuple[Domain, str, int], _Taken] = defaultdict(lambda: _Taken([], []))
    for member, way in ways:
        at = member.part, way.guest_class.index
        for uses, part in zip(way.l3, way.parts, strict=True):
            node = way.host.node(part.home.cpu_node)
            for i, variable in uses.items():
                pcpus = threads_per_core(way.host.topology) if part.cores else 1
                taken[name_of_l3(way.host, i), *at].own.append((variable, pcpus))
            for domain in l3_domains_with(way.host, node.shared_cpus) if part.floating else ():
                taken[domain, *at].floating.append(way.count)
    room = _room_by_l3({way.host.name: way.host for _, way in ways}.values())
    touching: dict[Domain, dict[str, list[Touch]]] = defaultdict(lambda: defaultdict(list))
    for (domain, of_part, index), each in taken.items():
        touching[domain][of_part].append(_touch(fleet, each, room[domain], (index, domain)))
    return touching


def _touch(fleet: FleetModel, taken: _Taken, room: int, where: tuple[int, Domain]) -> Touch:
    some = fleet.model.new_bool_var("")
    for variable in taken.floating:
        fleet.model.add(variable == 0).only_enforce_if(~some)
    pcpus = LinearExpr.weighted_sum([variable for variable, _ in taken.own], [n for _, n in taken.own])
    fleet.model.add(pcpus <= room * some)
    value_of = functools.partial(_is_in, fleet.problem, *where)
    fleet.derived.append((some, value_of))
    return Touch(some, 1, value_of, pcpus, room)


def _room_by_l3(hosts: Iterable[HostCapacity]) -> Mapping[Domain, int]:
    """Free pCPUs of each L3 domain."""
    found: Counter[Domain] = Counter()
    for host in hosts:
        for i, cpus in enumerate(l3_domains(host.topology)):
            found[name_of_l3(host, i)] += sum(len(node.free_cpus & cpus) for node in host.nodes)
    return found


def _is_in(problem: Problem, of_class: int, domain: Domain, counts: Counts) -> int:
    ways = (way for way in counts if way.of_class == of_class and way.l3)
    return int(any(domain in l3_domains_of(problem, way) for way in ways))


def l3_domains_of(problem: Problem, way: WayId) -> frozenset[Domain]:
    """The L3 domains that a guest of an answer is in."""
    host, parts = problem.fleet.host(way.host), problem.ways[way.anywhere].parts
    found = {name_of_l3(host, i) for uses in way.l3 for i, _ in uses}
    for part in parts:
        if part.floating:
            found |= l3_domains_with(host, host.node(part.home.cpu_node).shared_cpus)
    return frozenset(found)


def residents_in(problem: Problem, member: Membership) -> dict[Domain, Counter[str]]:
    """The domains in which members of this one's group live already, with their parts."""
    there: dict[Domain, Counter[str]] = defaultdict(Counter)
    for host, resident in problem.residents:
        for other in resident.groups:
            if other.group.name == member.group.name:
                for domain in domains_of(member.group.level, host, resident.nodes, resident.cpus):
                    there[domain][other.part] += 1
    return there


def _together(fleet: FleetModel, touching: TouchesIn, there: Mapping[Domain, Counter[str]]) -> None:
    chosen = {domain: fleet.model.new_bool_var("") for domain in touching}
    fleet.model.add_at_most_one(chosen.values())
    for domain, by_part in touching.items():
        members = [touch for some in by_part.values() for touch in some]
        _means(fleet, chosen[domain], members)
        _all_is_there(fleet, chosen[domain], members)
        if there.keys() - {domain}:
            fleet.model.add(chosen[domain] == 0)


def _all_is_there(fleet: FleetModel, chosen: IntVar, members: Sequence[Touch]) -> None:
    """Said once more of all together, so that a fraction of an L3 domain counts in the bound."""
    own = [touch.pcpus for touch in members if touch.pcpus is not None]
    if own:
        fleet.model.add(LinearExpr.sum(own) <= max(touch.room for touch in members) * chosen)


def _apart(fleet: FleetModel, touching: TouchesIn, there: Mapping[Domain, Counter[str]]) -> None:
    for domain, by_part in touching.items():
        members = [touch.count for some in by_part.values() for touch in some]
        fleet.model.add(LinearExpr.sum(members) <= (0 if there.get(domain) else 1))


def _one_part_each(fleet: FleetModel, touching: TouchesIn, there: Mapping[Domain, Counter[str]]) -> None:
    for domain, by_part in touching.items():
        chosen = {part: fleet.model.new_bool_var("") for part in by_part}
        fleet.model.add_at_most_one(chosen.values())
        for part, some in by_part.items():
            _means(fleet, chosen[part], some)
            if there.get(domain, Counter()).keys() - {part}:
                fleet.model.add(chosen[part] == 0)


def _means(fleet: FleetModel, chosen: IntVar, some: Sequence[Touch]) -> None:
    """None of them is there unless it is chosen."""
    for touch in some:
        fleet.model.add(touch.count == 0).only_enforce_if(~chosen)
    fleet.derived.append((chosen, functools.partial(any_there, some)))


def any_there(some: Sequence[Touch], counts: Counts) -> int:
    """1 where any of them is there in an answer."""
    return int(any(touch.value_of(counts) for touch in some))
