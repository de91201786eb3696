"""Branch and bound over sets of points, many of them at a time, as arrays.

Each pair counts half at both of its points: a further point costs at least what it is apart from those chosen, and
half of the smallest distances to as many others as are still to come. Points are taken in one order, so that
no set is met twice, and of points that nothing tells apart the earlier come first. The deepest sets are
extended first. What is asked for at least (`Question.needs`) makes the bound larger, and is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from policies.nearest.question import FAR, Counts, Mask, Nearest, Question
from policies.nearest.starts import starts

AT_ONCE = 8192
"""Sets × points that are extended together."""

_TABLE = 1 << 20
"""Distances that are sorted for the bound beforehand."""

_MOST_COMPARED = 128
"""Points up to which those are sought that nothing tells apart."""


def nearest(question: Question, *, below: int = FAR, enough: Callable[[int], bool] = lambda _: False) -> Nearest:
    """The cheapest set of those that cost less than `below`.

    Args:
        enough: whether to stop, given how many sets were looked at; asked after each few thousand.
    """
    search = _Search(question, below)
    for start in starts(question):
        search.offer(start)
    if len(question.own) >= question.size:
        search.begin()
    while not search.is_done and not enough(search.looked_at):
        search.step()
    points, cost = tuple(sorted(search.points)), search.cost
    return Nearest(points=points, cost=cost, bound=search.bound(), looked_at=search.looked_at)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sets:
    """Sets of as many points each, one row each, that are still to be extended. Costs are doubled here.

    Attributes:
        cost: what the points cost.
        first: points from this one on may be added.
        add: what each point would add, not doubled.
        inside: the points.
        had: how many of them count for each need.
        bound: no extension costs less.
    """

    cost: Counts
    first: Counts
    add: Counts
    inside: Mask
    had: Counts
    bound: Counts

    def rows(self, which: slice | Mask | Counts) -> _Sets:
        return _Sets(
            cost=self.cost[which],
            first=self.first[which],
            add=self.add[which],
            inside=self.inside[which],
            had=self.had[which],
            bound=self.bound[which],
        )


class _Search:
    """The best so far, and the sets that are still to be extended, by how many points they have."""

    def __init__(self, question: Question, below: int) -> None:
        self.points: Sequence[int] = ()
        self.cost, self.looked_at = below, 0
        self._question, self._waiting = question, [list[_Sets]() for _ in range(question.size)]

    @property
    def is_done(self) -> bool:
        return not any(self._waiting)

    def bound(self) -> int:
        """No set costs less."""
        least = min((int(sets.bound.min()) for level in self._waiting for sets in level), default=2 * self.cost)
        return min(self.cost, -(-least // 2))

    def offer(self, points: tuple[int, ...]) -> None:
        """Take a set where it is the cheapest so far."""
        own, apart, price = self._question.own, self._question.apart, self._question.price
        some = list(points)
        cost = int(own[some].sum() + apart[np.ix_(some, some)].sum() // 2)
        if any(mask[some].sum() < least for mask, least in self._question.needs):
            return
        if cost < self.cost and price is not None:
            real = price(points)
            cost = FAR if real is None else real
        if cost < self.cost:
            self.points, self.cost = points, cost

    def begin(self) -> None:
        """The empty set. Points that are far from the others come first in the order, where they soon cost too much."""
        question = self._question
        sums = smallest_sums(question.apart, question.size)
        order = np.argsort(-2 * question.own - sums[-1], kind="stable")
        self._order, self._own, self._apart = order, question.own[order], question.apart[np.ix_(order, order)]
        self._masks = np.array([mask[order] for mask, _ in question.needs], dtype=np.bool_)
        self._least = np.array([least for _, least in question.needs], dtype=np.int64)
        self._numbers, self._stride, self._half = np.arange(len(order)), len(order) + 1, sums[None, :, order]
        none = np.zeros(1, dtype=np.int64)
        nothing = _Sets(
            cost=none,
            first=none,
            add=self._own[None],
            inside=np.zeros((1, len(order)), dtype=np.bool_),
            had=np.zeros((1, len(self._least)), dtype=np.int64),
            bound=none,
        )
        self._push(nothing, 0)
        if not self.is_done:
            self._prepare()

    def _prepare(self) -> None:
        """The smallest distances among the points from each one on, and for each point the last that is alike."""
        count, size = len(self._order), self._question.size
        self._stride = max(1, -(-(count**3) // _TABLE))
        self._half = np.full((-(-count // self._stride) + 1, size, count), 2 * FAR, dtype=np.int64)
        for block, first in enumerate(range(0, count, self._stride)):
            self._half[block, :, first:] = smallest_sums(self._apart[first:, first:], size)
        self._before = self._earlier_alike()

    def _earlier_alike(self) -> Counts:
        """For each point the last one before it that it may be swapped with in any set; −1 where there is none."""
        count = len(self._order)
        before = np.full(count, -1, dtype=np.int64)
        if self._question.price is not None or count > _MOST_COMPARED:
            return before
        for point in range(1, count):
            same = self._apart[:point] == self._apart[point]
            same[:, point] = same[self._numbers[:point], self._numbers[:point]] = True
            alike = same.all(axis=1) & (self._own[:point] == self._own[point])
            for mask in self._masks:
                alike &= mask[:point] == mask[point]
            if alike.any():
                before[point] = np.flatnonzero(alike)[-1]
        return before

    def step(self) -> None:
        """Extend some of the sets that have the most points, by one point each."""
        level = max(i for i, waiting in enumerate(self._waiting) if waiting)
        sets = self._waiting[level].pop()
        sets = sets.rows(sets.bound < 2 * self.cost)
        few = max(1, AT_ONCE // len(self._order))
        if len(sets.cost) > few:
            self._waiting[level].append(sets.rows(slice(few, None)))
            sets = sets.rows(slice(few))
        if len(sets.cost):
            self._extend(sets, level)

    def _extend(self, sets: _Sets, level: int) -> None:
        left = self._question.size - level
        costs = self._costs(sets, left)
        total = costs + sets.cost[:, None]
        if left > 1:
            total += np.partition(costs, left - 2, axis=1)[:, : left - 1].sum(axis=1)[:, None]
        allowed = (self._before < 0) | sets.inside[:, self._before]
        rows, new = np.nonzero((total < 2 * self.cost) & allowed)
        self.looked_at += len(rows)
        if left == 1:
            self._end(sets, rows, new, total)
        elif len(rows):
            self._push(self._longer(sets, rows, new), level + 1)

    def _costs(self, sets: _Sets, left: int) -> Counts:
        """At least what each point costs as one of so many more, doubled."""
        half = self._half[sets.first // self._stride, left - 1]
        return np.where(self._numbers < sets.first[:, None], 2 * FAR, 2 * sets.add + half)

    def _longer(self, sets: _Sets, rows: Counts, new: Counts) -> _Sets:
        inside = sets.inside[rows]
        inside[np.arange(len(rows)), new] = True
        cost = sets.cost[rows] + 2 * sets.add[rows, new]
        return _Sets(
            cost=cost,
            first=new + 1,
            add=sets.add[rows] + self._apart[new],
            inside=inside,
            had=self._had(sets, rows, new),
            bound=cost,
        )

    def _had(self, sets: _Sets, rows: Counts, new: Counts) -> Counts:
        return sets.had[rows] + self._masks[:, new].T if len(self._least) else sets.had[rows]

    def _end(self, sets: _Sets, rows: Counts, new: Counts, total: Counts) -> None:
        """Offer whole sets, the cheapest first."""
        enough = (self._had(sets, rows, new) >= self._least).all(axis=1)
        rows, new = rows[enough], new[enough]
        for i in np.argsort(total[rows, new], kind="stable").tolist():
            if total[rows[i], new[i]] >= 2 * self.cost:
                return
            points = [*np.flatnonzero(sets.inside[rows[i]]).tolist(), int(new[i])]
            self.offer(tuple(sorted(self._order[points].tolist())))

    def _push(self, sets: _Sets, level: int) -> None:
        """Keep the sets that may become cheaper than the best, the most hopeful first."""
        left = self._question.size - level
        bound = sets.cost + self._rest(self._costs(sets, left), self._least - sets.had, left)
        order = np.argsort(bound, kind="stable")
        order = order[bound[order] < 2 * self.cost]
        if len(order):
            self._waiting[level].append(replace(sets, bound=bound).rows(order))

    def _rest(self, costs: Counts, lacking: Counts, left: int) -> Counts:
        """At least what so many more points cost, of which so many are `lacking` of each need."""
        if not (lacking > 0).any():
            least: Counts = np.partition(costs, left - 1, axis=1)[:, :left].sum(axis=1)
            return least
        sums = _running(costs, left)
        rest = sums[:, left]
        every = np.arange(len(costs))
        for mask, short in zip(self._masks, lacking.T, strict=True):
            asked = np.clip(short, 0, left)
            with_need = _running(np.where(mask, costs, 2 * FAR), left)[every, asked] + sums[every, left - asked]
            rest = np.maximum(rest, np.where(short > left, 2 * FAR, with_need))
        return rest


def _running(costs: Counts, most: int) -> Counts:
    """Per row: the sum of the 0, 1, 2 … `most` smallest."""
    sums = np.zeros((len(costs), most + 1), dtype=np.int64)
    np.cumsum(np.sort(np.partition(costs, most - 1, axis=1)[:, :most], axis=1), axis=1, out=sums[:, 1:])
    return sums


def smallest_sums(apart: Counts, size: int) -> Counts:
    """For each number of others below `size`, and each point: Σ of as many of its smallest distances to others."""
    others = apart.copy()
    np.fill_diagonal(others, 2 * FAR)
    sums = np.full((size, len(apart)), 2 * FAR, dtype=np.int64)
    nearest_first = np.sort(others, axis=1)[:, : size - 1]
    sums[0] = 0
    sums[1 : nearest_first.shape[1] + 1] = nearest_first.cumsum(axis=1).T
    sums[sums >= FAR] = 2 * FAR
    return sums
