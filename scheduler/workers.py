"""Several hosts side by side: one thread for each host, its guests one after the other.

Each thread has a connection of its own to the host's hypervisor and to the books. What goes wrong
with a guest, or with a host, is that guest's outcome, or the outcome of that host's guests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor as Pool, Future, wait
from contextlib import closing
from dataclasses import dataclass, replace

from probe.errors import NumaplaceError
from scheduler.booking import Seen, accept, reserve
from scheduler.creation import create, ended
from scheduler.executors.port import HostUnreachableError
from scheduler.job import Course, Job, Move, Outcome
from scheduler.ledger import Claim, Ledger
from scheduler.steps import Bench, Order, Site

AT_ONCE = 32
"""On so many hosts guests are created at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A guest and the site that it is to be created on.

    Attributes:
        moves: how it came there.
        failed_on: nodes (host, node) where its hypervisor failed it; it is not planned there again.
    """

    order: Order
    site: Site
    moves: tuple[Move, ...] = ()
    failed_on: frozenset[tuple[str, int]] = frozenset()

    @property
    def host(self) -> str:
        return self.order.placement.host

    def job(self, ledger: Ledger, course: Course, site: Site | None = None) -> Job:
        """The task at a work bench; `site` where that thread has a connection of its own."""
        bench = Bench(site=site or self.site, ledger=ledger, faults=course.faults)
        why = f"{self.moves[-1]}, because {self.moves[-1].why}" if self.moves else ""
        return Job(order=self.order, bench=bench, course=course, why=why)


Booked = tuple[Task, Claim]
Ended = tuple[Task, Outcome]


def book_all(
    tasks: Sequence[Task], ledger: Ledger, course: Course, pool: Pool
) -> tuple[tuple[Task, Claim | Outcome], ...]:
    """All guests into the books, in their order; then promised, host by host side by side.

    Each with its claim, or with the outcome that ends it.
    """
    accepted = [(task, accept(task.job(ledger, course))) for task in tasks]
    by_host: dict[str, list[Booked]] = {}
    for task, claim in accepted:
        if isinstance(claim, Claim):
            by_host.setdefault(task.host, []).append((task, claim))

    def of_host(mine: Sequence[Booked]) -> list[tuple[Task, Claim | Outcome]]:
        looks: dict[str, Seen] = {}
        with closing(ledger.reopened()) as own:
            return [(task, reserve(task.job(own, course), claim, looks)) for task, claim in mine]

    ended_already = [(task, result) for task, result in accepted if isinstance(result, Outcome)]
    return (*ended_already, *(pair for found in pool.map(of_host, by_host.values()) for pair in found))


def create_all(
    booked: Sequence[Booked], ledger: Ledger, course: Course, pool: Pool, settle: Callable[[Ended], Booked | None]
) -> None:
    """Create what is booked; `settle` takes each outcome, in the calling thread, and may book the guest anew."""
    waiting: dict[str, list[Booked]] = {}
    running: dict[Future[list[Ended]], str] = {}
    for each in booked:
        waiting.setdefault(each[0].host, []).append(each)
    while waiting or running:
        for host in [host for host in waiting if host not in running.values()]:
            running[pool.submit(_of_host, waiting.pop(host), ledger, course)] = host
        wait(running, return_when=FIRST_COMPLETED)
        for future in [future for future in running if future.done()]:
            del running[future]
            for outcome in future.result():
                again = settle(outcome)
                if again is not None:
                    waiting.setdefault(again[0].host, []).append(again)


def _of_host(mine: Sequence[Booked], ledger: Ledger, course: Course) -> list[Ended]:
    """The guests of one host, one after the other, in a thread of their own."""
    with closing(ledger.reopened()) as own:
        try:
            executor = mine[0][0].site.connect()
        except NumaplaceError as error:
            lost = HostUnreachableError(error.message, advice=error.advice)
            return [(task, ended(task.job(own, course), claim, lost)) for task, claim in mine]
        with closing(executor):
            return [
                (task, create(task.job(own, course, replace(task.site, executor=executor)), claim))
                for task, claim in mine
            ]
