"""The ways in which guests of one class can live on hosts of one shape, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from policies.candidates import Candidate, Part, are_enumerable, candidates
from policies.capacity import HostCapacity
from policies.fleet import Counts
from policies.homes import part_counts, refusal
from policies.online.shapes import Shape
from policies.request import GuestRequest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WayTable:
    """All ways to live on so many homes, one column each.

    Attributes:
        cpu_columns, memory_columns: of each home, the columns of its nodes in the shape's rows.
        kinds: a part of each kind; where it is does not matter.
        kind_of_part: index in `kinds` of each part of a guest.
        homes_of_part: for each part, the home that it has in each way.
        distance: (ways,) how far apart the homes of each way are.
    """

    cpu_columns: Counts
    memory_columns: Counts
    kinds: Sequence[Part]
    kind_of_part: Sequence[int]
    homes_of_part: Sequence[Counts]
    distance: Counts

    @property
    def size(self) -> int:
        """Figures for each host."""
        return max(len(self.distance), len(self.cpu_columns))


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """Ways on one number of homes, nearest first; without a table where they are too many to enumerate."""

    parts: int
    ways: Sequence[Candidate] = ()
    table: WayTable | None = None


def options_of(request: GuestRequest, shape: Shape) -> list[Option]:
    """The ways to live on a host of the shape, the fewest homes first."""
    example = opened(shape.example)
    if refusal(replace(request, hosts=None), example) is not None:
        return []
    options = (_option(request, shape, parts) for parts in part_counts(request, shape.example))
    return [option for option in options if option is not None]


def _option(request: GuestRequest, shape: Shape, parts: int) -> Option | None:
    if not are_enumerable(request, shape.example, parts):
        return Option(parts=parts)
    ways = candidates(request, shape.example, parts)
    return Option(parts=parts, ways=ways, table=_table(ways, shape, parts)) if ways else None


def _table(ways: Sequence[Candidate], shape: Shape, parts: int) -> WayTable:
    homes = list(dict.fromkeys(home for way in ways for home in way.homes))
    index = {home: number for number, home in enumerate(homes)}
    kinds: dict[object, tuple[int, Part]] = {}
    kind_of_part = []
    for part in ways[0].parts:
        asked = part.vcpus, part.pcpus, part.cores, *sorted(part.memory_kib.items())
        kind_of_part.append(kinds.setdefault(asked, (len(kinds), part))[0])
    return WayTable(
        cpu_columns=_counts([shape.column[home.cpu_node] for home in homes]),
        memory_columns=_counts([shape.column[home.memory_node] for home in homes]),
        kinds=[part for _, part in kinds.values()],
        kind_of_part=kind_of_part,
        homes_of_part=[_counts([index[way.homes[part]] for way in ways]) for part in range(parts)],
        distance=_counts([way.distance for way in ways]),
    )


def _counts(values: Sequence[int]) -> Counts:
    return np.array(values, dtype=np.int64)


def opened(host: HostCapacity) -> HostCapacity:
    """The host as if it took guests: whether it does is looked at host by host."""
    return replace(host, schedulable=True, cordoned=False)
