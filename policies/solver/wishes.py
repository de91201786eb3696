"""Wishes in the model: how much each soft group is broken (`policies.groups.broken_wishes`), and devices missed."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ortools.sat.python.cp_model import LinearExpr, LinearExprT

from policies.groups import Domain, broken_wishes, domains_of
from policies.places import nodes_of_homes
from policies.request import GroupRule
from policies.solver.groups import Touch, TouchesIn, any_there, groups_in, residents_in
from policies.solver.model import FleetModel, total
from policies.solver.problem import Counts, Problem


def wishes_broken(problem: Problem, counts: Counts) -> int:
    """Σ weight × breaches of an answer, and devices that its guests should be near and are not."""
    request_of = {c.index: c.request for c in problem.classes}
    members = {m.group.name: m for r in request_of.values() for m in r.groups if not m.group.hard}
    there = {name: residents_in(problem, member) for name, member in members.items()}
    for way, n in counts.items():
        for member in request_of[way.of_class].groups:
            if member.group.name in there:
                host = problem.fleet.host(way.host)
                nodes, cpus = nodes_of_homes(way.homes), problem.l3_cpus(way)
                for domain in domains_of(member.group.level, host, nodes, cpus):
                    there[member.group.name][domain][member.part] += n
    broken = sum(m.group.weight * broken_wishes(m.group.rule, there[name]) for name, m in members.items())
    return broken + sum(n * problem.ways[way.anywhere].missed for way, n in counts.items())


def breaches(fleet: FleetModel) -> LinearExprT:
    """Σ weight × breaches in the model; of relaxed ways no more than there are."""
    found: list[LinearExprT] = [total([(way.missed, way) for way in fleet.ways if way.missed])]
    for member, ways in groups_in(fleet, hard=False):
        there = residents_in(fleet.problem, member)
        found += [member.group.weight * broken for broken in _BREACHES[member.group.rule](fleet, ways, there)]
    return LinearExpr.sum(found)


_There = Mapping[Domain, Counter[str]]


class _Unit(NamedTuple):
    """Something of which one is no breach and each more is: in the model, in an answer, and at most."""

    expression: LinearExprT
    value_of: Callable[[Counts], int]
    most: int


def _domains_beyond_the_first(fleet: FleetModel, ways: TouchesIn, there: _There) -> Iterator[LinearExprT]:
    """Of a group with affinity."""
    new = [_touched(fleet, _all(ways[domain])) for domain in ways if domain not in there]
    yield _beyond_one(fleet, new, len(there))


def _members_beyond_the_first(fleet: FleetModel, ways: TouchesIn, there: _There) -> Iterator[LinearExprT]:
    """Of each domain of a group with anti-affinity."""
    for domain in {**ways, **there}:
        here = _all(ways.get(domain, {}))
        members = LinearExpr.sum([touch.count for touch in here])
        unit = _Unit(members, functools.partial(_living, here), sum(touch.most for touch in here))
        yield _beyond_one(fleet, [unit], sum(there.get(domain, Counter()).values()))


def _parts_beyond_the_first(fleet: FleetModel, ways: TouchesIn, there: _There) -> Iterator[LinearExprT]:
    """Of each fault domain."""
    for domain in {**ways, **there}:
        standing = there.get(domain, Counter())
        new = [_touched(fleet, some) for part, some in ways.get(domain, {}).items() if part not in standing]
        yield _beyond_one(fleet, new, len(standing))


_BREACHES: Mapping[GroupRule, Callable[[FleetModel, TouchesIn, _There], Iterator[LinearExprT]]] = {
    GroupRule.AFFINITY: _domains_beyond_the_first,
    GroupRule.ANTI_AFFINITY: _members_beyond_the_first,
    GroupRule.FAULT_DOMAINS: _parts_beyond_the_first,
}


def _beyond_one(fleet: FleetModel, units: Sequence[_Unit], standing: int) -> LinearExprT:
    """What more than one there is, of these and of those that are standing."""
    most = sum(unit.most for unit in units) + standing
    if most < 2:
        return 0
    broken = fleet.model.new_int_var(0, most - 1, "")
    fleet.model.add(broken >= LinearExpr.sum([unit.expression for unit in units]) + standing - 1)

    def value(counts: Counts) -> int:
        return max(0, sum(unit.value_of(counts) for unit in units) + standing - 1)

    fleet.derived.append((broken, value))
    return broken


def _touched(fleet: FleetModel, touches: Sequence[Touch]) -> _Unit:
    """Whether any of these is there."""
    some = fleet.model.new_bool_var("")
    for touch in touches:
        fleet.model.add(touch.count <= touch.most * some)
    value_of = functools.partial(any_there, touches)
    fleet.derived.append((some, value_of))
    return _Unit(some, value_of, 1)


def _all(by_part: Mapping[str, Sequence[Touch]]) -> list[Touch]:
    return [touch for some in by_part.values() for touch in some]


def _living(touches: Sequence[Touch], counts: Counts) -> int:
    return sum(touch.value_of(counts) for touch in touches)
