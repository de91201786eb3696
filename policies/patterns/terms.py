"""What every market of one question shares: the items of the knapsack, and how hosts are counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from policies.patterns.grid import MOST_STATES, Grid, Table
from policies.patterns.question import Batch, Ints, Mask, Supply
from policies.patterns.spanning import SpanningSets
from policies.patterns.ways import Way

MOST_KINDS_OF_HOSTS = 12
"""Sets of flavours that hosts take; each needs tables of its own."""


class TooManyKindsError(ValueError):
    """More kinds of hosts than `MOST_KINDS_OF_HOSTS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The different shares of all ways: the items of the knapsack.

    Attributes:
        way: (items,) the way that an item is of.
        of: (items,) into how many shares that way splits a guest.
        steps: (items, resources) what it takes.
    """

    way: Ints
    of: Ints
    steps: Ints

    @classmethod
    def of_ways(cls, grid: Grid, ways: Sequence[Way]) -> Parts:
        kinds = [(w, way.shares, steps) for w, way in enumerate(ways) for steps in _different(grid.steps(way.needs))]
        return cls(
            way=np.array([w for w, _, _ in kinds], dtype=np.int64),
            of=np.array([shares for _, shares, _ in kinds], dtype=np.int64),
            steps=np.array([steps for _, _, steps in kinds], dtype=np.int64).reshape(len(kinds), len(grid.sizes)),
        )


def _different(rows: Ints) -> Ints:
    return np.unique(rows, axis=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What every market of one question shares: its ways, and how hosts are counted.

    Attributes:
        ways: see `ways_of`; on hosts that count CPUs otherwise than a way they are worth nothing.
        grid: the states of a node.
        sets: of guests on two nodes.
        kind_of_host: (hosts,) which flavours it takes, as a row of `takes`.
        takes: (kinds, ways) which ways hosts of a kind take.
    """

    ways: tuple[Way, ...]
    grid: Grid
    parts: Parts
    sets: SpanningSets
    kind_of_host: Ints
    takes: Mask

    @property
    def way_of_part(self) -> Ints:
        """(parts, ways) 1 where the part is one of the way."""
        counts: Ints = (self.parts.way[:, None] == np.arange(len(self.ways))).astype(np.int64)
        return counts

    @property
    def shares_of_ways(self) -> Ints:
        """(ways,) into how many shares each splits a guest."""
        return np.array([way.shares for way in self.ways], dtype=np.int64)

    @property
    def states(self) -> int:
        """Of a table."""
        return math.prod(self.grid.sizes)

    @property
    def scale_of_ways(self) -> Ints:
        """(ways,) on which hosts they can be: `Supply.scale`."""
        return np.array([way.scale for way in self.ways], dtype=np.int64)

    @classmethod
    def of(cls, batch: Batch, supply: Supply, ways: tuple[Way, ...], *, most_states: int = MOST_STATES) -> Terms:
        """Of a question.

        Args:
            most_states: of the grid.

        Raises:
            TooManyKindsError: guests differ too much in the hosts where they may live.
        """
        grid = Grid.of(ways, supply.amounts(), most_states=most_states, has_gate=supply.has_gate)
        everywhere = np.ones(supply.hosts, dtype=np.bool_)
        allowed = [everywhere if flavour.allowed is None else flavour.allowed for flavour in batch.flavours]
        kinds, kind_of_host = np.unique(np.stack([supply.scale_of_host(), *allowed]), axis=1, return_inverse=True)
        if kinds.shape[1] > MOST_KINDS_OF_HOSTS:
            raise TooManyKindsError(f"{kinds.shape[1]} kinds of hosts, {MOST_KINDS_OF_HOSTS} at most")
        return cls(
            ways=ways,
            grid=grid,
            parts=Parts.of_ways(grid, ways),
            sets=SpanningSets.of(grid, ways),
            kind_of_host=kind_of_host.ravel().astype(np.int64),
            takes=(kinds[1:].T[:, [way.flavour for way in ways]] > 0) & (kinds[0][:, None] == [w.scale for w in ways]),
        )

    def table(self, values: Ints, left_out: Mask | None = None) -> Table:
        """The best that nodes can be filled with when placing a guest in each way is worth `values` ((ways,)).

        A share of a guest counts as so much of the guest, rounded up: a table never promises less than there is.
        """
        share = -(-values[self.parts.way] // self.parts.of)
        return Table.of(self.grid, self.parts.steps, share if left_out is None else np.where(left_out, 0, share))
