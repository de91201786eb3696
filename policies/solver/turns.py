"""Large batches of guests who ask for different kinds of pCPUs: one kind after the other by patterns, then the rest.

Patterns know one kind of pCPU. So those with pCPUs of their own are placed as if they were alone, then those who share
on what is left. Who asks for what patterns do not look at, or is left over, comes one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from policies.compose import compose_all
from policies.fleet import Fleet
from policies.online.fleet import OnlineFleet
from policies.patterns.place import place
from policies.plan import Placement
from policies.request import CpuPolicy, GuestName, GuestRequest
from policies.solver.budget import Budget
from policies.solver.large import as_arrays, assigned_by


def in_turns(requests: Sequence[GuestRequest], fleet: Fleet, budget: Budget, share: float) -> list[Placement]:
    """Where these guests go; the rest in their order.

    Args:
        share: the part of the budget after which nothing is added to the patterns that there are.
    """
    online, placed, groups = OnlineFleet(fleet), dict[GuestName, Placement](), set[str]()
    for cpus in (CpuPolicy.DEDICATED, CpuPolicy.SHARED):
        some = [r for r in requests if r.cpus is cpus and groups.isdisjoint(_hard_groups(r))]
        left = Fleet.of([online.book.host(host.name) for host in fleet]) if placed else fleet
        found = _by_patterns(some, left, budget, share)
        for placement in found.values():
            online.take(placement)
        placed |= found
        groups.update(name for request in some if request.name in found for name in _hard_groups(request))
    rest = (online.place_one(request) for request in requests if request.name not in placed)
    return [*placed.values(), *(decision for decision in rest if isinstance(decision, Placement))]


def _hard_groups(request: GuestRequest) -> Collection[str]:
    return {member.group.name for member in request.groups if member.group.hard}


def _by_patterns(
    requests: Sequence[GuestRequest], fleet: Fleet, budget: Budget, share: float
) -> Mapping[GuestName, Placement]:
    """What patterns place, as far as the share of the budget goes; nothing of what cannot be put in arrays."""
    effort = budget.effort
    asked = as_arrays(requests, fleet, effort.objective)
    if asked is None:
        return {}

    def is_over() -> bool:
        return budget.is_spent(share=share)

    try:
        placed = place(asked.supply, asked.batch, seed=effort.seed, is_over=is_over, spread=effort.spread)
    except ValueError:  # too many kinds of hosts
        return {}
    return compose_all(list(assigned_by(requests, asked, placed)), fleet)
