"""What would make a guest fit: each change of a closed list, tried, in the order of what it costs.

Any host; more nodes; `cells: auto`; out of a group; another guest of the plan elsewhere; not near a device; cores that
others use too; emulator threads anywhere; shared pCPUs; smaller pages; far memory; more huge pages on a node, of its
free memory; less memory; fewer vCPUs; fewer vCPUs and less memory. They are tried beside the plan as it stands; where
none helps there, in a new plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from policies.asking_less import other_requests, smaller_requests
from policies.open_fleet import OpenFleet
from policies.places import first_placed
from policies.request import GuestRequest, HostName
from policies.why.again import in_a_new_plan
from policies.why.beside import Beside
from policies.why.change import Change, where
from policies.why.more_pages import MorePages, more_pages
from policies.why.moves import moves
from policies.why.watch import Watch

_BEFORE_MOVES = ("hosts:", "max_nodes:", "cells:", "groups:")

KEPT = 0.5
"""The part of the time that is kept for a new plan, while nothing helps beside the plan as it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What would make a guest fit, and how far it was looked for.

    Attributes:
        found: in the order of what they cost; all beside the plan as it stands, or all in a new plan.
        could_move: guests of the plan whose move could help, and
        moved: those of them that were tried elsewhere.
        planned_again: the hosts of the new plan; None where none was asked for.
        limited_by: what ended the search before all was tried; "" where nothing did.
    """

    found: tuple[Change, ...]
    could_move: int = 0
    moved: int = 0
    planned_again: tuple[HostName, ...] | None = None
    limited_by: str = ""


NO_CHANGES = Changes(found=())
"""Where none was looked for."""


def changes(request: GuestRequest, beside: Beside, watch: Watch) -> Changes:
    """Every change of the list that makes the guest fit; of amounts the least."""
    watch.tell("what it asks for")
    book = beside.book()
    others = list(_tried(other_requests(request), beside, book))
    first = [change for change in others if change.text.startswith(_BEFORE_MOVES)]
    last = [change for change in others if not change.text.startswith(_BEFORE_MOVES)]
    last += _with_more_pages(request, beside, book, watch)
    last += _tried(smaller_requests(request, lambda less: beside.rule(less, book) is not None), beside, book)
    tried = moves(request, beside, book, watch, keeping=0.0 if first or last else KEPT)
    moved = [Change(text=f"guest {m.moved.guest} moved to {where(m.moved)}", placement=m.home) for m in tried.found]
    found, hosts = (*first, *moved, *last), None
    if not found and beside.solve is not None:
        found, hosts = in_a_new_plan(request, beside, beside.solve, watch)
    return Changes(
        found=found,
        could_move=tried.could_help,
        moved=tried.tried,
        planned_again=hosts,
        limited_by=watch.limited_by,
    )


def _tried(offers: Iterable[tuple[str, GuestRequest]], beside: Beside, book: OpenFleet) -> Iterator[Change]:
    for text, changed in offers:
        placement = beside.rule(changed, book)
        if placement is not None:
            yield Change(text=text, placement=placement)


def _with_more_pages(request: GuestRequest, beside: Beside, book: OpenFleet, watch: Watch) -> Iterator[Change]:
    """Where a node lacks nothing but huge pages."""
    for more in more_pages(request, beside, book):
        if more.alone and not watch.is_over(keeping=KEPT):
            watch.tell(more.text)
            if (change := _with(more, request, beside)) is not None:
                yield change


def _with(more: MorePages, request: GuestRequest, beside: Beside) -> Change | None:
    """Only the host with more pages can have a place that was not there before."""
    here = beside.on_hosts({more.host}, request.groups)
    richer = replace(here, fleet=more.given(here.fleet))
    placement = first_placed(request, richer.book(), richer.fleet.host(more.host))
    return None if placement is None else Change(text=more.text, placement=placement)
