"""Large batches with guests whom patterns do not know: these one by one, after all others by patterns, or before."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from policies.capacity import NodeCapacity
from policies.compose_all import compose_all
from policies.fleet import Fleet
from policies.online.fleet import OnlineFleet
from policies.online.together import crews
from policies.open_fleet import OpenFleet
from policies.patterns.place import place
from policies.patterns.terms import TooManyKindsError
from policies.plan import Placement
from policies.request import GuestName, GuestRequest
from policies.solver.arrays import as_arrays, for_arrays
from policies.solver.budget import Budget
from policies.solver.large import assigned_by
from probe.cpuset import CpuSet

LEAST_S = 1.0
"""Guests come one by one for so long, whatever the limit is: so there is an answer."""

AT_ONCE = 64
"""Of these, until the clock is looked at again."""


def one_by_one(
    requests: Sequence[GuestRequest], online: OnlineFleet, budget: Budget, share: float = 1.0
) -> Iterator[Placement]:
    """What these guests get who come in this order, those of an all-or-nothing group together.

    Args:
        share: the part of the time limit after which nobody comes any more, but not before `LEAST_S`.
    """
    for number, crew in enumerate(crews(requests), 1):
        if number % AT_ONCE == 0 and budget.has_lasted(share=share, least_s=LEAST_S):
            return
        yield from (decision for decision in online.place_together(crew) if isinstance(decision, Placement))


def in_turns(
    requests: Sequence[GuestRequest], fleet: Fleet, budget: Budget, share: float, *, others_first: bool = False
) -> list[Placement]:
    """Where these guests go: those whom patterns know first, or the others, in their order; then whoever is left.

    Args:
        share: the part of the budget after which nothing is added to the patterns that there are.
    """
    online, found = OnlineFleet(fleet), list[Placement]()
    known = for_arrays(requests, fleet)
    if others_first:
        names = {request.name for request in known}
        found = list(one_by_one([r for r in requests if r.name not in names], online, budget))
        known = _in_no_group_of(known, {r.name: r for r in requests}, found)
    by_patterns = _by_patterns(known, _left(online.book) if found else fleet, budget, share)
    for placement in by_patterns.values():
        online.take(placement)
    placed = {placement.guest for placement in (*found, *by_patterns.values())}
    rest = one_by_one([request for request in requests if request.name not in placed], online, budget)
    return [*found, *by_patterns.values(), *rest]


def _left(book: OpenFleet) -> Fleet:
    """What is left in a book, without the pCPUs that nobody may own because guests of the book float there."""
    hosts = []
    for host in book.fleet:
        left, rows = book.host(host.name), book.fleet.rows(host.name)
        nodes = [_own_at_most(node, int(book.own_room[row])) for node, row in zip(left.nodes, rows, strict=True)]
        hosts.append(replace(left, nodes=tuple(nodes)))
    return Fleet.of(hosts)


def _own_at_most(node: NodeCapacity, pcpus: int) -> NodeCapacity:
    """The node with so many free pCPUs, the shared ones last."""
    free = [*sorted((node.free_cpus - node.shared_cpus).ids), *sorted((node.free_cpus & node.shared_cpus).ids)]
    return replace(node, free_cpus=CpuSet.of(*free[:pcpus]))


def _in_no_group_of(
    known: Sequence[GuestRequest], asked: Mapping[GuestName, GuestRequest], placed: Sequence[Placement]
) -> list[GuestRequest]:
    """Those in no hard group with somebody who is placed: patterns do not see where he is."""
    taken = {name for placement in placed for name in _hard_groups(asked[placement.guest])}
    return [request for request in known if taken.isdisjoint(_hard_groups(request))]


def _hard_groups(request: GuestRequest) -> Collection[str]:
    return {member.group.name for member in request.groups if member.group.hard}


def _by_patterns(
    requests: Sequence[GuestRequest], fleet: Fleet, budget: Budget, share: float
) -> Mapping[GuestName, Placement]:
    """What patterns place, as far as the share of the budget goes."""
    effort = budget.effort
    asked = as_arrays(requests, fleet, effort.objective)
    if asked is None:
        return {}

    def is_over() -> bool:
        return budget.is_spent(share=share)

    try:
        placed = place(asked.supply, asked.batch, seed=effort.seed, is_over=is_over, spread=effort.spread)
    except TooManyKindsError:
        return {}
    return compose_all(list(assigned_by(requests, asked, placed)), fleet)
