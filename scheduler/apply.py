"""Apply as a transaction: everybody into the books, then each guest created; again where the world changed.

First all guests are accepted and reserved (`scheduler.booking`), so that nobody else takes what the
plan needs; then the hosts are worked on side by side (`scheduler.workers`), the guests of one host
one after the other (`scheduler.creation`). A guest whose place is gone was undone by then; it alone
is planned again on hosts that are looked at afresh, a bounded number of times. Nobody else is moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from policies.plan import Placement, Rejection
from probe.errors import NumaplaceError
from scheduler import workers
from scheduler.booking import book
from scheduler.job import Course, Move, Outcome, Report
from scheduler.ledger import Claim, Ledger
from scheduler.steps import Order, Site
from scheduler.workers import Booked, Task

__all__ = ["Course", "Home", "Move", "Order", "Outcome", "PlanAgain", "Report", "Site", "apply_orders"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where a guest that was planned again is to be created. `site.topology` is what it was planned on."""

    order: Order
    site: Site


PlanAgain = Callable[[Placement, Set[tuple[str, int]]], Home | Rejection]
"""Look at the hosts and plan this guest again, everybody else staying where the books say, and not on these
nodes (host, node). May raise."""


def apply_orders(
    orders: Sequence[Order],
    sites: Mapping[str, Site],
    ledger: Ledger,
    course: Course | None = None,
    plan_again: PlanAgain | None = None,
) -> tuple[Outcome, ...]:
    """Create guests on the hosts of `sites`; outcomes in the order of `orders`.

    Whatever is raised here stops all hosts after the steps that they are in.
    """
    course = course or Course()
    told = _Outcomes(ledger, course, plan_again)
    tasks = [Task(order=order, site=sites[order.placement.host]) for order in orders]
    with ThreadPoolExecutor(max_workers=workers.AT_ONCE, thread_name_prefix="numaplace") as pool:
        try:
            results = workers.book_all(tasks, ledger, course, pool)
            booked = [each for task, result in results if (each := told.settle(task, result)) is not None]
            workers.create_all(booked, ledger, course, pool, lambda ended: told.settle(*ended))
        except BaseException:
            course.stop.set()
            raise
    return tuple(told.by_guest[order.placement.guest] for order in orders)


class _Outcomes:
    """What became of whom; a guest whose place is gone is planned and booked again."""

    def __init__(self, ledger: Ledger, course: Course, plan_again: PlanAgain | None) -> None:
        self._ledger, self._course, self._plan_again = ledger, course, plan_again
        self.by_guest: dict[str, Outcome] = {}

    def settle(self, task: Task, result: Claim | Outcome) -> Booked | None:
        """Note an outcome; what is to be created next for this guest, where there is anything."""
        while isinstance(result, Outcome) and result.world_changed and self._may_try(task):
            found = self._next(task, result)
            if isinstance(found, Outcome):
                result = found
                break
            task, result = found, book(found.job(self._ledger, self._course))
        if isinstance(result, Claim):
            return task, result
        self.by_guest[result.guest] = replace(result, moves=task.moves)
        return None

    def _may_try(self, task: Task) -> bool:
        return len(task.moves) < self._course.retries and not self._course.stop.is_set()

    def _next(self, task: Task, outcome: Outcome) -> Task | Outcome:
        """The guest at its new place; or why there is none."""
        if self._plan_again is None:
            return outcome
        was = task.order.placement
        failed_on = task.failed_on
        if outcome.place_failed:
            failed_on |= {(was.host, node) for node in was.memory_nodes}
        try:
            home = self._plan_again(was, failed_on)
        except NumaplaceError as error:
            return replace(outcome, note=f"{outcome.note}; it could not be planned again: {error}")
        if isinstance(home, Rejection):
            refused = f"{_first_line(outcome)} No place is left ({home.reason.value}): {home.detail}"
            return replace(outcome, exit_status=3, note=refused)
        placed = home.order.placement
        move = Move(
            from_host=was.host,
            from_nodes=str(was.memory_nodes),
            to_host=placed.host,
            to_nodes=str(placed.memory_nodes),
            why=_first_line(outcome),
        )
        return Task(order=home.order, site=home.site, moves=(*task.moves, move), failed_on=failed_on)


def _first_line(outcome: Outcome) -> str:
    """What went wrong, without the advice."""
    return outcome.note.partition("\n")[0]
