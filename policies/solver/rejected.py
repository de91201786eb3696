"""What the solver says of guests without a place."""

from __future__ import annotations

from policies.explain import Loss
from policies.greedy import choose_first
from policies.open_fleet import OpenFleet
from policies.plan import Placement, Reason
from policies.request import GuestRequest

LOST = Loss(reason=Reason.CONTENTION, detail="those placed instead weigh at least as much together")
UNPROVEN = Loss(
    reason=Reason.TIME_LIMIT, detail="the search ended before a place beside the others was found or excluded"
)


def first_place(request: GuestRequest, book: OpenFleet) -> Placement | None:
    """The rule by which changes are tried."""
    choice = choose_first(request, book)
    return None if choice is None else choice[1]
