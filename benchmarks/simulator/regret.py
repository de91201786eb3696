"""How far a row stays behind what one could have reached who knows the whole scenario beforehand: a bound of that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import attrgetter

from benchmarks.events import Play
from policies.fleet import Fleet
from policies.policy import Effort
from policies.request import GuestName, GuestRequest

MOMENTS = 40
"""Moments of a scenario that are looked at, evenly over its events."""

_asked: Callable[[GuestRequest], tuple[object, ...]] = attrgetter(
    "vcpus", "memory_kib", "page_kib", "largest_pages", "cpus", "dedicated_vcpus", "overhead_kib", "hosts"
)


def most_placed_in(play: Play, effort: Effort) -> int:
    """A bound of the guests that any plan places which knows the scenario beforehand.

    Of a scenario that is one batch it is at most what the solver proves of that batch, each guest counting once;
    guests who are bound to nothing may be more. Else, and where that is less, it is the bound of
    `policies.solver.offline`, at 40 moments.
    """
    from policies.solver.offline import Stays, most_placed

    stays, unseen = _stays_in(play)
    known = [Stays(request=request, first=first, last=last, count=n) for request, first, last, n in stays]
    bound = unseen + most_placed(known, play.fleet)
    batch = _only_batch(play)
    proven = None if batch is None else _proven_of(batch, play.fleet, effort)
    return bound if proven is None else min(bound, proven)


def _proven_of(batch: tuple[GuestRequest, ...], fleet: Fleet, effort: Effort) -> int | None:
    from policies.solver.solve import solver

    answer = solver([replace(request, priority=1) for request in batch], fleet, effort)
    return answer.objective[0].bound


def _only_batch(play: Play) -> tuple[GuestRequest, ...] | None:
    """The arrivals of the scenario, where all come in one event."""
    found: tuple[GuestRequest, ...] | None = None
    for event in play.events():
        if event.arrivals and found is not None:
            return None
        found = event.arrivals or found
    return found


def _stays_in(play: Play) -> tuple[Iterator[tuple[GuestRequest, int, int, int]], int]:
    """Guests by what they ask for and the moments at which they are there; and how many are there at none."""
    moments = _moments(play.count if play.count is not None else sum(1 for _ in play.events()))
    examples: dict[tuple[object, ...], GuestRequest] = {}
    here: dict[GuestName, tuple[tuple[object, ...], int]] = {}
    counts: Counter[tuple[tuple[object, ...], int, int]] = Counter()
    passed = 0
    for number, event in enumerate(play.events(), 1):
        for guest in event.departures:
            if guest in here:
                kind, first = here.pop(guest)
                counts[kind, first, passed - 1] += 1
        for request in event.arrivals:
            kind = _asked(request)
            examples.setdefault(kind, request)
            here[request.name] = kind, passed
        passed += number in moments
    for kind, first in here.values():
        counts[kind, first, passed - 1] += 1
    seen = ((examples[kind], first, last, n) for (kind, first, last), n in counts.items() if first <= last)
    return seen, sum(n for (_, first, last), n in counts.items() if first > last)


def _moments(events: int) -> set[int]:
    """After which events, counted from 1."""
    return {-(-events * part // MOMENTS) for part in range(1, MOMENTS + 1)} - {0}


def regret_of(bound: int, placed: int) -> float:
    """(bound − placed) ÷ max(1, bound)."""
    return (bound - placed) / max(1, bound)
