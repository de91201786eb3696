"""How many guests of one kind one host takes, by the model: for guests of several parts."""

from __future__ import annotations

import itertools

from ortools.sat.python.cp_model import FEASIBLE, OPTIMAL

from policies.capacity import HostCapacity
from policies.fleet import Fleet
from policies.headroom import Fits
from policies.homes import has_cells, homes_for, is_bound_to_places
from policies.policy import Effort
from policies.request import GuestRequest
from policies.solver.budget import Budget
from policies.solver.improve import whole_bound
from policies.solver.model import FleetModel, build, pcpus_of
from policies.solver.problem import GuestClass, Problem, problem_of
from policies.solver.relax import Relaxation
from policies.solver.rules import HARD_RULES
from policies.solver.stages import stage_of
from probe.topology import UNREACHABLE_DISTANCE

EFFORT = Effort(time_limit_s=None, deterministic_limit=10.0)
"""Per shape of a host: enough for a proof on all that were tried. Where it is not, the bound says so."""


def most_alike(request: GuestRequest, host: HostCapacity) -> Fits:
    """The most guests like this one that the host takes, and a bound."""
    pages = {concrete.page_kib for concrete in request.by_pages()}
    kib = sum(node.memory_kib.get(page, 0) for node in host.nodes for page in pages)
    most = min(pcpus_of(host) // request.vcpus, kib // request.memory_kib)
    if not most:
        return Fits(0, 0)
    alike = GuestClass(index=0, request=request, members=(request,) * most)
    fleet = Fleet.of([host])
    if _parts_may_be_matched(request, host):
        by_part = Problem(fleet=fleet, classes=(alike,), ways={}, partial=frozenset({0}))
        return _solved(Relaxation(by_part).fleet, most)
    problem = problem_of([alike], fleet, {})
    found = _solved(build(problem), most)
    if problem.is_complete:
        return found
    return Fits(found.count, min(found.bound, _solved(Relaxation(problem).fleet, most).bound))


def _parts_may_be_matched(request: GuestRequest, host: HostCapacity) -> bool:
    """Whether parts that fit their nodes, of each guest no two on one node, always make whole guests.

    Of N guests, each kind of part is N times there, and no node has more than N parts: such a table of
    kinds and nodes is a sum of N matchings (König 1916), and each matching is a guest. What else
    binds the nodes of one guest together must be absent.
    """
    there = homes_for(request, host)
    slit = host.topology.distance
    pairs = itertools.permutations({home.cpu_node for home in there}, 2)
    if is_bound_to_places(request):
        return False
    if request.max_distance is not None or any(slit(a, b) >= UNREACHABLE_DISTANCE for a, b in pairs):
        return False
    return has_cells(request, host) or len({home.memory_node for home in there}) == len(there)


def _solved(fleet: FleetModel, most: int) -> Fits:
    for rule in HARD_RULES:
        rule(fleet)
    placed = stage_of(fleet, 0)
    placed.aim(fleet.model)
    cp = Budget(EFFORT).solver(share=1.0)
    status = cp.solve(fleet.model)
    if status not in (OPTIMAL, FEASIBLE):
        return Fits(0, most)
    return Fits(round(cp.objective_value), min(most, whole_bound(cp, placed)))
