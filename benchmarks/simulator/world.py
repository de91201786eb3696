"""The fleet while a scenario is played: who is there, and what is left for the next question."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.simulator.loose import Loose, shared_out
from policies.capacity import HostCapacity, NodeCapacity, Resident
from policies.cores import choose_cpus
from policies.fleet import Counts, Fleet
from policies.groups import nodes_of
from policies.online.scores import Mask
from policies.open_fleet import OpenFleet
from policies.plan import Placement
from policies.request import GuestName, GuestRequest, HostName
from probe.cpuset import CpuSet, NodeId


class World:
    """Who is there, beside a book that knows what is left.

    What is bound to nothing falls, when it comes, on the nodes in proportion to what they have left, and stays there.

    Attributes:
        fleet: before anybody came.
        book: what is left. Whoever takes or gives back in it tells `came` and `went`.
        guests_on: per host, the placements there, in the order of their coming.
    """

    def __init__(self, fleet: Fleet, book: OpenFleet) -> None:
        self.fleet, self.book = fleet, book
        self.guests_on: list[dict[GuestName, Placement]] = [{} for _ in fleet.hosts]
        self._requests: dict[GuestName, tuple[GuestRequest, float]] = {}
        self._loose: dict[GuestName, Loose] = {}
        self._members: dict[str, dict[GuestName, Placement]] = defaultdict(dict)
        self._left, self._changed = fleet, set[int]()
        self.loose_kib: dict[int, Counts] = {}
        self.loose_vcpus: Counts = np.zeros(len(fleet.node_host), dtype=np.int64)

    def __len__(self) -> int:
        return len(self._requests)

    def request_of(self, guest: GuestName) -> GuestRequest:
        """What a guest that is there had asked for. Raises `KeyError` where it is not there."""
        return self._requests[guest][0]

    def came_s(self, guest: GuestName) -> float:
        """When a guest that is there came. Raises `KeyError` where it is not there."""
        return self._requests[guest][1]

    def placement_of(self, guest: GuestName) -> Placement | None:
        """Where it is; None where it is not there."""
        return self.book.placement_of(guest)

    def everybody(self) -> Iterator[tuple[Placement, Loose | None]]:
        """All who are there, in the order of their coming, and where the unpinned ones fell."""
        return ((placement, self._loose.get(guest)) for guest, placement in self.book.taken.items())

    def loose_now(self, guest: GuestName) -> Loose | None:
        """Where an unpinned guest fell; None for another."""
        return self._loose.get(guest)

    def loose_of(self, guest: GuestName) -> Mapping[int, int] | None:
        """Node to the memory that fell there, of a guest that is bound to nothing; else None."""
        loose = self._loose.get(guest)
        return None if loose is None else loose.kib_by_node

    def idle_cpus(self, name: HostName) -> frozenset[int]:
        """The pCPUs of a host that are nobody's, and not shared either."""
        sets = [self.book.cpus_left(row) for row in self.fleet.rows(name)]
        return frozenset().union(*(free - shared for free, shared in sets))

    def came(self, request: GuestRequest, placement: Placement, at_s: float, loose: Loose | None = None) -> None:
        """The guest is taken in the book.

        Args:
            at_s: when it came.
            loose: where an unpinned one fell, where that is known already.
        """
        host = self.fleet.host_index(placement.host)
        self.guests_on[host][request.name] = placement
        self._requests[request.name] = request, at_s
        for member in placement.groups:
            self._members[member.group.name][request.name] = placement
        if placement.cpus is None:
            self._loose[request.name] = loose or self._fallen(placement)
            self._count_loose(self._loose[request.name], 1)
        self._changed.add(host)

    def went(self, placement: Placement) -> None:
        """The guest is given back in the book."""
        host = self.fleet.host_index(placement.host)
        del self.guests_on[host][placement.guest], self._requests[placement.guest]
        for member in placement.groups:
            there = self._members[member.group.name]
            del there[placement.guest]
            if not there:
                del self._members[member.group.name]
        if (loose := self._loose.pop(placement.guest, None)) is not None:
            self._count_loose(loose, -1)
        self._changed.add(host)

    def left(self) -> Fleet:
        """The fleet as the next question finds it: promised to those who are there is nobody else's.

        Of the pCPUs that are free and shared so many are kept from dedicated guests as those who float there need.
        On a host where anybody may run anywhere none is free. Members of groups are residents.
        """
        self._left = self._left.with_hosts({index: self.host_left(index) for index in sorted(self._changed)})
        self._changed.clear()
        return self._left

    def hosts_of_group(self, name: str) -> set[HostName]:
        """Where its members are, among the guests that came."""
        return {placement.host for placement in self.members_of(name)}

    def members_of(self, name: str) -> Iterable[Placement]:
        """The members of a group, among the guests that came."""
        return self._members.get(name, {}).values()

    def host_left(self, index: int) -> HostCapacity:
        """One host of `left`."""
        return self._with_guests(index, self._nodes_left(index))

    def host_booked(self, index: int) -> HostCapacity:
        """One host as the book sees it: what floats and what is bound to nothing is in its own sums."""
        return self._with_guests(index, self.book.host(self.fleet.hosts[index].name).nodes)

    def _with_guests(self, index: int, nodes: Iterable[NodeCapacity]) -> HostCapacity:
        host, there = self.fleet.hosts[index], self.guests_on[index]
        own = CpuSet.union(placement.own_cpus for placement in there.values() if placement.dedicated)
        staying = [Resident(groups=p.groups, nodes=nodes_of(p)) for p in there.values() if p.groups]
        return replace(
            host,
            nodes=tuple(nodes),
            dedicated_cpus=host.dedicated_cpus | own,
            residents=(*host.residents, *staying),
        )

    def _nodes_left(self, index: int) -> Iterator[NodeCapacity]:
        host, book, first = self.fleet.hosts[index], self.book, int(self.fleet.first_row[index])
        for row, node in enumerate(host.nodes, first):
            free, shared = map(CpuSet, book.cpus_left(row))
            if (most := int(book.own_room[row])) < len(free):
                free = CpuSet.of(*choose_cpus(host.topology, free, most, shared=shared))
            yield replace(
                node,
                free_cpus=CpuSet() if book.loose_vcpus[index] else free,
                shared_cpus=shared,
                shared_vcpus=int(book.shared_vcpus[row] + self.loose_vcpus[row]),
                memory_kib={page: max(0, self.kib_left(row, page)) for page in node.memory_kib},
            )

    def free_cpus_left(self) -> Counts:
        """Of each row, how many pCPUs `left` offers to dedicated guests."""
        free = self.book.own_room.copy()
        loose: Mask = np.array(self.book.loose_vcpus, dtype=np.int64)[self.fleet.node_host] > 0
        free[loose] = 0
        return free

    def shared_room_left(self) -> Counts:
        """Of each row, how many shared vCPUs `left` still takes."""
        room: Counts = np.maximum(0, self.book.shared_room - self.loose_vcpus)
        return room

    def memory_left_kib(self, page_kib: int) -> Counts:
        """Of each row, what `left` has in such pages."""
        there = self.book.memory_kib.get(page_kib)
        if there is None:
            return np.zeros(len(self.fleet.node_host), dtype=np.int64)
        if page_kib not in self.loose_kib:
            return there
        left: Counts = np.maximum(0, there - self.loose_kib[page_kib])
        return left

    def kib_left(self, row: int, page_kib: int) -> int:
        """What a node has left in such pages, without what fell there; negative where a policy relied on sums."""
        loose = self.loose_kib.get(page_kib)
        return int(self.book.memory_kib[page_kib][row]) - (0 if loose is None else int(loose[row]))

    def loose_from_json(self, value: Mapping[str, Any], name: HostName) -> Loose:
        """What `Loose.to_json` wrote of a guest on this host."""
        return Loose.from_json(value, self.fleet.rows(name), self._node_ids(name))

    def _node_ids(self, name: HostName) -> tuple[NodeId, ...]:
        return tuple(NodeId(int(self.fleet.node_ids[row])) for row in self.fleet.rows(name))

    def _fallen(self, placement: Placement) -> Loose:
        """Where an unpinned guest that has just been taken falls."""
        rows = self.fleet.rows(placement.host)
        room = [max(0, int(self.book.shared_room[row] - self.loose_vcpus[row])) for row in rows]
        vcpus = sum(len(cell.vcpus) for cell in placement.cells)
        wanted: Counter[int] = Counter()
        for cell in placement.cells:
            for share in cell.memory:
                wanted[share.page_kib] += share.kib
        wanted[4] += placement.overhead_kib
        kib = {}
        for page, amount in (+wanted).items():
            left = [max(0, self.kib_left(row, page)) // page for row in rows]
            kib[page] = [pages * page for pages in shared_out(-(-amount // page), left)]
        return Loose(rows=rows, node_ids=self._node_ids(placement.host), vcpus=shared_out(vcpus, room), kib=kib)

    def _count_loose(self, loose: Loose, sign: int) -> None:
        for row, vcpus in zip(loose.rows, loose.vcpus, strict=True):
            self.loose_vcpus[row] += sign * vcpus
        for page, amounts in loose.kib.items():
            kept = self.loose_kib.setdefault(page, np.zeros(len(self.fleet.node_host), dtype=np.int64))
            for row, kib in zip(loose.rows, amounts, strict=True):
                kept[row] += sign * kib
