"""What is left on every node, to the KiB, while guests are taken in; and who was taken in where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from policies.patterns.crowd import Crowd
from policies.patterns.question import Flavour, Form, Ints, Mask, Rows, Supply
from policies.patterns.ways import Way

NOBODY = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """Guests of one way: (n, shares) the rows of their shares, and (n,) how many live on each of these."""

    way: int
    rows: Ints
    counts: Ints


class Left:
    """The exact book of a supply.

    Attributes:
        amounts: (resources, rows) what is left; see `Supply.amounts`.
        demand: (flavours,) guests who wait.
        takings: who was taken in.
        opened: (hosts,) whether any was.
        nodes: (hosts,) how many each has.
    """

    def __init__(self, supply: Supply, flavours: Sequence[Flavour], ways: tuple[Way, ...], demand: Ints) -> None:
        self.supply, self.flavours, self.ways = supply, flavours, ways
        self.amounts = supply.amounts()
        self.first_row = supply.first_row
        self.demand = np.where([flavour.weight > 0 and len(flavour.forms) > 0 for flavour in flavours], demand, 0)
        self.takings: list[Taking] = []
        self.nodes = np.diff(supply.first_row)
        self.opened = np.zeros(supply.hosts, dtype=np.bool_)
        self.crowd = None if supply.floating is None else Crowd(supply.floating)
        self._scales = supply.scale_of_host()
        self._host_of_row = supply.host_of_row()

    def fits(self, way: int, share: int, rows: Ints) -> Ints:
        """How many such shares each of these rows holds."""
        needs = self.ways[way].needs[share]
        wanted = np.flatnonzero(needs)
        room: Ints = np.min([self.amounts[k, rows] // needs[k] for k in wanted], axis=0)
        return room if self.crowd is None else np.minimum(room, self.crowd.most(self.ways[way], share, rows))

    def cpus_of_hosts(self) -> Ints:
        """(hosts,) vCPUs that still fit, on all nodes together; with pCPUs to own where they are counted."""
        cpus = self.amounts[0] if self.supply.own is None else self.amounts[0] + self.amounts[-1]
        return np.add.reduceat(cpus, self.first_row[:-1])

    def scale_of_row(self) -> Ints:
        """(rows,) how CPUs are counted there."""
        return self._scales[self._host_of_row]

    def vcpus_of_flavours(self) -> Ints:
        """(flavours,) of one guest."""
        return np.array([max((_vcpus_of(form) for form in flavour.forms[:1]), default=0) for flavour in self.flavours])

    def weights(self) -> Ints:
        """(flavours,) what placing one guest is worth."""
        return np.array([flavour.weight for flavour in self.flavours], dtype=np.int64)

    def allows(self, way: int, hosts: Ints) -> Mask:
        """Which of these hosts may have such guests."""
        allowed = self.flavours[self.ways[way].flavour].allowed
        alike: Mask = self._scales[hosts] == self.ways[way].scale
        return alike if allowed is None else alike & allowed[hosts]

    def take(self, way: int, rows: Ints, counts: Ints) -> int:
        """Take guests in on (n, shares) rows of distinct hosts, as many as fit and are asked for; how many it were.

        The first ones go first where the demand ends.
        """
        room = np.min([self.fits(way, share, rows[:, share]) for share in range(rows.shape[1])], axis=0)
        counts = np.minimum(counts, room)
        asked = self.demand[self.ways[way].flavour]
        counts = np.clip(asked - (np.cumsum(counts) - counts), 0, counts)
        some = counts > 0
        rows, counts = rows[some], counts[some]
        for share, needs in enumerate(self.ways[way].needs):
            self.amounts[:, rows[:, share]] -= needs[:, None] * counts
        if self.crowd is not None:
            self.crowd.add(self.ways[way], rows, counts)
        self.opened[self._host_of_row[rows[:, 0]]] = True
        taken = int(counts.sum())
        self.demand[self.ways[way].flavour] -= taken
        if taken:
            self.takings.append(Taking(way=way, rows=rows, counts=counts))
        return taken

    def take_split(self, way: int, hosts: Ints, shares: Ints) -> int:
        """Take guests of several nodes in: (hosts, nodes) so many shares are wanted on each node at most."""
        of, total = self.ways[way].shares, 0
        of_last = self.ways[way].needs[-1]
        counted = int(np.flatnonzero(of_last)[0])
        while len(hosts) and self.demand[self.ways[way].flavour] > 0:
            order = np.argsort(-shares, axis=1, kind="stable")
            sorted_shares = np.take_along_axis(shares, order, axis=1)
            some = sorted_shares[:, of - 1] > 0
            hosts, shares, order, sorted_shares = hosts[some], shares[some], order[some], sorted_shares[some]
            after = sorted_shares[:, of] if shares.shape[1] > of else np.zeros(len(hosts), dtype=np.int64)
            counts = np.maximum(1, sorted_shares[:, of - 1] - after)
            nodes = np.sort(order[:, :of], axis=1)
            rows = self._larger_first(way, self.first_row[hosts][:, None] + nodes)
            before = self.amounts[counted, rows[:, -1]]
            total += self.take(way, rows, counts)
            fitted = (before - self.amounts[counted, rows[:, -1]]) // of_last[counted]
            taken = np.where(fitted > 0, fitted, NOBODY)[:, None]
            left = np.take_along_axis(shares, nodes, axis=1) - taken
            np.put_along_axis(shares, nodes, np.maximum(0, left), axis=1)
        return total

    def _larger_first(self, way: int, rows: Ints) -> Ints:
        """The larger shares come first, and go where more of them fit."""
        order = np.argsort(-self.fits(way, 0, rows), axis=1, kind="stable")
        return np.take_along_axis(rows, order, axis=1)

    def take_wanted(self, way: int, hosts: Ints, wanted: Callable[[Ints], Ints]) -> int:
        """Take guests of a way in, on the first hosts first; `wanted` tells how many shares at most for rows."""
        taken, of = 0, self.ways[way].shares
        hosts = hosts[self.allows(way, hosts)]
        for nodes in np.unique(self.nodes[hosts]):
            if nodes < of or not self.demand[self.ways[way].flavour]:
                continue
            alike = hosts[self.nodes[hosts] == nodes]
            rows = self.first_row[alike][:, None] + np.arange(nodes)
            shares = wanted(rows)
            some = shares.any(axis=1)
            if of == 1:
                taken += self.take(way, rows[some].reshape(-1, 1), shares[some].ravel())
            else:
                taken += self.take_split(way, alike[some], shares[some])
        return taken

    def take_greedily(self, hosts: Ints, ways: Sequence[int] | None = None) -> None:
        """Take in what fits on these hosts without looking ahead, on the fullest hosts in use.

        Args:
            ways: in this order; None: the largest first.
        """
        order = hosts[np.lexsort((self.cpus_of_hosts()[hosts], ~self.opened[hosts]))]
        for way in self.large_first() if ways is None else ways:
            if self.demand[self.ways[way].flavour]:
                self.take_wanted(way, order, partial(self.fits, way, 0))

    def holds(self, way: int, rows: Ints) -> bool:
        """Whether one guest of a way fits on these (shares,) rows."""
        return all(self.fits(way, share, rows[share : share + 1])[0] > 0 for share in range(self.ways[way].shares))

    def settle(self, way: int, rows: Ints) -> None:
        """Take in guests that are not of the demand: (n, shares) rows, on which there is room for them."""
        self.opened[self._host_of_row[rows[:, 0]]] = True
        self._add(way, rows, -1)

    def give_back(self, way: int, rows: Ints) -> None:
        """The room of guests that do not live there after all."""
        self._add(way, rows, 1)

    def _add(self, way: int, rows: Ints, times: int) -> None:
        for share, needs in enumerate(self.ways[way].needs):
            np.add.at(self.amounts.T, rows[:, share], needs * times)
        if self.crowd is not None:
            self.crowd.add(self.ways[way], rows, np.full(len(rows), -times))

    def room_for(self, flavours: Ints) -> int:
        """How many more guests of these flavours fit, of the first as many as possible; none is taken in."""
        kept = self.amounts.copy(), self.opened.copy(), self.demand, self.takings
        crowd = None if self.crowd is None else self.crowd.copy()
        self.demand, self.takings = np.full(len(self.flavours), NOBODY), []
        ways = [number for number, way in enumerate(self.ways) if way.flavour in flavours]
        room = sum(self.take_wanted(way, np.arange(self.supply.hosts), partial(self.fits, way, 0)) for way in ways)
        self.amounts, self.opened, self.demand, self.takings = kept
        self.crowd = crowd
        return room

    def large_first(self) -> list[int]:
        """The ways that guests may live in; those that their guests like best first, of these the largest."""
        ways = [w for w, way in enumerate(self.ways) if self.flavours[way.flavour].weight]
        return sorted(ways, key=lambda w: (self.ways[w].rank, -int(self.ways[w].needs[:, 0].sum())))

    def dense_first(self) -> list[int] | None:
        """The same, of equally liked ones those of which the most weight fits; None where all who wait may fit."""
        there = np.maximum(1, self.amounts.sum(axis=1))
        takes = np.array([way.needs.sum(axis=0) / there for way in self.ways])
        first = [w for w, way in enumerate(self.ways) if way.form == 0]
        asked = np.array([self.demand[self.ways[w].flavour] for w in first])
        if (asked @ takes[first] <= 1).all():
            return None
        weights = self.weights()
        return sorted(
            self.large_first(),
            key=lambda w: (self.ways[w].rank, takes[w].max() / weights[self.ways[w].flavour]),
        )

    def give_back_slots(self, flavour: int, forms: Ints, rows: Rows) -> None:
        """The room of `slots` of a flavour in which nobody lives."""
        for number, way in enumerate(self.ways):
            if way.flavour == flavour:
                self.give_back(number, rows[forms == way.form, : way.shares].astype(np.int64))

    def slots(self, flavour: int) -> tuple[Ints, Rows]:
        """Every guest of a flavour that was taken in, in no order: (n,) its form, (n, most shares) its rows."""
        width = max(way.shares for way in self.ways)
        forms, rows = [np.zeros(0, dtype=np.int64)], [np.zeros((0, width), dtype=np.int32)]
        for taking in self.takings:
            way = self.ways[taking.way]
            if way.flavour == flavour:
                padded = np.full((len(taking.rows), width), -1, dtype=np.int32)
                padded[:, : way.shares] = taking.rows
                rows.append(np.repeat(padded, taking.counts, axis=0))
                forms.append(np.full(len(rows[-1]), way.form, dtype=np.int64))
        return np.concatenate(forms), np.concatenate(rows)


def _vcpus_of(form: Form) -> int:
    """What a guest takes of all CPUs: to tell the larger ones."""
    return sum(share.vcpus or share.own for share in form.shares)
