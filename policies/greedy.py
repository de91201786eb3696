"""Rules that place one guest after the other: first fit, best fit, spread, and no pins at all.

Sources: first and best fit as in the bin-packing literature (Johnson 1974), applied to a node's
memory; `spread` takes what is emptiest, as Nova's default and libxl do in their own ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from policies.candidates import Candidate, candidates
from policies.compose import make_placement, make_unpinned
from policies.errors import DoesNotFitError
from policies.homes import refusal
from policies.one_by_one import Rule, one_by_one
from policies.open_fleet import OpenFleet
from policies.plan import Placement
from policies.request import CpuPolicy, GuestRequest

Choice = tuple[Candidate, Placement]
Chooser = Callable[[GuestRequest, OpenFleet], Choice | None]


def placements(request: GuestRequest, book: OpenFleet) -> Iterator[Choice]:
    """Every placement of the guest that fits now: hosts in order, fewest nodes first, nearest first."""
    for host in book.fleet:
        ways = candidates(request, host)
        left = book.host(host.name) if ways else host
        for way in ways:
            try:
                placement = make_placement(request, left, way.homes)
            except DoesNotFitError:
                continue
            if book.fits(placement):
                yield way, placement


def choose_first(request: GuestRequest, book: OpenFleet) -> Choice | None:
    """The first place that holds it."""
    return next(placements(request, book), None)


def choose_fullest(request: GuestRequest, book: OpenFleet) -> Choice | None:
    """Of the places with the fewest nodes, that with the least memory left around it."""
    return _by_memory_left(request, book, sign=1)


def choose_emptiest(request: GuestRequest, book: OpenFleet) -> Choice | None:
    """Of the places with the fewest nodes, that with the most memory left around it."""
    return _by_memory_left(request, book, sign=-1)


def _by_memory_left(request: GuestRequest, book: OpenFleet, *, sign: int) -> Choice | None:
    def score(choice: Choice) -> tuple[int, int, int]:
        way, placement = choice
        return len(way.homes), way.distance, sign * _memory_left_kib(request, book, placement)

    return min(placements(request, book), key=score, default=None)


def _memory_left_kib(request: GuestRequest, book: OpenFleet, placement: Placement) -> int:
    rows = book.fleet.rows(placement.host)
    nodes = placement.memory_nodes
    left = book.memory_kib[request.page_kib]
    return sum(int(left[row]) for row in rows if int(book.fleet.node_ids[row]) in nodes)


def _unpinned(request: GuestRequest, book: OpenFleet) -> Placement | None:
    """The first host whose sum holds it, bound to nothing: what happens without us.

    A guest with dedicated pCPUs or several cells cannot be had without pins.
    """
    if request.cpus is CpuPolicy.DEDICATED or request.cells not in (1, "auto"):
        return None
    for host in book.fleet:
        if refusal(request, host) is None:
            placement = make_unpinned(request, host)
            if book.fits(placement):
                return placement
    return None


def _placement_of(choose: Chooser) -> Rule:
    def rule(request: GuestRequest, book: OpenFleet) -> Placement | None:
        choice = choose(request, book)
        return None if choice is None else choice[1]

    return rule


first_fit = one_by_one(_placement_of(choose_first))
best_fit = one_by_one(_placement_of(choose_fullest))
spread = one_by_one(_placement_of(choose_emptiest))
unpinned = one_by_one(_unpinned)
