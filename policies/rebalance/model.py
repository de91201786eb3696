"""The question in numbers: guests that ask for the same are one class, and a class has places.

A place is either where a guest stands now, with the pCPUs that it has, or a way to live somewhere
whose pCPUs are chosen at the end (`realize`): a dedicated guest takes any that nobody else may run
on then, and a shared one floats wherever no dedicated guest comes while it is there. So a shared
guest that stands in the way of a dedicated one is re-pinned once, to the same nodes.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from policies.fleet import Fleet
from policies.homes import has_shared_pcpus
from policies.rebalance.places import Place, kinds_of_cells
from policies.rebalance.question import Question, Standing, StepKind
from policies.request import GuestName, GuestRequest


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
