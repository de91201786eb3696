"""Guests of two nodes on hosts of two nodes: every set of them that can stand on such a host together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from policies.patterns.grid import Grid
from policies.patterns.question import Ints
from policies.patterns.ways import Way

MOST_SETS = 3_000
"""More are not tried on each host: the smallest ways are then counted as two halves, which is a relaxation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanningSets:
    """Sets of guests that span both nodes; the first set is empty.

    Attributes:
        ways: (placings,) index of the way of each placing; one whose shares differ stands either way round.
        turned: (placings,) whether its first share is on the second node.
        counts: (sets, placings) how many of each.
        steps: (sets, 2, resources) what the set takes of the two nodes, in steps of the grid.
    """

    ways: Ints
    turned: Ints
    counts: Ints
    steps: Ints

    @classmethod
    def of(cls, grid: Grid, ways: tuple[Way, ...]) -> SpanningSets:
        """The sets of the largest ways: of as many ways as keep the number of sets in bounds."""
        placings: list[tuple[int, bool]] = []
        counts: list[tuple[int, ...]] = [()]
        steps = np.zeros((1, 2, len(grid.sizes)), dtype=np.int64)
        for way in sorted((w for w in range(len(ways)) if ways[w].shares == 2), key=lambda w: _size(ways[w])):
            more = [(way, turned) for turned in _turns(ways[way])]
            added = _with(grid, ways, placings, more, list(zip(counts, steps, strict=True)))
            if len(added) > MOST_SETS:
                break
            placings += more
            counts = [of for of, _ in added]
            steps = np.stack([taken for _, taken in added])
        shape = (len(counts), len(placings))
        return cls(
            ways=np.array([way for way, _ in placings], dtype=np.int64),
            turned=np.array([turned for _, turned in placings], dtype=np.int64),
            counts=np.array(counts, dtype=np.int64).reshape(shape),
            steps=steps,
        )

    def by_way(self, ways: int) -> Ints:
        """(sets, ways) how many guests of each way."""
        found = np.zeros((len(self.counts), ways), dtype=np.int64)
        for placing, way in enumerate(self.ways):
            found[:, way] += self.counts[:, placing]
        return found


def _size(way: Way) -> tuple[int, ...]:
    return -int(way.needs[0, 0]), -int(way.needs[0].sum())


def _turns(way: Way) -> tuple[bool, ...]:
    return (False,) if (way.needs[0] == way.needs[1]).all() else (False, True)


def _with(
    grid: Grid,
    ways: tuple[Way, ...],
    placings: list[tuple[int, bool]],
    more: list[tuple[int, bool]],
    found: list[tuple[tuple[int, ...], Ints]],
) -> list[tuple[tuple[int, ...], Ints]]:
    """Each set of `placings` with any number of `more` beside it that a node of the most of everything holds.

    Ways on hosts that count CPUs otherwise are in no set together.
    """
    scales = [ways[way].scale for way, _ in placings]
    for way, turned in more:
        needs = grid.steps(ways[way].needs)
        of_one, of_other = _divided(found, scales, ways[way].scale)
        found = [longer for of in of_one for longer in _repeated(grid, *of, needs[::-1] if turned else needs)]
        found += [((*counts, 0), steps) for counts, steps in of_other]
        scales.append(ways[way].scale)
        if len(found) > MOST_SETS:
            break
    return found


def _divided(
    found: list[tuple[tuple[int, ...], Ints]], scales: list[int], scale: int
) -> tuple[list[tuple[tuple[int, ...], Ints]], list[tuple[tuple[int, ...], Ints]]]:
    """The sets that have nobody of other scales, and those that have."""
    alike = [all(s == scale for n, s in zip(of[0], scales, strict=True) if n) for of in found]
    return [of for of, a in zip(found, alike, strict=True) if a], [
        of for of, a in zip(found, alike, strict=True) if not a
    ]


def _repeated(grid: Grid, counts: tuple[int, ...], steps: Ints, needs: Ints) -> Iterator[tuple[tuple[int, ...], Ints]]:
    n = 0
    while ((taken := grid.clipped(steps + n * needs)) < np.array(grid.sizes)).all():
        yield (*counts, n), taken
        n += 1
