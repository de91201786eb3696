"""A whole batch placed by patterns, with bounds of what could be."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from policies.patterns.apart import Dealer
from policies.patterns.grid import MOST_STATES
from policies.patterns.left import Left
from policies.patterns.pieces import Piece, Sample, Stock, parts, worth
from policies.patterns.prices import SCALE, Goal, find_prices
from policies.patterns.question import Batch, Homes, Ints, Supply
from policies.patterns.rounds import Aim, IsOver, Rounds, goal_of, never, sample_of
from policies.patterns.terms import Terms
from policies.patterns.together import settle_together
from policies.patterns.ways import ways_of
from policies.request import GroupRule
from policies.spread import Spread, here

MOST_STATES_OF_BOTH, MOST_STATES_APART = 250_000, 1_000_000
"""Of a table where pCPUs are owned and shared, by one count of CPUs or by two, and prices are tried: only for a bound
memory is counted as finely as otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An answer.

    Attributes:
        homes: where each guest lives.
        value: guests placed, each times the weight of its flavour.
        bound: no answer has a larger value.
        spanned: nodes beyond the first of each guest.
        hosts: that have guests of the batch.
        kept: guests of the reference flavours (those of weight 0) that fit beside all these.
        packing: what is left of `kept` after `hosts` where the batch asks for the fewest.
        packing_bound: no answer of this value that spans as many nodes has a larger `packing`; None: there was no
            time to find out.
    """

    homes: Homes
    value: int
    bound: int
    spanned: int
    hosts: int
    kept: int
    packing: int
    packing_bound: int | None

    @property
    def rank(self) -> tuple[int, int, int]:
        """The larger, the better."""
        return self.value, -self.spanned, self.packing


def place(
    supply: Supply,
    batch: Batch,
    *,
    seed: int = 0,
    is_over: IsOver = never,
    is_late: IsOver | None = None,
    spread: Spread = here,
) -> Placed:
    """Place as many guests as possible, by weight; the same seed gives the same answer.

    Of answers that place as many those that span fewer nodes are preferred, and then those that keep more room for the
    reference flavours, or use fewer hosts. Once `is_over` says so the rest is placed without looking ahead, and
    what would take time is left out: prices, another try, and bounds, these where `is_late` says so if it is given.
    `spread` tells where hosts are filled; the answer does not depend on it.

    Raises:
        TooManyKindsError: guests differ too much in the hosts where they may live, or hosts in how they count CPUs.
        ValueError: a flavour asks for pages of which no node has a pool.
    """
    task = _Task(supply, batch, seed, (is_over, is_late or is_over), spread)
    answer = task.answer(Aim.ALL)
    if answer.value < task.everything:
        return answer if task.is_late() else replace(answer, bound=min(task.everything, task.bound()))
    if is_over() or not task.packs:
        return answer
    return max(answer, task.answer(Aim.KEPT), key=lambda found: found.rank)


def most_placed(supply: Supply, batch: Batch, *, seed: int = 0, is_late: IsOver = never) -> int:
    """A bound of what any answer places, by weight; nobody is placed.

    Raises:
        TooManyKindsError: as `place`.
    """
    task = _Task(supply, batch, seed, (is_late, is_late), here)
    return min(task.everything, task.bound())


class _Task:
    """What is the same for all answers of a question."""

    def __init__(self, supply: Supply, batch: Batch, seed: int, ends: tuple[IsOver, IsOver], spread: Spread) -> None:
        self.supply, self.batch, self.seed = supply, batch, seed
        (self.is_over, self.is_late), self.spread = ends, spread
        self.ways = ways_of(batch.flavours, supply.pages_kib, counts_own=supply.own is not None)
        left = self.book()
        fine = Terms.of(batch, supply, self.ways)
        apart = supply.own is not None and not supply.has_gate
        states = MOST_STATES_APART if apart else MOST_STATES_OF_BOTH if supply.counts_both else MOST_STATES
        self.terms = fine if fine.states <= states else Terms.of(batch, supply, self.ways, most_states=states)
        self.weights = left.weights()
        self.reference = self.weights == 0
        self.packs = batch.fewest_hosts or bool(self.reference.any())
        self.everything = int(self.weights @ left.demand)
        self.bounds = _Bounds((self.terms, fine), left, np.random.default_rng(seed), spread)

    def book(self) -> Left:
        """Nobody taken in yet."""
        return Left(self.supply, self.batch.flavours, self.ways, self.batch.demand())

    def goal(self, aim: Aim) -> Goal:
        return goal_of(self.batch, self.terms, self.batch.demand(), aim)

    def bound(self) -> int:
        """Of guests placed, by weight."""
        goal = self.goal(Aim.ONLY_PLACED)
        return self.bounds.at(goal, self.bounds.prices(goal, self.is_late))

    def answer(self, aim: Aim) -> Placed:
        """All guests placed, as far as they can be, at prices for this."""
        batch, left, rng = self.batch, self.book(), np.random.default_rng(self.seed)
        homes, goal = Homes.none(batch), self.goal(aim)
        prices = np.zeros_like(left.demand)
        is_priced = not self.is_over()
        if self.packs or any(group.rule is GroupRule.AFFINITY for group in batch.groups):
            prices = self.bounds.prices(goal, self.is_over) if is_priced else prices
            settle_together(left, batch, homes, goal.values(prices), self.terms, goal.cost)
        rounds = Rounds(batch=batch, terms=self.terms, left=left, aim=aim, rng=rng)
        rounds.is_over, rounds.spread = self.is_over, self.spread
        rounds.run()
        Dealer(left, batch, homes, rng).deal()
        placed = homes.placed()
        hosts = len(np.unique(self.supply.host_of_row()[homes.rows[placed, 0]]))
        kept = left.room_for(np.flatnonzero(self.reference))
        packing = kept - (hosts if batch.fewest_hosts else 0)
        others = goal.worth_of(homes.form[placed].astype(np.int64), batch.flavour_of[placed])
        packing_bound: int | None = packing
        if self.packs:
            is_bounded = is_priced and not self.is_late()
            packing_bound = max(packing, self.bounds.at(goal, prices) - others) if is_bounded else None
        return Placed(
            homes=homes,
            value=int(self.weights[batch.flavour_of[placed]].sum()),
            bound=self.everything,
            spanned=int((homes.rows[:, 1:] >= 0).sum()),
            hosts=hosts,
            kept=kept,
            packing=packing,
            packing_bound=packing_bound,
        )


class _Bounds:
    """Upper bounds for what is free at first.

    Groups are not looked at, and memory is counted in the steps of the grid, rounded down: both make them larger only.
    """

    def __init__(self, terms: tuple[Terms, Terms], left: Left, rng: np.random.Generator, spread: Spread) -> None:
        """Args:
        terms: with a grid to find prices on, and with one for the bound at these prices.
        """
        self._hosts = np.arange(left.supply.hosts)
        self._terms, self._amounts, self._first_row, self._spread = terms, left.amounts, left.first_row, spread
        self._sampled = sample_of(self._hosts, rng)
        cpus = left.cpus_of_hosts()
        self._part = cpus[self._sampled].sum() / max(1, cpus.sum())

    def prices(self, goal: Goal, is_over: IsOver) -> Ints:
        """Of (nearly) the least bound, found at a sample of the hosts; the best so far when the time is over."""
        stock, alike = self._stock(goal, self._terms[0]).of(self._sampled), np.zeros(len(self._sampled), dtype=np.int64)
        sample = Sample(stock, alike, 1, by_pairs=False, spread=self._spread)
        mixture = find_prices(sample, goal.scaled(self._part), is_over)
        return mixture.prices[mixture.best]

    def at(self, goal: Goal, prices: Ints) -> int:
        """What any answer is worth at most."""
        stock, nodes = self._stock(goal, self._terms[1]), np.diff(self._first_row)
        alike = [some for n in np.unique(nodes) for some in parts(self._hosts[nodes == n])]
        pieces = [Piece(stock=stock.of(some), values=goal.values(prices)) for some in alike]
        spread = self._spread if stock.is_worth_spreading(self._hosts) else here
        return goal.bound(sum(spread(worth, pieces)), prices) // SCALE

    def _stock(self, goal: Goal, terms: Terms) -> Stock:
        costs = np.full(len(self._hosts), goal.cost)
        return Stock(terms=terms, amounts=self._amounts, first_row=self._first_row, costs=costs)
