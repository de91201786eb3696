"""Moves of classes become steps of guests, with the pCPUs of each: the first look ahead at the last."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from policies.asked import SmtPolicy
from policies.candidates import kinds_of_parts
from policies.capacity import HostCapacity
from policies.compose import make_placement, settled
from policies.errors import DoesNotFitError
from policies.homes import Home, has_own_pcpus, has_shared_pcpus
from policies.plan import Placement
from policies.rebalance.model import GuestClass, Model
from policies.rebalance.occupied import Occupied, Span
from policies.rebalance.places import Place
from policies.rebalance.question import Standing, Step, StepKind
from policies.rebalance.walk import Found
from policies.request import GuestName, GuestRequest
from probe.cpuset import CpuSet


@dataclass(slots=True)
class _Stay:
    """A guest at one place, from the step that brings it there until the step that takes it away, both included.

    Attributes:
        before: where it was pinned anew: its stay until then.
        same: whether only where it floats changes then, on the same nodes.
    """

    request: GuestRequest
    place: Place
    first: int
    last: int
    placement: Placement | None = None
    before: _Stay | None = None
    same: bool = False

    @property
    def span(self) -> Span:
        return self.first, self.last

    @property
    def is_mixed(self) -> bool:
        return has_own_pcpus(self.request) and has_shared_pcpus(self.request)


def realize(model: Model, found: Found) -> tuple[tuple[Step, ...], tuple[Placement, ...]] | None:
    """The steps, and where the wanted guests then go; None where pCPUs cannot be shared out so."""
    timeline = _Timeline(model, found)
    try:
        timeline.choose()
    except DoesNotFitError:
        return None
    return timeline.steps(), timeline.seated()


class _Timeline:
    """Who is where, and when. Time 0 is before the first step, step i is at time i + 1.

    Only hosts that somebody leaves or comes to are looked at.
    """

    def __init__(self, model: Model, found: Found) -> None:
        self.model, self.found, self.fleet = model, found, model.fleet
        self.end = len(found.moves) + 1
        self.standing: list[_Stay] = []
        self.arrivals: list[_Stay] = []
        self.pairs: list[tuple[_Stay, _Stay]] = []
        self.seats: list[_Stay] = []
        self._stand()
        self._take_seats()
        floating = {stay.place.host for stay in self.arrivals if stay.place.floating}
        self._likes_old = floating  # hosts where shared guests come
        self._occupied: dict[int, Occupied] = {}

    def _stand(self) -> None:
        """Everybody who is there, and where those who are moved come."""
        there: dict[tuple[int, int], list[_Stay]] = defaultdict(list)
        concerned = self._hosts()
        for i, kind in enumerate(self.model.standing):
            for guest, start in zip(kind.members, kind.starts, strict=True):
                if kind.places[start].host in concerned:
                    there[i, start].append(self._stands(guest, kind.places[start]))
        for at, move in enumerate(self.found.moves, 1):
            kind = self.model.standing[move.kind]
            origin = there[move.kind, move.origin].pop()
            origin.last = at
            target = _Stay(origin.request, kind.places[move.way.target], at, self.end)
            if move.way.kind is StepKind.RE_PIN:
                target.before, target.same = origin, kind.is_same(move.origin, move.way.target)
            self.arrivals.append(target)
            self.pairs.append((origin, target))
            there[move.kind, move.way.target].append(target)

    def _hosts(self) -> set[int]:
        """Those that somebody leaves or comes to."""
        kinds = self.model.standing
        ends = {(m.kind, place) for m in self.found.moves for place in (m.origin, m.way.target)}
        seats = {self.model.wanted[seat.kind].places[seat.place].host for seat in self.found.seats}
        return {kinds[kind].places[place].host for kind, place in ends} | seats

    def _stands(self, guest: Standing, place: Place) -> _Stay:
        stay = _Stay(guest.request, place, 0, self.end, placement=guest.placement)
        self.standing.append(stay)
        return stay

    def _take_seats(self) -> None:
        names: dict[int, list[GuestName]] = {i: list(kind.names) for i, kind in enumerate(self.model.wanted)}
        for seat in self.found.seats:
            kind: GuestClass = self.model.wanted[seat.kind]
            request = replace(kind.request, name=names[seat.kind].pop(0))
            stay = _Stay(request, kind.places[seat.place], self.end, self.end)
            self.arrivals.append(stay)
            self.seats.append(stay)

    def choose(self) -> None:
        """pCPUs for all who come somewhere: those to own first, in order; who floats is around them.

        Raises:
            DoesNotFitError: there are too few for somebody.
        """
        for stay in self.standing:
            if stay.placement is not None:
                self._occupied_on(stay).add(stay.placement, stay.span)
        order = sorted(self.arrivals, key=lambda s: (not has_own_pcpus(s.request), s.first))
        for stay in order:
            stay.placement = self._placement(stay)
            self._occupied_on(stay).add(stay.placement, stay.span, floats=not stay.is_mixed)
        for stay in order:
            if stay.placement is not None and stay.is_mixed:
                stay.placement = self._settled(stay, self._again(stay) or stay.placement)

    def _placement(self, stay: _Stay) -> Placement:
        """Raises `DoesNotFitError`."""
        if (before := self._again(stay)) is not None:
            return self._settled(stay, before)
        host, occupied = self.fleet.hosts[stay.place.host], self._occupied_on(stay)
        keeps = stay.before.placement if stay.before is not None and stay.request.smt is SmtPolicy.PREFER else None
        owned, running = occupied.owned(stay.span, but=keeps), CpuSet()
        if stay.place.own:
            running = occupied.running(stay.span)
        own, nodes = dict(stay.place.own), []
        for node, row in zip(host.nodes, self.fleet.rows(host.name), strict=True):
            free = node.free_cpus - owned - running
            kept = free & (CpuSet() if keeps is None else keeps.own_cpus)
            free = self._liked(stay, free, kept, own.get(row, 0))
            nodes.append(replace(node, free_cpus=free, shared_cpus=node.shared_cpus - owned))
        request = stay.request.in_pages(stay.place.page_kib)
        return make_placement(request, replace(host, nodes=tuple(nodes)), self._homes(stay, host))

    def _again(self, stay: _Stay) -> Placement | None:
        """The placement that only floats anew, on the same nodes; None of others."""
        before = stay.before.placement if stay.before is not None and stay.same else None
        return before if before is not None and before.cpus is not None else None

    def _settled(self, stay: _Stay, placement: Placement) -> Placement:
        """The placement floating around what others own meanwhile; what is its own is its own."""
        but = placement if placement is stay.placement else self._again(stay)
        gone = self._occupied_on(stay).owned(stay.span, but=but) | placement.own_cpus
        return settled(placement, self.fleet, {placement.host: gone})

    def _homes(self, stay: _Stay, host: HostCapacity) -> tuple[Home, ...]:
        """Its homes; of those for like parts the one that has the memory of each already goes to it."""
        before = stay.before.placement if stay.before is not None else None
        if before is None or len(before.cells) == 1:
            return stay.place.homes
        kinds = kinds_of_parts(stay.request, host, len(stay.place.homes))
        cells, left, found = iter(before.cells), [*zip(kinds, stay.place.homes, strict=True)], []
        for kind, dealt in zip(kinds, stay.request.dealt(len(kinds)), strict=True):
            first, *_ = [next(cells) for _ in dealt]
            fits = (pair for pair in left if pair[0] == kind and pair[1].memory_node in first.memory_nodes)
            if (pair := next(fits, None)) is None:
                raise DoesNotFitError(f"guest {stay.request.name}: its cells would change their nodes.")
            left.remove(pair)
            found.append(pair[1])
        return tuple(found)

    def _liked(self, stay: _Stay, free: CpuSet, kept: CpuSet, needed: int) -> CpuSet:
        """First those that it keeps; then, where shared guests come too, who so keep more, those that somebody has at
        another time."""
        if kept and len(kept) >= needed:
            return kept
        shares = stay.place.host in self._likes_old
        again = (free - kept) & (self._occupied_on(stay).ever_owned if shares else CpuSet())
        if not kept and (not again or len(again) >= needed):
            return again or free
        more = [*sorted(again.ids), *sorted((free - kept - again).ids)]
        return kept | CpuSet(frozenset(more[: needed - len(kept)]))

    def _occupied_on(self, stay: _Stay) -> Occupied:
        host = stay.place.host
        if host not in self._occupied:
            self._occupied[host] = Occupied(self.fleet.hosts[host].topology.online_cpus)
        return self._occupied[host]

    def steps(self) -> tuple[Step, ...]:
        found = []
        for move, (origin, target) in zip(self.found.moves, self.pairs, strict=True):
            if origin.placement is None or target.placement is None:
                raise AssertionError("a step without a place")
            kind: StepKind = move.way.kind
            found.append(Step(kind=kind, origin=origin.placement, target=target.placement, kib=move.way.kib))
        return tuple(found)

    def seated(self) -> tuple[Placement, ...]:
        return tuple(stay.placement for stay in self.seats if stay.placement is not None)
