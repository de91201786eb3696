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
from functools import lru_cache

import numpy as np

from policies.capacity import HostCapacity
from policies.groups import domains_of
from policies.homes import Home, cpu_nodes_of, has_cells, homes_for
from policies.matching import Shortage, bits, match_on_nodes, members
from policies.nearest.grid import Grid, grid_of
from policies.nearest.question import FAR, Counts, Question
from policies.nearest.search import nearest, smallest_sums
from policies.nearest.seats import Seats
from policies.open_fleet import OpenFleet
from policies.request import GroupRule, GuestRequest
from policies.same import Same

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
        points: the place in `policies.homes.homes_for` of each point.
        seats: who goes where, once homes are chosen.
    """

    question: Question
    points: Sequence[int]
    seats: Seats

    @classmethod
    def of(cls, seats: Seats, apart: Counts, *, is_even: bool = False) -> Asked:
        """The question of the homes that hold some part.

        Args:
            apart: what each two homes of the host cost.
            is_even: whether memory is even over nodes, so that no two homes may have it on the same.
        """
        there, points = homes_for(seats.request, seats.host), [*members(seats.every)]
        pairs = apart[np.ix_(points, points)]
        if is_even:
            memory = np.array([there[i].memory_node for i in points])
            pairs[memory[:, None] == memory] = FAR
        np.fill_diagonal(pairs, 0)
        own = np.zeros(len(points), dtype=np.int64)
        if has_cells(seats.request, seats.host) or len(seats.able) == 1:
            own = grid_of(seats.request, seats.host).detour[points] * min(seats.cells)
        needs, is_all = needs_of(seats.able, seats.every)
        masks = tuple((np.array([bool(union >> i & 1) for i in points]), least) for union, least in needs.items())
        price = None if is_all and seats.is_plain else lambda chosen: seats.price([points[i] for i in chosen])
        question = Question(size=len(seats.able), apart=pairs, own=own, needs=masks, price=price)
        return cls(question=question, points=points, seats=seats)

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
    best = NearestWay(homes=(), distance=below, bound=below)
    for asked in questions(Seats.now(request, book, host, parts)):
        before = best.looked_at
        found = nearest(asked.question, below=best.distance, enough=lambda n: enough(before + n))  # noqa: B023
        best = NearestWay(
            homes=(asked.homes(found.points) or ()) if found.points else best.homes,
            distance=found.cost,
            bound=min(best.bound, found.bound),
            looked_at=before + found.looked_at,
        )
    return best


def floor_of(request: GuestRequest, host: HostCapacity, parts: int) -> int:
    """On so many homes of the host the guest has no smaller distance, whatever is free there."""
    return _floor(Same(grid_of(request, host)), parts)


@lru_cache(maxsize=10_000)
def _floor(grid: Same[Grid], parts: int) -> int:
    apart = grid.value.apart(None)
    if len(apart) < parts:
        return FAR
    return min(FAR, -(-int(np.sort(smallest_sums(apart, parts)[-1])[:parts].sum()) // 2))


def questions(seats: Seats) -> Iterator[Asked]:
    """Questions whose sets together are all ways."""
    nodes = cpu_nodes_of(seats.request, seats.host)
    if isinstance(match_on_nodes(seats.able, nodes), Shortage):
        return
    apart = _apart(seats)
    able = [some & bits(np.flatnonzero(apart.diagonal() < FAR).tolist()) for some in seats.able]
    for choice, is_even in _memory_choices(seats.request, seats.host, len(able)):
        some = [part & choice for part in able]
        if not isinstance(match_on_nodes(some, nodes), Shortage):
            yield Asked.of(Seats(seats.request, seats.room, some), apart, is_even=is_even)


def _memory_choices(request: GuestRequest, host: HostCapacity, parts: int) -> Iterator[tuple[int, bool]]:
    """Sets of homes to choose from, and whether the memory must be on as many nodes.

    One cell that spans nodes has its memory evenly on as many nodes as it has parts, or all on one.
    """
    there = homes_for(request, host)
    shared = Counter(home.memory_node for home in there)
    is_even = parts > 1 and not has_cells(request, host) and len(shared) < len(there)
    yield (1 << len(there)) - 1, is_even
    for node, count in shared.items() if is_even else ():
        if count >= parts:
            yield bits(i for i, home in enumerate(there) if home.memory_node == node), False


def needs_of(able: Sequence[int], every: int) -> tuple[dict[int, int], bool]:
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


def _apart(seats: Seats) -> Counts:
    """`Grid.apart`, and `FAR` too where the guest's groups keep it from a home, or from two at once."""
    request, host = seats.request, seats.host
    apart = grid_of(request, host).apart(request.max_distance)
    if not request.groups:
        return apart
    there = homes_for(request, host)
    for i, home in enumerate(there):
        if _is_told(host, home) and seats.book.groups.conflict(request.groups, host, _touched(home)):
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
