"""Changes that make a guest fit in a new plan: the batch is solved again with each.

Nobody who has a place loses it there; others may live elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from policies.asking_less import other_requests, smaller_requests
from policies.capacity import HostCapacity
from policies.fleet import Fleet
from policies.homes import refusal
from policies.objective import Objective, ObjectiveTier, Term
from policies.open_fleet import OpenFleet
from policies.plan import Placement
from policies.policy import Effort, Policy
from policies.request import GuestRequest, HostName
from policies.why.beside import Beside
from policies.why.change import Change
from policies.why.more_pages import more_pages
from policies.why.watch import Watch

AS_IT_IS = "all are planned again, as they ask"
"""What helps where a better plan has a place for the guest as it asks."""

MOST_SOLVED = 5_000
"""Guests × hosts of a new plan: of larger ones the hosts with the most room for the guest are planned again."""

SHARE, SHORTEST_S, DETERMINISTIC_S = 0.25, 0.5, 10.0
"""The part of the time that is left which one plan has; without a limit, so many deterministic seconds."""

_ONLY_PLACED = Objective(tiers=(ObjectiveTier(terms=((Term.PLACED, 1),)),))


class NewPlan(NamedTuple):
    """The changes that help in a new plan, and the hosts that were planned again."""

    found: tuple[Change, ...]
    hosts: tuple[HostName, ...]


def in_a_new_plan(request: GuestRequest, beside: Beside, solve: Policy, watch: Watch) -> NewPlan:
    """Every change of the list but moves; of amounts the least."""
    part = concerned(request, beside)
    again = _Again(part, solve, watch)
    hosts = tuple(host.name for host in part.fleet if host.schedulable)
    return NewPlan(tuple(again.changes(request)), hosts)


def concerned(request: GuestRequest, beside: Beside) -> Beside:
    """The plan, or of one that is too large the part on the hosts that have the most room for the guest."""
    if (len(beside.placed) + 1) * len(beside.fleet) <= MOST_SOLVED:
        return beside
    book = beside.book()
    allowed = [host for host in beside.fleet if refusal(request, host) is None]
    nearest = sorted(allowed, key=lambda host: -_room(request, book, host))
    on_host = Counter(placement.host for placement in beside.placed)
    names: list[HostName] = []
    guests = 1
    for host in nearest:
        guests += on_host[host.name]
        if names and guests * (len(names) + 1) > MOST_SOLVED:
            break
        names.append(host.name)
    chosen = frozenset(names)
    groups = [member for placement in beside.placed if placement.host in chosen for member in placement.groups]
    return beside.on_hosts(chosen, (*groups, *request.groups))


def _room(request: GuestRequest, book: OpenFleet, host: HostCapacity) -> float:
    """How much of the guest the host's nodes have left together, of what is shortest."""
    nodes = book.host(host.name).nodes
    memory_kib = book.host_memory_left_kib(host.name, request.page_kib)
    pcpus = sum(len(node.free_cpus | node.shared_cpus) - node.shared_vcpus for node in nodes)
    return min(memory_kib / request.memory_kib, pcpus / request.vcpus)


class _Again:
    """Solves a batch again and again, with one guest more that asks for something else each time."""

    def __init__(self, beside: Beside, solve: Policy, watch: Watch) -> None:
        self._beside, self._solve, self._watch = beside, solve, watch
        self._known: dict[GuestRequest, Placement | None] = {}

    def changes(self, request: GuestRequest) -> Iterator[Change]:
        """Those that help, each solved; none but that it is planned again where that is enough."""
        if (home := self._place(request, AS_IT_IS)) is not None:
            yield Change(text=AS_IT_IS, placement=home, new_plan=True)
            return
        yield from self._changes(other_requests(request))
        for more in more_pages(request, self._beside, self._beside.book()):
            if placement := self._solved(request, more.given(self._beside.fleet), more.text):
                yield Change(text=more.text, placement=placement, new_plan=True)
        yield from self._changes(smaller_requests(request, lambda less: self._place(less, "smaller") is not None))

    def _changes(self, offers: Iterator[tuple[str, GuestRequest]]) -> Iterator[Change]:
        for text, changed in offers:
            if placement := self._place(changed, text):
                yield Change(text=text, placement=placement, new_plan=True)

    def _place(self, request: GuestRequest, text: str) -> Placement | None:
        if request not in self._known:
            self._known[request] = self._solved(request, self._beside.fleet, text)
        return self._known[request]

    def _solved(self, request: GuestRequest, fleet: Fleet, text: str) -> Placement | None:
        """Where the guest lives in a new plan in which all have places; None where none was found."""
        if self._watch.is_over():
            return None
        self._watch.tell(f"a new plan: {text}")
        left_s, asked = self._watch.left_s, [self._beside.asked[p.guest] for p in self._beside.placed]
        effort = Effort(
            time_limit_s=None if left_s is None else max(SHORTEST_S, left_s * SHARE),
            deterministic_limit=DETERMINISTIC_S if left_s is None else None,
            objective=_ONLY_PLACED,
        )
        answer = self._solve([*asked, request], fleet, effort)
        last = answer.decisions[-1]
        if isinstance(last, Placement) and all(isinstance(decision, Placement) for decision in answer.decisions):
            return last
        self._watch.ended = self._watch.ended or bool(answer.limited_by)
        return None
