"""Moves of classes become steps of guests, with the pCPUs of each: the first look ahead at the last."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from policies.capacity import HostCapacity
from policies.compose import make_placement
from policies.errors import DoesNotFitError
from policies.homes import is_dedicated
from policies.plan import Placement
from policies.rebalance.model import GuestClass, Model
from policies.rebalance.places import Place
from policies.rebalance.question import Standing, Step, StepKind
from policies.rebalance.walk import Found
from policies.request import GuestName, GuestRequest
from probe.cpuset import CpuSet

_Row = tuple[str, int]
"""Host and node."""


@dataclass(slots=True)
class _Stay:
    """A guest at one place, from the step that brings it there until the step that takes it away, both included."""

    request: GuestRequest
    place: Place
    first: int
    last: int
    placement: Placement | None = None

    def meets(self, other: _Stay) -> bool:
        return self.first <= other.last and other.first <= self.last


def realize(model: Model, found: Found) -> tuple[tuple[Step, ...], tuple[Placement, ...]] | None:
    """The steps, and where the wanted guests then go; None where pCPUs cannot be shared out so."""
    timeline = _Timeline(model, found)
    try:
        timeline.choose()
    except DoesNotFitError:
        return None
    return timeline.steps(), timeline.seated()


class _Timeline:
    """Who is where, and when. Time 0 is before the first step, step i is at time i + 1."""

    def __init__(self, model: Model, found: Found) -> None:
        self.model, self.found, self.fleet = model, found, model.fleet
        self.end = len(found.moves) + 1
        self.stays: list[_Stay] = []
        self.pairs: list[tuple[_Stay, _Stay]] = []
        self.seats: list[_Stay] = []
        there: dict[tuple[int, int], list[_Stay]] = defaultdict(list)
        for i, kind in enumerate(model.standing):
            for guest, start in zip(kind.members, kind.starts, strict=True):
                there[i, start].append(self._stands(guest, kind.places[start]))
        for at, move in enumerate(found.moves, 1):
            origin = there[move.kind, move.origin].pop()
            origin.last = at
            place = model.standing[move.kind].places[move.way.target]
            target = _Stay(origin.request, place, at, self.end)
            self.stays.append(target)
            self.pairs.append((origin, target))
            there[move.kind, move.way.target].append(target)
        self._take_seats()

    def _stands(self, guest: Standing, place: Place) -> _Stay:
        stay = _Stay(guest.request, place, 0, self.end, placement=guest.placement)
        self.stays.append(stay)
        return stay

    def _take_seats(self) -> None:
        names: dict[int, list[GuestName]] = {i: list(kind.names) for i, kind in enumerate(self.model.wanted)}
        for seat in self.found.seats:
            kind: GuestClass = self.model.wanted[seat.kind]
            request = replace(kind.request, name=names[seat.kind].pop(0))
            stay = _Stay(request, kind.places[seat.place], self.end, self.end)
            self.stays.append(stay)
            self.seats.append(stay)

    def choose(self) -> None:
        """pCPUs for all who come somewhere: the dedicated first, in order; the shared around them.

        Raises:
            DoesNotFitError: there are too few for somebody.
        """
        arrivals = [stay for stay in self.stays if stay.placement is None]
        for stay in sorted(arrivals, key=lambda s: (not is_dedicated(s.request), s.first)):
            stay.placement = self._placement(stay)
        for origin, target in self.pairs:
            here, there = origin.placement, target.placement
            if here is not None and here.cpus is not None and there is not None and _stays_there(origin, target):
                target.placement = _pinned_anew(here, there, self.fleet.hosts[origin.place.host])

    def _placement(self, stay: _Stay) -> Placement:
        """Raises `DoesNotFitError`."""
        host = self.fleet.hosts[stay.place.host]
        nodes = []
        for node in host.nodes:
            owned = self._cpus(stay, host.name, dedicated=True)
            floating = self._cpus(stay, host.name, dedicated=False)
            free = node.free_cpus - owned - floating
            nodes.append(replace(node, free_cpus=self._liked(stay, free), shared_cpus=node.shared_cpus - owned))
        request = stay.request.in_pages(stay.place.page_kib)
        return make_placement(request, replace(host, nodes=tuple(nodes)), stay.place.homes)

    def _cpus(self, stay: _Stay, host: str, *, dedicated: bool) -> CpuSet:
        """Where others may run at the same time, of those that have their pCPUs already."""
        others = [
            other.placement
            for other in self.stays
            if other is not stay and other.placement is not None and other.placement.host == host and other.meets(stay)
        ]
        if dedicated:
            return CpuSet.union(p.own_cpus for p in others)
        everywhere = self.fleet.host(host).topology.online_cpus
        loose = [everywhere if p.cpus is None else p.cpus | (p.emulator_cpus or CpuSet()) for p in others]
        return CpuSet.union(cpus for p, cpus in zip(others, loose, strict=True) if not p.dedicated)

    def _liked(self, stay: _Stay, free: CpuSet) -> CpuSet:
        """First those that somebody has at another time, where shared guests come too: so they keep more."""
        host = self.fleet.hosts[stay.place.host]
        if not any(s.place.homes and s.place.floating and s.place.host == stay.place.host for s in self.stays):
            return free
        used = CpuSet.union(
            other.placement.own_cpus
            for other in self.stays
            if other.placement is not None and other.placement.host == host.name
        )
        needed = max((n for _, n in stay.place.own), default=0)
        again, fresh = free & used, sorted((free - used).ids)
        if len(again) >= needed:
            return again
        return again | CpuSet(frozenset(fresh[: needed - len(again)])) if again else free

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


def _stays_there(origin: _Stay, target: _Stay) -> bool:
    """Whether only the pCPUs change, on the same nodes."""
    return origin.place.needs == target.place.needs


def _pinned_anew(origin: Placement, target: Placement, host: HostCapacity) -> Placement:
    """`origin` with the pCPUs of `target`, each vCPU on the node that it has."""
    ground = target.cpus or CpuSet()
    node_cpus = [node.free_cpus | node.shared_cpus for node in host.nodes]
    cells = []
    for cell in origin.cells:
        pins = {
            vcpu: CpuSet.union(cpus & ground for cpus in node_cpus if not cpus.isdisjoint(pin))
            for vcpu, pin in cell.pins.items()
        }
        cells.append(replace(cell, pins=pins, cpus=CpuSet.union(pins.values())))
    return replace(origin, cells=tuple(cells), emulator_cpus=target.emulator_cpus, booked_cpus=target.booked_cpus)
