"""The tiers of the objective, as the model counts them, and bounds that hold without any search."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ortools.sat.python.cp_model import CpModel, FlatIntExpr, LinearExpr, LinearExprT

from policies.objective import ObjectiveTier, Term
from policies.solver.model import FleetModel
from policies.solver.problem import Problem
from policies.solver.terms import MEASURES, Range, first_weight

_LARGEST = 2**60
"""Objectives stay below, so that CP-SAT's 64-bit sums hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One tier.

    Attributes:
        span: how far apart its values can be at most.
    """

    index: int
    tier: ObjectiveTier
    expression: LinearExprT
    span: int

    @property
    def maximize(self) -> bool:
        return self.tier.more_is_better

    def aim(self, model: CpModel) -> None:
        """Make it the model's objective."""
        (model.maximize if self.maximize else model.minimize)(self.expression)

    def keep(self, model: CpModel, value: int) -> None:
        """Hard from here on: no answer is worse in this tier."""
        model.add(self.expression >= value if self.maximize else self.expression <= value)

    def tighter(self, bound: int | None, other: int | None) -> int | None:
        """The better of two bounds; None is none."""
        if bound is None or other is None:
            return other if bound is None else bound
        return min(bound, other) if self.maximize else max(bound, other)


def stages_of(fleet: FleetModel) -> tuple[Stage, ...]:
    """The tiers, in order; once for a model, because the terms bring their own variables."""
    return tuple(stage_of(fleet, index) for index in range(len(fleet.problem.objective.tiers)))


def stage_of(fleet: FleetModel, index: int) -> Stage:
    """One of them."""
    tier = fleet.problem.objective.tiers[index]
    terms = {term: MEASURES[term].expression(fleet) for term in tier.weights}
    return Stage(
        index=index,
        tier=tier,
        expression=LinearExpr.sum([weight * terms[term] for term, weight in tier.weights.items()]),
        span=sum(abs(weight) * _span(fleet, term, terms[term]) for term, weight in tier.weights.items()),
    )


def _span(fleet: FleetModel, term: Term, expression: LinearExprT) -> int:
    """What the term is at most, by its range, else by the domains of its variables; the least is 0."""
    most = MEASURES[term].range(fleet.problem, first_weight(fleet.problem)).most
    if most is not None:
        return most
    flat = FlatIntExpr(LinearExpr.sum([expression]))
    upper = (c * max(var.proto.domain) for c, var in zip(flat.coeffs, flat.vars, strict=True) if c > 0)
    return int(flat.offset + sum(upper))


def aim_at_all(fleet: FleetModel) -> None:
    """Make all tiers the objective at once, one step of a tier worth more than all those below.

    For small models; the lowest tiers are left out where the sum would not fit 64 bits.
    """
    stages = stages_of(fleet)
    kept = len(stages)
    while kept > 1 and math.prod(stage.span + 1 for stage in stages[:kept]) > _LARGEST:
        kept -= 1
    terms = []
    for stage in stages[:kept]:
        weight = math.prod(below.span + 1 for below in stages[stage.index + 1 : kept])
        terms.append(stage.expression * (weight if stage.maximize else -weight))
    fleet.model.maximize(sum(terms))


def range_of(problem: Problem, index: int, weight: int) -> Range:
    """What every answer that places guests of this priority together has in a tier, without any search."""
    least: int | None = 0
    most: int | None = 0
    for term, times in problem.objective.tiers[index].weights.items():
        found = MEASURES[term].range(problem, weight)
        low, high = (found.least, found.most) if times > 0 else (found.most, found.least)
        least = None if least is None or low is None else least + times * low
        most = None if most is None or high is None else most + times * high
    return Range(least, most)
