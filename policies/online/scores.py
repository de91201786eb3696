"""How good each host is for guests of one class, kept up to date as hosts change."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from policies.candidates import Candidate, Part, kinds_of_parts, part_of
from policies.capacity import HostCapacity
from policies.fleet import Counts
from policies.homes import has_own_pcpus, homes, homes_for
from policies.online.shapes import Shape
from policies.online.ways import WayTable, opened, options_of
from policies.open_fleet import OpenFleet
from policies.places import counts_of_parts
from policies.request import GuestRequest

NOWHERE = 1 << 62
"""The score of a host that does not hold such a guest."""

_DISTANCE_BITS, _LOST_BITS, _LEFT_BITS = 24, 16, 11
"""Larger values count as the largest that fits; the 11 bits above are for up to 2,047 nodes of one guest."""
SPAN_SHIFT = _LOST_BITS + _LEFT_BITS
"""`score >> SPAN_SHIFT` orders by nodes spanned, then distance."""

WHOLE = 12
"""What one reference guest that does not fit any more counts; a part of one counts less."""

MOST_AT_ONCE = 1 << 21
"""Figures in one array: more hosts are scored in several goes."""

_GIB_KIB = 1 << 20
Mask = npt.NDArray[np.bool_]


def score_of(*, nodes: Counts | int, distance: Counts | int, lost: Counts | int, left: Counts | int) -> Counts:
    """One number that orders by nodes spanned, distance, reference guests lost, and what is left; smaller is better."""
    score = np.asarray(nodes, dtype=np.int64)
    for value, bits in ((distance, _DISTANCE_BITS), (lost, _LOST_BITS), (left, _LEFT_BITS)):
        score = (score << bits) | np.minimum(value, (1 << bits) - 1)
    return score


def nodes_of_scores(scores: Counts) -> Counts:
    """The nodes that a guest spans on each host."""
    return scores >> SPAN_SHIFT + _DISTANCE_BITS


def span_of(way: Candidate) -> int:
    """How far a guest spreads: what `score >> SPAN_SHIFT` is for it."""
    return score_of_way(way) >> SPAN_SHIFT


def score_of_way(way: Candidate) -> int:
    """Its score where it destroys and leaves nothing."""
    return int(score_of(nodes=len(way.parts), distance=way.distance, lost=0, left=0))


def vcpu_room(request: GuestRequest, book: OpenFleet, rows: Counts | slice) -> Counts:
    """vCPUs of such a guest that each row still has pCPUs for (as in `policies.room.Room`); read only."""
    return book.own_room[rows] if has_own_pcpus(request) else vcpus_to_share(book, rows)


def vcpus_to_share(book: OpenFleet, rows: Counts | slice, *, own: int = 0) -> Counts:
    """vCPUs of one guest that may still float on each row once so many pCPUs are its own; read only."""
    room, pcpus = book.shared_room[rows], book.shared_cpus[rows]
    if own:
        lost = np.maximum(own - (book.free_cpus[rows] - book.both_cpus[rows]), 0)
        pcpus = pcpus - lost
        room = pcpus * book.overcommit[rows, 0] // book.overcommit[rows, 1] - book.shared_vcpus[rows]
    found: Counts = np.minimum(room, pcpus)
    return found


class References:
    """How many parts of guests of the known flavours each row still holds, each flavour as if it were alone.

    What a placement destroys of them is what fragments the fleet (lost allocations: Ganeti hail). A flavour
    counts with its fewest parts, and a guest is taken to use pCPUs as the flavour would.
    """

    def __init__(self, flavours: Sequence[GuestRequest], book: OpenFleet, examples: Sequence[HostCapacity]) -> None:
        self._book = book
        told = (_part_kind(flavour, examples) for flavour in flavours)
        kinds = [kind for kind in told if kind is not None and kind.memory_kib.keys() <= book.memory_kib.keys()]
        self._owned: Mask = np.array([has_own_pcpus(kind.flavour) for kind in kinds], dtype=np.bool_)
        self._vcpus, self._weight = (_counts([getattr(k, name) for k in kinds]) for name in ("vcpus", "weight"))
        self._pages: list[tuple[int, Counts, Counts]] = []
        for page in sorted({page for kind in kinds for page in kind.memory_kib}):
            asking = {number: kind.memory_kib[page] for number, kind in enumerate(kinds) if page in kind.memory_kib}
            self._pages.append((page, _counts(asking), _counts(asking.values())))

    def lost(self, part: Part, cpu_rows: Counts, memory_rows: Counts) -> Counts:
        """What the part destroys on each of these rows, in `WHOLE`s; it means nothing where they do not hold it."""
        if not len(self._vcpus):
            return np.zeros(cpu_rows.shape, dtype=np.int64)
        deep = (-1, *(1,) * cpu_rows.ndim)
        vcpus = np.where(self._owned.reshape(deep), self._book.own_room[cpu_rows], vcpus_to_share(self._book, cpu_rows))
        before = vcpus // self._vcpus.reshape(deep)
        after = np.maximum(vcpus - part.vcpus, 0) // self._vcpus.reshape(deep)
        same = cpu_rows == memory_rows
        for page, kinds, kib in self._pages:
            there = self._book.memory_kib[page][cpu_rows]
            rest = np.maximum(there - part.memory_kib.get(page, 0) * same, 0)
            before[kinds] = np.minimum(before[kinds], there // kib.reshape(deep))
            after[kinds] = np.minimum(after[kinds], rest // kib.reshape(deep))
        lost: Counts = self._weight @ (before - after).reshape(len(self._weight), -1)
        return lost.reshape(cpu_rows.shape)


def _counts(values: Iterable[int]) -> Counts:
    return np.array([*values], dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """The part of a flavour that one node holds; memory in pools that some node has."""

    flavour: GuestRequest
    vcpus: int
    memory_kib: dict[int, int]
    weight: int


def _part_kind(flavour: GuestRequest, examples: Sequence[HostCapacity]) -> _Kind | None:
    """None for a flavour that no host takes."""
    for host in map(opened, examples):
        if counts := counts_of_parts(replace(flavour, hosts=None), host):
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
        self._options = [options_of(request, shape) for shape in shapes]
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
        for option in self._options[number]:
            waiting = self.scores[hosts] == NOWHERE
            if not waiting.any():
                return
            if option.table is None:
                self._score_roughly(option.parts, shape, hosts[waiting], rows[waiting])
            else:
                self._score_ways(option.table, first, hosts[waiting], rows[waiting])
                first += len(option.ways)

    def way_of(self, number: int, host: int) -> Candidate | None:
        """The best way to live on a host of this shape that holds the guest; None where it was not enumerated."""
        index = int(self._way[host])
        if index < 0:
            return None
        return next(itertools.islice(self._enumerated(number), index, None))

    def ways_on(self, number: int, host: int) -> Iterator[tuple[int, Candidate]]:
        """The ways to live on a host of this shape that hold the guest, each with its score, the best first.

        Without those that are too many to enumerate.
        """
        found, ways = list[int](), list[Candidate]()
        rows = self._book.fleet.first_row[host] + np.arange(len(self._shapes[number].example.nodes))
        for option in self._options[number]:
            if option.table is not None:
                found += self._scored(option.table, rows[None])[0].tolist()
                ways += option.ways
        for index in sorted(range(len(found)), key=found.__getitem__):
            if found[index] == NOWHERE:
                return
            yield found[index], ways[index]

    def _enumerated(self, number: int) -> Iterator[Candidate]:
        for option in self._options[number]:
            yield from option.ways

    def _score_ways(self, table: WayTable, first: int, hosts: Counts, rows: Counts) -> None:
        """Each host's best way; the first of equals."""
        some = max(1, MOST_AT_ONCE // table.size)
        for start in range(0, len(hosts), some):
            there = hosts[start : start + some]
            scored = self._scored(table, rows[start : start + some])
            best = scored.argmin(axis=1)
            least = scored[np.arange(len(there)), best]
            found = least < NOWHERE
            self.scores[there[found]], self._way[there[found]] = least[found], best[found] + first

    def _scored(self, table: WayTable, rows: Counts) -> Counts:
        """The score of each way (column) on each host (row)."""
        cpu_rows, memory_rows = rows[:, table.cpu_columns], rows[:, table.memory_columns]
        looked = [self._look(part, cpu_rows, memory_rows) for part in table.kinds]
        holds: Mask = np.ones((len(rows), 1), dtype=np.bool_)
        lost = left = np.zeros((len(rows), 1), dtype=np.int64)
        for kind, homes_of_ways in zip(table.kind_of_part, table.homes_of_part, strict=True):
            there, its_lost, its_left = looked[kind]
            holds = holds & there[:, homes_of_ways]
            lost, left = lost + its_lost[:, homes_of_ways], left + its_left[:, homes_of_ways]
        scored = score_of(nodes=len(table.kind_of_part), distance=table.distance, lost=lost, left=left)
        return np.where(holds, scored, NOWHERE)

    def _look(self, part: Part, cpu_rows: Counts, memory_rows: Counts) -> tuple[Mask, Counts, Counts]:
        """Of rows: whether they hold the part, what it destroys, and what is left, in pCPUs and GiB."""
        vcpus = vcpu_room(self.request, self._book, cpu_rows)
        memory_kib = self._book.memory_kib.get(self.request.page_kib)
        left = vcpus - (part.pcpus or part.floating)
        if memory_kib is not None:
            left = left + (memory_kib[memory_rows] - part.memory_kib[self.request.page_kib]) // _GIB_KIB
        lost = self._references.lost(part, cpu_rows, memory_rows)
        return self._holds(part, cpu_rows, memory_rows), lost, np.maximum(left, 0)

    def _holds(self, part: Part, cpu_rows: Counts, memory_rows: Counts) -> Mask:
        """Which of whole cores' pCPUs are shared is not looked at."""
        book = self._book
        holds: Mask = book.own_room[cpu_rows] >= part.pcpus
        if part.cores:
            holds &= book.whole_cores[cpu_rows] >= part.cores
        if part.floating:
            holds &= vcpus_to_share(book, cpu_rows, own=part.pcpus) >= part.floating
        for page, kib in part.memory_kib.items():
            there = book.memory_kib.get(page)
            holds &= False if there is None else there[memory_rows] >= kib
        return holds

    def _score_roughly(self, parts: int, shape: Shape, hosts: Counts, rows: Counts) -> None:
        """Where each part has enough nodes that hold it: a score that no way on so many nodes beats."""
        room = homes_for(self.request, shape.example)
        enough = np.ones(len(hosts), dtype=np.bool_)
        for kind, count in Counter(kinds_of_parts(self.request, shape.example, parts)).items():
            holding: dict[int, Mask] = {}
            for home in room:
                there = self._holds_home(part_of(self.request, home, kind), shape, rows)
                holding[home.cpu_node] = there | holding.get(home.cpu_node, False)
            enough &= np.sum([*holding.values()], axis=0) >= count
        self.scores[hosts[enough]] = score_of(nodes=parts, distance=0, lost=0, left=0)

    def _holds_home(self, part: Part, shape: Shape, rows: Counts) -> Mask:
        cpu_rows = rows[:, shape.column[part.home.cpu_node]]
        return self._holds(part, cpu_rows, rows[:, shape.column[part.home.memory_node]])
