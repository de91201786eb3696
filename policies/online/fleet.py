"""The book of a fleet to which guests come, and from which they go, one by one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from policies.candidates import Candidate
from policies.compose import settle_shared
from policies.errors import NotTakenError
from policies.explain import Loss, reject_all
from policies.fleet import Counts, Fleet
from policies.greedy import choose_fullest
from policies.groups import LEVELS_OF_A_HOST, Domain, domains_of, whole_groups_of
from policies.homes import refusal
from policies.online.scores import NOWHERE, SPAN_SHIFT, ClassScores, Mask, References, span_of, vcpu_room
from policies.online.shapes import shapes_of
from policies.online.ways import opened
from policies.open_fleet import OpenFleet
from policies.places import all_ways, nodes_of_homes, placed
from policies.plan import Decision, Placement, Reason, Rejection
from policies.request import GroupRule, GuestName, GuestRequest
from policies.shortfall import nearest_miss

_OWN_FIELDS = {"name", "groups", "priority", "lifetime_s"}
_asked: Callable[[GuestRequest], tuple[object, ...]] = attrgetter(
    *(each.name for each in fields(GuestRequest) if each.name not in _OWN_FIELDS)
)
"""Equal for guests of one class."""

_FULL = Loss(reason=Reason.CONTENTION, detail="those that are there leave no room")


def _best_fit(request: GuestRequest, book: OpenFleet) -> Placement | None:
    choice = choose_fullest(request, book)
    return None if choice is None else choice[1]


@dataclass(slots=True)
class _Class:
    """Guests that ask for the same: their scores, how many changes these have seen, and what lacks then."""

    scores: ClassScores
    seen: int = 0
    lacks: tuple[Reason, str] | None = None


class OnlineFleet:
    """Guests come one by one, each at once to the best place there is then, and go again.

    The best place spans the fewest nodes, then the nearest, then (where guests tell how long they stay) has its
    host empty no later, then destroys the fewest of the reference flavours (`scores.References`), then leaves
    the least. The scores of all hosts are kept per class of guests that ask for the same, and only hosts that
    changed since the class was last asked for are looked at again. No solver is called.

    Lifetimes after Barbalho et al., "Virtual Machine Allocation with Lifetime Predictions" (MLSys 2023): a guest
    goes best where others stay longer anyway, so that hosts empty as a whole.

    Attributes:
        book: what is left; read it, do not write to it.
    """

    def __init__(self, fleet: Fleet, *, flavours: Sequence[GuestRequest] = ()) -> None:
        """Args:
        flavours: the guests that are known to come (names mean nothing): room for them is kept, and
            their classes are prepared now.
        """
        self.book = OpenFleet(fleet)
        self._shapes = shapes_of(fleet)
        self._shape_of = np.zeros(len(fleet), dtype=np.int64)
        self._position = np.zeros(len(fleet), dtype=np.int64)
        for number, shape in enumerate(self._shapes):
            self._shape_of[shape.hosts], self._position[shape.hosts] = number, np.arange(len(shape.hosts))
        self._open: Mask = np.array([host.schedulable and not host.cordoned for host in fleet], dtype=np.bool_)
        self._references = References(flavours, self.book, [shape.example for shape in self._shapes])
        self._classes: dict[tuple[object, ...], _Class] = {}
        self._changes = 0
        self._changed_at: Counts = np.zeros(len(fleet), dtype=np.int64)
        self._hosts_of: dict[str, dict[Domain, list[int]]] = {}
        self._leaving: dict[int, dict[GuestName, float]] = defaultdict(dict)
        self._empty_at: npt.NDArray[np.float64] = np.full(len(fleet), -math.inf)
        for concrete in (concrete for flavour in flavours for concrete in flavour.by_pages()):
            self._class_of(concrete)

    def placements(self) -> tuple[Placement, ...]:
        """Where all guests are now, in the order of their coming.

        A guest with shared pCPUs floats on those that nobody owns now: where a dedicated guest came or went
        after it, these are others than when it was placed, and its threads are to be bound anew.
        """
        return settle_shared(tuple(self.book.taken.values()), self.book.fleet)

    def place_one(self, request: GuestRequest, *, now_s: float = 0.0) -> Decision:
        """Take the best place that there is now, or say why there is none.

        A guest that wants the largest pages gets the largest of which a place spans no more than any other.

        Args:
            now_s: the time, on the clock of the lifetimes.

        Raises:
            NotTakenError: a guest of this name is placed already.
        """
        if self.book.is_taken(request.name):
            raise NotTakenError(f"guest {request.name} is placed already.")
        if groups := sorted(whole_groups_of(request)):
            detail = f"group {groups[0]} is all or nothing: its guests are placed as a batch, not one by one"
            return Rejection(guest=request.name, reason=Reason.UNSUPPORTED, detail=detail)
        until = math.inf if request.lifetime_s is None else now_s + request.lifetime_s
        if request.devices:
            return self._near_devices(request, until)
        classes = [(concrete, self._class_of(concrete)) for concrete in request.by_pages()]
        if request.largest_pages:
            classes.sort(key=lambda pair: int(pair[1].scores.scores.min(initial=NOWHERE)) >> SPAN_SHIFT)
        for concrete, known in classes:
            placement = self._place(concrete, known.scores, until)
            if placement is not None:
                return placement
        return self._refused(request, [known for _, known in classes])

    def _near_devices(self, request: GuestRequest, until: float) -> Decision:
        """Host by host, for what is near differs between hosts that are alike in all else: the best fit."""
        placement = _best_fit(request, self.book)
        if placement is None:
            found = reject_all([request], self.book, rule=_best_fit, lost=_FULL, with_changes=False)
            return found[request.name]
        self.book.take(placement)
        self._changed(self.book.fleet.host_index(placement.host), request.name, until)
        return placement

    def _place(self, request: GuestRequest, scores: ClassScores, until: float) -> Placement | None:
        left = scores.scores if not request.groups else self._where_groups_let(request, scores.scores)
        while (host := self._best(left, until)) is not None:
            found = self._on(request, scores, host)
            if found is not None and span_of(found[0]) <= left[host] >> SPAN_SHIFT:
                self.book.take(found[1])
                self._changed(host, request.name, until)
                return found[1]
            if left is scores.scores:
                left = left.copy()
            left[host] = NOWHERE if found is None else (span_of(found[0]) + 1 << SPAN_SHIFT) - 1
        return None

    def take(self, placement: Placement) -> None:
        """The guest is there, wherever it was placed.

        Raises:
            DoesNotFitError: the host has not got what it takes.
            NotTakenError: its guest is placed already.
        """
        self.book.take(placement)
        self._changed(self.book.fleet.host_index(placement.host), placement.guest, math.inf)

    def give_back(self, placement: Placement) -> None:
        """The guest has gone.

        Args:
            placement: what `place_one` answered.

        Raises:
            NotTakenError: it is not placed so.
        """
        self.book.give_back(placement)
        self._changed(self.book.fleet.host_index(placement.host), placement.guest, None)

    def put_back(self, placement: Placement, request: GuestRequest, *, now_s: float = 0.0) -> None:
        """Take a place that was answered for a guest before, in another book: it is there since `now_s`.

        Raises:
            DoesNotFitError: it does not fit there.
            NotTakenError: its guest is placed already.
        """
        self.book.take(placement)
        until = math.inf if request.lifetime_s is None else now_s + request.lifetime_s
        self._changed(self.book.fleet.host_index(placement.host), request.name, until)

    def _class_of(self, request: GuestRequest) -> _Class:
        """The class with its scores up to date."""
        asked = _asked(request)
        known = self._classes.get(asked)
        if known is None:
            kind = replace(request, name=GuestName("any"), groups=(), priority=1, lifetime_s=None)
            known = _Class(ClassScores(kind, self.book, self._shapes, self._references, self._allowed(kind)))
            self._classes[asked] = known
        elif known.seen < self._changes:
            known.lacks = None
            changed = np.flatnonzero(self._changed_at > known.seen)
            shape_of = self._shape_of[changed]
            for number in sorted(set(shape_of.tolist())):
                known.scores.update(number, self._position[changed[shape_of == number]])
        known.seen = self._changes
        return known

    def _allowed(self, kind: GuestRequest) -> Mask:
        """Hosts that take guests and that it may live on; a fresh copy."""
        if kind.hosts is None:
            return self._open.copy()
        named = np.array([host.name in kind.hosts for host in self.book.fleet], dtype=np.bool_)
        return self._open & named

    def _best(self, scores: Counts, until: float) -> int | None:
        """The host with the best score; among equals in span and distance one that is not kept busy longer."""
        best = int(scores.argmin()) if len(scores) else 0
        if not len(scores) or scores[best] == NOWHERE:
            return None
        if math.isinf(until):
            return best
        equals = np.flatnonzero(scores >> SPAN_SHIFT == scores[best] >> SPAN_SHIFT)
        longer = np.maximum(0.0, until - self._empty_at[equals])
        equals = equals[longer == longer.min()]
        return int(equals[scores[equals].argmin()])

    def _on(self, request: GuestRequest, scores: ClassScores, host: int) -> tuple[Candidate, Placement] | None:
        """The best way there that really fits: its pCPUs one by one, and the rules of its groups."""
        there = self.book.fleet.hosts[host]
        best = scores.way_of(int(self._shape_of[host]), host)
        if best is not None and not self.book.groups.conflict(request.groups, there, nodes_of_homes(best.homes)):
            placement = placed(request, self.book, there, best)
            if placement is not None:
                return best, placement
        for way in all_ways(request, self.book, there):
            placement = placed(request, self.book, there, way)
            if placement is not None:
                return way, placement
        return None

    def _where_groups_let(self, request: GuestRequest, scores: Counts) -> Counts:
        """The scores, with nothing on hosts where a group of the guest lets it live on no node."""
        left = scores
        for member in request.groups:
            there = self.book.groups.domains_with(member)
            if member.group.hard and member.group.rule is GroupRule.AFFINITY and there:
                hosts = self._hosts_in(member.group.level, there)
                kept = np.full(len(left), NOWHERE, dtype=np.int64)
                kept[hosts] = left[hosts]
                left = kept
        return left

    def _hosts_in(self, level: str, domains: frozenset[Domain]) -> list[int]:
        """The hosts that touch one of these domains."""
        if level in LEVELS_OF_A_HOST:
            return [self.book.fleet.host_index(name) for name in {domain[0] for domain in domains}]
        if level not in self._hosts_of:
            found: dict[Domain, list[int]] = defaultdict(list)
            for index, host in enumerate(self.book.fleet):
                for domain in domains_of(level, host, None):
                    found[domain].append(index)
            self._hosts_of[level] = found
        return [index for domain in domains for index in self._hosts_of[level][domain]]

    def _changed(self, host: int, guest: GuestName, until: float | None) -> None:
        self._changes += 1
        self._changed_at[host] = self._changes
        if until is None:
            self._leaving[host].pop(guest, None)
        else:
            self._leaving[host][guest] = until
        self._empty_at[host] = max(self._leaving[host].values(), default=-math.inf)

    def _refused(self, request: GuestRequest, classes: Sequence[_Class]) -> Rejection:
        if any(known.scores.scores.min(initial=NOWHERE) < NOWHERE for known in classes) and request.groups:
            return Rejection(guest=request.name, reason=Reason.GROUP, detail="fits, but for the members of its groups")
        if request.largest_pages:
            reason, detail = self._lacks(request)
        else:
            classes[0].lacks = classes[0].lacks or self._lacks(request)
            reason, detail = classes[0].lacks
        return Rejection(guest=request.name, reason=reason, detail=detail)

    def _lacks(self, request: GuestRequest) -> tuple[Reason, str]:
        """What lacks on the host whose nodes together hold the most of its cells."""
        fleet = self.book.fleet
        allowed = self._allowed(request)
        for shape in self._shapes:
            allowed[shape.hosts] &= refusal(replace(request, hosts=None), opened(shape.example)) is None
        if not allowed.any():
            refusals = (refusal(request, host) for host in fleet)
            return next((r for r in refusals if r is not None), (Reason.HOST, "there are no hosts"))
        memory_kib = self.book.memory_kib.get(request.page_kib, np.zeros(1, dtype=np.int64))
        held = np.minimum(vcpu_room(request, self.book, slice(None)) / request.vcpus, memory_kib / request.memory_kib)
        cells = request.cells if isinstance(request.cells, int) else 1
        of_host = np.bincount(fleet.node_host, np.minimum(held * cells, 1.0), minlength=len(fleet))
        near = fleet.hosts[int(np.where(allowed, of_host, -1.0).argmax())]
        return nearest_miss(request, self.book, [near])
