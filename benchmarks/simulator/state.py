"""The figures of the whole fleet at one moment: who uses what, and what nobody can use.

Each figure of `benchmarks.metrics` that is sampled has one function here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.simulator.world import World
from policies.candidates import Part, kinds_of_parts, part_of
from policies.fleet import Counts
from policies.headroom import how_many
from policies.homes import Home, far_homes, has_own_pcpus, homes_for
from policies.online.scores import Mask
from policies.online.shapes import Shape, shapes_of
from policies.online.ways import opened
from policies.places import counts_of_parts
from policies.request import GuestName, GuestRequest
from policies.usage import loads_of

GIB_KIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranded:
    """Of all nodes together: room for vCPUs where memory lacks, and 4 KiB memory where pCPUs lack."""

    vcpus: int
    kib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seat:
    """A home of all hosts of one shape, and the parts of each flavour that might live there.

    Attributes:
        cpu_rows, memory_rows: of each schedulable host.
    """

    home: Home
    cpu_rows: Counts
    memory_rows: Counts
    parts: Sequence[tuple[GuestRequest, Sequence[Part]]]


_Looked = tuple[_Seat, Mask, Mask, Mask, Counts]
"""A seat with what `FleetState._look` tells of it."""


class FleetState:
    """Looks at a world; what never changes is worked out once."""

    def __init__(self, world: World, flavours: Sequence[GuestRequest]) -> None:
        self._world, self._flavours = world, flavours
        fleet = world.fleet
        nodes = [(host, node) for host in fleet for node in host.nodes]
        loads = [loads_of(host, node) for host, node in nodes]
        self._pcpus = np.array([each.pcpus for each in loads], dtype=np.int64)
        self._vcpus_before = np.array([each.vcpus for each in loads], dtype=np.int64)
        self._total_kib = np.array([each.total_kib for each in loads], dtype=np.int64)
        self._taken_kib = np.array([each.taken_kib for each in loads], dtype=np.int64)
        self._seats = [[*self._seats_of(shape)] for shape in shapes_of(fleet)] if flavours else []
        self._unreached = self._rows_unreached() if flavours else np.zeros(0, dtype=np.int64)

    def empty_hosts(self) -> int:
        """Hosts without a guest of the scenario."""
        return sum(not guests for guests in self._world.guests_on)

    def loads(self) -> Counts:
        """Of each row: its pCPUs by vCPUs, or its memory, whichever is fuller; in per cent, rounded up."""
        world, fleet, book = self._world, self._world.fleet, self._world.book
        vcpus = self._vcpus_before + (fleet.free_cpus - book.free_cpus)
        vcpus = vcpus + (book.shared_vcpus - fleet.shared_vcpus) + world.loose_vcpus
        kib = self._taken_kib + sum(fleet.memory_kib[page] - world.memory_left_kib(page) for page in fleet.memory_kib)
        return np.maximum(_percent(vcpus, self._pcpus), _percent(kib, self._total_kib))

    def stranded(self) -> Stranded:
        """Over all homes of hosts that take guests, as `policies.headroom.stranded` counts them."""
        free, shared = self._world.free_cpus_left(), self._world.shared_room_left()
        vcpus = kib = 0
        for seats in self._seats:
            looked = [(seat, *self._look(seat, free, shared)) for seat in seats]
            vcpus += sum(_without_memory(looked))
            kib += sum(self._without_pcpus(looked))
        return Stranded(vcpus=vcpus, kib=kib + int(self._world.memory_left_kib(4)[self._unreached].sum()))

    def room(self) -> dict[str, int]:
        """How many more guests of each flavour would fit, by its name, each flavour alone."""
        left = self._world.left()
        return {flavour.name: sum(fits.count for fits in how_many(flavour, left)) for flavour in self._flavours}

    def _look(self, seat: _Seat, free: Counts, shared: Counts) -> tuple[Mask, Mask, Mask, Counts]:
        """Of each host: whether a part finds both, pCPUs, or memory there, and the most room for vCPUs."""
        book, count = self._world.book, len(seat.cpu_rows)
        both, cpus_somewhere, memory_somewhere = (np.zeros(count, dtype=np.bool_) for _ in range(3))
        most = np.zeros(count, dtype=np.int64)
        for flavour, parts in seat.parts:
            room = (free if has_own_pcpus(flavour) else shared)[seat.cpu_rows]
            most = np.maximum(most, room)
            for part in parts:
                cpus = free[seat.cpu_rows] >= part.pcpus
                if part.cores:
                    cpus = cpus & (book.whole_cores[seat.cpu_rows] >= part.cores)
                if part.floating:
                    floats = np.minimum(shared, book.shared_cpus)[seat.cpu_rows]
                    cpus = cpus & (floats >= part.floating)
                memory = np.ones(count, dtype=np.bool_)
                for page, kib in part.memory_kib.items():
                    memory &= self._world.memory_left_kib(page)[seat.memory_rows] >= kib
                both, cpus_somewhere = both | (cpus & memory), cpus_somewhere | cpus
                memory_somewhere = memory_somewhere | memory
        return both, cpus_somewhere, memory_somewhere, most

    def _without_pcpus(self, looked: Sequence[_Looked]) -> Iterator[int]:
        """KiB on each memory node that would hold a part, where no CPU node that reaches it has the pCPUs for any."""
        left_kib = self._world.memory_left_kib(4)
        for node in {seat.home.memory_node for seat, *_ in looked}:
            there = [each for each in looked if each[0].home.memory_node == node]
            cpus = np.any([cpus for _, _, cpus, _, _ in there], axis=0)
            memory = np.any([memory for _, _, _, memory, _ in there], axis=0)
            yield int(left_kib[there[0][0].memory_rows][memory & ~cpus].sum())

    def _seats_of(self, shape: Shape) -> Iterator[_Seat]:
        example = opened(shape.example)
        taking = self._world.fleet.schedulable[shape.hosts]
        for home in far_homes(example):
            yield _Seat(
                home=home,
                cpu_rows=shape.rows[taking, shape.column[home.cpu_node]],
                memory_rows=shape.rows[taking, shape.column[home.memory_node]],
                parts=[
                    (flavour, self._parts(flavour, shape, home))
                    for flavour in self._flavours
                    if home in homes_for(flavour, example)
                ],
            )

    @staticmethod
    def _parts(flavour: GuestRequest, shape: Shape, home: Home) -> Sequence[Part]:
        """Every kind of part, for each page size and each number of nodes that it may be on."""
        example = opened(shape.example)
        anywhere = replace(flavour, name=GuestName("any"), groups=(), hosts=None)
        return [
            part_of(concrete, home, kind)
            for concrete in anywhere.by_pages()
            for parts in counts_of_parts(concrete, example)
            for kind in dict.fromkeys(kinds_of_parts(concrete, example, parts))
        ]

    def _rows_unreached(self) -> Counts:
        """Memory nodes of hosts that take guests on which no home has its memory."""
        fleet, rows = self._world.fleet, list[int]()
        for index, host in enumerate(fleet):
            reached = {home.memory_node for flavour in self._flavours for home in homes_for(flavour, host)}
            first = int(fleet.first_row[index])
            rows += [row for row, n in enumerate(host.nodes, first) if host.schedulable and n.node_id not in reached]
        return np.array(rows, dtype=np.int64)


def _without_memory(looked: Sequence[_Looked]) -> Iterator[int]:
    """Room for vCPUs on each CPU node that has the pCPUs for a part, and memory for none wherever it may be."""
    for node in {seat.home.cpu_node for seat, *_ in looked}:
        there = [each for each in looked if each[0].home.cpu_node == node]
        both = np.any([both for _, both, _, _, _ in there], axis=0)
        cpus = np.any([cpus for _, _, cpus, _, _ in there], axis=0)
        most = np.max([most for *_, most in there], axis=0, initial=0)
        yield int(most[cpus & ~both].sum())


def _percent(part: Counts, whole: Counts) -> Counts:
    """Rounded up; 0 of nothing."""
    return np.where(whole > 0, -(-100 * part // np.maximum(1, whole)), 0)
