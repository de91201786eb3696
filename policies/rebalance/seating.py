"""Who of the wanted guests fits beside the others: as much weight as can be placed."""

from __future__ import annotations

from collections.abc import Callable

from policies.rebalance.loads import Loads
from policies.rebalance.model import Model
from policies.rebalance.walk import Seat, weight


def seats_in(
    model: Model, loads: Loads, in_time: Callable[[], bool], *, at_least: int = -1
) -> tuple[tuple[Seat, ...], bool]:
    """The seats of most weight, and whether that is certain; the first places of a class are liked best.

    `at_least`: less than this, or as much, is of no interest: nothing may be returned then.
    """
    order = sorted(range(len(model.wanted)), key=lambda i: -model.wanted[i].request.priority)
    queue = [i for i in order for _ in model.wanted[i].names]
    search = _Seating(model, loads, queue, in_time)
    search.best_weight = at_least
    search.seat(0, [], 0, 0)
    return tuple(search.best), search.certain


class _Seating:
    """Depth first: each guest in turn takes a place, or goes without; alike ones in the order of places."""

    def __init__(self, model: Model, loads: Loads, queue: list[int], in_time: Callable[[], bool]) -> None:
        self.model, self.loads, self.queue, self.in_time = model, loads, queue, in_time
        weights = [model.wanted[i].request.priority for i in queue]
        self.left = [sum(weights[i:]) for i in range(len(queue) + 1)]
        self.best: list[Seat] = []
        self.best_weight = -1
        self.certain = True

    def seat(self, i: int, seats: list[Seat], reached: int, first: int) -> None:
        """Seat guest `i` and those after it; an alike one before it sits at `first` at the latest."""
        if reached > self.best_weight:
            self.best, self.best_weight = list(seats), reached
        if i == len(self.queue) or reached + self.left[i] <= self.best_weight:
            return
        if not self.in_time():
            self.certain = False
            return
        kind = self.model.wanted[self.queue[i]]
        is_alike = i + 1 < len(self.queue) and self.queue[i + 1] == self.queue[i]
        for number in range(first, len(kind.places)):
            place = kind.places[number]
            if self.loads.fits(kind, place):
                self.loads.add(kind, place)
                seats.append(Seat(self.queue[i], number))
                more = reached + kind.request.priority
                self.seat(i + 1, seats, more, number if is_alike else 0)
                seats.pop()
                self.loads.add(kind, place, -1)
                if self.best_weight == self.left[0]:
                    return
        self.seat(self._next_kind(i), seats, reached, 0)

    def _next_kind(self, i: int) -> int:
        """The first guest that is not like this one: where one goes without, so do those like it."""
        return next((j for j in range(i, len(self.queue)) if self.queue[j] != self.queue[i]), len(self.queue))


def most_weight(model: Model) -> int:
    """No state has room for more: each wanted guest as if nobody who can be moved were there."""
    alone = Loads(model)
    fitting = [
        Seat(i, 0)
        for i, kind in enumerate(model.wanted)
        if any(alone.fits(kind, place) for place in kind.places)
        for _ in kind.names
    ]
    return weight(model, fitting)
