"""Greedy answers in the solver's terms: the best of them is the start of its search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from policies.fleet import Fleet
from policies.greedy import Chooser, choose_emptiest, choose_first, choose_fullest
from policies.homes import Home
from policies.in_turn import take_in_turn
from policies.open_fleet import OpenFleet
from policies.plan import Placement
from policies.request import GuestRequest
from policies.solver.budget import Budget
from policies.solver.problem import Counts, GuestClass, WayId


def starts(
    classes: Sequence[GuestClass], requests: Sequence[GuestRequest], fleet: Fleet, budget: Budget
) -> list[Counts]:
    """What the greedy policies answer, and what they answer to the largest guests first.

    The first is always worked out, the others while there is time.
    """
    found: list[Counts] = []
    for choose in (choose_fullest, choose_first, choose_emptiest):
        for order in (_by_priority, _largest_first):
            if not found or not budget.is_spent(share=0.3):
                found.append(_greedy(classes, sorted(requests, key=order), fleet, choose))
    return found


def _by_priority(request: GuestRequest) -> tuple[int, ...]:
    return (-request.priority,)


def _largest_first(request: GuestRequest) -> tuple[int, ...]:
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
        page_kib = placement.cells[0].memory[0].page_kib
        counts[WayId(class_of[name], placement.host, homes_of[name], page_kib)] += 1
    return counts
