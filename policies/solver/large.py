"""Batches too large for one model: as arrays to the pattern placer, and its answer as decisions.

What cannot be put in arrays (`policies.solver.arrays`) is left to the model and its neighbourhoods.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from policies.capacity import HostCapacity
from policies.compose import Assigned
from policies.compose_all import compose_all
from policies.explain import reject_all
from policies.fleet import Fleet
from policies.objective import Objective, Term
from policies.patterns.place import Placed, place
from policies.patterns.terms import TooManyKindsError
from policies.plan import Answer, Placement, SolveStatus
from policies.policy import Effort
from policies.request import GuestName, GuestRequest
from policies.solver.arrays import Asked, as_arrays
from policies.solver.budget import Budget
from policies.solver.floors import least_broken, least_load
from policies.solver.polish import polish
from policies.solver.rejected import LOST, UNPROVEN, first_place
from policies.solver.terms import cheapest, fewest_hosts
from policies.tiers import objective_of

SMALL = 100_000
"""Guests × hosts: as many are left to the model."""

SHARE_OF_ROUNDS, SHARE_OF_BOUNDS = 0.6, 0.9
"""The parts of the budget after which patterns place no more guests, and after which no bound is looked for."""


def is_large(requests: Sequence[GuestRequest], fleet: Fleet) -> bool:
    """Whether one model would be too slow."""
    return len(requests) * len(fleet) > SMALL


def place_large(requests: Sequence[GuestRequest], fleet: Fleet, effort: Effort) -> Answer | None:
    """An answer by patterns, polished as long as there is time; None where the question cannot be put in arrays."""
    budget = Budget(effort)
    asked = as_arrays(requests, fleet, effort.objective)
    if asked is None:
        return None
    try:
        placed = place(
            asked.supply,
            asked.batch,
            seed=effort.seed,
            is_over=partial(budget.is_spent, share=SHARE_OF_ROUNDS),
            is_late=partial(budget.is_spent, share=SHARE_OF_BOUNDS),
            spread=effort.spread,
        )
    except TooManyKindsError:
        return None
    bounds = _bounds(requests, effort.objective, fleet, asked, placed)
    assigned, limited_by = polish(list(assigned_by(requests, asked, placed)), requests, fleet, bounds, budget)
    return decided(compose_all(assigned, fleet), requests, fleet, effort, bounds, limited_by)


def decided(
    found: Mapping[GuestName, Placement],
    requests: Sequence[GuestRequest],
    fleet: Fleet,
    effort: Effort,
    bounds: Sequence[int | None],
    limited_by: str,
) -> Answer:
    """The answer where these guests have these places, with a bound per tier."""
    refused = [request for request in requests if request.name not in found]
    weight = sum(request.priority for request in requests if request.name in found)
    lost = LOST if weight == bounds[0] else UNPROVEN
    rejected = reject_all(refused, fleet.open(), rule=first_place, lost=lost, with_changes=False)
    decisions = tuple(found.get(request.name) or rejected[request.name] for request in requests)
    counted = objective_of(decisions, requests, fleet, effort.objective)
    tiers = tuple(replace(tier, bound=bound) for tier, bound in zip(counted, bounds, strict=True))
    proven = all(tier.gap == 0 for tier in tiers)
    status = SolveStatus.OPTIMAL if proven else SolveStatus.FEASIBLE
    return Answer(decisions=decisions, objective=tiers, status=status, limited_by="" if proven else limited_by)


def assigned_by(requests: Sequence[GuestRequest], asked: Asked, placed: Placed) -> Iterator[Assigned]:
    """The answer in arrays as choices for guests."""
    host_of_row = asked.supply.host_of_row()
    for number in np.flatnonzero(placed.homes.placed()):
        rows = [int(row) for row in placed.homes.rows[number] if row >= 0]
        host = asked.hosts[host_of_row[rows[0]]]
        request, its_homes = requests[int(number)], tuple(asked.homes[row] for row in rows)
        yield Assigned(request=request, host=host.name, homes=its_homes, page_kib=request.page_kib)


def _bounds(
    requests: Sequence[GuestRequest], objective: Objective, fleet: Fleet, asked: Asked, placed: Placed
) -> tuple[int | None, ...]:
    """Of each tier what the arrays prove: nothing where some homes are not in them."""
    if not asked.all_homes:
        return (None,) * len(objective.tiers)
    demand = asked.batch.demand().tolist()
    nodes = [min((len(form.shares) for form in flavour.forms), default=0) for flavour in asked.batch.flavours]
    nearest = min((_nearest(host) for host in asked.hosts), default=0)
    offers = [(n, kind.priority, k) for n, kind, k in zip(demand, asked.kinds, nodes, strict=False) if k]
    sizes = [(n, kind.priority, kind.vcpus) for n, kind, k in zip(demand, asked.kinds, nodes, strict=False) if k]
    distances = [(n, priority, nearest * math.comb(k, 2)) for n, priority, k in offers]
    bounds: dict[Term, int] = {
        Term.PLACED: placed.bound,
        Term.NODES_SPANNED: cheapest(offers, placed.value),
        Term.DISTANCE: cheapest(distances, placed.value),
        Term.FEWEST_HOSTS: fewest_hosts(fleet, cheapest(sizes, placed.value)),
    }
    if Term.SOFT_WISHES in objective.terms:
        bounds[Term.SOFT_WISHES] = least_broken(requests, fleet, placed.value)
    if Term.BALANCE in objective.terms:
        kib = [
            (n, kind.priority, kind.memory_kib + kind.overhead_kib)
            for n, kind, k in zip(demand, asked.kinds, nodes, strict=False)
            if k
        ]
        bounds[Term.BALANCE] = least_load(fleet, cheapest(sizes, placed.value), cheapest(kib, placed.value))
    for term, bound in _bounds_of_packing(objective, asked, placed).items():
        bounds[term] = max(bound, bounds.get(term, 0))
    return tuple(bounds.get(tier.terms[0][0]) if len(tier.terms) == 1 else None for tier in objective.tiers)


def _bounds_of_packing(objective: Objective, asked: Asked, placed: Placed) -> dict[Term, int]:
    """Those of `Placed.packing`: they hold below the nodes that are spanned, and where it is one term alone."""
    packing = [term for term in objective.terms if term in (Term.FEWEST_HOSTS, Term.KEEP_LARGEST)]
    above = objective.terms[: objective.terms.index(packing[0])] if packing else ()
    if len(packing) != 1 or Term.NODES_SPANNED not in above or placed.packing_bound is None:
        return {}
    if packing[0] is Term.FEWEST_HOSTS:
        return {Term.FEWEST_HOSTS: max(0, -placed.packing_bound)}
    kept_alone = len(asked.batch.flavours) - len(asked.kinds) == 1
    return {Term.KEEP_LARGEST: placed.packing_bound} if kept_alone else {}


def _nearest(host: HostCapacity) -> int:
    """The least distance between two nodes; 0 where there are not two."""
    pairs = itertools.combinations([node.node_id for node in host.nodes], 2)
    return min((max(host.topology.distance(a, b), host.topology.distance(b, a)) for a, b in pairs), default=0)
