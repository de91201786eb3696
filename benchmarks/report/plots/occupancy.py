"""Node occupancy over time as a small picture: a row for each node, a column for each moment, a colour for the load."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.rows import Row
from probe.errors import BadInputError

MOST_COLUMNS, MOST_ROWS = 120, 96
LEVELS = (
    "#00224e", "#083370", "#35456c", "#4f576c", "#666970", "#7d7c78", "#948e77", "#aea371", "#c8b866",
    "#e5cf52", "#fee838",
)  # fmt: skip
"""From above 0 to 100 %, a step for each 10 %: matplotlib's cividis, which colour-blind people read in order."""
OVER = "#e0218a"
"""More than there is."""
_EMPTY = 0
"""The index of an empty node: transparent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """What the picture shows.

    Attributes:
        levels: a row for each node, of each moment 0 (empty) to 11 (100 %), 12 where it is over that.
        nodes: how many figures there are of a sample; several are one row where they are more than the rows.
        end_s: the last moment.
    """

    levels: tuple[bytes, ...]
    nodes: int
    end_s: float


def heat_map(row: Row) -> HeatMap | None:
    """None where the row has no samples of the nodes."""
    at_s, loads = row.series.get("at_s"), row.series.get("node_load")
    if not at_s or not loads or not loads[0]:
        return None
    columns = min(MOST_COLUMNS, max(2, len(at_s)))
    moments = (at_s[-1] * i / (columns - 1) for i in range(columns))
    sampled = [_thinned(loads[max(0, bisect_right(at_s, moment) - 1)]) for moment in moments]
    rows = tuple(bytes(map(_level, node)) for node in zip(*sampled, strict=True))
    return HeatMap(levels=rows, nodes=len(loads[0]), end_s=at_s[-1])


def png_of(drawn: HeatMap) -> bytes:
    """The picture, one pixel for each figure. Raises `BadInputError` where matplotlib's Pillow is not installed."""
    try:
        from PIL import Image
    except ImportError as error:
        raise BadInputError("Pillow is not installed.", advice="pip install 'numaplace[report]'") from error
    image = Image.frombytes("P", (len(drawn.levels[0]), len(drawn.levels)), b"".join(drawn.levels))
    palette = [int(colour[i : i + 2], 16) for colour in ("#000000", *LEVELS, OVER) for i in (1, 3, 5)]
    image.putpalette(palette)
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True, transparency=_EMPTY, bits=4)
    return written.getvalue()


def _thinned(loads: Sequence[Any]) -> list[float]:
    """At most `MOST_ROWS` averages of neighbours."""
    group = -(-len(loads) // MOST_ROWS)
    return [sum(loads[i : i + group]) / len(loads[i : i + group]) for i in range(0, len(loads), group)]


def _level(load: float) -> int:
    if load <= 0:
        return _EMPTY
    return len(LEVELS) + 1 if load > 100 else 1 + int(load // 10)
