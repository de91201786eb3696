"""The prices of the flavours: the dual of the linear program that mixes patterns on all hosts.

For any prices λ ≥ 0 of the flavours, Σ demand · λ + Σ over hosts of the best pattern's value at (worth − λ) is an
upper bound of what any placement is worth (Lagrangian relaxation of the demand). Column generation finds the prices
of the least bound; the mixture of patterns at several prices is the answer of the linear program. Duals are
smoothed (Wentges 1997, "Weighted Dantzig–Wolfe decomposition for linear mixed-integer programming").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from ortools.linear_solver import pywraplp

from policies.patterns.pieces import Sample
from policies.patterns.question import Ints

MOST_ITERATIONS = 150
SMOOTHING = 0.5
"""How much of the best prices so far is in the prices that are tried next, at first."""
SCALE = 1 << 20
"""Values of the knapsack per unit of worth: prices are whole numbers, so bounds are exact."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What placing a guest is worth.

    Attributes:
        worth: (ways,) of one guest that lives so.
        flavour: (ways,) the flavour of each way.
        demand: (flavours,) most guests of each; a flavour of which there is no end has -1, and no price.
        cost: of having guests on a host that has none yet, in units of 1 / SCALE.
        close: how near the mixture must come to the bound, absolutely.
    """

    worth: Ints
    flavour: Ints
    demand: Ints
    cost: int
    close: float

    def values(self, prices: Ints) -> Ints:
        """(ways,) what remains of the worth at prices ((flavours,) in units of 1 / SCALE)."""
        return self.worth * SCALE - prices[self.flavour]

    def worth_of(self, forms: Ints, flavours: Ints) -> int:
        """Of guests who live so: (guests,) the index of the form in its flavour's, and of the flavour."""
        first_way = np.searchsorted(self.flavour, np.arange(len(self.demand)))
        return int(self.worth[first_way[flavours] + forms].sum())

    def scaled(self, part: float) -> Goal:
        """The same for a part of all hosts."""
        demand = np.where(self.demand > 0, np.ceil(self.demand * part), self.demand).astype(np.int64)
        return replace(self, demand=demand, close=self.close * part)

    def bound(self, worth: int, prices: Ints) -> int:
        """What all is worth at most where the best patterns are worth so much, both in units of 1 / SCALE."""
        return worth + int(np.where(self.demand < 0, 0, self.demand) @ prices)


@dataclass(kw_only=True)
class Mixture:
    """The linear program: for each bucket of hosts, how much of it uses the best patterns at each of some prices.

    Guests of a pattern beyond the demand are left out of it, and worth nothing.

    Attributes:
        goal: for the demand of these hosts.
        buckets: how many there are.
        prices: per iteration, (flavours,) in units of 1 / SCALE.
        best: the iteration of the least bound.
    """

    goal: Goal
    buckets: int
    lp: pywraplp.Solver = field(default_factory=lambda: pywraplp.Solver.CreateSolver("GLOP"))
    columns: list[list[pywraplp.Variable]] = field(default_factory=list)
    prices: list[Ints] = field(default_factory=list)
    best: int = 0

    def __post_init__(self) -> None:
        self.whole = [self.lp.Constraint(-self.lp.infinity(), 1.0) for _ in range(self.buckets)]
        self.demand = {
            f: self.lp.Constraint(-self.lp.infinity(), float(n)) for f, n in enumerate(self.goal.demand) if n >= 0
        }
        self.lp.Objective().SetMaximization()
        for f, row in self.demand.items():
            too_many = self.lp.NumVar(0.0, self.lp.infinity(), "")
            row.SetCoefficient(too_many, -1.0)
            worth = self.goal.worth[self.goal.flavour == f].max(initial=0)
            self.lp.Objective().SetCoefficient(too_many, -float(worth))

    def add(self, prices: Ints, guests: Floats, costs: Floats) -> None:
        """Prices, and the best patterns at them: (buckets, ways) guests and (buckets,) costs in units of 1 / SCALE."""
        by_flavour = np.zeros((self.buckets, len(self.goal.demand)))
        np.add.at(by_flavour.T, self.goal.flavour, guests.T)
        worth = guests @ self.goal.worth - costs / SCALE
        column = []
        for b in range(self.buckets):
            variable = self.lp.NumVar(0.0, self.lp.infinity(), "")
            self.lp.Objective().SetCoefficient(variable, float(worth[b]))
            self.whole[b].SetCoefficient(variable, 1.0)
            for f in np.flatnonzero(by_flavour[b]):
                if int(f) in self.demand:
                    self.demand[int(f)].SetCoefficient(variable, float(by_flavour[b, f]))
            column.append(variable)
        self.columns.append(column)
        self.prices.append(prices)

    def solve(self) -> tuple[float, Floats]:
        """The value of the best mixture, and the prices it sets."""
        if self.lp.Solve() != pywraplp.Solver.OPTIMAL:
            return 0.0, np.zeros(len(self.goal.demand))
        prices = np.zeros(len(self.goal.demand))
        for f, row in self.demand.items():
            prices[f] = max(0.0, row.dual_value())
        return self.lp.Objective().Value(), prices

    def parts(self, demand: Ints) -> Floats:
        """(buckets, iterations) the best mixture for this demand; the rows add to 1 at most."""
        for f, row in self.demand.items():
            row.SetUb(float(demand[f]))
        self.solve()
        return np.array([[v.solution_value() for v in column] for column in self.columns]).T


def find_prices(sample: Sample, goal: Goal, is_over: Callable[[], bool]) -> Mixture:
    """The prices of (nearly) the least bound over the hosts of the sample, and the mixture that reaches it.

    Those that were found so far once the time is over.
    """
    mixture = Mixture(goal=goal, buckets=sample.buckets)
    center, at = np.zeros(len(goal.demand), dtype=np.int64), np.zeros(len(goal.demand), dtype=np.int64)
    least, smoothing = math.inf, SMOOTHING
    for iteration in range(MOST_ITERATIONS):
        worth, guests, costs = sample.at(goal.values(at))
        mixture.add(at, guests, costs)
        bound = goal.bound(worth, at) / SCALE
        if bound < least:
            least, mixture.best, center = bound, iteration, at
        value, duals = mixture.solve()
        if least - value <= goal.close or is_over():
            break
        wanted = np.rint(duals * SCALE).astype(np.int64)
        at = (smoothing * center + (1 - smoothing) * wanted).astype(np.int64)
        if _seen(at, mixture.prices):
            smoothing, at = 0.0, wanted
            if _seen(at, mixture.prices):
                break
    return mixture


def _seen(prices: Ints, tried: Sequence[Ints]) -> bool:
    return any((prices == known).all() for known in tried)
