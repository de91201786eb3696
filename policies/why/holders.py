"""Who holds the place of a guest that would fit if it were alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from policies.capacity import HostCapacity
from policies.explain import Rule
from policies.fleet import Fleet
from policies.homes import refusal
from policies.plan import Placement
from policies.request import GuestName, GuestRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Holders:
    """Guests of a plan without which another one would fit on a host; beside any one of them it would not.

    Attributes:
        placement: where it would go without them.
        weight: their priorities together: what the plan would lose in its first tier.
    """

    guests: tuple[GuestName, ...]
    placement: Placement
    weight: int


def holders_of(
    request: GuestRequest, placed: Sequence[Placement], fleet: Fleet, rule: Rule, priority: Mapping[GuestName, int]
) -> Holders | None:
    """The holders that weigh least, over all hosts; of equal ones the fewest. None where it fits nowhere without them.

    Args:
        placed: all of the plan.
        rule: where the guest goes on what is left.
        priority: what each guest of the plan weighs.
    """
    found = (_on(request, placed, fleet, host, rule, priority) for host in fleet if refusal(request, host) is None)
    return min((h for h in found if h is not None), key=lambda h: (h.weight, len(h.guests)), default=None)


def _on(
    request: GuestRequest,
    placed: Sequence[Placement],
    fleet: Fleet,
    host: HostCapacity,
    rule: Rule,
    priority: Mapping[GuestName, int],
) -> Holders | None:
    """Take all guests off the host, and bring back each beside which the guest still fits, the weightiest first."""
    book, here_only = fleet.open(), replace(request, hosts=frozenset({host.name}))
    for placement in placed:
        if placement.host != host.name:
            book.take(placement)
    home = rule(here_only, book)
    holders = []
    here = [placement for placement in placed if placement.host == host.name]
    for placement in sorted(here, key=lambda p: (-priority[p.guest], p.guest)) if home is not None else ():
        book.take(placement)
        beside = rule(here_only, book)
        if beside is None:
            book.give_back(placement)
            holders.append(placement.guest)
        home = beside or home
    if home is None:
        return None
    return Holders(guests=tuple(sorted(holders)), placement=home, weight=sum(priority[guest] for guest in holders))
