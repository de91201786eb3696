"""The ways of a guest to live on a host, best first, each made when it is asked for: for rules that want one way.

A set of homes is one way here, whoever of the guest's parts goes where in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from policies.candidates import Candidate, kinds_of_parts, part_of
from policies.homes import homes_for
from policies.matching import Shortage, match
from policies.nearest.grid import grid_of
from policies.nearest.on_host import Asked, needs_of
from policies.nearest.question import Counts
from policies.nearest.search import nearest
from policies.nearest.seats import Seats
from policies.nearest.starts import near_sets
from policies.nearest.table import Sets, is_listed, table_of

Score = tuple[int, ...]
"""Smaller is better."""

_AT_ONCE = 500
"""Sets that are looked at together, and as many more as are equally near."""

MOST_LOOKED_AT = 20_000
"""Sets of homes that are looked at where taking the nearest home again and again leads nowhere."""


def ranked_sets(seats: Seats, *, sign: int) -> Iterator[tuple[Score, Candidate]]:
    """The nearest sets first, of equally near ones those where the least (sign 1) or most (-1) memory is left.

    Then pCPUs count; sign 0: they come as they are. All sets, or where these are too many, near ones from each home on.

    Args:
        seats: which are plain (`Seats.is_plain`).
    """
    if isinstance(match(seats.able), Shortage) or _groups_refuse(seats):
        return
    listed = is_listed(len(homes_for(seats.request, seats.host)), len(seats.able))
    memory = seats.room.memory_of_homes(seats.request, seats.request.page_kib)
    pcpus = seats.room.vcpus_of_homes(seats.request)
    for distance, equals in _listed(seats) if listed else _near(seats):
        left = sign * memory[equals].sum(axis=1), sign * pcpus[equals].sum(axis=1)
        for i in np.lexsort(left[::-1]).tolist():
            way = _way(seats, equals[i].tolist(), distance)
            if way is not None:
                yield (distance, -way.page_kib, int(left[0][i]), int(left[1][i])), way


def _groups_refuse(seats: Seats) -> bool:
    """Of plain seats, whose groups look at the host only."""
    node = {homes_for(seats.request, seats.host)[0].cpu_node}
    return bool(seats.book.groups.conflict(seats.request.groups, seats.host, node))


def _way(seats: Seats, chosen: Sequence[int], distance: int) -> Candidate | None:
    way = seats.seat(chosen)
    if way is None:
        return None
    kinds = kinds_of_parts(seats.request, seats.host, len(way))
    parts = tuple(part_of(seats.request, home, kind) for home, kind in zip(way, kinds, strict=True))
    return Candidate(parts=parts, page_kib=seats.request.page_kib, distance=distance, missed=0)


def _listed(seats: Seats) -> Iterator[tuple[int, Sets]]:
    """All sets whose homes hold the parts: those of each distance, the smallest first."""
    table = table_of(grid_of(seats.request, seats.host), seats.request, len(seats.able))
    rows = np.flatnonzero((table.bits & ~np.uint64(seats.every)) == 0)
    needs = [
        (np.array([bool(union >> i & 1) for i in range(len(homes_for(seats.request, seats.host)))]), least)
        for union, least in needs_of(seats.able, seats.every)[0].items()
    ]
    distances = table.distances[rows]
    first = 0
    while first < len(rows):
        after = int(np.searchsorted(distances, distances[min(len(rows), first + _AT_ONCE) - 1], side="right"))
        some, first = rows[first:after], after
        for mask, least in needs:
            some = some[mask[table.sets[some]].sum(axis=1) >= least]
        yield from _by_distance(table.sets[some], table.distances[some])


def _by_distance(sets: Sets, distances: Counts) -> Iterator[tuple[int, Sets]]:
    while len(sets):
        equals = int(np.searchsorted(distances, distances[0], side="right"))
        yield int(distances[0]), sets[:equals]
        sets, distances = sets[equals:], distances[equals:]


def _near(seats: Seats) -> Iterator[tuple[int, Sets]]:
    """Some sets: from each home on always the nearest; where that leads nowhere, what a short search finds."""
    asked = Asked.of(seats, grid_of(seats.request, seats.host).apart(seats.request.max_distance))
    sets, distances = near_sets(asked.question)
    if not len(sets):
        found = nearest(asked.question, enough=lambda looked_at: looked_at > MOST_LOOKED_AT)
        sets = np.array([found.points], dtype=np.int64) if found.points else sets
        distances = np.full(len(sets), found.cost)
    yield from _by_distance(np.array(asked.points)[sets], distances)
