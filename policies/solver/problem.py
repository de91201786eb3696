"""The question put to the solver: classes of identical guests, and every way in which one may live."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from policies.candidates import Candidate, candidate_of
from policies.capacity import HostCapacity, Resident
from policies.fleet import Fleet
from policies.groups import whole_groups_of
from policies.homes import Home
from policies.l3 import L3Use, l3_domains, l3_groups
from policies.objective import DEFAULT_OBJECTIVE, Objective
from policies.open_fleet import OpenFleet
from policies.places import counts_of_parts, nodes_of_homes, ways as ways_now
from policies.request import GroupRule, GuestName, GuestRequest, HostName
from probe.cpuset import CpuSet, NodeSet

MOST_WAYS = 60_000
"""Ways of a whole problem; of a class on a host only the first few are kept beyond that."""


class WayId(NamedTuple):
    """A class (by its index), a host, the homes of the parts, larger shares first, and the page size.

    `of` is there in relaxed models only: the number of nodes, and the kind of a part (-1: the guest). `l3` is there
    in answers only, for guests whose groups look at L3 domains: which of these have how much of each part.
    """

    of_class: int
    host: HostName
    homes: tuple[Home, ...]
    page_kib: int
    of: tuple[int, int] | None = None
    l3: L3Use = ()

    @property
    def anywhere(self) -> WayId:
        """The way of the problem that it is, whatever the L3 domains."""
        return self._replace(l3=()) if self.l3 else self


Counts = Mapping[WayId, int]
"""An answer: how many guests live in a way; ways that nobody uses are left out."""


def without_l3(counts: Counts) -> Counts:
    """The same, whatever the L3 domains."""
    if not any(way.l3 for way in counts):
        return counts
    found: Counter[WayId] = Counter()
    for way, n in counts.items():
        found[way.anywhere] += n
    return found


Values = tuple[int, ...]
"""What an answer reaches in each tier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestClass:
    """Guests that ask for the same, in request order."""

    index: int
    request: GuestRequest
    members: tuple[GuestRequest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Who wants a home, and where each could live.

    Attributes:
        ways: only those in which a guest fits when it is alone.
        partial: indices of the classes of which some ways were left out; where there is one, a
            search over these ways proves nothing.
        residents: members of groups that live on hosts, also on hosts that are left out.
        sizes: members of each class (by its index) in the whole batch, and
        elsewhere: how many of them live on hosts that are left out.
        whole_groups: each all-or-nothing group with the classes that are in it.
        objective: what answers are judged by, and
        flavours: its reference flavours.
    """

    fleet: Fleet
    classes: tuple[GuestClass, ...]
    ways: Mapping[WayId, Candidate]
    partial: frozenset[int]
    residents: tuple[tuple[HostCapacity, Resident], ...] = ()
    sizes: Mapping[int, int] = field(default_factory=dict)
    elsewhere: Mapping[int, int] = field(default_factory=dict)
    whole_groups: Mapping[str, frozenset[int]] = field(default_factory=dict)
    objective: Objective = DEFAULT_OBJECTIVE
    flavours: tuple[GuestRequest, ...] = ()

    @property
    def is_complete(self) -> bool:
        return not self.partial

    def part(self, hosts: Collection[str], sizes: Mapping[int, int], elsewhere: Counts) -> Problem:
        """The same question for some hosts and so many guests of each class (by its index), others being elsewhere."""
        away = Counter(self.elsewhere)
        for way, n in elsewhere.items():
            away[way.of_class] += n
        return Problem(
            fleet=Fleet.of([host for host in self.fleet if host.name in hosts]),
            classes=tuple(replace(c, members=c.members[: sizes[c.index]]) for c in self.classes if sizes.get(c.index)),
            ways={w: c for w, c in self.ways.items() if w.host in hosts and sizes.get(w.of_class)},
            partial=self.partial,
            residents=(*self.residents, *self._residents_in(elsewhere)),
            sizes=self.sizes,
            elsewhere=away,
            whole_groups=self.whole_groups,
            objective=self.objective,
            flavours=self.flavours,
        )

    def _residents_in(self, counts: Counts) -> Iterator[tuple[HostCapacity, Resident]]:
        groups = {c.index: c.request.groups for c in self.classes if c.request.groups}
        for way, n in counts.items():
            if way.of_class in groups:
                nodes = NodeSet(nodes_of_homes(way.homes))
                resident = Resident(groups=groups[way.of_class], nodes=nodes, cpus=self.l3_cpus(way))
                yield from itertools.repeat((self.fleet.host(way.host), resident), n)

    def l3_cpus(self, way: WayId) -> CpuSet | None:
        """The pCPUs of all L3 domains that a guest is in; None where these are not told."""
        if not way.l3:
            return None
        host, parts = self.fleet.host(way.host), self.ways[way.anywhere].parts
        told = (l3_domains(host.topology)[i] for uses in way.l3 for i, _ in uses)
        floats = (host.node(part.home.cpu_node).shared_cpus for part in parts if part.floating)
        return CpuSet.union([*told, *floats])


def problem_of(
    classes: Sequence[GuestClass], fleet: Fleet, start: Counts, objective: Objective = DEFAULT_OBJECTIVE
) -> Problem:
    """The problem of a whole batch; the ways of `start` are in it, whatever else is left out."""
    book = fleet.open()
    most = max(1, MOST_WAYS // max(1, len(classes) * len(fleet)))
    started: dict[tuple[int, str], list[WayId]] = defaultdict(list)
    for way_id in start:
        started[way_id.of_class, way_id.host].append(way_id.anywhere)
    ways: dict[WayId, Candidate] = {}
    partial: set[int] = set()
    for of_class in classes:
        for host in fleet:
            found, all_there = _candidates(of_class.request, book, host, most)
            partial |= set() if all_there else {of_class.index}
            known = [
                candidate_of(of_class.request.in_pages(way.page_kib), host, way.homes)
                for way in started[of_class.index, host.name]
            ]
            ways |= {WayId(of_class.index, host.name, c.homes, c.page_kib): c for c in (*found, *known)}
    return Problem(
        fleet=fleet,
        classes=tuple(classes),
        ways=ways,
        partial=frozenset(partial),
        residents=tuple((host, resident) for host in fleet for resident in host.residents),
        sizes={of_class.index: len(of_class.members) for of_class in classes},
        whole_groups=_whole_groups(classes),
        objective=objective,
        flavours=objective.reference([of_class.request for of_class in classes]),
    )


def _whole_groups(classes: Sequence[GuestClass]) -> Mapping[str, frozenset[int]]:
    found: dict[str, set[int]] = defaultdict(set)
    for of_class in classes:
        for name in whole_groups_of(of_class.request):
            found[name].add(of_class.index)
    return {name: frozenset(indices) for name, indices in found.items()}


def classes_of(requests: Sequence[GuestRequest]) -> tuple[GuestClass, ...]:
    """Requests that differ in their name and lifetime only, together; classes in order of their first guest.

    Who keeps apart by L3 domain is a class alone: which guest is where in a way is not told otherwise.
    """
    members: dict[GuestRequest, list[GuestRequest]] = defaultdict(list)
    for request in requests:
        alone = any(m.group.rule is GroupRule.ANTI_AFFINITY for m in l3_groups(request.groups))
        name = request.name if alone else GuestName("class")
        members[replace(request, name=name, lifetime_s=None)].append(request)
    return tuple(
        GuestClass(index=i, request=alike[0], members=tuple(alike)) for i, alike in enumerate(members.values())
    )


def _candidates(request: GuestRequest, book: OpenFleet, host: HostCapacity, most: int) -> tuple[list[Candidate], bool]:
    """The ways in which one guest alone fits the host, fewest nodes first, and whether these are all."""
    found: list[Candidate] = []
    complete = True
    for parts in counts_of_parts(request, host):
        more, all_there = ways_now(request, book, host, parts)
        found += more
        complete = complete and all_there
        if len(found) > most:
            return found[:most], False
    return found, complete
