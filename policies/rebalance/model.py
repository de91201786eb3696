"""The question in numbers: guests that ask for the same are one class, and a class has places.

A place is either where a guest stands now, with the pCPUs that it has, or a way to live somewhere
whose pCPUs are chosen at the end (`realize`): a dedicated guest takes any that nobody else may run
on then, and a shared one floats wherever no dedicated guest comes while it is there. So a shared
guest that stands in the way of a dedicated one is re-pinned once, to the same nodes.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from policies.asked import SmtPolicy
from policies.caches import l3_groups
from policies.capacity import HostCapacity
from policies.fleet import Fleet
from policies.homes import has_shared_pcpus
from policies.rebalance.places import Place, PlaceMaker, kinds_of_cells
from policies.rebalance.question import Question, Standing, StepKind
from policies.request import GuestName, GuestRequest, HostName

MOST_PLACES = 200_000
"""Classes of guests times nodes: of more, guests are moved to some of the hosts only."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a guest of a class may leave its place: where to, and what is copied."""

    target: int
    kind: StepKind
    kib: int


@dataclass(frozen=True, kw_only=True)
class GuestClass:
    """Guests that ask for the same.

    Attributes:
        members: who is there, in the order of their names; none for guests that are wanted.
        starts: the place of each member.
        names: of the members, or of those who are wanted.
    """

    request: GuestRequest
    members: tuple[Standing, ...]
    names: tuple[GuestName, ...]
    places: tuple[Place, ...]
    starts: tuple[int, ...]
    hypervisors: Mapping[int, object]
    _near: dict[int, tuple[Way, ...]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def memory_follows(self) -> bool:
        return bool(self.members) and self.members[0].memory_follows

    @property
    def may_migrate(self) -> bool:
        return bool(self.members) and self.members[0].may_migrate

    def ways_from(self, origin: int) -> Iterator[Way]:
        """How this place can be left, least memory first, then the nearest; each is looked up when it is asked for."""
        within = self._within_host(origin)
        if not self.may_migrate:
            return iter(within)
        host = self.places[origin].host
        away = (way for way in self._migrations[self.hypervisors[host]] if self.places[way.target].host != host)
        return heapq.merge(within, away, key=self._rank)

    def ways_to(self, origin: int, host: int) -> Iterator[Way]:
        """Those of `ways_from` that lead to places of one host."""
        place = self.places[origin]
        if place.host == host:
            yield from self._within_host(origin)
        elif self.may_migrate and self.hypervisors[place.host] == self.hypervisors[host]:
            for i in self.on_host(host):
                if self.places[i].homes and not self.places[i].closed:
                    yield Way(i, StepKind.MIGRATE, self.request.memory_kib)

    def on_host(self, host: int) -> Sequence[int]:
        """The places on a host."""
        return self._by_host.get(host, ())

    @cached_property
    def best(self) -> tuple[int, int]:
        """The fewest nodes, and the nearest, that any of its places spans."""
        return min((place.spanned, place.distance) for place in self.places)

    @cached_property
    def _by_host(self) -> Mapping[int, Sequence[int]]:
        found: dict[int, list[int]] = defaultdict(list)
        for i, place in enumerate(self.places):
            found[place.host].append(i)
        return found

    @cached_property
    def _migrations(self) -> Mapping[object, Sequence[Way]]:
        """Per hypervisor the ways of a guest to each place that it may come to from another host, nearest first."""
        found: dict[object, list[Way]] = defaultdict(list)
        for i, place in enumerate(self.places):
            if place.homes and not place.closed:
                way = Way(i, StepKind.MIGRATE, self.request.memory_kib)
                found[self.hypervisors[place.host]].append(way)
        for ways in found.values():
            ways.sort(key=self._rank)
        return found

    def _within_host(self, origin: int) -> tuple[Way, ...]:
        if origin not in self._near:
            place = self.places[origin]
            ways = [way for i in self.on_host(place.host) if (way := self._way(place, i, self.places[i])) is not None]
            self._near[origin] = tuple(sorted(ways, key=self._rank))
        return self._near[origin]

    def ways_to_be_pinned(self, origin: int) -> Iterator[Way]:
        """How the guest is pinned anew, its memory staying where it is."""
        return (way for way in self._within_host(origin) if way.kind is StepKind.RE_PIN)

    def way_to_yield(self, origin: int) -> Way | None:
        """How a shared guest gives way to a dedicated one: pinned anew on its nodes; None where it cannot."""
        return next((way for way in self.ways_to_be_pinned(origin) if self.is_same(origin, way.target)), None)

    def is_same(self, one: int, other: int) -> bool:
        """Whether two places take the same from the same nodes: only the pCPUs differ."""
        return self._is_same(self.places[one], self.places[other])

    def _is_same(self, one: Place, other: Place) -> bool:
        return one.needs == other.needs and self._keeps_cells(one, other)

    def _keeps_cells(self, one: Place, other: Place) -> bool:
        """Whether the memory of each cell, or of one like it, is where it was."""
        return one.cells == other.cells or (
            sorted(zip(self.kinds_of_cells, one.cells, strict=False))
            == sorted(zip(self.kinds_of_cells, other.cells, strict=False))
        )

    @cached_property
    def kinds_of_cells(self) -> tuple[tuple[int, ...], ...]:
        """Of a guest of several cells; those of one kind can stand for each other."""
        return kinds_of_cells(self.request)

    def _rank(self, way: Way) -> tuple[int, int, int, int]:
        place = self.places[way.target]
        return way.kib, place.spanned, place.distance, place.host

    def _way(self, origin: Place, i: int, place: Place) -> Way | None:
        """To another place of the same host."""
        if not place.homes or place is origin:
            return None
        same = self._is_same(origin, place)
        if same and (not origin.pins or not has_shared_pcpus(self.request)):
            return None
        if place.closed and not same:
            return None
        if origin.memory == place.memory and self._keeps_cells(origin, place):
            return Way(i, StepKind.RE_PIN, 0)
        follows = self.memory_follows and len({row for (row, _), _ in place.memory}) == 1
        return Way(i, StepKind.MOVE_MEMORY, self.request.memory_kib) if follows else None


@dataclass(frozen=True, kw_only=True)
class Model:
    """All classes of a question.

    Attributes:
        standing: classes of guests that may be moved.
        wanted: classes of guests that look for a place; `names` says how many.
        exact: whether every way to live anywhere is among the places, and counts tell all.
    """

    question: Question
    standing: tuple[GuestClass, ...]
    wanted: tuple[GuestClass, ...]
    exact: bool

    @property
    def fleet(self) -> Fleet:
        return self.question.fleet

    @cached_property
    def fixed_hosts(self) -> frozenset[int]:
        """Hosts of guests who stay where they are."""
        return frozenset(self.fleet.host_index(placement.host) for placement in self.question.fixed)


def model_of(question: Question, has_time: Callable[[], bool] = lambda: True) -> Model:
    """Count the question.

    Args:
        has_time: whether there is time to look at all hosts for a further class; else it stays on those where it is.

    Raises:
        DoesNotFitError: a guest stands where it cannot.
    """
    hypervisors = {i: host.hypervisor for i, host in enumerate(question.fleet.hosts)}
    by_kind: dict[object, list[Standing]] = defaultdict(list)
    for guest in sorted(question.guests, key=lambda g: g.request.name):
        by_kind[_kind(guest.request), guest.memory_follows, guest.may_migrate].append(guest)
    maker = PlaceMaker(question)
    moved = sum(any(guest.may_migrate for guest in members) for members in by_kind.values())
    elsewhere = _elsewhere(question, moved)
    maker.complete = elsewhere is None
    standing = []
    for members in by_kind.values():
        here = frozenset(guest.placement.host for guest in members)
        request = members[0].request
        reach: frozenset[HostName] | None = here
        if members[0].may_migrate:
            in_time = has_time()
            maker.complete = maker.complete and in_time
            reach = here if not in_time else None if elsewhere is None else here | elsewhere
        ways = maker.places(request, reach)
        stands = [maker.where_it_stands(guest) for guest in members]
        places = (*dict.fromkeys(stands), *ways)
        index = {place: i for i, place in enumerate(places)}
        standing.append(
            GuestClass(
                request=request,
                members=tuple(members),
                names=tuple(guest.request.name for guest in members),
                places=places,
                starts=tuple(index[place] for place in stands),
                hypervisors=hypervisors,
            )
        )
    classes = _classes(question.wanted)
    reach = _elsewhere(question, len(classes))
    maker.complete = maker.complete and reach is None
    wanted = [_wanted(same, maker, hypervisors, reach) for same in classes]
    plain = all(_is_counted_wholly(kind.request) for kind in (*standing, *wanted))
    by_l3 = any(l3_groups(kind.request.groups) for kind in (*standing, *wanted))
    exact = maker.complete and plain and not by_l3 and all(_is_simple(host) for host in question.fleet)
    return Model(question=question, standing=tuple(standing), wanted=tuple(wanted), exact=exact)


def _elsewhere(question: Question, kinds: int) -> frozenset[HostName] | None:
    """Of very many classes on very many hosts, the hosts with the most memory left; None: all."""
    fleet = question.fleet
    rows = sum(len(host.nodes) for host in fleet)
    if kinds * rows <= MOST_PLACES:
        return None
    left = {host.name: sum(sum(node.memory_kib.values()) for node in host.nodes) for host in fleet}
    for guest in question.guests:
        left[guest.placement.host] -= guest.request.memory_kib
    some = max(1, MOST_PLACES * len(fleet) // (kinds * rows))
    return frozenset(sorted(left, key=lambda host: (-left[host], host))[:some])


def _kind(request: GuestRequest) -> GuestRequest:
    return replace(request, name=GuestName("any"), priority=1, lifetime_s=None)


def _classes(requests: Sequence[GuestRequest]) -> list[list[GuestRequest]]:
    found: dict[object, list[GuestRequest]] = defaultdict(list)
    for request in requests:
        found[_kind(request), request.priority].append(request)
    return list(found.values())


def _wanted(
    same: Sequence[GuestRequest],
    maker: PlaceMaker,
    hypervisors: Mapping[int, object],
    hosts: frozenset[HostName] | None,
) -> GuestClass:
    places = [place for place in maker.places(same[0], hosts) if not place.closed]
    return GuestClass(
        request=same[0],
        members=(),
        names=tuple(request.name for request in same),
        places=tuple(sorted(places, key=lambda p: (p.spanned, p.distance, -p.page_kib))),
        starts=(),
        hypervisors=hypervisors,
    )


def _is_counted_wholly(request: GuestRequest) -> bool:
    """Whether numbers of pCPUs tell all: not which of them are whole cores."""
    return request.smt is SmtPolicy.PREFER


def _is_simple(host: HostCapacity) -> bool:
    """Whether it does not matter which free pCPUs a dedicated guest takes: all are shared, or none."""
    return all(n.free_cpus <= n.shared_cpus or n.free_cpus.isdisjoint(n.shared_cpus) for n in host.nodes)
