"""What the place of a guest adds to each tier of a plan, and what its best other place would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from policies.candidates import Candidate
from policies.capacity import HostCapacity
from policies.objective import Objective
from policies.open_fleet import OpenFleet
from policies.places import all_ways, placed
from policies.plan import Placement, Tier
from policies.request import GuestRequest
from policies.tiers import objective_of
from policies.why.beside import Beside

MOST_TRIED = 300
"""Other places that are compared, on the fewest and nearest nodes of each host first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Of a guest that has a place, the other guests staying where they are.

    Attributes:
        tiers: of the plan.
        without: the same tiers without the guest.
        alternative: the best other place; None where there is none, and
        otherwise: the tiers with it.
        tried: other places that were compared; all, unless there are more than `MOST_TRIED`.
    """

    tiers: tuple[Tier, ...]
    without: tuple[Tier, ...]
    alternative: Placement | None
    otherwise: tuple[Tier, ...]
    tried: int


def account(request: GuestRequest, beside: Beside, objective: Objective) -> Account:
    """The account of a guest of the plan."""
    others = [placement for placement in beside.placed if placement.guest != request.name]
    (home,) = (placement for placement in beside.placed if placement.guest == request.name)
    requests = list(beside.asked.values())

    def tiers(*with_guest: Placement) -> tuple[Tier, ...]:
        return objective_of([*others, *with_guest], requests, beside.fleet, objective)

    book = replace(beside, placed=others).book()
    found = _other_places(request, book, home)
    judged = [(tiers(other), other) for other in found]
    best = max(judged, key=lambda pair: worth(pair[0]), default=None)
    return Account(
        tiers=tiers(home),
        without=tiers(),
        alternative=None if best is None else best[1],
        otherwise=() if best is None else best[0],
        tried=len(judged),
    )


def worth(tiers: Sequence[Tier]) -> tuple[int, ...]:
    """Larger is better, tier by tier."""
    return tuple(tier.value if tier.more_is_better else -tier.value for tier in tiers)


def _other_places(request: GuestRequest, book: OpenFleet, home: Placement) -> list[Placement]:
    ways: list[tuple[int, int, HostCapacity, Candidate]] = []
    for host in book.fleet:
        ways += [(len(way.homes), way.distance, host, way) for way in all_ways(request, book, host)]
    found: list[Placement] = []
    for _, _, host, way in sorted(ways, key=lambda each: each[:2]):
        if len(found) == MOST_TRIED:
            break
        other = placed(request, book, host, way)
        if other is not None and (other.host, other.cpu_nodes) != (home.host, home.cpu_nodes):
            found.append(other)
    return found
