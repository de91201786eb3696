"""Groups with affinity: each settles as a whole in one domain, before all others are placed.

Domains are tried side by side: in each, every member goes to the host that loses least of its worth at the prices of
the linear program (`prices`); the group settles where most of it lives, at the least loss.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from policies.patterns.left import Left
from policies.patterns.question import Batch, GroupOf, Homes, Ints
from policies.patterns.terms import Terms
from policies.patterns.worth import NodeWorth
from policies.request import GroupRule

MOST_NODES_TRIED = 20_000
"""Domains are tried until they have so many nodes together: those with the least room that could do come first."""
NO_ROOM = np.iinfo(np.int64).max // 4


def settle_together(left: Left, batch: Batch, homes: Homes, values: Ints, terms: Terms, cost: int) -> None:
    """Give every affinity group its homes, the largest group first; who finds none in its domain has none.

    Args:
        values: (ways,) what placing a guest in each way is worth.
        cost: of having guests on a host that has none yet, in units of 1 / SCALE.
    """
    worths = {int(scale): NodeWorth(terms, values, int(scale)) for scale in np.unique(left.supply.scale_of_host())}
    losses = _Losses(left, worths, cost)
    vcpus = left.vcpus_of_flavours()[batch.flavour_of]
    groups = [group for group in batch.groups if group.rule is GroupRule.AFFINITY]
    for group in sorted(groups, key=lambda g: -int(vcpus[g.members].sum())):
        left.demand -= np.bincount(batch.flavour_of[group.members], minlength=len(batch.flavours))
        members = group.members[np.argsort(-vcpus[group.members], kind="stable")]
        ways, rows = _best_domain(losses, group, int(vcpus[members].sum()), batch.flavour_of[members])
        for member, way, home in zip(members, ways, rows, strict=True):
            shares = home[: left.ways[way].shares]
            if way >= 0 and left.holds(int(way), shares):
                losses.take(int(way), shares[None])
                left.settle(int(way), shares[None])
                homes.form[member] = left.ways[way].form
                homes.rows[member, : len(shares)] = shares


def _best_domain(losses: _Losses, group: GroupOf, vcpus: int, flavours: Ints) -> tuple[Ints, Ints]:
    """Per member ((members,) its flavour): (members,) the way, -1 for none, and (members, most shares) the rows."""
    left = losses.left
    hosts, first = _hosts_to_try(left, group, vcpus)
    placed, lost = np.zeros(len(first), dtype=np.int64), np.zeros(len(first), dtype=np.int64)
    trial, weights = losses.copy(), left.weights()
    width = max(way.shares for way in left.ways)
    ways = np.full((len(flavours), len(first)), -1)
    rows = np.full((len(flavours), len(first), width), -1)
    for member, flavour in enumerate(flavours):
        for number in np.flatnonzero([way.flavour == flavour for way in left.ways]):
            loss, homes = trial.of(int(number))
            best = _first_least(loss[hosts], first)
            found = np.flatnonzero((loss[hosts[best]] < NO_ROOM) & (ways[member] < 0))
            chosen = hosts[best[found]]
            placed[found] += weights[flavour]
            lost[found] += loss[chosen]
            ways[member, found], rows[member, found, : homes.shape[1]] = number, homes[chosen]
            trial.take(int(number), homes[chosen])
    best_domain = np.lexsort((lost, -placed))[0]
    return ways[:, best_domain], rows[:, best_domain]


def _hosts_to_try(left: Left, group: GroupOf, vcpus: int) -> tuple[Ints, Ints]:
    """The hosts of the domains that have so many vCPUs, or else of all, domain by domain; and the first of each."""
    names, domain = np.unique(left.supply.domain_of_host(group.level), return_inverse=True)
    room = np.bincount(domain, weights=left.cpus_of_hosts(), minlength=len(names))
    nodes = np.bincount(domain, weights=left.nodes, minlength=len(names))
    order = np.lexsort((room, room < vcpus))
    order = order[: max(1, int(np.searchsorted(np.cumsum(nodes[order]), MOST_NODES_TRIED)))]
    rank = np.full(len(names), len(names))
    rank[order] = np.arange(len(order))
    hosts = np.argsort(rank[domain], kind="stable")
    hosts = hosts[rank[domain[hosts]] < len(names)]
    return hosts, np.flatnonzero(np.diff(rank[domain[hosts]], prepend=-1))


def _first_least(values: Ints, first: Ints) -> Ints:
    """(parts,) the index of the least value in each part; parts begin at `first`."""
    part = np.repeat(np.arange(len(first)), np.diff(first, append=len(values)))
    return np.lexsort((values, part))[first]


class _Losses:
    """How much less each host is worth with one more guest of a way; kept up to date as guests come."""

    def __init__(self, left: Left, worths: Mapping[int, NodeWorth], cost: int) -> None:
        self.left, self._worths, self._cost = left, worths, cost
        self._amounts, self._opened = left.amounts.copy(), left.opened.copy()
        self._host_of_row = left.supply.host_of_row()
        self._known: dict[int, tuple[Ints, Ints]] = {}

    def copy(self) -> _Losses:
        other = _Losses(self.left, self._worths, self._cost)
        other._amounts, other._opened = self._amounts.copy(), self._opened.copy()
        other._known = {way: (loss.copy(), rows.copy()) for way, (loss, rows) in self._known.items()}
        return other

    def of(self, way: int) -> tuple[Ints, Ints]:
        """Per host: the least loss, `NO_ROOM` or more where there is none; and (hosts, shares) the rows."""
        if way not in self._known:
            hosts = self.left.supply.hosts
            self._known[way] = np.full(hosts, NO_ROOM), np.full((hosts, self.left.ways[way].shares), -1)
            self._look_again(way, np.arange(hosts))
        return self._known[way]

    def take(self, way: int, rows: Ints) -> None:
        """A guest of a way on each of (n, shares) rows, those of other hosts each."""
        for share, needs in enumerate(self.left.ways[way].needs):
            self._amounts[:, rows[:, share]] -= needs[:, None]
        hosts = self._host_of_row[rows[:, 0]]
        self._opened[hosts] = True
        for known in self._known:
            self._look_again(known, hosts)

    def _look_again(self, way: int, hosts: Ints) -> None:
        loss, rows = self._known[way]
        loss[hosts] = NO_ROOM
        hosts = hosts[self.left.allows(way, hosts)]
        for nodes in np.unique(self.left.nodes[hosts]):
            if nodes >= self.left.ways[way].shares:
                alike = hosts[self.left.nodes[hosts] == nodes]
                loss[alike], rows[alike] = self._least(way, self.left.first_row[alike][:, None] + np.arange(nodes))

    def _least(self, way: int, rows: Ints) -> tuple[Ints, Ints]:
        """The least loss on hosts with (hosts, nodes) these rows, and where: each share where it costs least."""
        amounts, hosts, chosen = self._amounts[:, rows], np.arange(len(rows)), []
        worth = self._worths[self.left.ways[way].scale]
        loss = np.zeros(len(rows), dtype=np.int64)
        if self._cost:
            not_earned = np.maximum(0, self._cost - worth.of_hosts(amounts))
            loss = np.where(self._opened[self._host_of_row[rows[:, 0]]], 0, not_earned)
        used = np.zeros(rows.shape, dtype=np.bool_)
        for needs in self.left.ways[way].needs:
            after = amounts - needs[:, None, None]
            fits = (after >= 0).all(axis=0) & ~used
            after = np.maximum(after, 0)
            lost = worth.of_nodes(amounts, amounts) - worth.of_nodes(after, amounts)
            node = np.where(fits, lost, NO_ROOM).argmin(axis=1)
            loss = np.where(fits[hosts, node], loss + lost[hosts, node], NO_ROOM)
            amounts[:, hosts, node] = after[:, hosts, node]
            used[hosts, node] = True
            chosen.append(rows[hosts, node])
        return loss, np.stack(chosen, axis=1)
