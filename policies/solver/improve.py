"""Better answers: CP-SAT on one tier of everything, and on all tiers of a few hosts at a time."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence

from ortools.sat.python.cp_model import FEASIBLE, OPTIMAL, UNKNOWN, CpSolver

from policies.solver.budget import Budget
from policies.solver.model import FleetModel, Way, build
from policies.solver.problem import Counts, Problem, Values, WayId
from policies.solver.rules import HARD_RULES, Rule
from policies.solver.stages import Stage, aim_at_all
from policies.solver.terms import values_of, worth
from probe.errors import NumaplaceError

LARGEST_NEIGHBOURHOOD = 4
"""Hosts that are emptied and filled again together."""

MOST_WAITING = 24
"""Unplaced guests that a neighbourhood may take in."""


class PolicyError(NumaplaceError):
    """The model is wrong: a bug of ours."""


def solve_stage(
    fleet: FleetModel, stage: Stage, start: Counts, budget: Budget, share: float
) -> tuple[Counts, int | None]:
    """Solve one tier from a start: the better of start and answer, and a bound where one was found.

    Three outcomes stay three: nothing known in time (the start), solved, and a wrong model.

    Raises:
        PolicyError: CP-SAT says that the model is wrong or has no answer; placing nobody is one.
    """
    stage.aim(fleet.model)
    fleet.start_from(start)
    cp = budget.solver(share=share)
    status = cp.solve(fleet.model)
    budget.spend(cp)
    if status == UNKNOWN:
        return start, None
    if status not in (OPTIMAL, FEASIBLE):
        raise PolicyError(f"CP-SAT answered {cp.status_name(status)}: the model is wrong.")
    found = counts_of(cp, fleet)
    value, before = (values_of(fleet.problem, c)[stage.index] for c in (found, start))
    if status == OPTIMAL:
        return found if value != before else start, value
    better = value > before if stage.maximize else value < before
    return found if better else start, whole_bound(cp, stage)


def whole_bound(cp: CpSolver, stage: Stage) -> int:
    """The bound of a solved model: a whole number that went through a float."""
    bound, tolerance = cp.best_objective_bound, 1e-6
    return math.floor(bound + tolerance) if stage.maximize else math.ceil(bound - tolerance)


def counts_of(cp: CpSolver, fleet: FleetModel) -> Counts:
    """What a solved model answers."""
    found: Counter[WayId] = Counter()
    for way in fleet.ways:
        if n := cp.value(way.count):
            found.update([way.way_id] * n if not way.l3 else _with_l3(cp, way, n))
    return dict(found)


def _with_l3(cp: CpSolver, way: Way, guests: int) -> Iterator[WayId]:
    """What the guests of a way own in which L3 domain, dealt out to one after the other."""
    left = [[[i, cp.value(variable)] for i, variable in uses.items()] for uses in way.l3]
    units = [sum(n for _, n in uses) // guests for uses in left]
    for _ in range(guests):
        yield way.way_id._replace(l3=tuple(tuple(_dealt(*part)) for part in zip(left, units, strict=True)))


def _dealt(left: list[list[int]], units: int) -> Iterator[tuple[int, int]]:
    """So many of what is left, the first first; what is given is taken off."""
    for entry in left:
        given = min(units, entry[1])
        entry[1] -= given
        units -= given
        if given:
            yield entry[0], given


class Neighbourhoods:
    """Empty a few hosts, fill them again as well as possible with their guests and some that wait.

    Each step solves a small model of all tiers exactly, or nearly so, and is taken when the whole
    answer gets better. (Large neighbourhood search; Shaw 1998.)
    """

    def __init__(self, problem: Problem, budget: Budget, rules: Sequence[Rule] = HARD_RULES) -> None:
        self.problem, self.budget, self.rules = problem, budget, rules
        self._random = random.Random(budget.effort.seed)  # noqa: S311
        self._size = {c.index: len(c.members) for c in problem.classes}

    def improve(self, counts: Counts, tier: int, until: float, goal: Sequence[int | None] = ()) -> Counts:
        """Go on until this part of the budget is used, or the goal is reached; no tier above `tier` gets worse."""
        names = [host.name for host in self.problem.fleet]
        values = values_of(self.problem, counts)
        while len(names) > 1 and values != tuple(goal) and not self.budget.is_spent(share=until):
            chosen = self._random.sample(names, min(len(names), self._random.randint(2, LARGEST_NEIGHBOURHOOD)))
            found = self._refilled(counts, frozenset(chosen))
            new = values_of(self.problem, found)
            if self._is_better(new, values, tier):
                counts, values = found, new
        return counts

    def _is_better(self, new: Values, old: Values, tier: int) -> bool:
        now, before = worth(self.problem, new), worth(self.problem, old)
        return now > before and all(n >= o for n, o in zip(now[:tier], before[:tier], strict=True))

    def _refilled(self, counts: Counts, hosts: frozenset[str]) -> Counts:
        here = {way: n for way, n in counts.items() if way.host in hosts}
        sizes = Counter[int]()
        for way, n in here.items():
            sizes[way.of_class] += n
        sizes.update(self._some_waiting(counts))
        elsewhere: dict[WayId, int] = {way: n for way, n in counts.items() if way.host not in hosts}
        fleet = build(self.problem.part(hosts, sizes, elsewhere))
        for rule in self.rules:
            rule(fleet)
        aim_at_all(fleet)
        fleet.start_from(here)
        cp = self.budget.solver(share=1.0, most=0.3)
        status = cp.solve(fleet.model)
        self.budget.spend(cp)
        if status not in (OPTIMAL, FEASIBLE):
            return counts
        return elsewhere | dict(counts_of(cp, fleet))

    def _some_waiting(self, counts: Counts) -> Counter[int]:
        """Classes of guests without a place, each as often as there are such guests."""
        placed = Counter[int]()
        for way, n in counts.items():
            placed[way.of_class] += n
        waiting = [index for index, size in self._size.items() for _ in range(size - placed[index])]
        return Counter(self._random.sample(waiting, min(len(waiting), MOST_WAITING)))
