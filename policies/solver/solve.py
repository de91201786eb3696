"""The policy: solve the model tier by tier; what a higher tier reached is fixed for the lower ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from policies.compose import Assigned
from policies.compose_all import compose_all
from policies.errors import DoesNotFitError
from policies.explain import reject_all
from policies.fleet import Fleet
from policies.objective import Term
from policies.pages import in_largest_pages
from policies.plan import Answer, SolveStatus, Tier
from policies.policy import Effort
from policies.request import GuestRequest
from policies.solver.budget import Budget
from policies.solver.improve import Neighbourhoods, PolicyError, solve_stage
from policies.solver.large import is_large, place_large
from policies.solver.model import FleetModel, build
from policies.solver.one_guest import can_be_placed_alone, place_alone
from policies.solver.polish import assigned_of
from policies.solver.problem import Counts, Problem, WayId, classes_of, problem_of
from policies.solver.rejected import LOST, UNPROVEN, first_place
from policies.solver.relax import Relaxation
from policies.solver.rules import HARD_RULES, Rule
from policies.solver.stages import Stage, range_of, stages_of
from policies.solver.starts import starts
from policies.solver.terms import values_of, worth
from policies.solver.unmodelled import place_unmodelled

FIRST_SHARE = 0.4
"""The part of the budget that is used up at most when the first tier is left; the others share the rest evenly."""


def solver(requests: Sequence[GuestRequest], fleet: Fleet, effort: Effort, /) -> Answer:
    """Home as many guests as possible, on as few and as near nodes and as few hosts as possible.

    The best greedy answer is the start of the search, so the answer is never worse, and there is
    always one. Status `optimal` means that every tier is proven. Large batches are placed by patterns
    (`policies.patterns`) where their question can be put in arrays, and one guest alone without a model.
    """
    if len(requests) == 1 and can_be_placed_alone(requests[0], effort.objective):
        return place_alone(requests[0], fleet, effort)
    if is_large(requests, fleet):
        answer = place_large(requests, fleet, effort) or place_unmodelled(requests, fleet, effort)
        if answer is not None:
            return answer
    return solve(requests, fleet, effort, rules=HARD_RULES)


def solve(requests: Sequence[GuestRequest], fleet: Fleet, effort: Effort, *, rules: Sequence[Rule]) -> Answer:
    """`solver` with a choice of rules, for the tests that take one away."""
    budget = Budget(effort)
    problem, counts, bounds = best_counts(requests, fleet, budget, rules)
    answer = _decoded(problem, requests, counts, _tiers(problem, counts, bounds))
    if answer.status is SolveStatus.OPTIMAL:
        return answer
    return replace(answer, limited_by=budget.what_ended() or "ways that are too many to be all looked at")


def _tiers(problem: Problem, counts: Counts, bounds: Sequence[Bound]) -> tuple[Tier, ...]:
    reached = zip(problem.objective.tiers, values_of(problem, counts), bounds, strict=True)
    return tuple(
        Tier(
            tier=i,
            name=tier.name,
            value=value,
            bound=bound.best,
            more_is_better=tier.more_is_better,
            constant=bound.is_only,
        )
        for i, (tier, value, bound) in enumerate(reached, 1)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """No answer is better than `best`; `is_only`: and none is worse."""

    best: int | None
    is_only: bool = False


def best_counts(
    requests: Sequence[GuestRequest], fleet: Fleet, budget: Budget, rules: Sequence[Rule]
) -> tuple[Problem, Counts, list[Bound]]:
    """The problem, the best answer found, and a bound per tier."""
    classes = classes_of(requests)
    found = starts(classes, requests, fleet, budget)
    known = {way: n for counts in found for way, n in counts.items()}
    problem = problem_of(classes, fleet, known, budget.effort.objective)
    start = max(found, key=lambda counts: worth(problem, values_of(problem, counts)))
    return problem, *_improved(problem, start, budget, rules)


def _improved(problem: Problem, start: Counts, budget: Budget, rules: Sequence[Rule]) -> tuple[Counts, list[Bound]]:
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
    counts, bounds, stages = start, list[Bound](), stages_of(fleet)
    for stage in stages:
        until = FIRST_SHARE + (1 - FIRST_SHARE) * stage.index / max(1, len(stages) - 1)
        counts, bound = tiers.improve(stage, counts, until)
        bounds.append(bound)
        tiers.keep(stage, values_of(problem, counts)[stage.index])
    return counts, bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiers:
    """All that one tier after the other is solved with."""

    problem: Problem
    fleet: FleetModel
    relaxation: Relaxation | None
    budget: Budget
    search: Neighbourhoods

    def improve(self, stage: Stage, counts: Counts, until: float) -> tuple[Counts, Bound]:
        """A better answer in this tier, or a proof that there is none: as far as the budget goes."""
        values = values_of(self.problem, counts)
        known = range_of(self.problem, stage.index, values[0])
        bound = known.best(more_is_better=stage.maximize)
        if bound == values[stage.index]:
            return counts, Bound(best=bound, is_only=known.is_one_value)
        if self.relaxation is not None:
            found = self.relaxation.bound(stage.index, counts, self.budget, self.budget.part_of(until, 0.6))
            bound = stage.tighter(bound, found)
            if bound == values[stage.index]:
                return counts, Bound(best=bound)
        counts, found = solve_stage(self.fleet, stage, counts, self.budget, self.budget.part_of(until, 0.4))
        if found != values_of(self.problem, counts)[stage.index]:
            counts = self.search.improve(counts, stage.index, until)
        return counts, Bound(best=stage.tighter(bound, found if self.relaxation is None else None))

    def keep(self, stage: Stage, value: int) -> None:
        """Hard from here on: no answer is worse in this tier."""
        stage.keep(self.fleet.model, value)
        if self.relaxation is not None:
            self.relaxation.keep(stage.index, value)


def _decoded(problem: Problem, requests: Sequence[GuestRequest], counts: Counts, tiers: tuple[Tier, ...]) -> Answer:
    """Counts to guests: the members of a class fill its ways in order."""
    told: dict[WayId, list[WayId]] = defaultdict(list)
    for way in counts:
        told[way.anywhere].append(way)
    in_order = {way: counts[way] for anywhere in problem.ways for way in told[anywhere] if counts[way]}
    assigned = assigned_of(in_order, problem.classes)
    try:
        placements = compose_all(_in_their_pages(assigned, problem), problem.fleet)
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


def _in_their_pages(assigned: Sequence[Assigned], problem: Problem) -> Sequence[Assigned]:
    """Larger pages for those who want them, but for where the objective keeps room: there the search has chosen."""
    keeps_room = Term.KEEP_LARGEST in problem.objective.terms
    return assigned if keeps_room else in_largest_pages(assigned, problem.fleet)
