"""Greedy answers in the solver's terms: the best of them is the start of its search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from policies.asked import SmtPolicy
from policies.candidates import Candidate
from policies.fleet import Fleet
from policies.greedy import Chooser, choose_emptiest, choose_first, choose_fullest
from policies.homes import Home
from policies.in_turn import take_in_turn
from policies.l3 import l3_groups, l3_use
from policies.online.fleet import OnlineFleet
from policies.open_fleet import OpenFleet
from policies.plan import Placement
from policies.request import GuestRequest
from policies.solver.arrays import for_arrays
from policies.solver.budget import Budget
from policies.solver.large import is_large
from policies.solver.problem import Counts, GuestClass, WayId
from policies.solver.turns import in_turns, one_by_one

MANY = 5_000
"""Guests × hosts beyond which a greedy policy takes seconds."""

SHARE = 0.3
"""The part of the budget after which no further start is worked out."""

PAIR_S = 1e-4
"""What a greedy policy is counted for, per guest and host, where effort is counted and not measured."""


def starts(
    classes: Sequence[GuestClass], requests: Sequence[GuestRequest], fleet: Fleet, budget: Budget
) -> list[Counts]:
    """What the greedy policies answer, and what they answer to the largest guests first.

    The first is always worked out, the others while there is time. Of `MANY` guests × hosts, where each takes long,
    the first is what guests get who come one by one, and in large batches the next what patterns give whom they know:
    before all others, or after them.
    """
    found: list[Counts] = []
    pairs = len(requests) * len(fleet)
    if pairs > MANY:
        ordered = sorted(requests, key=largest_first)
        found = [_counts(classes, some, fleet) for some in of_many(ordered, fleet, budget)]
    for choose in (choose_fullest, choose_first, choose_emptiest):
        for order in (_by_priority, largest_first):
            in_time = _in_time(choose, budget) if found else choose
            work_s = pairs * PAIR_S if found and pairs > MANY else 0.0
            if not found or (not budget.is_spent(share=SHARE) and budget.affords(work_s, share=SHARE)):
                budget.count(work_s)
                with suppress(_OutOfTimeError):
                    found.append(_greedy(classes, sorted(requests, key=order), fleet, in_time))
    return found


def of_many(ordered: Sequence[GuestRequest], fleet: Fleet, budget: Budget) -> Iterator[Iterable[Placement]]:
    """What guests get one by one, and in large batches what patterns give whom they know, before others or after."""
    large = is_large(ordered, fleet)
    yield one_by_one(ordered, OnlineFleet(fleet), budget, share=SHARE / 2 if large else 1.0)
    known = len(for_arrays(ordered, fleet)) if large else 0
    for others_first in (False, True)[: bool(known) + bool(known and known < len(ordered))]:
        if not budget.is_spent(share=SHARE):
            yield in_turns(ordered, fleet, budget, SHARE, others_first=others_first)


class _OutOfTimeError(Exception):
    """A start was not ready in time."""


def _in_time(choose: Chooser, budget: Budget) -> Chooser:
    """The same as long as there is time for starts; then `_OutOfTimeError`."""

    def chosen(request: GuestRequest, book: OpenFleet) -> tuple[Candidate, Placement] | None:
        if budget.is_spent(share=SHARE):
            raise _OutOfTimeError
        return choose(request, book)

    return chosen


def _counts(classes: Sequence[GuestClass], placements: Iterable[Placement], fleet: Fleet) -> Counts:
    class_of = {member.name: c.index for c in classes for member in c.members}
    counts: Counter[WayId] = Counter()
    for placement in placements:
        counts[_way_of(placement, class_of[placement.guest], homes_of(placement, fleet), fleet)] += 1
    return counts


def _way_of(placement: Placement, of_class: int, where: tuple[Home, ...], fleet: Fleet) -> WayId:
    way = WayId(of_class, placement.host, where, placement.cells[0].memory[0].page_kib)
    if not l3_groups(placement.groups):
        return way
    nodes, by_core = [home.cpu_node for home in where], placement.smt is not SmtPolicy.PREFER
    return way._replace(l3=l3_use(placement, fleet.host(placement.host), nodes, by_core=by_core))


def homes_of(placement: Placement, fleet: Fleet) -> tuple[Home, ...]:
    """The homes of its parts, in the order of their vCPUs."""
    host = fleet.host(placement.host)
    node_of = {cpu: n.node_id for n in host.nodes for cpu in (n.free_cpus | n.shared_cpus).ids}
    found = dict[Home, None]()
    for cell in placement.cells:
        cpu_nodes = dict.fromkeys(node_of[min(pin)] for _, pin in sorted(cell.pins.items()))
        memory = [share.node_id for share in cell.memory if share.node_id is not None]
        memory = memory if len(memory) == len(cpu_nodes) else memory * len(cpu_nodes)
        found |= {Home(cpu_node=c, memory_node=m): None for c, m in zip(cpu_nodes, memory, strict=True)}
    return tuple(found)


def _by_priority(request: GuestRequest) -> tuple[int, ...]:
    return (-request.priority,)


def largest_first(request: GuestRequest) -> tuple[int, ...]:
    """The order in which they come: by priority, then by size."""
    return -request.priority, -request.memory_kib, -request.vcpus


def _greedy(classes: Sequence[GuestClass], requests: Sequence[GuestRequest], fleet: Fleet, choose: Chooser) -> Counts:
    class_of = {member.name: c.index for c in classes for member in c.members}
    homes_of: dict[str, tuple[Home, ...]] = {}

    def rule(request: GuestRequest, book: OpenFleet) -> Placement | None:
        choice = choose(request, book)
        if choice is None:
            return None
        homes_of[request.name] = choice[0].homes
        return choice[1]

    counts: Counter[WayId] = Counter()
    for name, placement in take_in_turn(requests, fleet.open(), rule).items():
        counts[_way_of(placement, class_of[name], homes_of[name], fleet)] += 1
    return counts
