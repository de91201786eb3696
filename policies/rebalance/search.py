"""All states within the budget, cheapest first: least memory copied, then fewest steps.

Uniform-cost search. A state that is reached again is looked at again only where fewer steps led
there: it was reached with less memory before, and the steps left may matter.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from policies.rebalance.loads import Loads
from policies.rebalance.model import Model
from policies.rebalance.seating import most_weight, seats_in
from policies.rebalance.walk import (
    Cost,
    Found,
    Move,
    Seat,
    State,
    Value,
    after,
    least_value,
    loads_of,
    moves_from,
    objective_value,
    start_of,
    weight,
)

MOST_STATES = 300_000
"""So many are remembered at most (some hundred bytes each)."""


@dataclass(frozen=True, slots=True)
class _Reached:
    """A state, and how: the move that led there from another (an index; -1 for the start)."""

    state: State
    cost: Cost
    parent: int
    move: Move | None


class Search:
    """The search, and the best that it has found.

    Attributes:
        best: of least value, then least cost; what it is given at first is beaten or kept.
        complete: whether nothing within the budget is better.
    """

    def __init__(self, model: Model, best: Found, accept: Callable[[Found], bool], in_time: Callable[[], bool]) -> None:
        self.model, self.best, self.accept, self.in_time = model, best, accept, in_time
        self.complete = False
        self.ideal: Value = (-most_weight(model),) if model.wanted else least_value(model)
        self._reached: list[_Reached] = []
        self._steps: dict[State, int] = {}
        self._queue: list[tuple[Cost, int]] = []
        self._certain = True

    def run(self) -> None:
        """Look at one state after the other until all are known, nothing better can come, or time is up."""
        self._push(_Reached(start_of(self.model), (0, 0), -1, None))
        while self._queue:
            if not self.in_time() or len(self._reached) > MOST_STATES:
                return
            cost, index = heapq.heappop(self._queue)
            if self.best.value == self.ideal and cost >= self.best.cost:
                break
            here = self._reached[index]
            if self._steps.get(here.state, cost[1] + 1) <= cost[1]:
                continue
            self._steps[here.state] = cost[1]
            loads = loads_of(self.model, here.state)
            self._judge(index, loads)
            for move in moves_from(self.model, here.state, loads, cost):
                reached = cost[0] + move.way.kib, cost[1] + 1
                self._push(_Reached(after(here.state, move), reached, index, move))
        self.complete = self._certain

    def _push(self, reached: _Reached) -> None:
        if self._steps.get(reached.state, reached.cost[1] + 1) > reached.cost[1]:
            heapq.heappush(self._queue, (reached.cost, len(self._reached)))
            self._reached.append(reached)

    def _judge(self, index: int, loads: Loads) -> None:
        """Keep the state where it is better than the best, and can really be had."""
        here = self._reached[index]
        value, seats = self._value(here.state, loads)
        if (value, here.cost) < self.best.rank:
            found = Found(value=value, moves=self._path(index), seats=seats)
            if self.accept(found):
                self.best = found
            else:
                self._certain = False

    def _value(self, state: State, loads: Loads) -> tuple[Value, tuple[Seat, ...]]:
        if not self.model.wanted:
            return objective_value(self.model, state, loads), ()
        seats, certain = seats_in(self.model, loads, self.in_time)
        self._certain = self._certain and certain
        return (-weight(self.model, seats),), seats

    def _path(self, index: int) -> tuple[Move, ...]:
        moves: list[Move] = []
        while (move := self._reached[index].move) is not None:
            moves.append(move)
            index = self._reached[index].parent
        return tuple(reversed(moves))
