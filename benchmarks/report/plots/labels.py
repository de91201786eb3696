"""Where names stand beside points, so that they cover as little as may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

HEIGHT = 9.0
_NEAR = 7.0
"""Between a point and its name, and what a point takes."""


class Box(NamedTuple):
    """A rectangle, y upwards."""

    left: float
    low: float
    right: float
    high: float


Point = tuple[float, float]


def labels(wanted: Sequence[tuple[Point, float]], area: Box) -> list[Box]:
    """A box of the width wanted for each point, in the order given, of those near it the one that covers least."""
    taken = [Box(x - _NEAR / 2, y - _NEAR / 2, x + _NEAR / 2, y + _NEAR / 2) for (x, y), _ in wanted]
    found = []
    for at, width in wanted:
        best = min(
            _around(at, width), key=lambda box: _outside(box, area) + sum(_shared(box, other) for other in taken)
        )
        found.append(best)
        taken.append(best)
    return found


def is_away(at: Point, box: Box) -> bool:
    """Whether a name stands so far from its point that a line must tell whose it is."""
    x, y = at
    return max(box.left - x, x - box.right, 0) + max(box.low - y, y - box.high, 0) > 1.5 * _NEAR


def _around(at: Point, width: float) -> Iterator[Box]:
    """The nearest places first: `min` keeps the first of equal ones."""
    x, y = at
    for ring in range(5):
        up = _NEAR + ring * HEIGHT
        sides = ((_NEAR, 0.0), (-_NEAR - width, 0.0)) if ring == 0 else ()
        level = (
            (-width / 2, up),
            (-width / 2, -up),
            (_NEAR, up),
            (_NEAR, -up),
            (-_NEAR - width, up),
            (-_NEAR - width, -up),
        )
        for right, above in (*sides, *level):
            yield Box(x + right, y + above - HEIGHT / 2, x + right + width, y + above + HEIGHT / 2)


def _shared(one: Box, other: Box) -> float:
    wide = min(one.right, other.right) - max(one.left, other.left)
    high = min(one.high, other.high) - max(one.low, other.low)
    return max(0.0, wide) * max(0.0, high)


def _outside(box: Box, area: Box) -> float:
    """What lies beyond the axes is cut off, which is worse than covering something."""
    inside = _shared(box, area)
    return 4 * ((box.right - box.left) * (box.high - box.low) - inside)
