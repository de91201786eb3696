"""What patterns placed, made better by the model, a few hosts at a time, as long as there is time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from policies.compose import Assigned
from policies.compose_all import with_l3
from policies.fleet import Fleet
from policies.request import GuestRequest
from policies.solver.budget import Budget
from policies.solver.improve import Neighbourhoods
from policies.solver.problem import MOST_WAYS, Counts, GuestClass, WayId, classes_of, problem_of

PATTERNS = "the patterns, which look at places, nodes and packing only"
"""What limits an answer that nothing was tried after."""


def polish(
    assigned: Sequence[Assigned],
    requests: Sequence[GuestRequest],
    fleet: Fleet,
    goal: Sequence[int | None],
    budget: Budget,
) -> tuple[Sequence[Assigned], str]:
    """An answer that is no worse, and what ended the search for a better one.

    Without a limit there is none, because nothing would end it.

    Args:
        goal: the bound of each tier; None is none.
    """
    if budget.is_spent():
        return assigned, budget.what_ended()
    if not budget.is_limited:
        return assigned, PATTERNS
    classes = classes_of(requests)
    if len(classes) * len(fleet) > MOST_WAYS:
        return assigned, "the size of the batch"
    counts = _counts(with_l3(assigned, fleet), classes)
    problem = problem_of(classes, fleet, counts, budget.effort.objective)
    better = Neighbourhoods(problem, budget).improve(counts, 0, 1.0, goal)
    return assigned_of(better, classes), budget.what_ended() or PATTERNS


def _counts(assigned: Sequence[Assigned], classes: Sequence[GuestClass]) -> Counts:
    class_of = {member.name: c.index for c in classes for member in c.members}
    return Counter(WayId(class_of[a.request.name], a.host, a.homes, a.page_kib, l3=a.l3) for a in assigned)


def assigned_of(counts: Counts, classes: Sequence[GuestClass]) -> list[Assigned]:
    """Counts to guests: the members of a class fill its ways in order."""
    waiting = {of_class.index: iter(of_class.members) for of_class in classes}
    return [
        Assigned(request=next(waiting[way.of_class]), host=way.host, homes=way.homes, page_kib=way.page_kib, l3=way.l3)
        for way, n in counts.items()
        for _ in range(n)
    ]
