"""Guests who arrive together: those whom all-or-nothing groups bind to each other have places all, or none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from policies.errors import NotTakenError
from policies.groups import whole_groups_of
from policies.plan import Decision, Placement, Reason, Rejection
from policies.request import GuestName, GuestRequest

if TYPE_CHECKING:
    from policies.online.fleet import OnlineFleet


def together(online: OnlineFleet, requests: Sequence[GuestRequest], now_s: float) -> tuple[Decision, ...]:
    """As `OnlineFleet.place_together`."""
    names = Counter(request.name for request in requests)
    for name, count in names.items():
        if count > 1 or online.book.is_taken(name):
            raise NotTakenError(f"guest {name} is placed already, or comes twice.")
    decisions: dict[GuestName, Decision] = {}
    for crew in crews(requests):
        decisions |= _all_or_none(online, crew, now_s)
    return tuple(decisions[name] for name in names)


def crews(requests: Sequence[GuestRequest]) -> list[list[GuestRequest]]:
    """The guests, each with those to whom all-or-nothing groups bind it, in the order of the first of each crew."""
    same_as: dict[str, str] = {}

    def first(name: str) -> str:
        """The name by which all groups that share members are known."""
        while (other := same_as.setdefault(name, name)) != name:
            name = other
        return name

    for request in requests:
        one, *others = sorted(whole_groups_of(request)) or [""]
        for other in others:
            same_as[first(other)] = first(one)
    found: dict[tuple[bool, str], list[GuestRequest]] = {}
    for request in requests:
        whole = min(whole_groups_of(request), default=None)
        found.setdefault((True, request.name) if whole is None else (False, first(whole)), []).append(request)
    return list(found.values())


def _all_or_none(online: OnlineFleet, crew: Sequence[GuestRequest], now_s: float) -> dict[GuestName, Decision]:
    largest_first = sorted(crew, key=lambda request: (-request.memory_kib, -request.vcpus))
    refused: Rejection | None = None
    for order in [crew, largest_first] if len(crew) > 1 else [crew]:
        taken: list[Placement] = []
        for request in order:
            decision = online.place_one(request, now_s=now_s)
            if isinstance(decision, Rejection):
                refused = refused or decision
                break
            taken.append(decision)
        else:
            return {placement.guest: placement for placement in taken}
        for placement in reversed(taken):
            online.give_back(placement)
    return {request.name: _refusal_of(request, refused) for request in crew if refused is not None}


def _refusal_of(request: GuestRequest, refused: Rejection) -> Rejection:
    """What is told of a guest whose crew has no place because one of it has none."""
    if request.name == refused.guest:
        return refused
    names = sorted(whole_groups_of(request))
    groups = f"groups {', '.join(names)} are" if len(names) > 1 else f"group {names[0]} is"
    detail = f"{groups} all or nothing, and {refused.guest} has no place: {refused.detail}"
    return Rejection(guest=request.name, reason=Reason.GROUP, detail=detail)
