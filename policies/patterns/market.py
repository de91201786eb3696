"""What hosts are worth at prices: the value of the best pattern of guests that each can hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from policies.patterns.grid import Table
from policies.patterns.question import Ints, Mask
from policies.patterns.terms import Terms

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """Nodes that are filled together: those of a host, or two of them.

    Attributes:
        host: (units,) the index of the host.
        rows: (units, nodes) its nodes.
        cost: (units,) of having guests there at all.
    """

    host: Ints
    rows: Ints
    cost: Ints


def whole_hosts(first_row: Ints, hosts: Ints, costs: Ints) -> list[Units]:
    """All nodes of each host together; hosts of as many nodes in one `Units`. Costs are per host of the supply."""
    nodes = first_row[hosts + 1] - first_row[hosts]
    return [
        Units(host=alike, rows=first_row[alike][:, None] + np.arange(n), cost=costs[alike])
        for n in np.unique(nodes)
        if len(alike := hosts[nodes == n])
    ]


def in_pairs(first_row: Ints, hosts: Ints, costs: Ints, states: Ints) -> list[Units]:
    """Two nodes together, those of a host that are most alike; the odd one is alone. Each has its part of the cost."""
    pairs, odd = [Units(host=hosts[:0], rows=np.zeros((0, 2), dtype=np.int64), cost=hosts[:0])], []
    for units in whole_hosts(first_row, hosts, costs):
        nodes = units.rows.shape[1]
        order = np.argsort(-states[units.rows], axis=1, kind="stable")
        rows = np.take_along_axis(units.rows, order, axis=1)
        if nodes % 2:
            odd.append(Units(host=units.host, rows=rows[:, -1:], cost=units.cost // nodes))
        if nodes > 1:
            even = rows[:, : nodes // 2 * 2].reshape(-1, 2)
            cost = np.repeat(units.cost * 2 // nodes, nodes // 2)
            pairs.append(Units(host=np.repeat(units.host, nodes // 2), rows=even, cost=cost))
    return [_joined(pairs), *odd]


def _joined(units: Sequence[Units]) -> Units:
    return Units(
        host=np.concatenate([u.host for u in units]),
        rows=np.concatenate([u.rows for u in units]),
        cost=np.concatenate([u.cost for u in units]),
    )


class Market:
    """Some hosts with what is left on their nodes."""

    def __init__(self, terms: Terms, amounts: Ints, units: Sequence[Units]) -> None:
        self.terms = terms
        states, steps = terms.grid.state(amounts), amounts // terms.grid.units[:, None]
        self._blocks = [
            _Block.of(terms, kind, Units(host=u.host[alike], rows=u.rows[alike], cost=u.cost[alike]), states, steps)
            for u in units
            for kind, cost in sorted(set(zip(terms.kind_of_host[u.host].tolist(), u.cost.tolist(), strict=True)))
            if (alike := (terms.kind_of_host[u.host] == kind) & (u.cost == cost)).any()
        ]

    @property
    def widths(self) -> list[int]:
        """Of how many nodes its units are, each number once."""
        return sorted({block.rows.shape[1] for block in self._blocks})

    def at(self, values: Ints) -> Offers:
        """What the nodes are worth when placing a guest in each way is worth `values` ((ways,) whole numbers)."""
        tables: dict[tuple[int, int], Table] = {}
        for block in self._blocks:
            if block.key not in tables:
                tables[block.key] = block.table(values)
        return Offers(terms=self.terms, fillings=[block.best(values, tables[block.key]) for block in self._blocks])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """Units of one kind of hosts with as many nodes and the same cost; of two nodes, those in the same state are one.

    Attributes:
        kind: see `Terms.takes`.
        cost: of opening a unit.
        host: (units,)
        rows: (units, nodes)
        states: (different units, nodes)
        of_unit: (units,) which of the different ones it is.
        fitting: on units of two nodes, per set of guests on both, the different units that hold it.
    """

    terms: Terms
    kind: int
    cost: int
    host: Ints
    rows: Ints
    states: Ints
    of_unit: Ints
    fitting: list[Ints] | None

    @classmethod
    def of(cls, terms: Terms, kind: int, units: Units, states: Ints, steps: Ints) -> _Block:
        _, at, of_unit = np.unique(_joint(states[units.rows]), return_index=True, return_inverse=True)
        different = units.rows[at]
        fitting = None
        if different.shape[1] == 2:
            room = np.moveaxis(steps[:, different], 0, -1)
            fitting = [np.flatnonzero((room >= taken).all(axis=(1, 2))) for taken in terms.sets.steps]
        return cls(
            terms=terms,
            kind=kind,
            cost=int(units.cost[0]),
            host=units.host,
            rows=units.rows,
            states=states[different],
            of_unit=of_unit.ravel(),
            fitting=fitting,
        )

    @property
    def key(self) -> tuple[int, int]:
        """Equal for blocks that can be filled from the same table."""
        return self.kind, self.rows.shape[1]

    def best(self, values: Ints, table: Table) -> Filling:
        """The best pattern of each unit; none where it is not worth the cost."""
        values = np.where(self.terms.takes[self.kind], values, 0)
        states, worth, best = self.states, table.worth[self.states].sum(axis=1), None
        if self.fitting is not None:
            worth, best = self._best_sets(table, values, self.fitting)
            states = states - self.terms.grid.taken(self.terms.sets.steps)[best]
        opened = worth > self.cost
        return Filling(
            block=self,
            table=table,
            states=np.where(opened[:, None], states, 0),
            worth=np.where(opened, worth - self.cost, 0),
            best=None if best is None else np.where(opened, best, 0),
            opened=opened,
        )

    def table(self, values: Ints) -> Table:
        """For what is not in the sets, and not wider than these units."""
        parts = self.terms.parts
        left_out = parts.of > self.rows.shape[1]
        if self.fitting is not None:
            left_out |= np.isin(parts.way, self.terms.sets.ways)
        return self.terms.table(np.where(self.terms.takes[self.kind], values, 0), left_out)

    def _best_sets(self, table: Table, values: Ints, fitting: list[Ints]) -> tuple[Ints, Ints]:
        """Per different unit: its worth, and the set of guests on both nodes in its best pattern."""
        sets = self.terms.sets
        worth = np.full(len(self.states), -1, dtype=np.int64)
        best = np.zeros(len(self.states), dtype=np.int64)
        guests = sets.by_way(len(values))
        gains, wanted = guests @ values, (guests[:, values <= 0] == 0).all(axis=1)
        taken = self.terms.grid.taken(sets.steps)
        for number in np.flatnonzero(wanted):
            which = fitting[number]
            states = self.states[which] - taken[number]
            found = table.worth[states[:, 0]] + table.worth[states[:, 1]] + gains[number]
            better = found > worth[which]
            worth[which[better]], best[which[better]] = found[better], number
        return worth, best


def _joint(states: Ints) -> Ints:
    """(units,) a number for each different row of (units, nodes)."""
    joint = states[:, 0]
    for node in range(1, states.shape[1]):
        _, joint = np.unique(joint * (int(states.max(initial=0)) + 1) + states[:, node], return_inverse=True)
    return joint.ravel()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """The best patterns of the different units of a block.

    Attributes:
        states: (different units, nodes) what is to be filled from the table, after the set is taken.
        worth: (different units,) less the cost.
        opened: (different units,) whether there are guests.
        best: (different units,) the set of guests that stand on both nodes; None where there are not two.
    """

    block: _Block
    table: Table
    states: Ints
    worth: Ints
    opened: Mask
    best: Ints | None

    def shares(self) -> Ints:
        """(different units, nodes, ways) how many shares of each way."""
        terms = self.block.terms
        states, of = np.unique(self.states.ravel(), return_inverse=True)
        by_way = self.table.fill(states) @ terms.way_of_part
        counts: Ints = by_way[of.ravel()].reshape(*self.states.shape, -1)
        if self.best is not None:
            counts += terms.sets.by_way(len(terms.ways))[self.best][:, None, :]
        return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """The best pattern of each unit of a market."""

    terms: Terms
    fillings: list[Filling]

    def worth(self) -> int:
        """The value of all together, never too low."""
        return sum(int(f.worth[f.block.of_unit].sum()) for f in self.fillings)

    def shares(self) -> tuple[Ints, Ints]:
        """The shares on each node: (rows,), and (rows, ways) how many of each way."""
        rows = [f.block.rows.ravel() for f in self.fillings]
        counts = [f.shares()[f.block.of_unit].reshape(-1, len(self.terms.ways)) for f in self.fillings]
        return np.concatenate(rows), np.concatenate(counts)

    def of_buckets(self, bucket: Ints, buckets: int) -> tuple[Floats, Floats]:
        """What the patterns of each bucket of hosts come to, in whole numbers.

        Args:
            bucket: (hosts,) of every host of the supply.
            buckets: how many there are.

        Returns:
            (buckets, ways) shares of guests, and (buckets,) costs.
        """
        found, costs = np.zeros((buckets, len(self.terms.ways))), np.zeros(buckets)
        for filling in self.fillings:
            block = filling.block
            joint = bucket[block.host] * len(filling.states) + block.of_unit
            times = np.bincount(joint, minlength=buckets * len(filling.states)).reshape(buckets, -1)
            found += times @ filling.shares().sum(axis=1)
            costs += times @ (filling.opened * block.cost)
        return found, costs
