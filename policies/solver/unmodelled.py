"""Large batches that neither arrays nor one model hold: the best first answer, with a bound by patterns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from policies.asked import EmulatorPolicy, SmtPolicy
from policies.compose import settle_shared
from policies.fleet import Fleet
from policies.objective import Objective
from policies.patterns.place import most_placed
from policies.patterns.terms import TooManyKindsError
from policies.plan import Answer, Placement
from policies.policy import Effort
from policies.request import GuestRequest
from policies.solver.arrays import as_arrays
from policies.solver.budget import Budget
from policies.solver.large import SHARE_OF_BOUNDS, decided
from policies.solver.problem import MOST_WAYS, classes_of
from policies.solver.starts import largest_first, of_many
from policies.tiers import objective_of


def place_unmodelled(requests: Sequence[GuestRequest], fleet: Fleet, effort: Effort) -> Answer | None:
    """The best of what guests get one by one and by patterns; None where a model of the batch can be made.

    To make one would take minutes, whatever the time limit is.
    """
    if len(classes_of(requests)) * len(fleet) <= MOST_WAYS:
        return None
    budget = Budget(effort)
    answers = [list(some) for some in of_many(sorted(requests, key=largest_first), fleet, budget)]
    best = max(answers, key=lambda placed: _worth(placed, requests, fleet, effort.objective))
    bound = _bound(requests, fleet, budget)
    found = {placement.guest: placement for placement in settle_shared(tuple(best), fleet)}
    bounds = (bound, *(None for _ in effort.objective.tiers[1:]))
    return decided(found, requests, fleet, effort, bounds, budget.what_ended() or "the size of the batch")


def _worth(
    placed: Sequence[Placement], requests: Sequence[GuestRequest], fleet: Fleet, objective: Objective
) -> tuple[int, ...]:
    """Larger is better, tier by tier."""
    tiers = objective_of(placed, requests, fleet, objective)
    return tuple(tier.value if tier.more_is_better else -tier.value for tier in tiers)


def _bound(requests: Sequence[GuestRequest], fleet: Fleet, budget: Budget) -> int:
    """Of guests placed, by priority: as if they asked for less, where arrays have no word for all that they ask for."""
    everybody = sum(request.priority for request in requests)
    asked = as_arrays([_simple(request) for request in requests], fleet, budget.effort.objective)
    if asked is None or not asked.all_homes or budget.is_spent(share=SHARE_OF_BOUNDS):
        return everybody
    is_late = partial(budget.is_spent, share=SHARE_OF_BOUNDS)
    try:
        return most_placed(asked.supply, asked.batch, seed=budget.effort.seed, is_late=is_late)
    except TooManyKindsError:
        return everybody


def _simple(request: GuestRequest) -> GuestRequest:
    """One that fits wherever this one does: without groups, devices, whole cores, and places for its emulator."""
    emulator = EmulatorPolicy.AUTO if request.emulator is EmulatorPolicy.HOUSEKEEPING else request.emulator
    return replace(request, groups=(), devices=(), max_distance=None, smt=SmtPolicy.PREFER, emulator=emulator)
