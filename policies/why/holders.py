"""Who holds the place of a guest that would fit if it were alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policies.capacity import HostCapacity
from policies.fleet import Fleet
from policies.homes import refusal
from policies.open_fleet import OpenFleet
from policies.places import first_placed
from policies.plan import Placement
from policies.request import GuestName, GuestRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Holders:
    """Guests of a plan without which another one would fit on a host; beside any one of them it would not.

    They live on that host, or are members of its groups anywhere.

    Attributes:
        placement: where it would go without them.
        weight: their priorities together: what the plan would lose in its first tier.
    """

    guests: tuple[GuestName, ...]
    placement: Placement
    weight: int


def holders_of(
    request: GuestRequest, placed: Sequence[Placement], fleet: Fleet, priority: Mapping[GuestName, int]
) -> Holders | None:
    """The holders that weigh least, over all hosts; of equal ones the fewest. None where it fits nowhere without them.

    Args:
        placed: all of the plan.
        priority: what each guest of the plan weighs.
    """
    book = fleet.open()
    on_host: dict[str, list[Placement]] = defaultdict(list)
    names = {member.group.name for member in request.groups if member.group.hard}
    of_groups = [p for p in placed if any(member.group.name in names for member in p.groups)]
    for placement in placed:
        book.take(placement)
        on_host[placement.host].append(placement)
    found = []
    for host in fleet:
        if refusal(request, host) is None:
            there = {p.guest: p for p in (*on_host[host.name], *of_groups)}
            here = sorted(there.values(), key=lambda p: (-priority[p.guest], p.guest))
            found.append(_among(here, request, book, host))
    told = (
        Holders(guests=tuple(sorted(who)), placement=home, weight=sum(priority[guest] for guest in who))
        for who, home in found
        if home is not None
    )
    return min(told, key=lambda h: (h.weight, len(h.guests)), default=None)


def _among(
    here: Sequence[Placement], request: GuestRequest, book: OpenFleet, host: HostCapacity
) -> tuple[list[GuestName], Placement | None]:
    """Take all these guests off, and bring back each beside which the guest still fits, in this order.

    Who did not come back, and where the guest goes then; None where it fits without all of them neither. The book
    is as it was in the end.
    """
    for placement in here:
        book.give_back(placement)
    home = first_placed(request, book, host)
    holders: list[Placement] = []
    for placement in here:
        book.take(placement)
        beside = None if home is None else first_placed(request, book, host)
        if home is not None and beside is None:
            book.give_back(placement)
            holders.append(placement)
        home = beside or home
    for placement in holders:
        book.take(placement)
    return [placement.guest for placement in holders], home
