"""What a node can be worth: an unbounded knapsack over all states of a node, in one table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from policies.patterns.question import Ints, Mask
from policies.patterns.ways import Way

MOST_STATES = 2_000_000
"""Of a table. Where the common unit of all amounts would need more, memory is counted more coarsely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The states of a node, in whole units per resource.

    What a share needs and what a node has are both rounded down, so whatever fits a node fits its
    state: a table over the grid never promises less than the node can hold.

    Attributes:
        units: (resources,) the amount of one step.
        sizes: number of states per resource: 0 … the most that any node has.
        strides: (resources,) of the number of a state.
    """

    units: Ints
    sizes: tuple[int, ...]
    strides: Ints

    @classmethod
    def of(cls, ways: tuple[Way, ...], amounts: Ints) -> Grid:
        """The finest grid of at most `MOST_STATES` states; CPUs are always counted exactly.

        Nothing is counted so coarsely that some share would take nothing.
        """
        needs = np.concatenate([way.needs for way in ways])
        units = np.array([math.gcd(*column.tolist()) or top + 1 for column, top in _columns(needs, amounts)])
        most = amounts.max(axis=1, initial=0)
        sizes = most // units + 1
        while math.prod(sizes.tolist()) > MOST_STATES and sizes[1:].max() > 1:
            coarsest = 1 + int(np.argmax(np.where(_may_be_coarser(needs, units), sizes[1:], 0)))
            if sizes[coarsest] == 1:
                break
            units[coarsest] *= 2
            sizes = most // units + 1
        strides = np.array([math.prod(sizes[k + 1 :].tolist()) for k in range(len(sizes))])
        return cls(units=units, sizes=tuple(sizes.tolist()), strides=strides)

    def steps(self, amounts: Ints) -> Ints:
        """(…, resources) amounts in whole units."""
        return amounts // self.units

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
            along = int(np.flatnonzero(items[item])[0])
            step, *steps = np.roll(items[item], -along).tolist()
            order = [*range(along, len(grid.sizes)), *range(along)]
            of_worth, of_choice = worth.transpose(order), choice.transpose(order)
            after = tuple(slice(taken, None) for taken in steps)
            before = tuple(slice(0, size - taken) for taken, size in zip(steps, of_worth.shape[1:], strict=True))
            for c in range(step, of_worth.shape[0]):
                new = of_worth[c - step][before] + values[item]
                better = new > of_worth[c][after]
                np.copyto(of_worth[c][after], new, where=better)
                np.copyto(of_choice[c][after], item, where=better)
        return cls(worth=worth.ravel(), choice=choice.ravel(), taken=items @ grid.strides)

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
