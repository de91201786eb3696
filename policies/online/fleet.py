"""The book of a fleet to which guests come, and from which they go, one by one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter

import numpy as np

from policies.compose import settle_shared
from policies.errors import NotTakenError
from policies.explain import Loss, kept_out_by_groups, reject_all
from policies.fleet import Counts, Fleet
from policies.greedy import choose_fullest
from policies.homes import refusal
from policies.l3 import l3_groups
from policies.online.scores import NOWHERE, ClassScores, Mask, References, vcpu_room
from policies.online.search import Search
from policies.online.shapes import shapes_of
from policies.online.together import together
from policies.online.ways import opened
from policies.open_fleet import OpenFleet
from policies.plan import Decision, Placement, Reason, Rejection
from policies.request import GuestName, GuestRequest
from policies.shortfall import nearest_miss

_OWN_FIELDS = {"name", "devices", "groups", "priority", "lifetime_s"}
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

    The best place spans the fewest nodes, then the nearest, then breaks the fewest wishes, then (where guests tell
    how long they stay) has its host empty no later, then destroys the fewest of the reference flavours
    (`scores.References`), then leaves the least. The scores of all hosts are kept per class of guests that ask for
    the same, and only hosts that changed since the class was last asked for are looked at again. No solver is called.

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
        self._open: Mask = np.array([host.is_open for host in fleet], dtype=np.bool_)
        self._references = References(flavours, self.book, [shape.example for shape in self._shapes])
        self._classes: dict[tuple[object, ...], _Class] = {}
        self._changes = 0
        self._changed_at: Counts = np.zeros(len(fleet), dtype=np.int64)
        self._leaving: dict[int, dict[GuestName, float]] = defaultdict(dict)
        self._search = Search(self.book, self._shape_of)
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
        until = math.inf if request.lifetime_s is None else now_s + request.lifetime_s
        classes = [(concrete, self._class_of(concrete)) for concrete in request.by_pages()]
        found = self._search.best([(concrete, known.scores) for concrete, known in classes], until)
        if found is None:
            return self._refused(request, [known for _, known in classes])
        self.book.take(found.placement)
        self._changed(self.book.fleet.host_index(found.placement.host), request.name, until)
        return found.placement

    def place_together(self, requests: Sequence[GuestRequest], *, now_s: float = 0.0) -> tuple[Decision, ...]:
        """Take places for guests who arrive together, in their order; a decision for each.

        Those whom all-or-nothing groups bind to each other all get one, or none does and nothing is left taken;
        where one of them finds none they are tried once more, the largest first. The others come by themselves.

        Raises:
            NotTakenError: two have the same name, or one is placed already; nothing was taken.
        """
        return together(self, requests, now_s)

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
            kind = replace(request, name=GuestName("any"), devices=(), groups=(), priority=1, lifetime_s=None)
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

    def _changed(self, host: int, guest: GuestName, until: float | None) -> None:
        self._changes += 1
        self._changed_at[host] = self._changes
        if until is None:
            self._leaving[host].pop(guest, None)
        else:
            self._leaving[host][guest] = until
        self._search.empty_at[host] = max(self._leaving[host].values(), default=-math.inf)

    def _refused(self, request: GuestRequest, classes: Sequence[_Class]) -> Rejection:
        if request.devices:
            return reject_all([request], self.book, rule=_best_fit, lost=_FULL, with_changes=False)[request.name]
        if any(known.scores.scores.min(initial=NOWHERE) < NOWHERE for known in classes) and request.groups:
            at_l3 = l3_groups(request.groups, hard=True)
            if at_l3 and (kept_out := kept_out_by_groups(request, self.book, _best_fit)):
                return Rejection(guest=request.name, reason=kept_out[0], detail=kept_out[1])
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
