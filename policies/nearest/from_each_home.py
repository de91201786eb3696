"""Ways to live on a host that has too many to list: the nearest homes around each, whatever they have in common."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from policies.candidates import MOST_CANDIDATES, Candidate, candidate_of, kinds_of_parts
from policies.capacity import HostCapacity
from policies.homes import Home, has_cells, homes_for, is_complete
from policies.matching import bits
from policies.nearest.grid import Grid, grid_of
from policies.nearest.question import FAR, Counts
from policies.request import GuestRequest

MOST_STEPS = 2000
"""Homes that are tried from each first home on."""

MOST_PAIRS = 1_000_000
"""Pairs of homes in all ways together: of a very wide guest on a very wide host not every home is a first one."""


def nearest_candidates(
    request: GuestRequest, host: HostCapacity, able: Sequence[Collection[Home]]
) -> tuple[tuple[Candidate, ...], bool]:
    """Candidates whose parts lie on homes that are `able` to hold them, and whether these are all.

    `able` has, for each part, the homes that hold it; in an even split a home that holds a
    part holds the next, which is no larger. From each home on, the nearest others are tried first.
    There is always one where one exists, unless unreachable pairs of nodes, shared memory nodes, or
    cells of uneven sizes make the search run out of steps, or not every home is begun from (`MOST_PAIRS`).
    """
    there, kinds = homes_for(request, host), kinds_of_parts(request, host, len(able))
    walk = _Walk.over(request, host, able)
    most = max(1, MOST_PAIRS // len(able) ** 2)
    seeds, complete = walk.seeds(most)
    of_each = max(1, min(MOST_CANDIDATES, most) // max(1, len(seeds)))
    found: dict[object, tuple[Home, ...]] = {}
    for seed in seeds:
        steps = iter(range(MOST_STEPS))
        ways = (tuple(there[i] for i in way) for way in walk.ways(seed, steps))
        leaves = (way for way in ways if is_complete(request, host, way))
        for way in itertools.islice(leaves, of_each):
            found.setdefault(_unordered(kinds, way), way)
        complete = complete and next(leaves, None) is None and next(steps, None) is not None
    ordered = sorted((candidate_of(request, host, way) for way in found.values()), key=lambda c: (c.distance, c.missed))
    return tuple(ordered), complete


def _unordered(kinds: Sequence[object], way: Sequence[Home]) -> tuple[object, ...]:
    """Equal for ways that differ only in the order of parts of the same kind."""
    by_kind = itertools.groupby(zip(kinds, way, strict=True), key=lambda pair: pair[0])
    return tuple((kind, frozenset(home for _, home in same)) for kind, same in by_kind)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Walk:
    """Depth first, a home for each part; homes are told by their place, sets of them are `policies.matching.bits`.

    Attributes:
        able: for each part the homes that hold it.
        is_alike: for each part whether it is like the one before, and so later in the order of homes.
        beside: for each home those that a guest on it may have too.
        memory: for each home those whose memory is on the same node; none where that is all the same.
    """

    apart: Counts
    grid: Grid
    able: Sequence[int]
    is_alike: Sequence[bool]
    beside: Sequence[int]
    memory: Sequence[int]

    @classmethod
    def over(cls, request: GuestRequest, host: HostCapacity, able: Sequence[Collection[Home]]) -> _Walk:
        there, grid = homes_for(request, host), grid_of(request, host)
        apart = grid.apart(request.max_distance)
        place = {home: i for i, home in enumerate(there)}
        distinct = {id(some): some for some in able}
        known = {which: bits(place[home] for home in some if home in place) for which, some in distinct.items()}
        alone = bits(np.flatnonzero(apart.diagonal() < FAR).tolist())
        kinds = kinds_of_parts(request, host, len(able))
        nodes = [home.memory_node for home in there]
        on_node = {node: bits(i for i, other in enumerate(nodes) if other == node) for node in set(nodes)}
        return cls(
            apart=apart,
            grid=grid,
            able=[known[id(some)] & alone for some in able],
            is_alike=[False, *(a == b for a, b in itertools.pairwise(kinds))],
            beside=[bits(np.flatnonzero(row < FAR).tolist()) & ~(1 << i) for i, row in enumerate(apart)],
            memory=[] if has_cells(request, host) else [on_node[node] for node in nodes],
        )

    def seeds(self, most: int) -> tuple[list[int], bool]:
        """First homes, and whether these are all: of more than `most` those with the nearest homes around them."""
        able = np.array([bool(self.able[0] >> i & 1) for i in range(len(self.apart))], dtype=np.bool_)
        seeds: list[int] = np.flatnonzero(able).tolist()
        if len(seeds) <= most:
            return seeds, True
        around = np.sort(self.apart[:, able], axis=1)[:, : len(self.able)].sum(axis=1)
        return sorted(seeds, key=lambda i: (int(around[i]), i))[:most], False

    def ways(self, seed: int, steps: Iterator[int]) -> Iterator[tuple[int, ...]]:
        """A home for each part, the first being `seed`, the nearest to it tried first, until the steps are used."""
        if self.beside[seed].bit_count() < len(self.able) - 1:
            return
        order = np.argsort(self.apart[seed] + self.grid.detour, kind="stable").tolist()
        chosen, free = [seed], [self.beside[seed]]
        tries = [self._tries(order, 1, free[-1], 0)]
        while chosen:
            if len(chosen) == len(self.able):
                yield tuple(chosen)
            at = next(tries[-1], None)
            if at is None:
                for stack in (chosen, free, tries):
                    stack.pop()
                continue
            if next(steps, None) is None:
                return
            left, part = self._left(chosen, order[at], free[-1]), len(chosen) + 1
            if left.bit_count() >= len(self.able) - part:
                chosen.append(order[at])
                free.append(left)
                is_alike = part < len(self.able) and self.is_alike[part]
                tries.append(self._tries(order, part, left, at + 1 if is_alike else 0))

    def _tries(self, order: Sequence[int], part: int, free: int, start: int) -> Iterator[int]:
        """Places in the order from `start` on whose homes are free and hold the part."""
        fitting = free & self.able[part] if part < len(self.able) else 0
        return (at for at in range(start, len(order)) if fitting >> order[at] & 1) if fitting else iter(())

    def _left(self, chosen: Sequence[int], home: int, free: int) -> int:
        """What is free beside one home more. The memory of one cell is on one node, or on another for each."""
        left = free & self.beside[home]
        if not self.memory:
            return left
        if self.memory[chosen[0]] >> home & 1:
            return left & self.memory[home]
        return left & ~self.memory[home] & (~self.memory[chosen[0]] if len(chosen) == 1 else -1)
