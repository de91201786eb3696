"""Where a guest fits on what a book has left: the search that rules, solver and explanations share."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

from policies.asked import own_vcpus
from policies.candidates import (
    Candidate,
    are_enumerable,
    candidates,
    kinds_of_parts,
)
from policies.capacity import HostCapacity
from policies.compose import Within, make_placement
from policies.errors import DoesNotFitError
from policies.homes import Home, cpu_nodes_of, homes_for, part_counts, refusal
from policies.l3 import l3_domains
from policies.matching import Shortage, match_on_nodes, members
from policies.nearest.from_each_home import nearest_candidates
from policies.nearest.ranked import Score, ranked_sets
from policies.nearest.seats import Seats
from policies.open_fleet import OpenFleet
from policies.plan import Placement
from policies.request import GuestRequest
from policies.room import Room
from probe.cpuset import CpuSet, NodeId

MOST_NEAR = 200
"""Of the nearest sets of homes as many are among the ways of a guest that has too many (`ways`)."""


def ways(request: GuestRequest, book: OpenFleet, host: HostCapacity, parts: int) -> tuple[Sequence[Candidate], bool]:
    """Candidates of `parts` homes of which each holds its part now, nearest first; whether these are all.

    Only those on which the guest's groups let it live now; at L3 domains `placed` looks. Of a guest that wants the
    largest pages those of every page size, of equally near ones the larger pages first. Before these, those near
    devices that it should be near.
    """
    found, complete = _in_any_pages(request, book, host, parts)
    if request.groups:
        found = [way for way in found if not book.groups.conflict(request.groups, host, nodes_of_homes(way.homes))]
    return found, complete


def _in_any_pages(
    request: GuestRequest, book: OpenFleet, host: HostCapacity, parts: int
) -> tuple[Sequence[Candidate], bool]:
    if not request.largest_pages:
        return _holding(request, book, host, parts)
    found: list[Candidate] = []
    complete = True
    for concrete in request.by_pages():
        if parts in counts_of_parts(concrete, host):
            more, all_there = _holding(concrete, book, host, parts)
            found += more
            complete = complete and all_there
    return sorted(found, key=lambda way: (way.distance, way.missed)), complete


def nodes_of_homes(homes: Iterable[Home]) -> frozenset[NodeId]:
    """The nodes that a guest with these homes touches with CPUs or memory."""
    return frozenset(node for home in homes for node in (home.cpu_node, home.memory_node))


def _holding(
    request: GuestRequest, book: OpenFleet, host: HostCapacity, parts: int
) -> tuple[Sequence[Candidate], bool]:
    holding = able_homes(request, book, host, parts)
    if isinstance(match_on_nodes(holding, cpu_nodes_of(request, host)), Shortage):
        return (), True
    able = _homes(homes_for(request, host), holding)
    if are_enumerable(request, host, parts):
        every = candidates(request, host, parts)
        return [c for c in every if all(p.home in some for p, some in zip(c.parts, able, strict=True))], True
    found, complete = nearest_candidates(request, host, able)
    seats = Seats(request, Room(book, host), holding)
    near = itertools.islice(ranked_sets(seats, sign=0) if seats.is_plain else (), MOST_NEAR)
    by_homes = {way.homes: way for way in (*(way for _, way in near), *found)}
    return sorted(by_homes.values(), key=lambda way: (way.distance, way.missed)), complete


def able_homes(request: GuestRequest, book: OpenFleet, host: HostCapacity, parts: int) -> list[int]:
    """For each part, the set (`policies.matching.bits`) of homes, by their place in `homes_for`, that hold it."""
    return Room(book, host).able(request, kinds_of_parts(request, host, parts))


def _homes(there: Sequence[Home], sets: Sequence[int]) -> list[frozenset[Home]]:
    known = {some: frozenset(there[i] for i in members(some)) for some in set(sets)}
    return [known[some] for some in sets]


def too_many_parts(request: GuestRequest, book: OpenFleet, host: HostCapacity, parts: int) -> Shortage | None:
    """Which parts are more than the nodes (by id) that hold one of them now; None where each finds a node."""
    found = match_on_nodes(able_homes(request, book, host, parts), cpu_nodes_of(request, host))
    return found if isinstance(found, Shortage) else None


def counts_of_parts(request: GuestRequest, host: HostCapacity) -> Sequence[int]:
    """Over how many homes of the host the guest may be split; none where the host refuses it."""
    return () if refusal(request, host) is not None else part_counts(request, host)


def all_ways(request: GuestRequest, book: OpenFleet, host: HostCapacity) -> Iterator[Candidate]:
    """`ranked_ways` of every number of homes, fewest first."""
    for parts in counts_of_parts(request, host):
        for _, way in ranked_ways(request, book, host, parts):
            yield way


def ranked_ways(
    request: GuestRequest, book: OpenFleet, host: HostCapacity, parts: int, *, sign: int = 0
) -> Iterator[tuple[Score, Candidate]]:
    """`ways` with scores, best first, each made when it is asked for.

    The nearest first; of these those near the devices that it should be near, the larger pages, then where the
    least (sign 1) or the most (-1) memory is left, then pCPUs. Where every home has memory of its own, a set of
    homes is one way, and of a guest with more than 15,000 sets (`policies.nearest.table`) there are near ones only.
    """
    pages = [one for one in request.by_pages() if one is request or parts in counts_of_parts(one, host)]
    streams = [_ranked(Seats.now(one, book, host, parts), sign) for one in pages]
    return heapq.merge(*streams, key=itemgetter(0))


def _ranked(seats: Seats, sign: int) -> Iterator[tuple[Score, Candidate]]:
    if seats.is_plain:
        return ranked_sets(seats, sign=sign)
    request, room, scored = seats.request, seats.room, list[tuple[Score, Candidate]]()
    for way in ways(request, seats.book, seats.host, len(seats.able))[0]:
        memory_kib = sum(room.memory_kib(part, way.page_kib) for part in way.parts)
        pcpus = sum(room.vcpus(request, part) for part in way.parts)
        wishes = (way.missed,) if request.devices else ()
        scored.append(((way.distance, *wishes, -way.page_kib, sign * memory_kib, sign * pcpus), way))
    return iter(sorted(scored, key=itemgetter(0)))


def placed(request: GuestRequest, book: OpenFleet, host: HostCapacity, way: Candidate) -> Placement | None:
    """The placement of the guest on these homes on what is left, or None where it does not fit.

    A guest that wants the largest pages gets the largest that fit there, whatever the way says. One whose groups
    look at L3 domains gets pCPUs of those where it may be, if there are enough of them.
    """
    left = book.host(host.name)
    for concrete in request.by_pages():
        if len(way.homes) not in counts_of_parts(concrete, host) and concrete is not request:
            continue
        lacks_cpus = True
        for within in _where_it_may_be(concrete, book, left, way):
            try:
                placement = make_placement(concrete, left, way.homes, within)
            except DoesNotFitError:
                continue
            lacks_cpus = False
            if book.fits(placement):
                return placement
        if lacks_cpus:
            return None
    return None


def first_placed(request: GuestRequest, book: OpenFleet, host: HostCapacity) -> Placement | None:
    """The placement on the fewest nodes of the host, of these the nearest; None where the guest does not fit there."""
    found = (placed(request, book, host, way) for way in all_ways(request, book, host))
    return next((placement for placement in found if placement is not None), None)


def _where_it_may_be(
    request: GuestRequest, book: OpenFleet, left: HostCapacity, way: Candidate
) -> Iterator[Sequence[Within]]:
    """Of the L3 domains that the guest's groups let it be in: each choice, that with the most free pCPUs first.

    Before these, where the guest has wishes, what of them is as it wishes.
    """
    host, own = book.fleet.host(left.name), len(own_vcpus(request))
    must = book.groups.l3_choices(request.groups, host)
    should = book.groups.l3_choices(request.groups, host, hard=False)
    if not own or (must is None and not should):
        yield ()
        return
    free = CpuSet.union(left.node(home.cpu_node).free_cpus for home in way.homes)
    every = (CpuSet.union(l3_domains(host.topology)),) if must is None else must
    liked = [one & other for one in every for other in should or ()]
    for choices in (liked, every):
        for cpus in sorted(choices, key=lambda cpus: -len(cpus & free)):
            if len(cpus & free) >= own:
                yield [((cpus, None),)] * len(way.homes)
