"""Moves of classes become steps of guests, with the pCPUs of each: the first look ahead at the last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

from policies.capacity import HostCapacity
from policies.compose import make_placement, settle_shared
from policies.errors import DoesNotFitError
from policies.homes import has_own_pcpus, has_shared_pcpus
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
        """pCPUs for all who come somewhere: those to own first, in order; who floats is around them.

        Raises:
            DoesNotFitError: there are too few for somebody.
        """
        arrivals = [stay for stay in self.stays if stay.placement is None]
        for stay in sorted(arrivals, key=lambda s: (not has_own_pcpus(s.request), s.first)):
            stay.placement = self._placement(stay)
        for stay in arrivals:
            if stay.placement is not None and _is_mixed(stay):
                stay.placement = settle_shared([stay.placement, *(p for _, p in self._beside(stay))], self.fleet)[0]
        for origin, target in self.pairs:
            here, there = origin.placement, target.placement
            if here is not None and here.cpus is not None and there is not None and _stays_there(origin, target):
                target.placement = _pinned_anew(here, there, self.fleet.hosts[origin.place.host])

    def _placement(self, stay: _Stay) -> Placement:
        """Raises `DoesNotFitError`."""
        host = self.fleet.hosts[stay.place.host]
        before = next((origin for origin, target in self.pairs if target is stay and _stays_there(origin, stay)), None)
        owned, floating = self._cpus(stay, before)
        kept = CpuSet() if before is None or before.placement is None else before.placement.own_cpus
        nodes = []
        for node in host.nodes:
            free = kept & node.free_cpus if kept else node.free_cpus - owned - floating
            nodes.append(replace(node, free_cpus=self._liked(stay, free), shared_cpus=node.shared_cpus - owned))
        request = stay.request.in_pages(stay.place.page_kib)
        return make_placement(request, replace(host, nodes=tuple(nodes)), stay.place.homes)

    def _cpus(self, stay: _Stay, before: _Stay | None) -> tuple[CpuSet, CpuSet]:
        """What others own, and where they may run beside, at the same time; of those that have their pCPUs already.

        Args:
            before: what the guest has where it is only pinned anew, keeping what it owns.
        """
        owned, floating = CpuSet(), CpuSet()
        for other, placement in self._beside(stay):
            if other is before:
                continue
            owned |= placement.own_cpus
            if not (other.place.homes and _is_mixed(other)):  # whose vCPUs float around what is chosen now
                runs = self.fleet.host(placement.host).topology.online_cpus
                if placement.cpus is not None:
                    runs = placement.cpus | (placement.emulator_cpus or CpuSet())
                floating |= runs - placement.own_cpus
        return owned, floating

    def _beside(self, stay: _Stay) -> Iterator[tuple[_Stay, Placement]]:
        """Who else is on its host at the same time, and has pCPUs already."""
        for other in self.stays:
            here = other.placement
            if other is not stay and here is not None and other.place.host == stay.place.host and other.meets(stay):
                yield other, here

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


def _is_mixed(stay: _Stay) -> bool:
    return has_own_pcpus(stay.request) and has_shared_pcpus(stay.request)


def _stays_there(origin: _Stay, target: _Stay) -> bool:
    """Whether only the pCPUs change, on the same nodes."""
    return origin.place.needs == target.place.needs


def _pinned_anew(origin: Placement, target: Placement, host: HostCapacity) -> Placement:
    """`origin` with the pCPUs of `target`, each vCPU on the node that it has."""
    ground = CpuSet.union(target.floating_pins.values())
    node_cpus = [node.free_cpus | node.shared_cpus for node in host.nodes]
    own = {v: pin for cell in target.cells for v, pin in cell.pins.items() if v in target.dedicated_vcpus}
    cells = []
    for cell in origin.cells:
        pins = {}
        for vcpu, pin in cell.pins.items():
            there = CpuSet.union(cpus for cpus in node_cpus if not cpus.isdisjoint(pin))
            pins[vcpu] = ground & there
            if vcpu in origin.dedicated_vcpus:
                pins[vcpu] = own.pop(next(v for v, one in own.items() if one <= there))
        cells.append(replace(cell, pins=pins, cpus=CpuSet.union(pins.values())))
    return replace(origin, cells=tuple(cells), emulator_cpus=target.emulator_cpus, booked_cpus=target.booked_cpus)
