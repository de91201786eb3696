"""Filling a supply: prices, a pattern per host, what is left over again, until nothing more is won."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from policies.patterns.choice import best_choice
from policies.patterns.left import NOBODY, Left
from policies.patterns.pieces import Piece, Sample, Stock, filled, parts, priced
from policies.patterns.prices import SCALE, Floats, Goal, Mixture, find_prices
from policies.patterns.question import Batch, Ints
from policies.patterns.terms import Terms
from policies.spread import Spread, here

MOST_ROUNDS = 8
LEAST_GAIN = 2e-4
"""Of the guests still waiting at first: a round that places fewer is the last."""
MOST_SAMPLED = 4_000
"""Hosts at which prices are found; more of them would hardly change the prices."""
MOST_ALIKE = 400
"""Different hosts that are each a bucket of their own; if there are more, `BUCKETS` of similar ones are made."""
BUCKETS = 48
FEWEST_STEERED = 64
"""Hosts are filled half by half; after each the mixture is made again for what is still asked. So few go together."""
GOLDEN = 0.6180339887498949
"""Its multiples, modulo 1, spread evenly over any part of [0, 1): a mixture over the hosts of a bucket."""

PLACED, SPANNED, KEPT = 1024, 4, 1
"""Worth of placing a guest (times its weight); of a node less spanned; room for a reference guest or a host saved."""
SURELY_PLACED = 64
"""Instead of `PLACED`, of any guest, where all find a place: more than one can cost of what counts less."""
CLOSE = 2e-4
"""Of the worth of all guests: how near the prices must come to the best."""
CLOSE_KEPT = 0.25
"""The same where all find a place, in reference guests."""


class Aim(Enum):
    """What prices are found for."""

    ONLY_PLACED = "guests placed by weight, and nothing else: the bound is one of guests"
    ALL = "all that counts, in one sum"
    KEPT = "nodes not spanned and room kept, where all guests find a place"


def goal_of(batch: Batch, terms: Terms, demand: Ints, aim: Aim) -> Goal:
    """What placing a guest in each way is worth."""
    weights = np.array([flavour.weight for flavour in batch.flavours], dtype=np.int64)
    flavour = np.array([way.flavour for way in terms.ways], dtype=np.int64)
    spanned = SPANNED * np.array([way.shares - 1 for way in terms.ways], dtype=np.int64)
    placed = {Aim.ONLY_PLACED: weights, Aim.ALL: PLACED * weights, Aim.KEPT: SURELY_PLACED * np.sign(weights)}[aim]
    worth = placed[flavour] - (0 if aim is Aim.ONLY_PLACED else spanned)
    return Goal(
        worth=np.where(weights[flavour] > 0, worth, aim is not Aim.ONLY_PLACED),
        flavour=flavour,
        demand=np.where(weights > 0, demand, 0 if aim is Aim.ONLY_PLACED else -1),
        cost=SCALE if batch.fewest_hosts and aim is not Aim.ONLY_PLACED else 0,
        close=CLOSE_KEPT if aim is Aim.KEPT else CLOSE * float(placed @ np.maximum(demand, 0)),
    )


IsOver = Callable[[], bool]
"""Whether the time is over."""


def never() -> bool:
    """There is time."""
    return False


@dataclass(slots=True, kw_only=True)
class Rounds:
    """Guests taken into a book, round by round. The answer is the same wherever `spread` has pieces answered."""

    batch: Batch
    terms: Terms
    left: Left
    aim: Aim
    rng: np.random.Generator
    is_over: IsOver = never
    spread: Spread = here

    def run(self) -> None:
        """Take in as much as can be had; once the time is over, without looking ahead.

        Nodes are filled two by two, as if guests of two nodes lived on these two only; every other round by hosts,
        where the halves of a guest find each other on any two nodes, or do not.
        """
        waiting, idle = int(self.left.demand.sum()), 0
        for number in range(MOST_ROUNDS):
            if not self.left.demand.any() or idle == 2 or self.is_over():
                break
            by_pairs = number % 2 == (max(way.shares for way in self.terms.ways) > 2)
            idle = 0 if self._round(by_pairs=by_pairs) > LEAST_GAIN * waiting else idle + 1
        ways = self.left.dense_first() if self.is_over() else None
        self.left.take_greedily(np.arange(self.left.supply.hosts), ways)

    def _round(self, *, by_pairs: bool) -> int:
        hosts = self._open_hosts()
        if not len(hosts):
            return 0
        goal = goal_of(self.batch, self.terms, self.left.demand, self.aim)
        bucket = self._buckets(hosts)
        cpus = self.left.cpus_of_hosts()
        sample, stock = sample_of(hosts, self.rng), self._stock(goal)
        scaled = goal.scaled(cpus[sample].sum() / cpus[hosts].sum())
        buckets = int(bucket.max()) + 1
        tried = Sample(stock.of(sample), bucket[sample], buckets, by_pairs=by_pairs, spread=self.spread)
        mixture = find_prices(tried, scaled, self.is_over)
        waiting, taken = evenly(bucket[hosts], hosts, self.rng), 0
        while len(waiting):
            some = waiting[: -(-len(waiting) // 2) if len(waiting) > FEWEST_STEERED else None]
            asked = self.left.demand * (cpus[sample].sum() / cpus[waiting].sum())
            shares = mixture.parts(asked)
            if len(some) < len(waiting):
                chosen = divided(shares, bucket[some])
            else:
                chosen = self._chosen_together(some, goal, mixture, np.flatnonzero(shares.any(axis=0)), by_pairs)
            taken += self._take(some, goal, chosen, mixture, by_pairs)
            waiting = waiting[len(some) :]
        return taken

    def _chosen_together(self, hosts: Ints, goal: Goal, mixture: Mixture, used: Ints, by_pairs: bool) -> Ints:
        """(hosts,) the iteration whose prices each of the last hosts uses: best for what is still asked."""
        used = np.union1d(used, mixture.best)
        stock = self._stock(goal).of(hosts)
        alone = Piece(
            stock=stock, values=hosts[:0], by_pairs=by_pairs, bucket=np.arange(len(hosts)), buckets=len(hosts)
        )
        pieces = [replace(alone, values=goal.values(mixture.prices[iteration])) for iteration in used]
        spread = self.spread if stock.is_heavy else here
        found = [(shares / self.terms.shares_of_ways, costs) for _, shares, costs in spread(priced, pieces)]
        guests = np.stack([of for of, _ in found], axis=1).astype(np.int64)
        costs = np.stack([of for _, of in found], axis=1).astype(np.int64)
        return used[best_choice(guests, costs, replace(goal, demand=np.where(goal.demand < 0, -1, self.left.demand)))]

    def _stock(self, goal: Goal) -> Stock:
        costs = np.where(self.left.opened, 0, goal.cost)
        amounts = self._surely_left()
        return Stock(terms=self.terms, amounts=amounts, first_row=self.left.first_row, costs=costs)

    def _surely_left(self) -> Ints:
        """What is left, less what the guests of a node take beyond the whole steps that the grid counts.

        Nobody knows yet which guests; so many as those who wait would be, were they alike.
        """
        amounts, scales = self.left.amounts, self.left.scale_of_row()
        counted = len(amounts) - (self.left.supply.own is not None)
        for scale in np.unique(scales):
            first = [way for way in self.terms.ways if way.rank == 0 and way.scale == scale]
            asked = [self.left.demand[way.flavour] for way in first]
            needs = sum(n * way.needs.sum(axis=0) for n, way in zip(asked, first, strict=True))
            beyond = sum(
                n * (way.needs % self.terms.grid.units).sum(axis=0) for n, way in zip(asked, first, strict=True)
            )
            if np.any(beyond):
                rows = scales == scale
                guests = np.min([amounts[k, rows] / needs[k] for k in range(counted) if needs[k]], axis=0)
                less = np.ceil(np.outer(beyond, guests)).astype(np.int64)
                amounts = amounts.copy()
                amounts[:, rows] = np.maximum(0, amounts[:, rows] - less)
        return amounts

    def _open_hosts(self) -> Ints:
        """Hosts on which somebody who waits could live, as far as a first look tells."""
        needs = np.concatenate([way.needs for way in self.terms.ways])
        is_open = np.zeros(self.left.supply.hosts, dtype=np.bool_)
        for cpus in (0,) if self.left.supply.own is None else (0, -1):
            smallest = needs[needs[:, cpus] > 0, cpus].min(initial=NOBODY)
            is_open |= np.maximum.reduceat(self.left.amounts[cpus], self.left.first_row[:-1]) >= smallest
        return np.flatnonzero(is_open)

    def _take(self, hosts: Ints, goal: Goal, chosen: Ints, mixture: Mixture, by_pairs: bool) -> int:
        """Each host uses the pattern at the prices chosen for it."""
        stock = self._stock(goal)
        used = np.unique(chosen[chosen >= 0])
        of = [(goal.values(mixture.prices[at]), some) for at in used for some in parts(hosts[chosen == at])]
        pieces = [Piece(stock=stock.of(some), values=values, by_pairs=by_pairs) for values, some in of]
        spread = self.spread if stock.is_worth_spreading(hosts) else here
        wanted = np.zeros((self.left.amounts.shape[1], len(self.terms.ways)), dtype=np.int64)
        for (_, some), counts in zip(of, spread(filled, pieces), strict=True):
            wanted[stock.rows(some)] = counts
        return sum(self.left.take_wanted(way, hosts, wanted[:, way].__getitem__) for way in self.left.large_first())

    def _buckets(self, hosts: Ints) -> Ints:
        """(all hosts,) the bucket of each of `hosts`: those of the same sums, or else of similar ones."""
        left = self.left
        sums = np.add.reduceat(left.amounts, left.first_row[:-1], axis=1)[:, hosts]
        keys = np.stack([self.terms.kind_of_host[hosts], left.nodes[hosts], *sums])
        bucket = np.zeros(left.supply.hosts, dtype=np.int64)
        different, alike = np.unique(keys, axis=1, return_inverse=True)
        if different.shape[1] <= MOST_ALIKE:
            bucket[hosts] = alike.ravel()
        else:
            bucket[hosts[np.lexsort(keys[::-1])]] = np.arange(len(hosts)) * BUCKETS // len(hosts)
        return bucket


def sample_of(hosts: Ints, rng: np.random.Generator) -> Ints:
    """Some of the hosts, ascending; all where they are few."""
    return hosts if len(hosts) <= MOST_SAMPLED else np.sort(rng.choice(hosts, MOST_SAMPLED, replace=False))


def evenly(bucket: Ints, hosts: Ints, rng: np.random.Generator) -> Ints:
    """The hosts in an order of which any part, from any place on, has nearly its share of each bucket."""
    order = rng.permutation(len(hosts))
    order = order[np.argsort(bucket[order], kind="stable")]
    _, first, size = np.unique(bucket[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(first, size)
    place = (rank + np.repeat(rng.random(len(size)), size)) / np.repeat(size, size)
    return hosts[order[np.argsort(place, kind="stable")]]


def divided(parts: Floats, bucket: Ints) -> Ints:
    """(hosts,) the iteration of the mixture whose prices each host uses; -1 for none, where the parts end."""
    sums = np.cumsum(parts, axis=1)
    chosen = np.empty(len(bucket), dtype=np.int64)
    dealt = 0
    for b in np.unique(bucket):
        which = np.flatnonzero(bucket == b)
        points = (np.arange(dealt, dealt + len(which)) * GOLDEN) % 1.0
        dealt += len(which)
        chosen[which] = np.searchsorted(sums[b], points, side="right")
    return np.where(chosen < parts.shape[1], chosen, -1)
