"""Who of the wanted guests fits beside the others: as much weight as can be placed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from policies.rebalance.walk import Move, Seat, Walk, broken_groups


@dataclass(frozen=True, slots=True)
class Seated:
    """Who gets a place where, after who is re-pinned; and whether it is certain that nothing is better."""

    seats: tuple[Seat, ...]
    first: tuple[Move, ...]
    certain: bool


def seats_in(walk: Walk, most_steps: int, in_time: Callable[[], bool]) -> Seated:
    """The seats of most weight after the fewest re-pinnings; the first places of a class are liked best."""
    model = walk.model
    alone = {}
    for i, kind in enumerate(model.wanted):
        steps = [len(moves) for place in kind.places for moves in walk.room_for(kind, place)]
        if steps and min(steps) <= most_steps:
            alone[i] = min(steps)
    order = sorted(alone, key=lambda i: -model.wanted[i].request.priority)
    queue = [i for i in order for _ in model.wanted[i].names]
    search = _Seating(walk, queue, most_steps, in_time)
    search.least = [max((alone[i] for i in queue[start:]), default=0) for start in range(len(queue) + 1)]
    search.run()
    return Seated(tuple(search.best[0]), tuple(search.best[1]), search.certain)


class _Seating:
    """Depth first: each guest in turn takes a place, or goes without; alike ones in the order of places.

    The first answer, in which each takes the first place that it finds, is worked out whatever the time.
    """

    def __init__(self, walk: Walk, queue: list[int], most_steps: int, in_time: Callable[[], bool]) -> None:
        self.walk, self.model, self.queue, self.most_steps, self.in_time = walk, walk.model, queue, most_steps, in_time
        weights = [self.model.wanted[i].request.priority for i in queue]
        self.left = [sum(weights[i:]) for i in range(len(queue) + 1)]
        self.least = [0] * (len(queue) + 1)  # who is re-pinned if all from here on are seated
        self.seats: list[Seat] = []
        self.first: list[Move] = []
        self.best: tuple[list[Seat], list[Move]] = [], []
        self.best_rank = (0, 0)
        self.certain = True
        self.has_answer = False

    def run(self) -> None:
        """Seat all of the queue: however many they are, no deeper on the stack."""
        open_ones = [self._seat(0, 0, 0)]
        while open_ones:
            deeper = next(open_ones[-1], None)
            if deeper is None:
                open_ones.pop()
            else:
                open_ones.append(deeper)

    def _seat(self, i: int, reached: int, place: int) -> Iterator[Iterator[Any]]:
        """Seat guest `i` and those after it, which is what it yields; an alike one before it sits at `place`."""
        if (-reached, len(self.first)) < self.best_rank and not broken_groups(self.model, self.seats):
            self.best, self.best_rank = ([*self.seats], [*self.first]), (-reached, len(self.first))
        if i == len(self.queue) or (-reached - self.left[i], max(len(self.first), self.least[i])) >= self.best_rank:
            self.has_answer = True
            return
        if self.has_answer and not self.in_time():
            self.certain = False
            return
        kind = self.model.wanted[self.queue[i]]
        is_alike = i + 1 < len(self.queue) and self.queue[i + 1] == self.queue[i]
        for number in range(place, len(kind.places)):
            for moves in self.walk.room_for(kind, kind.places[number]):
                if len(self.first) + len(moves) > self.most_steps:
                    continue
                self._take(Seat(self.queue[i], number), moves)
                yield self._seat(i + 1, reached + kind.request.priority, number if is_alike else 0)
                self._give_back(moves)
        yield self._seat(self._next_kind(i), reached, 0)

    def _take(self, seat: Seat, moves: tuple[Move, ...]) -> None:
        self.walk.do(moves)
        kind = self.model.wanted[seat.kind]
        self.walk.loads.add(kind, kind.places[seat.place])
        self.seats.append(seat)
        self.first += moves

    def _give_back(self, moves: tuple[Move, ...]) -> None:
        seat = self.seats.pop()
        kind = self.model.wanted[seat.kind]
        self.walk.loads.add(kind, kind.places[seat.place], -1)
        self.walk.undo(moves)
        del self.first[len(self.first) - len(moves) :]

    def _next_kind(self, i: int) -> int:
        """The first guest that is not like this one: where one goes without, so do those like it."""
        return next((j for j in range(i, len(self.queue)) if self.queue[j] != self.queue[i]), len(self.queue))
