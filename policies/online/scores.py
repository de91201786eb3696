"""How good each host is for guests of one class, kept up to date as hosts change."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from policies.candidates import Candidate, Part, are_enumerable, candidates, kinds_of_parts, part_of
from policies.capacity import HostCapacity
from policies.fleet import Counts
from policies.homes import homes, is_dedicated, part_counts, refusal
from policies.online.shapes import Shape
from policies.open_fleet import OpenFleet
from policies.request import GuestRequest

NOWHERE = 1 << 62
"""The score of a host that does not hold such a guest."""

_DISTANCE_BITS, _LOST_BITS, _LEFT_BITS = 24, 16, 11
"""Larger values count as the largest that fits; the 11 bits above are for up to 2,047 nodes of one guest."""
SPAN_SHIFT = _LOST_BITS + _LEFT_BITS
"""`score >> SPAN_SHIFT` orders by nodes spanned, then distance."""

WHOLE = 12
"""What one reference guest that does not fit any more counts; a part of one counts less."""

_GIB_KIB = 1 << 20
Mask = npt.NDArray[np.bool_]


def score_of(*, nodes: Counts | int, distance: Counts | int, lost: Counts | int, left: Counts | int) -> Counts:
    """One number that orders by nodes spanned, distance, reference guests lost, and what is left; smaller is better."""
    score = np.asarray(nodes, dtype=np.int64)
    for value, bits in ((distance, _DISTANCE_BITS), (lost, _LOST_BITS), (left, _LEFT_BITS)):
        score = (score << bits) | np.minimum(value, (1 << bits) - 1)
    return score


def span_of(way: Candidate) -> int:
    """How far a guest spreads: what `score >> SPAN_SHIFT` is for it."""
    return int(score_of(nodes=len(way.parts), distance=way.distance, lost=0, left=0)) >> SPAN_SHIFT


def vcpu_room(request: GuestRequest, book: OpenFleet, rows: Counts | slice) -> Counts:
    """vCPUs of such a guest that each row still has pCPUs for (as in `policies.places.Room`); read only."""
    if is_dedicated(request):
        return book.free_cpus[rows]
    return np.minimum(book.shared_room[rows], book.shared_cpus[rows])


class References:
    """How many parts of guests of the known flavours each row still holds, each flavour as if it were alone.

    What a placement destroys of them is what fragments the fleet (lost allocations: Ganeti hail). A flavour
    counts with its fewest parts, and a guest is taken to use pCPUs as the flavour would.
    """

    def __init__(self, flavours: Sequence[GuestRequest], book: OpenFleet, examples: Sequence[HostCapacity]) -> None:
        self._book = book
        kinds = (_part_kind(flavour, examples) for flavour in flavours)
        self._kinds = [kind for kind in kinds if kind is not None and kind.memory_kib.keys() <= book.memory_kib.keys()]

    def lost(self, part: Part, cpu_rows: Counts, memory_rows: Counts) -> Counts:
        """What the part destroys on each of these rows that hold it, in `WHOLE`s."""
        lost = np.zeros(len(cpu_rows), dtype=np.int64)
        same = bool((cpu_rows == memory_rows).all())
        for kind in self._kinds:
            vcpus = vcpu_room(kind.flavour, self._book, cpu_rows)
            pages = {page: self._book.memory_kib[page][cpu_rows] for page in kind.memory_kib}
            taken = {page: part.memory_kib.get(page, 0) if same else 0 for page in pages}
            before = vcpus // kind.vcpus
            after = np.maximum(vcpus - part.vcpus, 0) // kind.vcpus
            for page, kib in kind.memory_kib.items():
                before = np.minimum(before, pages[page] // kib)
                after = np.minimum(after, np.maximum(pages[page] - taken[page], 0) // kib)
            lost += kind.weight * (before - after)
        return lost


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """The part of a flavour that one node holds; memory in pools that some node has."""

    flavour: GuestRequest
    vcpus: int
    memory_kib: dict[int, int]
    weight: int


def _part_kind(flavour: GuestRequest, examples: Sequence[HostCapacity]) -> _Kind | None:
    """None for a flavour that no host can split."""
    for host in examples:
        if counts := part_counts(flavour, host):
            least = counts[0]
            part = part_of(flavour, homes(host)[0], kinds_of_parts(flavour, host, least)[0])
            memory = {page: kib for page, kib in part.memory_kib.items() if kib}
            return _Kind(flavour=flavour, vcpus=part.vcpus, memory_kib=memory, weight=max(1, WHOLE // least))
    return None


class ClassScores:
    """The score of every host for guests of one class, and the way to live there.

    Attributes:
        scores: (hosts,) smaller is better; `NOWHERE` where such a guest does not fit. Where ways are too many to
            enumerate, a host's score may be better than any of its ways: its `way_of` is None.
    """

    def __init__(
        self, request: GuestRequest, book: OpenFleet, shapes: Sequence[Shape], references: References, allowed: Mask
    ) -> None:
        self.request, self._book, self._shapes, self._references = request, book, shapes, references
        self._allowed = allowed
        self.scores: Counts = np.full(len(book.fleet), NOWHERE, dtype=np.int64)
        self._way: Counts = np.full(len(book.fleet), -1, dtype=np.int64)
        self._options = [_options(request, shape.example) for shape in shapes]
        for number, shape in enumerate(shapes):
            self.update(number, np.arange(len(shape.hosts)))

    def update(self, number: int, positions: Counts) -> None:
        """Look again at hosts of one shape."""
        shape = self._shapes[number]
        hosts = shape.hosts[positions]
        self.scores[hosts], self._way[hosts] = NOWHERE, -1
        open_ones = self._allowed[hosts]
        hosts, rows = hosts[open_ones], shape.rows[positions[open_ones]]
        first = 0
        for parts, ways in self._options[number]:
            waiting = self.scores[hosts] == NOWHERE
            if not waiting.any():
                return
            if ways is None:
                self._score_roughly(parts, shape, hosts[waiting], rows[waiting])
            else:
                self._score_ways(ways, first, shape, hosts[waiting], rows[waiting])
                first += len(ways)

    def way_of(self, number: int, host: int) -> Candidate | None:
        """The best way to live on a host of this shape that holds the guest; None where it was not enumerated."""
        index = int(self._way[host])
        if index < 0:
            return None
        return next(itertools.islice(self._enumerated(number), index, None))

    def _enumerated(self, number: int) -> Iterator[Candidate]:
        for _, ways in self._options[number]:
            yield from ways or ()

    def _score_ways(self, ways: Sequence[Candidate], first: int, shape: Shape, hosts: Counts, rows: Counts) -> None:
        looked: dict[tuple[int, ...], tuple[Mask, Counts, Counts]] = {}
        for index, way in enumerate(ways, first):
            holds = np.ones(len(hosts), dtype=np.bool_)
            lost, left = np.zeros(len(hosts), dtype=np.int64), np.zeros(len(hosts), dtype=np.int64)
            for part in way.parts:
                key = (
                    part.home.cpu_node,
                    part.home.memory_node,
                    part.vcpus,
                    part.pcpus,
                    *sorted(part.memory_kib.values()),
                )
                if key not in looked:
                    looked[key] = self._look(part, shape, rows)
                there, its_lost, its_left = looked[key]
                holds &= there
                lost, left = lost + its_lost, left + its_left
            if holds.any():
                scored = score_of(nodes=len(way.parts), distance=way.distance, lost=lost, left=left)
                better = holds & (scored < self.scores[hosts])
                self.scores[hosts[better]], self._way[hosts[better]] = scored[better], index

    def _look(self, part: Part, shape: Shape, rows: Counts) -> tuple[Mask, Counts, Counts]:
        """Of each host: whether the part's nodes hold it, what it destroys, and what is left, in pCPUs and GiB."""
        cpu_rows = rows[:, shape.column[part.home.cpu_node]]
        memory_rows = rows[:, shape.column[part.home.memory_node]]
        vcpus = vcpu_room(self.request, self._book, cpu_rows)
        holds = vcpus >= (part.pcpus or part.vcpus)
        if part.cores:
            holds &= self._book.whole_cores[cpu_rows] >= part.cores
        for page, kib in part.memory_kib.items():
            there = self._book.memory_kib.get(page)
            holds &= False if there is None else there[memory_rows] >= kib
        memory_kib = self._book.memory_kib.get(self.request.page_kib)
        left = vcpus - part.vcpus
        if memory_kib is not None:
            left = left + (memory_kib[memory_rows] - part.memory_kib[self.request.page_kib]) // _GIB_KIB
        lost = np.zeros(len(rows), dtype=np.int64)
        lost[holds] = self._references.lost(part, cpu_rows[holds], memory_rows[holds])
        return holds, lost, np.maximum(left, 0)

    def _score_roughly(self, parts: int, shape: Shape, hosts: Counts, rows: Counts) -> None:
        """Where each part has enough nodes that hold it: a score that no way on so many nodes beats."""
        room = homes(shape.example)
        enough = np.ones(len(hosts), dtype=np.bool_)
        for kind, count in Counter(kinds_of_parts(self.request, shape.example, parts)).items():
            holding = [self._look(part_of(self.request, home, kind), shape, rows)[0] for home in room]
            enough &= np.sum(holding, axis=0) >= count
        self.scores[hosts[enough]] = score_of(nodes=parts, distance=0, lost=0, left=0)


def opened(host: HostCapacity) -> HostCapacity:
    """The host as if it took guests: whether it does is looked at host by host."""
    return replace(host, schedulable=True, cordoned=False)


def _options(request: GuestRequest, example: HostCapacity) -> list[tuple[int, Sequence[Candidate] | None]]:
    """Numbers of parts with the ways to live on so many homes of such a host; None: too many to enumerate."""
    if refusal(replace(request, hosts=None), opened(example)) is not None:
        return []
    return [
        (parts, candidates(request, example, parts) if are_enumerable(request, example, parts) else None)
        for parts in part_counts(request, example)
    ]
