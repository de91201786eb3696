"""All states within the budget, cheapest first: least memory copied, then fewest steps.

Best-first search (A*, with `bound`). A state that is reached again is looked
at again only where that took fewer steps: they may be needed later on.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from policies.rebalance.bound import bound_of
from policies.rebalance.model import Model
from policies.rebalance.question import Limit
from policies.rebalance.seating import seats_in
from policies.rebalance.walk import (
    START,
    Cost,
    Found,
    Move,
    State,
    Walk,
    after,
    cost_of,
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
        limit: what ended it before; None where nothing did.
    """

    def __init__(self, model: Model, best: Found, accept: Callable[[Found], bool], in_time: Callable[[], bool]) -> None:
        self.model, self.best, self.accept, self.in_time = model, best, accept, in_time
        self.complete = False
        self.limit: Limit | None = None
        self._walk = Walk(model)
        self._bound = bound_of(model)
        self._reached: list[_Reached] = []
        self._costs: dict[State, list[Cost]] = {}
        self._queue: list[tuple[Cost, int]] = []
        self._certain = True

    def run(self) -> None:
        """Look at one state after the other until all are known, nothing better can come, or time is up."""
        self._reach(_Reached(START, (0, 0), -1, ()))
        while self._queue:
            _, index = heapq.heappop(self._queue)
            here = self._reached[index]
            if self._is_known(here.state, here.cost):
                continue
            self._walk.go_to(here.state)
            if self._least(here.cost) is None:
                continue
            self._costs.setdefault(here.state, []).append(here.cost)
            self._judge(index)
            for moves in self._walk.moves(here.cost):
                if not self.in_time():
                    self.limit = Limit.TIME
                    return
                if len(self._reached) > MOST_STATES:
                    self.limit = Limit.STATES
                    return
                self._reach(_Reached(after(here.state, moves), _sum(here.cost, cost_of(moves)), index, moves))
        self.complete = self._certain

    def _reach(self, reached: _Reached) -> None:
        """Look at a state later, if it is new and may lead to anything better."""
        if self._is_known(reached.state, reached.cost):
            return
        self._walk.do(reached.moves)
        least = self._least(reached.cost)
        self._walk.undo(reached.moves)
        if least is not None:
            heapq.heappush(self._queue, (least, len(self._reached)))
            self._reached.append(reached)

    def _least(self, cost: Cost) -> Cost | None:
        """What anything better that comes of the walk's state costs at least; None where nothing can."""
        as_good = self._bound.onward(self._walk, self.best.value, better=False)
        if as_good is not None and (least := _sum(cost, as_good)) < self.best.cost:
            return least
        better, budget = self._bound.onward(self._walk, self.best.value, better=True), self.model.question.budget
        if better is None:
            return None
        least = _sum(cost, better)
        return least if least[0] <= budget.most_memory_kib and least[1] <= budget.most_moves else None

    def _is_known(self, state: State, cost: Cost) -> bool:
        """Whether it was reached with as little, in as few steps."""
        return any(kib <= cost[0] and steps <= cost[1] for kib, steps in self._costs.get(state, ()))

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


def _sum(one: Cost, other: Cost) -> Cost:
    return one[0] + other[0], one[1] + other[1]
