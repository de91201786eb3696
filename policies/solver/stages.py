"""The tiers of the objective, as the model counts them, and bounds that hold without any search."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from ortools.sat.python.cp_model import CpModel, LinearExpr

from policies.solver.model import FleetModel, pcpus_of, total
from policies.solver.problem import Problem, Values
from policies.tiers import TIERS

_LARGEST = 2**60
"""Objectives stay below, so that CP-SAT's 64-bit sums hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One tier."""

    index: int
    name: str
    expression: LinearExpr

    @property
    def maximize(self) -> bool:
        """The first tier is to be large, the others small."""
        return self.index == 0

    def aim(self, model: CpModel) -> None:
        """Make it the model's objective."""
        (model.maximize if self.maximize else model.minimize)(self.expression)

    def keep(self, model: CpModel, value: int) -> None:
        """Hard from here on: no answer is worse in this tier."""
        model.add(self.expression >= value if self.maximize else self.expression <= value)

    def tighter(self, bound: int, other: int | None) -> int:
        """The better of two bounds; None is none."""
        if other is None:
            return bound
        return min(bound, other) if self.maximize else max(bound, other)


def stages_of(fleet: FleetModel) -> tuple[Stage, ...]:
    """The tiers, in order (`policies.tiers.TIERS`)."""
    expressions = (
        total([(way.guests * way.guest_class.request.priority, way) for way in fleet.ways]),
        total([(way.nodes, way) for way in fleet.ways]),
        total([(way.distance, way) for way in fleet.ways]),
        LinearExpr.sum(list(fleet.used)),
    )
    return tuple(Stage(index=i, name=n, expression=e) for i, (n, e) in enumerate(zip(TIERS, expressions, strict=True)))


def aim_at_all(fleet: FleetModel) -> None:
    """Make all tiers the objective at once, one step of a tier worth more than all those below.

    For small models; the lowest tiers are left out where the sum would not fit 64 bits.
    """
    stages = stages_of(fleet)
    most = _most(fleet)
    kept = len(stages)
    while kept > 1 and math.prod(m + 1 for m in most[:kept]) > _LARGEST:
        kept -= 1
    terms = []
    for stage in stages[:kept]:
        weight = math.prod(m + 1 for m in most[stage.index + 1 : kept])
        terms.append(stage.expression * (weight if stage.maximize else -weight))
    fleet.model.maximize(sum(terms))


def _most(fleet: FleetModel) -> tuple[int, ...]:
    """More than any answer reaches in each tier."""
    nodes: dict[int, int] = {}
    distance: dict[int, int] = {}
    for way in fleet.ways:
        index = way.guest_class.index
        nodes[index] = max(nodes.get(index, 0), way.nodes)
        distance[index] = max(distance.get(index, 0), way.distance)
    classes = fleet.problem.classes
    return (
        sum(len(c.members) * c.request.priority for c in classes),
        sum(len(c.members) * nodes.get(c.index, 0) for c in classes),
        sum(len(c.members) * distance.get(c.index, 0) for c in classes),
        len(fleet.used),
    )


def first_bounds(problem: Problem, values: Values) -> Values:
    """Bounds that hold for every answer that reaches `values` in the tiers above.

    Tier 1: everybody who fits somewhere alone. Tiers 2 and 3: each guest on its best way, and only
    as many guests as it takes to reach the value of tier 1, cheapest per weight first (the
    fractional knapsack). Tier 4: as many of the largest hosts as it takes to hold their vCPUs.
    """
    fewest: dict[int, int] = dict.fromkeys(problem.partial, 1)
    nearest: dict[int, int] = dict.fromkeys(problem.partial, 0)
    for way, candidate in problem.ways.items():
        fewest[way.of_class] = min(fewest.get(way.of_class, len(way.homes)), len(way.homes))
        nearest[way.of_class] = min(nearest.get(way.of_class, candidate.distance), candidate.distance)
    possible = sum(len(c.members) * c.request.priority for c in problem.classes if c.index in fewest)
    nodes, distance = (_cheapest(problem, cost, values[0]) for cost in (fewest, nearest))
    vcpus = _cheapest(problem, {c.index: c.request.vcpus for c in problem.classes if c.index in fewest}, values[0])
    largest_first = sorted((pcpus_of(host) for host in problem.fleet), reverse=True)
    too_few = sum(1 for held in itertools.accumulate(largest_first) if held < vcpus)
    return possible, nodes, distance, min(len(problem.fleet), too_few + (vcpus > 0))


def _cheapest(problem: Problem, cost: Mapping[int, int], weight: int) -> int:
    offers = [(len(c.members), c.request.priority, cost[c.index]) for c in problem.classes if c.index in cost]
    return cheapest(offers, weight)


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
