"""What single nodes are worth at prices: how much a host loses by a guest."""

from __future__ import annotations

import numpy as np

from policies.patterns.question import Ints
from policies.patterns.terms import Terms

MOST_SETS_COMPARED = 64
"""Of guests on two nodes, the smallest first, when single nodes are compared."""


class NodeWorth:
    """What single nodes are worth when placing a guest in each way is worth `values` ((ways,) whole numbers).

    Of hosts that count CPUs on one scale.
    """

    def __init__(self, terms: Terms, values: Ints, scale: int = 0) -> None:
        values = np.where(terms.scale_of_ways == scale, values, 0)
        sets, guests = terms.sets, terms.sets.by_way(len(terms.ways))
        wanted = np.flatnonzero((guests[:, values <= 0] == 0).all(axis=1))
        wanted = wanted[np.argsort(guests[wanted].sum(axis=1), kind="stable")][:MOST_SETS_COMPARED]
        self._grid = terms.grid
        self._alone = terms.table(values).worth
        self._beside = terms.table(values, np.isin(terms.parts.way, sets.ways)).worth
        self._sets = [(int(guests[n] @ values), sets.steps[n], terms.grid.taken(sets.steps[n])) for n in wanted]

    def of_nodes(self, amounts: Ints, others: Ints) -> Ints:
        """(hosts, nodes) of each node with so much left; on a host of two, of it and the other one together.

        Args:
            amounts: (resources, hosts, nodes)
            others: what is left on the nodes that stand beside; the same shape.
        """
        shape = amounts.shape[1:]
        flat = amounts.reshape(len(amounts), -1)
        if shape[1] != 2:
            return self._alone[self._grid.state(flat)].reshape(shape)
        return self._of_pairs(flat, others[:, :, ::-1].reshape(len(amounts), -1)).reshape(shape)

    def of_hosts(self, amounts: Ints) -> Ints:
        """(hosts,) of hosts with so much left on their nodes ((resources, hosts, nodes))."""
        of_nodes = self.of_nodes(amounts, amounts)
        return of_nodes[:, 0] if amounts.shape[2] == 2 else of_nodes.sum(axis=1)

    def _of_pairs(self, one: Ints, other: Ints) -> Ints:
        here, there = self._grid.steps(one.T), self._grid.steps(other.T)
        state, state_there = self._grid.state(one), self._grid.state(other)
        worth = np.zeros(len(state), dtype=np.int64)
        for gain, steps, taken in self._sets:
            fits = np.flatnonzero((here >= steps[0]).all(axis=1) & (there >= steps[1]).all(axis=1))
            found = self._beside[state[fits] - taken[0]] + self._beside[state_there[fits] - taken[1]] + gain
            worth[fits] = np.maximum(worth[fits], found)
        return worth
