"""Places: where a guest stands, and every way to live somewhere, as what is held of which row of the fleet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from policies.asked import EmulatorPolicy, own_vcpus
from policies.candidates import Candidate, are_enumerable, candidates
from policies.capacity import HostCapacity
from policies.demand import demand_of, memory_taken
from policies.groups import Domain, domains_of, nodes_of
from policies.homes import Home, has_cells, homes_for, refusal
from policies.near import wishes_missed
from policies.nearest.from_each_home import nearest_candidates
from policies.places import counts_of_parts, nodes_of_homes
from policies.plan import Placement
from policies.rebalance.question import Question, Standing
from policies.request import GuestRequest, HostName
from policies.tiers import distance_within, nodes_spanned
from probe.cpuset import CpuSet

MemoryPlace = tuple[int, int]
"""A row of the fleet, and a page size in KiB."""


_Rows = tuple[tuple[int, int], ...]
"""Rows of the fleet, ascending, each with a number."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a guest holds at one place.

    Attributes:
        host: index in the fleet.
        homes: of its parts; empty for where a guest stands now.
        own: row to pCPUs that are its own.
        floating: row to shared vCPUs.
        memory: what it takes of which memory.
        cells: of a guest of several cells the row of the memory of each.
        pins: row to the pCPUs (bits) that it keeps from dedicated guests; only where it stands now.
        domains: per group that it is in.
        missed: devices that the guest should be near, and is not.
        page_kib: of its memory.
        closed: whether nobody is moved there.
    """

    host: int
    homes: tuple[Home, ...]
    own: _Rows
    floating: _Rows
    memory: tuple[tuple[MemoryPlace, int], ...]
    pins: _Rows
    domains: tuple[frozenset[Domain], ...]
    spanned: int
    distance: int
    page_kib: int
    cells: tuple[int, ...] = ()
    missed: int = 0
    closed: bool = False

    @property
    def needs(self) -> object:
        """Equal for places that take the same from the same rows."""
        return self.host, self.own, self.floating, self.memory


class PlaceMaker:
    """Makes places.

    Attributes:
        complete: whether all ways to live anywhere were among them so far.
        hypervisors: of each host by its index; guests migrate between equal ones.
    """

    def __init__(self, question: Question) -> None:
        self.question, self.fleet = question, question.fleet
        self.complete = True
        self.hypervisors: Mapping[int, object] = {i: host.hypervisor for i, host in enumerate(self.fleet)}
        self._shapes = [
            (host.topology.fingerprint(), host.hypervisor, host.housekeeping_cpus, host.topology.devices)
            for host in question.fleet
        ]
        self._rows: list[dict[int, int]] = [
            {n.node_id: row for n, row in zip(host.nodes, question.fleet.rows(host.name), strict=True)}
            for host in question.fleet
        ]

    def places(self, request: GuestRequest, hosts: Collection[HostName] | None) -> list[Place]:
        """Every place of such a guest on these hosts, or on any; one of those that take the same, cell by cell."""
        found: dict[object, Place] = {}
        by_shape: dict[object, list[Candidate]] = {}
        if hosts is None:
            reach: Sequence[int] = range(len(self.fleet))
        else:
            reach = sorted(map(self.fleet.host_index, hosts))
        for index in reach:
            shape, host = self._shapes[index], self.fleet.hosts[index]
            if refusal(request, host) is not None:
                continue
            if shape not in by_shape:
                by_shape[shape] = list(self._ways(request, host))
            for way in by_shape[shape]:
                place = self._place(request, host, way)
                found.setdefault((place.needs, place.cells), place)
        return list(found.values())

    def where_it_stands(self, guest: Standing) -> Place:
        placement, host = guest.placement, self.fleet.host(guest.placement.host)
        unpinned = placement.cpus is None
        own, floating, pins = ((), *self._anywhere(placement, host)) if unpinned else self._bound(placement, host)
        memory = self._memory_anywhere(placement, host) if unpinned else self._memory(placement, host)
        nodes = nodes_of(placement)
        return Place(
            host=self.fleet.host_index(host.name),
            homes=(),
            own=own,
            floating=floating,
            memory=memory,
            pins=pins,
            domains=tuple(domains_of(m.group.level, host, nodes) for m in guest.request.groups),
            spanned=nodes_spanned(placement, self.fleet),
            distance=distance_within(placement, self.fleet),
            page_kib=guest.request.page_kib,
            cells=self._cells_as_placed(placement, host),
            missed=wishes_missed(guest.request.devices, host, placement.cpu_nodes or ()),
        )

    def _ways(self, request: GuestRequest, host: HostCapacity) -> Iterator[Candidate]:
        """Every way to live on hosts of this shape."""
        for concrete in request.by_pages():
            yield from self._ways_in_pages(concrete, host)

    def _ways_in_pages(self, request: GuestRequest, host: HostCapacity) -> Iterator[Candidate]:
        for parts in counts_of_parts(request, host):
            if are_enumerable(request, host, parts):
                yield from candidates(request, host, parts)
            else:
                every = [homes_for(request, host)] * parts
                some, complete = nearest_candidates(request, host, every)
                self.complete = self.complete and complete
                yield from some

    def _place(self, request: GuestRequest, host: HostCapacity, way: Candidate) -> Place:
        row_of = self._row_of(host)
        by_row = sorted((row_of[part.home.cpu_node], part.pcpus, part.floating) for part in way.parts)
        memory: dict[MemoryPlace, int] = defaultdict(int)
        for part in way.parts:
            for page, kib in part.memory_kib.items():
                memory[row_of[part.home.memory_node], page] += kib
        nodes = nodes_of_homes(way.homes)
        shut = self.question.closed_nodes
        closed = bool(shut) and any((host.name, node) in shut for node in nodes)
        return Place(
            host=self.fleet.host_index(host.name),
            homes=way.homes,
            own=tuple((row, pcpus) for row, pcpus, _ in by_row if pcpus),
            floating=tuple((row, vcpus) for row, _, vcpus in by_row if vcpus),
            memory=tuple(sorted(memory.items())),
            pins=(),
            domains=tuple(domains_of(m.group.level, host, nodes) for m in request.groups),
            spanned=len({home.cpu_node for home in way.homes}),
            distance=way.distance,
            page_kib=way.page_kib,
            cells=self._cells(request, host, way),
            missed=way.missed,
            closed=closed or host.name in self.question.closed_hosts,
        )

    def _cells(self, request: GuestRequest, host: HostCapacity, way: Candidate) -> tuple[int, ...]:
        if not has_cells(request, host) or (len(way.homes) == 1 and not request.stack_cells):
            return ()
        dealt = zip(way.homes, request.dealt(len(way.homes)), strict=True)
        return tuple(self._row_of(host)[home.memory_node] for home, cells in dealt for _ in cells)

    def _cells_as_placed(self, placement: Placement, host: HostCapacity) -> tuple[int, ...]:
        nodes = [cell.memory[0].node_id for cell in placement.cells]
        return tuple(self._row_of(host)[node] for node in nodes if node is not None) if len(nodes) > 1 else ()

    def _row_of(self, host: HostCapacity) -> dict[int, int]:
        return self._rows[self.fleet.host_index(host.name)]

    def _bound(self, placement: Placement, host: HostCapacity) -> tuple[_Rows, _Rows, _Rows]:
        row_of, demand = self._row_of(host), demand_of(placement, host)
        own = [(row_of[node], len(need.cpus)) for node, need in demand.nodes.items() if need.cpus]
        floating = [(row_of[node], need.shared_vcpus) for node, need in demand.nodes.items() if need.shared_vcpus]
        runs = (placement.cpus or CpuSet()) | (placement.emulator_cpus or CpuSet())
        busy = runs - placement.own_cpus
        return tuple(sorted(own)), tuple(sorted(floating)), self._pins(host, busy)

    def _anywhere(self, placement: Placement, host: HostCapacity) -> tuple[_Rows, _Rows]:
        """What nobody binds floats on all nodes, on each with the part of its vCPUs that falls there."""
        vcpus, cpus = len(placement.cells[0].vcpus), len(host.topology.online_cpus)
        rows = zip(host.nodes, self.fleet.rows(host.name), strict=True)
        shares = [(row, -(-vcpus * len(node.shared_cpus) // cpus)) for node, row in rows]
        return tuple((row, n) for row, n in shares if n), self._pins(host, host.topology.online_cpus)

    def _pins(self, host: HostCapacity, cpus: CpuSet) -> _Rows:
        rows = zip(host.nodes, self.fleet.rows(host.name), strict=True)
        return tuple((row, mask) for node, row in rows if (mask := mask_of(node.free_cpus & cpus)))

    def _memory(self, placement: Placement, host: HostCapacity) -> tuple[tuple[MemoryPlace, int], ...]:
        row_of = self._row_of(host)
        taken = memory_taken(placement).items()
        found = {(row_of[n], page): kib for n, pages in taken if n is not None for page, kib in pages.items() if kib}
        return tuple(sorted(found.items()))

    def _memory_anywhere(self, placement: Placement, host: HostCapacity) -> tuple[tuple[MemoryPlace, int], ...]:
        """What nobody binds may be on any node, and is counted on each, as the books do."""
        pages = memory_taken(placement)[None]
        return tuple(((row, page), kib) for row in self.fleet.rows(host.name) for page, kib in sorted(pages.items()))


def kinds_of_cells(request: GuestRequest) -> tuple[tuple[int, ...], ...]:
    """What each cell of a guest of several takes: vCPUs, those that own a pCPU, memory, and what the first has more."""
    if not isinstance(request.cells, int):
        return ()
    own, kinds, first = own_vcpus(request).ids, [], 0
    for i, share in enumerate(request.shares(request.cells)):
        owners = len(own.intersection(range(first, first + share.vcpus)))
        more = request.overhead_kib + (request.emulator is EmulatorPolicy.OWN) if i == 0 else 0
        kinds.append((share.vcpus, owners, share.memory_kib, more))
        first += share.vcpus
    return tuple(kinds)


def mask_of(cpus: CpuSet) -> int:
    """The lowest pCPU is the lowest bit."""
    return sum(1 << cpu for cpu in cpus.ids)
