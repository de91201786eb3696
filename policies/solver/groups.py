"""The rules of groups in the model: which domains a group's members live in."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from ortools.sat.python.cp_model import IntVar

from policies.groups import LEVELS_WITHIN_A_HOST, Domain, domains_of
from policies.places import nodes_of_homes
from policies.request import GroupRule, Membership
from policies.solver.model import FleetModel, Way, total
from policies.solver.problem import Counts, Problem

WaysIn = Mapping[Domain, Mapping[str, list[Way]]]
"""Domain to part to the ways of members that touch it."""


def members_keep_to_their_groups(fleet: FleetModel) -> None:
    """Hard: with affinity in one domain, with anti-affinity one in each, of fault domains one part in each."""
    for member, touching in groups_in(fleet, hard=True):
        there = residents_in(fleet.problem, member)
        if member.group.rule is GroupRule.AFFINITY:
            _together(fleet, member, touching, there)
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


def groups_in(fleet: FleetModel, *, hard: bool) -> Iterator[tuple[Membership, WaysIn]]:
    """Each hard, or soft, group of the batch with the ways of its members; of relaxed ways whole guests only."""
    found: dict[str, tuple[Membership, dict[Domain, dict[str, list[Way]]]]] = {}
    for way in fleet.ways:
        for member in way.guest_class.request.groups:
            if member.group.hard is not hard:
                continue
            _, touching = found.setdefault(member.group.name, (member, defaultdict(lambda: defaultdict(list))))
            if way.guests and (way.way_id.of is None or member.group.level not in LEVELS_WITHIN_A_HOST):
                for domain in _domains(member, way):
                    touching[domain][member.part].append(way)
    yield from found.values()


def _domains(member: Membership, way: Way) -> frozenset[Domain]:
    return domains_of(member.group.level, way.host, nodes_of_homes(way.way_id.homes))


def residents_in(problem: Problem, member: Membership) -> dict[Domain, Counter[str]]:
    """The domains in which members of this one's group live already, with their parts."""
    there: dict[Domain, Counter[str]] = defaultdict(Counter)
    for host, resident in problem.residents:
        for other in resident.groups:
            if other.group.name == member.group.name:
                for domain in domains_of(member.group.level, host, resident.nodes):
                    there[domain][other.part] += 1
    return there


def _together(fleet: FleetModel, member: Membership, touching: WaysIn, there: Mapping[Domain, Counter[str]]) -> None:
    chosen = {domain: fleet.model.new_bool_var("") for domain in touching}
    fleet.model.add_at_most_one(chosen.values())
    for domain, by_part in touching.items():
        ways = [way for some in by_part.values() for way in some]
        _means(fleet, chosen[domain], ways)
        for way in ways:
            if len(_domains(member, way) | there.keys()) > 1:
                fleet.model.add(way.count == 0)


def _apart(fleet: FleetModel, touching: WaysIn, there: Mapping[Domain, Counter[str]]) -> None:
    for domain, by_part in touching.items():
        ways = [(1, way) for some in by_part.values() for way in some]
        fleet.model.add(total(ways) <= (0 if there.get(domain) else 1))


def _one_part_each(fleet: FleetModel, touching: WaysIn, there: Mapping[Domain, Counter[str]]) -> None:
    for domain, by_part in touching.items():
        chosen = {part: fleet.model.new_bool_var("") for part in by_part}
        fleet.model.add_at_most_one(chosen.values())
        for part, ways in by_part.items():
            _means(fleet, chosen[part], ways)
            if there.get(domain, Counter()).keys() - {part}:
                fleet.model.add(chosen[part] == 0)


def _means(fleet: FleetModel, chosen: IntVar, ways: list[Way]) -> None:
    """Nobody lives in one of the ways unless it is chosen."""
    for way in ways:
        fleet.model.add(way.count == 0).only_enforce_if(~chosen)
    fleet.derived.append((chosen, functools.partial(any_lives, ways)))


def any_lives(ways: list[Way], counts: Counts) -> int:
    return int(any(counts.get(way.way_id) for way in ways))
