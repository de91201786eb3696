"""How many guests could have a place at most if all comings and goings were known beforehand: a bound.

The linear program that lets any part of a guest come, and stay for as long as it does, where at each moment that is
looked at the guests there together have no more pCPUs and memory than all hosts together have. What a node or host
holds by itself, groups, and other moments are not looked at: all that makes the bound larger only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ortools.linear_solver import pywraplp

from policies.asked import own_vcpus
from policies.fleet import Counts, Fleet
from policies.request import GuestRequest

_GIB_KIB = 1 << 20
_ROUNDING = 1e-6
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stays:
    """Guests that ask for the same and are there at the same moments.

    Attributes:
        first, last: the first and the last moment, both included, by their number.
    """

    request: GuestRequest
    first: int
    last: int
    count: int


def most_placed(stays: Sequence[Stays], fleet: Fleet) -> int:
    """A bound of how many of these guests can have a place, whoever decides, migrations or none.

    It is worked out from the dual prices, so that it holds whatever the solver's tolerance is.
    """
    able = [stay for stay in stays if _fits_somewhere(stay.request, fleet)]
    if not able:
        return 0
    moments = 1 + max(stay.last for stay in able)
    needs = np.array([[*_needs(stay.request, fleet)] for stay in able])
    room = np.array([*_room(fleet)])
    counts = np.array([stay.count for stay in able], dtype=np.float64)
    prices = _prices(able, needs, room, moments)
    paid_until = np.concatenate([np.zeros((1, len(room))), np.cumsum(prices, axis=0)])
    first, last = (np.array([getattr(stay, name) for stay in able]) for name in ("first", "last"))
    paid = ((paid_until[last + 1] - paid_until[first]) * needs).sum(axis=1)
    bound = float((prices * room).sum() + (counts * np.maximum(0.0, 1.0 - paid)).sum())
    return min(int(counts.sum()), math.floor(bound + _ROUNDING * max(1.0, bound)))


def _prices(stays: Sequence[Stays], needs: Floats, room: Floats, moments: int) -> Floats:
    """(moments, resources) what each costs in the best solution, never negative; all 0 where there is none."""
    lp = pywraplp.Solver.CreateSolver("GLOP")
    rows = [[lp.Constraint(-lp.infinity(), float(most)) for most in room] for _ in range(moments)]
    objective = lp.Objective()
    objective.SetMaximization()
    for stay, need in zip(stays, needs, strict=True):
        part = lp.NumVar(0.0, float(stay.count), "")
        objective.SetCoefficient(part, 1.0)
        for resource in np.flatnonzero(need):
            for moment in range(stay.first, stay.last + 1):
                rows[moment][resource].SetCoefficient(part, float(need[resource]))
    if lp.Solve() != pywraplp.Solver.OPTIMAL:
        return np.zeros((moments, len(room)))
    return np.array([[max(0.0, row.dual_value()) for row in of_moment] for of_moment in rows])


def _room(fleet: Fleet) -> Iterator[float]:
    """What all hosts together have: pCPUs to own, vCPUs to share, pCPUs of either; GiB by page size, and of all."""
    either = sum(len(node.free_cpus | node.shared_cpus) for host in fleet for node in host.nodes)
    yield from (float(fleet.free_cpus.sum()), float(fleet.shared_room.sum()), float(either))
    by_page = [float(kib.sum()) / _GIB_KIB for _, kib in sorted(fleet.memory_kib.items())]
    yield from (*by_page, sum(by_page))


def _needs(request: GuestRequest, fleet: Fleet) -> Iterator[float]:
    """What a guest takes of each, at least. One that wants the largest pages may take any."""
    most_shared = max((float(host.overcommit) for host in fleet), default=1.0)
    own = len(own_vcpus(request))
    shared = request.vcpus - own
    yield from (float(own), float(shared), own + shared / most_shared)
    for page in sorted(fleet.memory_kib):
        mine = request.memory_kib if page == request.page_kib and not request.largest_pages else 0
        yield (mine + (request.overhead_kib if page == 4 else 0)) / _GIB_KIB
    yield (request.memory_kib + request.overhead_kib) / _GIB_KIB


def _fits_somewhere(request: GuestRequest, fleet: Fleet) -> bool:
    """Whether the sums of some host that it may live on hold it when nobody is there."""
    allowed = fleet.schedulable.copy()
    if request.hosts is not None:
        allowed &= np.array([host.name in request.hosts for host in fleet], dtype=np.bool_)
    own = len(own_vcpus(request))
    allowed &= _of_hosts(fleet.free_cpus, fleet) >= own
    allowed &= _of_hosts(fleet.shared_room, fleet) >= request.vcpus - own
    kib = np.zeros(len(fleet.node_host), dtype=np.int64)
    for concrete in request.by_pages():
        kib = kib + fleet.memory_kib.get(concrete.page_kib, 0)
    return bool((allowed & (_of_hosts(kib, fleet) >= request.memory_kib)).any())


def _of_hosts(rows: Counts, fleet: Fleet) -> Floats:
    return np.bincount(fleet.node_host, rows, minlength=len(fleet)).astype(np.float64)
