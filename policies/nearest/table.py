"""All sets of so many homes, nearest first, where these are not too many: arrays, made once per topology."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from policies.nearest.grid import Grid
from policies.nearest.question import FAR, Counts
from policies.request import GuestRequest
from policies.same import Same

Sets = npt.NDArray[np.integer[Any]]

MOST_SETS = 15_000
"""Sets that are listed: 8 of 16 homes, 2 of 64."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Sets of homes, by their place in `policies.homes.homes_for`.

    Attributes:
        sets: one row each, ascending.
        bits: the same as bit sets.
        distances: Σ over pairs; ascending.
    """

    sets: Sets
    bits: npt.NDArray[np.uint64]
    distances: Counts


def is_listed(homes: int, parts: int) -> bool:
    """Whether `table_of` is for so many."""
    return homes <= 64 and math.comb(homes, parts) <= MOST_SETS


def table_of(grid: Grid, request: GuestRequest, parts: int) -> Table:
    """All sets of `parts` homes that reach each other and are no farther than the guest's `max_distance`."""
    return _table(Same(grid), parts, request.max_distance)


@lru_cache(maxsize=64)
def _table(grid: Same[Grid], parts: int, max_distance: int | None) -> Table:
    apart = grid.value.apart(max_distance)
    sets, bits = _sets(len(apart), parts)
    distances = np.zeros(len(sets), dtype=np.int64)
    for i, j in itertools.combinations(range(parts), 2):
        distances += apart[sets[:, i], sets[:, j]]
    order = np.argsort(distances, kind="stable")
    order = order[distances[order] < FAR]
    return Table(sets=sets[order], bits=bits[order], distances=distances[order])


@lru_cache(maxsize=64)
def _sets(count: int, size: int) -> tuple[Sets, npt.NDArray[np.uint64]]:
    """All sets of so many of the numbers below `count`."""
    every = itertools.chain.from_iterable(itertools.combinations(range(count), size))
    sets = np.fromiter(every, dtype=np.int16, count=math.comb(count, size) * size).reshape(-1, size)
    return sets, (np.uint64(1) << sets.astype(np.uint64)).sum(axis=1, dtype=np.uint64)
