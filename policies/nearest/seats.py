"""Which part of a guest goes to which of the homes that were chosen, and what that costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from policies.candidates import distance_of, kinds_of_parts, memory_of
from policies.capacity import HostCapacity
from policies.groups import LEVELS_WITHIN_A_HOST
from policies.homes import Home, has_cells, homes_for, is_bound_to_places, is_complete
from policies.matching import Shortage, bits, match, members
from policies.open_fleet import OpenFleet
from policies.request import GuestRequest
from policies.room import Room


class Seats:
    """Deals out the parts of a guest on so many homes of a host. Homes are told by their place in `homes_for`.

    Attributes:
        able: for each part the set of homes that hold it (`policies.matching.bits`).
        is_plain: each home has memory of its own, no hard group looks at nodes, and none is nearer to anything: any
            seating costs what its nodes are apart.
    """

    def __init__(self, request: GuestRequest, room: Room, able: Sequence[int]) -> None:
        self.request, self.room, self.book, self.host, self.able = request, room, room.book, room.host, able
        host = room.host
        self._homes = homes_for(request, host)
        dealt = [len(cells) for cells in request.dealt(len(able))] if has_cells(request, host) else [1] * len(able)
        self._kinds = list(zip(kinds_of_parts(request, host, len(able)), dealt, strict=True))
        own_memory = all(home.cpu_node == home.memory_node for home in self._homes)
        looks_at_nodes = any(m.group.hard and m.group.level in LEVELS_WITHIN_A_HOST for m in request.groups)
        anywhere = not request.devices and not is_bound_to_places(request)
        self.is_plain = own_memory and not looks_at_nodes and anywhere

    @classmethod
    def now(cls, request: GuestRequest, book: OpenFleet, host: HostCapacity, parts: int) -> Seats:
        """With the homes that hold each part on what the book has left."""
        room = Room(book, host)
        return cls(request, room, room.able(request, kinds_of_parts(request, host, parts)))

    @property
    def every(self) -> int:
        """The set of homes that hold any part."""
        found = 0
        for some in self.able:
            found |= some
        return found

    @property
    def cells(self) -> list[int]:
        """How many guest cells each part has."""
        return [cells for _, cells in self._kinds]

    def seat(self, chosen: Sequence[int]) -> tuple[Home, ...] | None:
        """The homes in the order of the parts, so that it costs the least; None where these do not hold all parts."""
        if any(self._homes[i].cpu_node != self._homes[i].memory_node for i in chosen):
            seatings = self._seatings(bits(chosen), ())
            if len(set(self.cells)) == 1:
                return next(seatings, None)
            return min(seatings, key=lambda way: distance_of(self.request, self.host, way), default=None)
        order = match([some & bits(chosen) for some in self.able])
        if isinstance(order, Shortage):
            return None
        kinds = dict.fromkeys(self._kinds)
        alike = {kind: iter(sorted(i for i, k in zip(order, self._kinds, strict=True) if k == kind)) for kind in kinds}
        return tuple(self._homes[next(alike[kind])] for kind in self._kinds)

    def price(self, chosen: Sequence[int]) -> int | None:
        """The distance of the guest on these homes; None where it cannot live there."""
        touched = {node for i in chosen for node in (self._homes[i].cpu_node, self._homes[i].memory_node)}
        if self.book.groups.conflict(self.request.groups, self.host, touched):
            return None
        if not is_complete(self.request, self.host, [self._homes[i] for i in chosen]):
            return None
        way = self.seat(chosen)
        return None if way is None else distance_of(self.request, self.host, way)

    def _seatings(self, free: int, seated: tuple[int, ...]) -> Iterator[tuple[Home, ...]]:
        """Every seating whose memory fits, parts that are alike in one order only."""
        number = len(seated)
        if number == len(self._kinds):
            yield tuple(self._homes[i] for i in seated)
            return
        for home in members(free & self.able[number]):
            again = number > 0 and self._kinds[number] == self._kinds[number - 1] and home < seated[-1]
            if not again and self._memory_fits((*seated, home)):
                yield from self._seatings(free & ~(1 << home), (*seated, home))

    def _memory_fits(self, seated: Sequence[int]) -> bool:
        """Whether parts whose memory is on one node fit there together."""
        taken: Counter[tuple[int, int]] = Counter()
        for home, (kind, _) in zip(seated, self._kinds, strict=False):
            for page_kib, kib in memory_of(self.request, kind).items():
                taken[self._homes[home].memory_node, page_kib] += kib
        return all(self.room.memory_left_kib(node, page_kib) >= kib for (node, page_kib), kib in taken.items())
