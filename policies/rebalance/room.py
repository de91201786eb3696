"""Room is made the quick way: who is in the way goes elsewhere, and whoever is in his way before him.

Finds steps on fleets that are too large to be searched; says nothing of whether fewer would do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from policies.groups import whole_groups_of
from policies.rebalance.evening import even_out
from policies.rebalance.loads import more_own
from policies.rebalance.model import GuestClass, Model
from policies.rebalance.places import Place
from policies.rebalance.walk import Found, Move, Seat, Walk, broken_groups, cost_of, weight

DEPTH = 2
"""Who is in the way of whom is in the way of a guest is looked at; no further."""

MOST_PLACES = 12
"""Places of a wanted guest for which room is tried to be made, those that lack least first."""

MOST_TRIES = 60
"""Guests on one node that are tried to be moved away, one after the other."""


class Room:
    """Moves that are made one after the other in a walk, and taken back where they lead nowhere.

    Attributes:
        ended: whether it came to its end in time.
    """

    def __init__(self, model: Model, in_time: Callable[[], bool]) -> None:
        self.model, self.in_time = model, in_time
        self.walk = Walk(model)
        self.moves: list[Move] = []
        self._kib = 0
        self.ended = True

    def lasts(self) -> bool:
        """Whether to go on."""
        self.ended = self.ended and self.in_time()
        return self.ended

    def for_wanted(self) -> Found:
        """Seats for the wanted guests, the weightiest first, then the largest; groups are whole where they must be."""
        kinds = self.model.wanted
        order = sorted(range(len(kinds)), key=lambda i: (-kinds[i].request.priority, -kinds[i].request.memory_kib))
        while True:
            seats = self._seats(order)
            lost = broken_groups(self.model, seats)
            if not lost:
                return Found(value=(-weight(self.model, seats),), moves=tuple(self.moves), seats=tuple(seats))
            for seat in seats:
                self.walk.loads.add(kinds[seat.kind], kinds[seat.kind].places[seat.place], -1)
            self.back_to(0)
            order = [i for i in order if not lost & whole_groups_of(kinds[i].request)]

    def _seats(self, order: Sequence[int]) -> list[Seat]:
        """Of the classes in this order, as many as find one."""
        seats: list[Seat] = []
        for number in order:
            kind = self.model.wanted[number]
            for _ in kind.names:
                place = self._seat(kind)
                if place is None:
                    break
                self.walk.loads.add(kind, kind.places[place])
                seats.append(Seat(number, place))
        return seats

    def for_objective(self) -> Found:
        """Guests lie better one by one, first those in whose way nobody is; then hosts are emptied, or nodes evened."""
        order = sorted(range(len(self.model.standing)), key=lambda i: self.model.standing[i].request.memory_kib)
        for depth in range(DEPTH):
            better = True
            while better and self.lasts():
                better = max([self._improve(number, depth) for number in order], default=False)
        for host in sorted(self._emptied(), key=lambda h: self.walk.loads.hosts[h]):
            if not self.lasts():
                break
            start, before = len(self.moves), self.walk.value
            if not self._empty(host) or self.walk.value >= before:
                self.back_to(start)
        even_out(self)
        return Found(value=self.walk.value, moves=tuple(self.moves), seats=())

    def _seat(self, kind: GuestClass) -> int | None:
        """The place of such a guest for which least is copied; room is made for it."""
        loads = self.walk.loads
        near = sorted(range(len(kind.places)), key=lambda i: (loads.missing_kib(kind.places[i]), i))
        start, best = len(self.moves), None
        for i in near[:MOST_PLACES]:
            if best is not None and not self.lasts():
                break
            if self.clear(kind, kind.places[i], None, (), DEPTH):
                cost = cost_of(self.moves[start:])
                if best is None or cost < best[0]:
                    best = cost, i, self.moves[start:]
            self.back_to(start)
            if best is not None and best[0] == (0, 0):
                break
        if best is None:
            return None
        self._do(best[2])
        return best[1]

    def _improve(self, number: int, depth: int) -> bool:
        """Whether a guest of the class came to lie on fewer or nearer nodes, or to break fewer wishes."""
        kind, found = self.model.standing[number], False
        wishes = any(not member.group.hard for member in kind.request.groups)
        for origin in [place for place, count in self.walk.at[number].items() if count]:
            here = kind.places[origin]
            if not wishes and (here.spanned, here.distance) <= kind.best:
                continue
            for way in kind.ways_from(origin):
                if not self.lasts():
                    return found
                if not self.walk.at[number][origin]:
                    break
                there = kind.places[way.target]
                if not wishes and (there.spanned, there.distance) >= (here.spanned, here.distance):
                    continue
                start, before = len(self.moves), self.walk.value
                if self._go(Move(number, origin, way), (), depth) and self.walk.value < before:
                    found = True
                else:
                    self.back_to(start)
        return found

    def _emptied(self) -> list[int]:
        """Hosts that may be: only guests are there who may be moved."""
        return [host for host in self.walk.loads.hosts if host not in self.model.fixed_hosts]

    def _empty(self, host: int) -> bool:
        """Whether all guests of the host find a place on others that are in use."""
        rows = self.model.fleet.rows(self.model.fleet.hosts[host].name)
        for number, origin in [*self.walk.on_host(host)]:
            while self.walk.at[number][origin]:
                if not self.lasts() or not self._leave(number, origin, rows, 0, used_only=True):
                    return False
        return True

    def clear(self, kind: GuestClass, place: Place, beside: Place | None, avoided: Collection[int], depth: int) -> bool:
        """Whether room was made for such a guest at the place; nobody goes to rows that are avoided, or to its own."""
        start = len(self.moves)
        rows = {*avoided, *(row for row, _ in (*place.own, *place.floating)), *(row for (row, _), _ in place.memory)}
        while self.lasts():
            for first in self.walk.room_for(kind, place, beside):
                if self._affords(first):
                    self._do(first)
                    return True
            row = next(self._wanting(kind, place, beside), None)
            if depth == 0 or row is None or not self._relieve(row, rows, depth - 1):
                break
        self.back_to(start)
        return False

    def _wanting(self, kind: GuestClass, place: Place, beside: Place | None) -> Iterator[int]:
        yield from self.walk.loads.lacking(kind, place, beside)
        yield from (row for row, n in more_own(kind, place, beside) if n > self.walk.loads.unowned(row))

    def _relieve(self, row: int, avoided: Collection[int], depth: int) -> bool:
        """Whether a guest on the row went elsewhere: the smallest that can."""
        there = []
        for number, origin in self.walk.on_host(int(self.model.fleet.node_host[row])):
            kind = self.model.standing[number]
            if _touches(kind.places[origin], row):
                there.append((kind.request.memory_kib, number, origin))
        for deeper in range(depth + 1):
            for _, number, origin in sorted(there)[:MOST_TRIES]:
                if not self.lasts():
                    return False
                if self._leave(number, origin, avoided, deeper):
                    return True
        return False

    def _leave(
        self, number: int, origin: int, avoided: Collection[int], depth: int, *, used_only: bool = False
    ) -> bool:
        """Whether a guest left its place for one off the rows that are avoided."""
        kind = self.model.standing[number]
        here = kind.places[origin]
        for way in kind.ways_from(origin):
            if not self.lasts():
                return False
            there = kind.places[way.target]
            worse = (there.spanned, there.distance) > (here.spanned, here.distance) and not self.model.wanted
            fresh = used_only and not self.walk.loads.hosts[there.host]
            if worse or fresh or any(_touches(there, row) for row in avoided):
                continue
            if self._go(Move(number, origin, way), avoided, depth):
                return True
        return False

    def go(self, move: Move) -> bool:
        """Whether the move was made, nobody else being moved but who is pinned anew."""
        return self._go(move, (), 0)

    def _go(self, move: Move, avoided: Collection[int], depth: int) -> bool:
        """Whether the move was made, with what must be done before."""
        start, kind = len(self.moves), self.model.standing[move.kind]
        if not self._affords([move]):
            return False
        beside = kind.places[move.origin]
        cleared = self.clear(kind, kind.places[move.way.target], beside, avoided, depth)
        if cleared and self.walk.at[move.kind][move.origin] and self._affords([move]):
            self._do([move])
            return True
        self.back_to(start)
        return False

    def _affords(self, more: Sequence[Move]) -> bool:
        kib, steps = cost_of(more)
        budget = self.model.question.budget
        return self._kib + kib <= budget.most_memory_kib and len(self.moves) + steps <= budget.most_moves

    def _do(self, moves: Sequence[Move]) -> None:
        self.walk.do(moves)
        self.moves += moves
        self._kib += cost_of(moves)[0]

    def back_to(self, length: int) -> None:
        """Take back the moves after so many."""
        undone = self.moves[length:]
        self.walk.undo(undone)
        self._kib -= cost_of(undone)[0]
        del self.moves[length:]


def _touches(place: Place, row: int) -> bool:
    rows = (*(r for r, _ in place.own), *(r for r, _ in place.floating), *(r for (r, _), _ in place.memory))
    return row in rows
