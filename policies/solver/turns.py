"""Large batches with guests whom patterns do not know: these one by one, after all others by patterns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from policies.compose_all import compose_all
from policies.fleet import Fleet
from policies.online.fleet import OnlineFleet
from policies.patterns.place import place
from policies.patterns.terms import TooManyKindsError
from policies.plan import Placement
from policies.request import GuestName, GuestRequest
from policies.solver.arrays import as_arrays, for_arrays
from policies.solver.budget import Budget
from policies.solver.large import assigned_by


def in_turns(requests: Sequence[GuestRequest], fleet: Fleet, budget: Budget, share: float) -> list[Placement]:
    """Where these guests go: those whom patterns know first, then the rest in their order.

    Args:
        share: the part of the budget after which nothing is added to the patterns that there are.
    """
    online = OnlineFleet(fleet)
    placed = _by_patterns(for_arrays(requests, fleet), fleet, budget, share)
    for placement in placed.values():
        online.take(placement)
    rest = (online.place_one(request) for request in requests if request.name not in placed)
    return [*placed.values(), *(decision for decision in rest if isinstance(decision, Placement))]


def _by_patterns(
    requests: Sequence[GuestRequest], fleet: Fleet, budget: Budget, share: float
) -> Mapping[GuestName, Placement]:
    """What patterns place, as far as the share of the budget goes."""
    effort = budget.effort
    asked = as_arrays(requests, fleet, effort.objective)
    if asked is None:
        return {}

    def is_over() -> bool:
        return budget.is_spent(share=share)

    try:
        placed = place(asked.supply, asked.batch, seed=effort.seed, is_over=is_over, spread=effort.spread)
    except TooManyKindsError:
        return {}
    return compose_all(list(assigned_by(requests, asked, placed)), fleet)
