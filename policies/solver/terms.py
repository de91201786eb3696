"""Each term of the objective, in an answer and in the model, with bounds that hold without any search."""

from __future__ import annotations

import functools
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from ortools.sat.python.cp_model import LinearExpr, LinearExprT

from policies.fleet import Fleet
from policies.objective import Term
from policies.solver.floors import least_load
from policies.solver.kept import load, room, room_kept, squares
from policies.solver.model import FleetModel, Way, pcpus_of, total
from policies.solver.problem import Counts, Problem, without_l3
from policies.solver.wishes import breaches, wishes_broken


@dataclass(frozen=True, slots=True)
class Range:
    """What every answer that places guests of some total priority has of a term; None: not known."""

    least: int | None
    most: int | None

    def best(self, *, more_is_better: bool) -> int | None:
        """No answer has a better one."""
        return self.most if more_is_better else self.least

    @property
    def is_one_value(self) -> bool:
        return self.least is not None and self.least == self.most


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How a term is counted.

    Attributes:
        value: in an answer.
        expression: in a model, where the variables that it takes are made. Maximised or minimised it is the
            value; else it is on the worse side of it.
        range: over the answers whose guests have this priority together.
    """

    value: Callable[[Problem, Counts], int]
    expression: Callable[[FleetModel], LinearExprT]
    range: Callable[[Problem, int], Range]


def _guests_placed(problem: Problem, counts: Counts) -> int:
    priority = {c.index: c.request.priority for c in problem.classes}
    return sum(n * priority[way.of_class] for way, n in counts.items())


def _by_priority(fleet: FleetModel) -> LinearExprT:
    return total([(way.guests * way.guest_class.request.priority, way) for way in fleet.ways])


def _placeable(problem: Problem, _: int) -> Range:
    """Everybody who fits somewhere alone."""
    fitting = {*problem.partial, *(way.of_class for way in problem.ways)}
    return Range(0, sum(len(c.members) * c.request.priority for c in problem.classes if c.index in fitting))


def _nodes_spanned(problem: Problem, counts: Counts) -> int:
    return sum(n * len(way.homes) for way, n in counts.items())


def _range_of_nodes(problem: Problem, weight: int) -> Range:
    return _per_guest(problem, {way: len(way.homes) for way in problem.ways}, weight, at_least=1)


def _distance(problem: Problem, counts: Counts) -> int:
    return sum(n * problem.ways[way].distance for way, n in counts.items())


def _range_of_distances(problem: Problem, weight: int) -> Range:
    return _per_guest(problem, {way: found.distance for way, found in problem.ways.items()}, weight, at_least=0)


def _per_guest(problem: Problem, cost: Mapping[object, int], weight: int, *, at_least: int) -> Range:
    """Each guest on its best way, and on its worst: only as many as it takes to reach the weight."""
    least: dict[int, int] = dict.fromkeys(problem.partial, at_least)
    most: dict[int, int] = {}
    for way in problem.ways:
        least[way.of_class] = min(least.get(way.of_class, cost[way]), cost[way])
        most[way.of_class] = max(most.get(way.of_class, 0), cost[way])
    dearest = -cheapest(_offers(problem, {index: -n for index, n in most.items()}), weight)
    return Range(cheapest(_offers(problem, least), weight), None if problem.partial else dearest)


def _offers(problem: Problem, cost: Mapping[int, int]) -> list[tuple[int, int, int]]:
    return [(len(c.members), c.request.priority, cost[c.index]) for c in problem.classes if c.index in cost]


def cheapest(offers: Iterable[tuple[int, int, int]], weight: int) -> int:
    """The least that guests of this total priority cost, fractions of a guest allowed, rounded up.

    Args:
        offers: guests, the priority of each, and what each costs.
    """
    spent, left = Fraction(0), weight
    for guests, priority, cost in sorted(offers, key=lambda offer: Fraction(offer[2], offer[1])):
        weighs = min(left, guests * priority)
        spent += Fraction(weighs * cost, priority)
        left -= weighs
    return math.ceil(spent)


def _range_of_wishes(problem: Problem, _: int) -> Range:
    requests = [c.request for c in problem.classes]
    soft = any(not member.group.hard for request in requests for member in request.groups)
    wishes = any(not device.must for request in requests for device in request.devices)
    return Range(0, None if soft or wishes else 0)


def _hosts_used(_: Problem, counts: Counts) -> int:
    return len({way.host for way in counts})


def _used(fleet: FleetModel) -> LinearExprT:
    """A variable for each host where nobody lives unless it is 1.

    Said once more by vCPUs and by memory, which the hard rules imply, so that a fraction of a host
    counts in the bound: all nodes together hold no more than what they have.
    """
    by_host: dict[str, list[Way]] = defaultdict(list)
    for way in fleet.ways:
        by_host[way.host.name].append(way)
    found = []
    for host in fleet.problem.fleet:
        here, some = by_host[host.name], fleet.model.new_bool_var(f"used_{host.name}")
        for way in here:
            fleet.model.add(way.count <= len(way.guest_class.members) * some)
        fleet.model.add(total([(sum(p.vcpus for p in way.parts), way) for way in here]) <= pcpus_of(host) * some)
        kib = {page: sum(n.memory_kib.get(page, 0) for n in host.nodes) for page in fleet.problem.fleet.memory_kib}
        for page, free_kib in kib.items():
            need = [(sum(p.memory_kib.get(page, 0) for p in way.parts), way) for way in here]
            fleet.model.add(total(need) <= free_kib * some)
        fleet.derived.append((some, functools.partial(_is_used, host.name)))
        found.append(some)
    return LinearExpr.sum(found)


def _is_used(name: str, counts: Counts) -> int:
    return int(any(way.host == name for way in counts))


def _range_of_hosts(problem: Problem, weight: int) -> Range:
    """As many of the largest hosts as it takes to hold their vCPUs; no more than guests, and than hosts."""
    fitting = {*problem.partial, *(way.of_class for way in problem.ways)}
    vcpus = cheapest(
        _offers(problem, {c.index: c.request.vcpus for c in problem.classes if c.index in fitting}), weight
    )
    return Range(fewest_hosts(problem.fleet, vcpus), min(len(problem.fleet), weight))


def fewest_hosts(fleet: Fleet, vcpus: int) -> int:
    """As many of the largest hosts as it takes to hold so many vCPUs; no more than there are."""
    largest_first = sorted((pcpus_of(host) for host in fleet), reverse=True)
    too_few = sum(1 for held in itertools.accumulate(largest_first) if held < vcpus)
    return min(len(fleet), too_few + (vcpus > 0))


def _range_of_room(problem: Problem, _: int) -> Range:
    return Range(0, room_kept(problem, {}))


def _range_of_load(problem: Problem, weight: int) -> Range:
    """No less than where the least that these guests can take is spread evenly."""
    fitting = {*problem.partial, *(way.of_class for way in problem.ways)}
    asked = {c.index: c.request for c in problem.classes if c.index in fitting}
    vcpus = cheapest(_offers(problem, {index: request.vcpus for index, request in asked.items()}), weight)
    kib = {index: request.memory_kib + request.overhead_kib for index, request in asked.items()}
    return Range(least_load(problem.fleet, vcpus, cheapest(_offers(problem, kib), weight)), None)


MEASURES: Mapping[Term, Measure] = {
    Term.PLACED: Measure(value=_guests_placed, expression=_by_priority, range=_placeable),
    Term.NODES_SPANNED: Measure(
        value=_nodes_spanned,
        expression=lambda fleet: total([(way.nodes, way) for way in fleet.ways]),
        range=_range_of_nodes,
    ),
    Term.DISTANCE: Measure(
        value=_distance,
        expression=lambda fleet: total([(way.distance, way) for way in fleet.ways]),
        range=_range_of_distances,
    ),
    Term.SOFT_WISHES: Measure(value=wishes_broken, expression=breaches, range=_range_of_wishes),
    Term.FEWEST_HOSTS: Measure(value=_hosts_used, expression=_used, range=_range_of_hosts),
    Term.KEEP_LARGEST: Measure(value=room_kept, expression=room, range=_range_of_room),
    Term.BALANCE: Measure(value=load, expression=squares, range=_range_of_load),
}


_LOOK_AT_L3 = (Term.SOFT_WISHES, Term.KEEP_LARGEST)


def first_weight(problem: Problem) -> int:
    """The priority of all guests together."""
    return sum(len(c.members) * c.request.priority for c in problem.classes)


def values_of(problem: Problem, counts: Counts) -> tuple[int, ...]:
    """What an answer reaches in each tier of the problem's objective."""
    anywhere = without_l3(counts)
    of = {t: MEASURES[t].value(problem, counts if t in _LOOK_AT_L3 else anywhere) for t in problem.objective.terms}
    return tuple(tier.value(of) for tier in problem.objective.tiers)


def worth(problem: Problem, values: tuple[int, ...]) -> tuple[int, ...]:
    """Larger is better, tier by tier."""
    tiers = zip(problem.objective.tiers, values, strict=True)
    return tuple(value if tier.more_is_better else -value for tier, value in tiers)
