"""The nearest homes of one guest on one host, as a question about points.

Homes are points, and far apart where the guest may not have both. Each part needs a home that holds it: a set of
homes has one for each exactly if, for any of the parts, it has as many homes that hold one of these (Hall 1935).
What pairs of homes and single ones do not tell has a price: memory on another node, nodes whose memory several
homes share, groups whose domains are packages or nodes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from policies.candidates import kinds_of_parts
from policies.capacity import HostCapacity
from policies.groups import domains_of
from policies.homes import Home, has_cells, homes
from policies.matching import Shortage, bits, match, members
from policies.nearest.grid import grid_of
from policies.nearest.question import FAR, Counts, Question
from policies.nearest.search import nearest
from policies.nearest.seats import Seats
from policies.open_fleet import OpenFleet
from policies.request import GroupRule, GuestRequest
from policies.room import Room

MOST_KINDS = 6
"""Kinds of parts, by the homes that hold them, of which any are looked at together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestWay:
    """The nearest way of a guest to live on so many homes of a host.

    Attributes:
        homes: the larger shares first; empty where no way is nearer than asked.
        distance: of the way, or else the limit below which ways were sought.
        bound: no way is nearer; `FAR` where it is proven that there is none.
        looked_at: sets of homes that were met on the way.
    """

    homes: tuple[Home, ...]
    distance: int
    bound: int
    looked_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """A question about homes.

    Attributes:
        points: the place in `policies.homes.homes` of each point.
        seats: who goes where, once homes are chosen.
    """

    question: Question
    points: Sequence[int]
    seats: Seats

    @property
    def only_distance(self) -> int | None:
        """What all sets cost, where it shows that they cost the same."""
        apart, own, size = self.question.apart, self.question.own, self.question.size
        if self.question.price is not None or apart.max(initial=0) >= FAR:
            return None
        if len(own) == size:
            return int(own.sum() + apart.sum() // 2)
        pair = int(apart[0, 1])
        alike = (own == own[0]).all() and (apart[~np.eye(len(own), dtype=np.bool_)] == pair).all()
        return size * int(own[0]) + pair * math.comb(size, 2) if alike else None

    def homes(self, chosen: Sequence[int]) -> tuple[Home, ...] | None:
        """A set of points as homes in the order of the parts; None where they do not hold all parts."""
        return self.seats.seat([self.points[i] for i in chosen])


def nearest_way(
    request: GuestRequest,
    book: OpenFleet,
    host: HostCapacity,
    parts: int,
    *,
    below: int = FAR,
    enough: Callable[[int], bool] = lambda _: False,
) -> NearestWay:
    """The nearest of the ways on `parts` homes, of those nearer than `below`.

    Args:
        enough: whether to stop, given how many sets of homes were looked at.
    """
    able = Room(book, host).able(request, kinds_of_parts(request, host, parts))
    best = NearestWay(homes=(), distance=below, bound=below)
    for asked in questions(request, book, host, able):
        before = best.looked_at
        found = nearest(asked.question, below=best.distance, enough=lambda n: enough(before + n))  # noqa: B023
        best = NearestWay(
            homes=(asked.homes(found.points) or ()) if found.points else best.homes,
            distance=found.cost,
            bound=min(best.bound, found.bound),
            looked_at=before + found.looked_at,
        )
    return best


def questions(request: GuestRequest, book: OpenFleet, host: HostCapacity, able: Sequence[int]) -> Iterator[Asked]:
    """Questions whose sets together are all ways.

    Args:
        able: for each part the set of homes (`policies.matching.bits`) that hold it now.
    """
    if isinstance(match(able), Shortage):
        return
    apart = _apart(request, book, host)
    able = [some & bits(np.flatnonzero(apart.diagonal() < FAR).tolist()) for some in able]
    for choice, is_even in _memory_choices(request, host, len(able)):
        some = [part & choice for part in able]
        if not isinstance(match(some), Shortage):
            yield _asked(Seats(request, book, host, some), apart, is_even=is_even)


def _asked(seats: Seats, apart: Counts, *, is_even: bool) -> Asked:
    """The question of the homes that hold some part; where memory is even over nodes, no two have it on the same."""
    every = 0
    for some in seats.able:
        every |= some
    points = [*members(every)]
    there = homes(seats.host)
    pairs = apart[np.ix_(points, points)]
    if is_even:
        memory = np.array([there[i].memory_node for i in points])
        pairs[memory[:, None] == memory] = FAR
    np.fill_diagonal(pairs, 0)
    detour = grid_of(seats.host).detour[points]
    own = detour * min(seats.cells) if has_cells(seats.request, seats.host) or len(seats.able) == 1 else 0 * detour
    needs, is_all = _needs(seats.able, every)
    masks = tuple((np.array([bool(union >> i & 1) for i in points]), least) for union, least in needs.items())
    price = None if is_all and seats.is_plain else lambda chosen: seats.price([points[i] for i in chosen])
    return Asked(
        question=Question(size=len(seats.able), apart=pairs, own=own, needs=masks, price=price),
        points=points,
        seats=seats,
    )


def _memory_choices(request: GuestRequest, host: HostCapacity, parts: int) -> Iterator[tuple[int, bool]]:
    """Sets of homes to choose from, and whether the memory must be on as many nodes.

    One cell that spans nodes has its memory evenly on as many nodes as it has parts, or all on one.
    """
    there = homes(host)
    shared = Counter(home.memory_node for home in there)
    is_even = parts > 1 and not has_cells(request, host) and len(shared) < len(there)
    yield (1 << len(there)) - 1, is_even
    for node, count in shared.items() if is_even else ():
        if count >= parts:
            yield bits(i for i, home in enumerate(there) if home.memory_node == node), False


def _needs(able: Sequence[int], every: int) -> tuple[dict[int, int], bool]:
    """How many homes of which sets are needed at least, so that each part finds one; whether that is all it takes."""
    kinds = Counter(able)
    unions = {0: 0}
    for some, count in kinds.items():
        for union, least in [*unions.items()] if len(kinds) <= MOST_KINDS else [(0, 0)]:
            unions[union | some] = max(unions.get(union | some, 0), least + count)
    del unions[0]
    unions.pop(every, None)
    telling = {
        union: least
        for union, least in unions.items()
        if not any(other != union and other & ~union == 0 and most >= least for other, most in unions.items())
    }
    return telling, len(kinds) <= MOST_KINDS


def _apart(request: GuestRequest, book: OpenFleet, host: HostCapacity) -> Counts:
    """`Grid.apart`, and `FAR` too where the guest's groups keep it from a home, or from two at once."""
    apart = grid_of(host).apart(request)
    if not request.groups:
        return apart
    there = homes(host)
    for i, home in enumerate(there):
        if _is_told(host, home) and book.groups.conflict(request.groups, host, _touched(home)):
            apart[i, i] = FAR
    for member in request.groups:
        if member.group.hard and member.group.rule is GroupRule.AFFINITY:
            domains = [domains_of(member.group.level, host, _touched(home)) for home in there]
            for i, j in np.argwhere(apart < FAR).tolist():
                if _is_told(host, there[i]) and _is_told(host, there[j]) and len(domains[i] | domains[j]) > 1:
                    apart[i, j] = FAR
    return apart


def _touched(home: Home) -> frozenset[int]:
    return frozenset((home.cpu_node, home.memory_node))


def _is_told(host: HostCapacity, home: Home) -> bool:
    """Whether the domains of a home are among those of any guest that lives there and elsewhere too.

    They are not where packages are known, and the home is in none.
    """
    cpus = host.topology.node(home.cpu_node).cpus
    return not host.topology.packages or any(not p.cpus.isdisjoint(cpus) for p in host.topology.packages)
