"""The question: so many of some points, as cheap as can be, where each pair costs what it is apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

FAR = 1 << 40
"""Apart by this: never in one set. No possible set costs as much."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """Which `size` points are nearest to each other. Points are numbers from 0, costs are whole numbers.

    Attributes:
        apart: what two points in one set cost, both ways alike, 0 on the diagonal; `FAR` is never.
        own: what a point costs alone.
        needs: (which points, how many): so many of these at least are in each set.
        price: what a set really costs, never less than by `apart` and `own`; None where it cannot be at all.
            Left out: these tell it all.
    """

    size: int
    apart: Counts
    own: Counts
    needs: tuple[tuple[Mask, int], ...] = ()
    price: Callable[[tuple[int, ...]], int | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """What was found.

    Attributes:
        points: the set, ascending; empty where none was found that costs less than asked.
        cost: what it costs, or else the limit below which sets were sought.
        bound: no set costs less; as much as `cost` where that is proven.
        looked_at: sets that were met on the way.
    """

    points: tuple[int, ...]
    cost: int
    bound: int
    looked_at: int
