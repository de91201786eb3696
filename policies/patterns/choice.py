"""One pattern for each of a few hosts, so that together they serve a demand best."""

from __future__ import annotations

import numpy as np
from ortools.sat.python import cp_model

from policies.patterns.prices import SCALE, Goal
from policies.patterns.question import Ints

DETERMINISTIC_SECONDS = 1.0


def best_choice(guests: Ints, costs: Ints, goal: Goal) -> Ints:
    """(hosts,) the index of the pattern of each host.

    Args:
        guests: (hosts, patterns, ways) how many guests each pattern places.
        costs: (hosts, patterns) of each pattern, in units of 1 / SCALE.
        goal: guests beyond its demand are worth nothing.
    """
    model = cp_model.CpModel()
    hosts, patterns, ways = guests.shape
    chosen = [[model.new_bool_var("") for _ in range(patterns)] for _ in range(hosts)]
    for of_host in chosen:
        model.add_exactly_one(of_host)
    flat = [variable for of_host in chosen for variable in of_host]
    counts = guests.reshape(hosts * patterns, ways)
    gain = cp_model.LinearExpr.weighted_sum(flat, (counts @ goal.worth * SCALE - costs.ravel()).tolist())
    for flavour in np.intersect1d(np.flatnonzero(goal.demand >= 0), goal.flavour):
        of_flavour = counts[:, goal.flavour == flavour].sum(axis=1)
        too_many = model.new_int_var(0, int(of_flavour.sum()), "")
        placed = cp_model.LinearExpr.weighted_sum(flat, of_flavour.tolist())
        model.add(too_many >= placed - int(goal.demand[flavour]))
        gain -= too_many * (SCALE * int(goal.worth[goal.flavour == flavour].max()))
    model.maximize(gain)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_deterministic_time = DETERMINISTIC_SECONDS
    for of_host in chosen:
        model.add_hint(of_host[0], True)
    if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return np.zeros(hosts, dtype=np.int64)
    values = np.array([[solver.value(variable) for variable in of_host] for of_host in chosen], dtype=np.int64)
    chosen_patterns: Ints = values.argmax(axis=1)
    return chosen_patterns
