"""What a node can be worth: an unbounded knapsack over all states of a node, in one table."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from policies.patterns.question import Ints, Mask
from policies.patterns.ways import Way

MOST_STATES = 2_000_000
"""Of a table. Where the common unit of all amounts would need more, memory is counted more coarsely."""

MOST_AT_ONCE = 1 << 15
"""States that are filled at once: more would not stay in the processor's caches."""

FEWER = 2.0
"""Times fewer steps make up for memory that is not read in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The states of a node, in whole units per resource.

    What a share needs and what a node has are both rounded down, so whatever fits a node fits its
    state: a table over the grid never promises less than the node can hold.

    Attributes:
        units: (resources,) the amount of one step.
        sizes: number of states per resource: 0 … the most that any node has.
        strides: (resources,) of the number of a state.
        has_gate: whether the last resource is none: who needs it must find some, and takes none of it.
    """

    units: Ints
    sizes: tuple[int, ...]
    strides: Ints
    has_gate: bool = False

    @classmethod
    def of(
        cls, ways: tuple[Way, ...], amounts: Ints, *, most_states: int = MOST_STATES, has_gate: bool = False
    ) -> Grid:
        """The finest grid of at most so many states; CPUs are always counted exactly.

        Nothing is counted so coarsely that some share would take nothing.
        """
        if has_gate:
            return cls._gated(cls.of(_without_last(ways), amounts[:-1], most_states=most_states // 2))
        needs = np.concatenate([way.needs for way in ways])
        units = np.array([math.gcd(*column.tolist()) or top + 1 for column, top in _columns(needs, amounts)])
        most = amounts.max(axis=1, initial=0)
        sizes = most // units + 1
        while math.prod(sizes.tolist()) > most_states and sizes[1:].max() > 1:
            coarsest = 1 + int(np.argmax(np.where(_may_be_coarser(needs, units), sizes[1:], 0)))
            if sizes[coarsest] == 1:
                break
            units[coarsest] *= 2
            sizes = most // units + 1
        strides = np.array([math.prod(sizes[k + 1 :].tolist()) for k in range(len(sizes))])
        return cls(units=units, sizes=tuple(sizes.tolist()), strides=strides)

    @classmethod
    def _gated(cls, grid: Grid) -> Grid:
        """With a gate as one more resource."""
        strides = np.append(grid.strides * 2, 1)
        return cls(units=np.append(grid.units, 1), sizes=(*grid.sizes, 2), strides=strides, has_gate=True)

    def steps(self, amounts: Ints) -> Ints:
        """(…, resources) amounts in whole units."""
        return self.clipped(amounts // self.units)

    def clipped(self, steps: Ints) -> Ints:
        """(…, resources) the same where a gate that is needed more than once is needed."""
        if self.has_gate:
            steps = steps.copy()
            steps[..., -1] = np.minimum(steps[..., -1], 1)
        return steps

    def largest_step(self, steps: Ints) -> tuple[int, int]:
        """The resource of which an item takes the largest part, and its steps: a table is filled so many at a time."""
        parts = steps / np.array(self.sizes)
        if self.has_gate:
            parts[-1] = 0
        along = int(parts.argmax()) if parts.max() > FEWER * parts[0] else 0
        return along, int(steps[along])

    def taken(self, steps: Ints) -> Ints:
        """(…,) how much the number of a state falls by (…, resources) steps."""
        taken = self.strides.copy()
        if self.has_gate:
            taken[-1] = 0
        fallen: Ints = steps @ taken
        return fallen

    def state(self, amounts: Ints) -> Ints:
        """(rows,) the number of the state of each column of (resources, rows)."""
        tops = np.array(self.sizes)[:, None] - 1
        states: Ints = self.strides @ np.minimum(amounts // self.units[:, None], tops)
        return states


def _may_be_coarser(needs: Ints, units: Ints) -> Mask:
    """(resources - 1,) whether all but the first may be counted half as finely, each by itself."""
    steps = needs // units
    coarser = needs // (2 * units) > 0
    others = (steps > 0).sum(axis=1)[:, None] - (steps > 0)
    may_be: Mask = ((others > 0) | coarser).all(axis=0)[1:]
    return may_be


def _without_last(ways: tuple[Way, ...]) -> tuple[Way, ...]:
    return tuple(replace(way, needs=way.needs[:, :-1]) for way in ways)


def _columns(needs: Ints, amounts: Ints) -> list[tuple[Ints, int]]:
    return [(needs[:, k], int(amounts[k].max(initial=0))) for k in range(needs.shape[1])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The best that each state can be filled with.

    Attributes:
        worth: (states,) its value.
        choice: (states,) the last item taken, -1 where there is none.
        taken: (items,) how much the number of the state falls by an item.
    """

    worth: Ints
    choice: npt.NDArray[np.int16]
    taken: Ints

    @classmethod
    def of(cls, grid: Grid, items: Ints, values: Ints) -> Table:
        """Fill all states with items ((items, resources) in steps) worth so much each, any number of each."""
        worth = np.zeros(grid.sizes, dtype=np.int64)
        choice = np.full(grid.sizes, -1, dtype=np.int16)
        for item in np.flatnonzero(values > 0):
            if any(step >= size for step, size in zip(items[item].tolist(), grid.sizes, strict=True)):
                continue
            along, step = grid.largest_step(items[item])
            after = [slice(taken, None) for taken in items[item].tolist()]
            before = [slice(0, size - taken) for taken, size in zip(items[item].tolist(), grid.sizes, strict=True)]
            if grid.has_gate:
                before[-1] = after[-1]
            some = max(1, min(step, MOST_AT_ONCE * grid.sizes[along] // worth.size))
            for c in range(step, grid.sizes[along], some):
                end = min(c + some, grid.sizes[along])
                after[along], before[along] = slice(c, end), slice(c - step, end - step)
                here, new = tuple(after), worth[tuple(before)] + values[item]
                better = new > worth[here]
                np.copyto(worth[here], new, where=better)
                np.copyto(choice[here], item, where=better)
        return cls(worth=worth.ravel(), choice=choice.ravel(), taken=grid.taken(items))

    def fill(self, states: Ints) -> Ints:
        """(states, items) how many of each item fill these states best."""
        counts = np.zeros((len(states), len(self.taken)), dtype=np.int64)
        left, at = states.copy(), np.arange(len(states))
        while len(at):
            item = self.choice[left]
            more = item >= 0
            at, left, item = at[more], left[more], item[more]
            counts[at, item] += 1
            left = left - self.taken[item]
        return counts
