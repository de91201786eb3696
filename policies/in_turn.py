"""Guests placed one after the other by a rule, and the groups of which all have a place or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from policies.explain import Rule
from policies.groups import whole_groups_of
from policies.open_fleet import OpenFleet
from policies.plan import Placement
from policies.request import GuestName, GuestRequest


def take_in_turn(requests: Sequence[GuestRequest], book: OpenFleet, rule: Rule) -> Mapping[GuestName, Placement]:
    """Take what the rule answers for each guest, in this order; who has no place is left out.

    Where a member of an all-or-nothing group has none, those before it are given back, and the room
    that they had is for those that follow.
    """
    chosen: dict[GuestName, Placement] = {}
    of_group: dict[str, list[GuestRequest]] = {}
    for request in requests:
        for name in whole_groups_of(request):
            of_group.setdefault(name, []).append(request)
    broken: set[str] = set()
    for request in requests:
        placement = None if whole_groups_of(request) & broken else rule(request, book)
        if placement is not None:
            book.take(placement)
            chosen[request.name] = placement
            continue
        for name in _drawn_in(whole_groups_of(request) - broken, of_group):
            broken.add(name)
            for member in of_group[name]:
                if member.name in chosen:
                    book.give_back(chosen.pop(member.name))
    return chosen


def _drawn_in(names: frozenset[str], of_group: Mapping[str, Sequence[GuestRequest]]) -> frozenset[str]:
    """These groups, and all that share a member with one of them, directly or not."""
    found, new = set[str](), set(names)
    while new:
        found |= new
        new = {other for name in new for member in of_group[name] for other in whole_groups_of(member)} - found
    return frozenset(found)
