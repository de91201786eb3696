"""All states within the budget, cheapest first: least memory copied, then fewest steps.

Uniform-cost search. A state that is reached again is looked at again only where fewer steps led
there: it was reached with less memory before, and the steps left may matter.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from policies.rebalance.model import Model
from policies.rebalance.seating import most_weight, seats_in
from policies.rebalance.walk import (
    Cost,
    Found,
    Move,
    State,
    Value,
    Walk,
    after,
    cost_of,
    least_value,
    start_of,
    weight,
)

MOST_STATES = 300_000
"""So many are remembered at most (some hundred bytes each)."""


@dataclass(frozen=True, slots=True)
class _Reached:
    """A state, and how: the moves that led there from another (an index; -1 for the start)."""

    state: State
    cost: Cost
    parent: int
    moves: tuple[Move, ...]


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
        self._walk = Walk(model)
        self._reached: list[_Reached] = []
        self._steps: dict[State, int] = {}
        self._queue: list[tuple[Cost, int]] = []
        self._certain = True

    def run(self) -> None:
        """Look at one state after the other until all are known, nothing better can come, or time is up."""
        self._push(_Reached(start_of(self.model), (0, 0), -1, ()))
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
            self._walk.go_to(here.state)
            self._judge(index)
            for moves in self._walk.moves(cost):
                if not self.in_time():
                    return
                more = cost_of(moves)
                reached = cost[0] + more[0], cost[1] + more[1]
                self._push(_Reached(after(here.state, moves), reached, index, moves))
        self.complete = self._certain

    def _push(self, reached: _Reached) -> None:
        if self._steps.get(reached.state, reached.cost[1] + 1) > reached.cost[1]:
            heapq.heappush(self._queue, (reached.cost, len(self._reached)))
            self._reached.append(reached)

    def _judge(self, index: int) -> None:
        """Keep the state where it is better than the best, and can really be had."""
        found = self._found(index)
        if found.rank < self.best.rank:
            if self.accept(found):
                self.best = found
            else:
                self._certain = False

    def _found(self, index: int) -> Found:
        path = self._path(index)
        if not self.model.wanted:
            return Found(value=self._walk.value, moves=path, seats=())
        seated = seats_in(self._walk, self.model.question.budget.most_moves - len(path), self.in_time)
        self._certain = self._certain and seated.certain
        value = (-weight(self.model, seated.seats),)
        return Found(value=value, moves=(*path, *seated.first), seats=seated.seats)

    def _path(self, index: int) -> tuple[Move, ...]:
        steps: list[tuple[Move, ...]] = []
        while index >= 0:
            steps.append(self._reached[index].moves)
            index = self._reached[index].parent
        return tuple(move for moves in reversed(steps) for move in moves)
