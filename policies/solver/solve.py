"""The policy: solve the model tier by tier; what a higher tier reached is fixed for the lower ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from policies.compose import Assigned, compose_all
from policies.errors import DoesNotFitError
from policies.explain import reject_all
from policies.fleet import Fleet
from policies.pages import in_largest_pages
from policies.plan import Answer, SolveStatus, Tier
from policies.policy import Effort
from policies.request import GuestRequest
from policies.solver.budget import Budget
from policies.solver.improve import Neighbourhoods, PolicyError, solve_stage
from policies.solver.large import is_large, place_large
from policies.solver.model import FleetModel, build
from policies.solver.problem import Counts, Problem, classes_of, problem_of, worth
from policies.solver.rejected import LOST, UNPROVEN, first_place
from policies.solver.relax import Relaxation
from policies.solver.rules import HARD_RULES, Rule
from policies.solver.stages import Stage, first_bounds, stages_of
from policies.solver.starts import starts
from policies.tiers import TIERS

SHARES = (0.4, 0.65, 0.85, 1.0)
"""The part of the budget that is used up at most when each tier is left."""


def solver(requests: Sequence[GuestRequest], fleet: Fleet, effort: Effort, /) -> Answer:
    """Home as many guests as possible, on as few and as near nodes and as few hosts as possible.

    The best greedy answer is the start of the search, so the answer is never worse, and there is
    always one. Status `optimal` means that every tier is proven. Large batches are placed by patterns
    (`policies.patterns`) where their question can be put in arrays.
    """
    if is_large(requests, fleet) and (answer := place_large(requests, fleet, effort)) is not None:
        return answer
    return solve(requests, fleet, effort, rules=HARD_RULES)


def solve(requests: Sequence[GuestRequest], fleet: Fleet, effort: Effort, *, rules: Sequence[Rule]) -> Answer:
    """`solver` with a choice of rules, for the tests that take one away."""
    problem, counts, bounds = best_counts(requests, fleet, Budget(effort), rules)
    reached = zip(TIERS, problem.values(counts), bounds, strict=True)
    tiers = tuple(
        Tier(tier=i, name=name, value=value, bound=bound) for i, (name, value, bound) in enumerate(reached, 1)
    )
    return _decoded(problem, requests, counts, tiers)


def best_counts(
    requests: Sequence[GuestRequest], fleet: Fleet, budget: Budget, rules: Sequence[Rule]
) -> tuple[Problem, Counts, list[int]]:
    """The problem, the best answer found, and a bound per tier."""
    classes = classes_of(requests)
    found = starts(classes, requests, fleet, budget)
    problem = problem_of(classes, fleet, {way: n for counts in found for way, n in counts.items()})
    start = max(found, key=lambda counts: worth(problem.values(counts)))
    return problem, *_improved(problem, start, budget, rules)


def _improved(problem: Problem, start: Counts, budget: Budget, rules: Sequence[Rule]) -> tuple[Counts, list[int]]:
    """`best_counts` from a start.

    A bound holds for all answers that are no worse in the tiers above than when it was found, and
    later steps never make those worse.
    """
    fleet = build(problem)
    relaxation = None if problem.is_complete else Relaxation(problem)
    for rule in rules:
        rule(fleet)
        if relaxation is not None:
            rule(relaxation.fleet)
    tiers = Tiers(
        problem=problem,
        fleet=fleet,
        relaxation=relaxation,
        budget=budget,
        search=Neighbourhoods(problem, budget, rules),
    )
    counts, bounds = start, list[int]()
    for stage, until in zip(stages_of(fleet), SHARES, strict=True):
        counts, bound = tiers.improve(stage, counts, until)
        bounds.append(bound)
        tiers.keep(stage, problem.values(counts)[stage.index])
    return counts, bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiers:
    """All that one tier after the other is solved with."""

    problem: Problem
    fleet: FleetModel
    relaxation: Relaxation | None
    budget: Budget
    search: Neighbourhoods

    def improve(self, stage: Stage, counts: Counts, until: float) -> tuple[Counts, int]:
        """A better answer in this tier, or a proof that there is none: as far as the budget goes."""
        bound = first_bounds(self.problem, self.problem.values(counts))[stage.index]
        if bound == self._value(stage, counts):
            return counts, bound
        if self.relaxation is not None:
            found = self.relaxation.bound(stage.index, counts, self.budget, self.budget.part_of(until, 0.6))
            bound = stage.tighter(bound, found)
            if bound == self._value(stage, counts):
                return counts, bound
        counts, found = solve_stage(self.fleet, stage, counts, self.budget, self.budget.part_of(until, 0.4))
        if found != self._value(stage, counts):
            counts = self.search.improve(counts, stage.index, until)
        return counts, stage.tighter(bound, found if self.relaxation is None else None)

    def keep(self, stage: Stage, value: int) -> None:
        """Hard from here on: no answer is worse in this tier."""
        stage.keep(self.fleet.model, value)
        if self.relaxation is not None:
            self.relaxation.keep(stage.index, value)

    def _value(self, stage: Stage, counts: Counts) -> int:
        return self.problem.values(counts)[stage.index]


def _decoded(problem: Problem, requests: Sequence[GuestRequest], counts: Counts, tiers: tuple[Tier, ...]) -> Answer:
    """Counts to guests: the members of a class fill its ways in order."""
    waiting = {of_class.index: list(of_class.members) for of_class in problem.classes}
    assigned = [
        Assigned(request=waiting[way.of_class].pop(0), host=way.host, homes=way.homes, page_kib=way.page_kib)
        for way in problem.ways
        for _ in range(counts.get(way, 0))
    ]
    try:
        placements = compose_all(in_largest_pages(assigned, problem.fleet), problem.fleet)
    except DoesNotFitError as error:
        raise PolicyError(f"the model let through what does not fit: {error}") from error
    book = problem.fleet.open()
    for placement in placements.values():
        book.take(placement)
    refused = [request for request in requests if request.name not in placements]
    rejections = reject_all(refused, book, rule=first_place, lost=LOST if tiers[0].gap == 0 else UNPROVEN)
    decisions = tuple(placements.get(request.name) or rejections[request.name] for request in requests)
    proven = all(tier.gap == 0 for tier in tiers)
    return Answer(decisions=decisions, objective=tiers, status=SolveStatus.OPTIMAL if proven else SolveStatus.FEASIBLE)
