"""The guests of each flavour into the slots that the rounds took for it: those of groups first, by their rules."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence

import numpy as np

from policies.patterns.left import Left
from policies.patterns.question import Batch, GroupOf, Homes, Ints, Mask, Rows
from policies.request import GroupRule


class Dealer:
    """Deals the slots of a book.

    A group of anti-affinity is one of fault domains whose members are each a part: a domain serves one part.
    """

    def __init__(self, left: Left, batch: Batch, homes: Homes, rng: np.random.Generator) -> None:
        self.left, self.batch, self.homes, self.rng = left, batch, homes, rng
        self.slots = [left.slots(flavour) for flavour in range(len(batch.flavours))]
        self.free = [np.ones(len(forms), dtype=np.bool_) for forms, _ in self.slots]
        self._host_of_row = left.supply.host_of_row()
        self._queues: dict[tuple[int, str], _Queue] = {}

    def deal(self) -> None:
        """All guests: the members of groups choose first, the largest group before all others."""
        apart = [group for group in self.batch.groups if group.rule is not GroupRule.AFFINITY]
        alone = np.ones(len(self.batch.flavour_of), dtype=np.bool_)
        for group in self.batch.groups:
            alone[group.members] = False
        for group in sorted(apart, key=lambda g: -len(g.members)):
            self._deal_group(group)
        for flavour in range(len(self.batch.flavours)):
            self._deal_rest(flavour, np.flatnonzero((self.batch.flavour_of == flavour) & alone))
        self._use_what_is_left(apart, alone)

    def _use_what_is_left(self, groups: Sequence[GroupOf], alone: Mask) -> None:
        """Slots that no guest may have are room again: for the members who might not have them, then for all."""
        undealt = np.array([int(free.sum()) for free in self.free])
        for flavour, (forms, rows) in enumerate(self.slots):
            self.left.give_back_slots(flavour, forms[self.free[flavour]], rows[self.free[flavour]])
        for group in groups:
            for at in np.flatnonzero(self.homes.form[group.members] < 0):
                if undealt[self.batch.flavour_of[group.members[at]]]:
                    self._house_alone(group, int(at))
        waiting = alone & ~self.homes.placed()
        if undealt.any():
            self._house_greedily(np.flatnonzero(waiting), np.arange(self.left.supply.hosts))

    def _house_alone(self, group: GroupOf, at: int) -> None:
        """One member on any host of a domain that serves no other part."""
        served = self._served_by_others(group, at)
        hosts = np.flatnonzero(~np.isin(self.left.supply.domain_of_host(group.level), served))
        self._house_greedily(group.members[at : at + 1], hosts)

    def _house_greedily(self, guests: Ints, hosts: Ints) -> None:
        flavours = self.batch.flavour_of[guests]
        self.left.takings.clear()
        self.left.demand = np.bincount(flavours, minlength=len(self.batch.flavours))
        self.left.take_greedily(hosts)
        for flavour in np.unique(flavours):
            forms, rows = self.left.slots(int(flavour))
            housed = guests[flavours == flavour][: len(forms)]
            self.homes.form[housed], self.homes.rows[housed] = forms, rows

    def _deal_group(self, group: GroupOf) -> None:
        served: dict[int, int] = {}
        for part, members in _by_part(group):
            for flavour, guests in _by_flavour(members, self.batch.flavour_of[members]):
                self._deal_part(group.level, part, flavour, guests, served)

    def _deal_part(self, level: str, part: int, flavour: int, guests: list[int], served: dict[int, int]) -> None:
        """Guests of one part into slots of domains that serve it already, then of others that serve none."""
        queue = self._queue(flavour, level)
        for domain in [domain for domain, of in served.items() if of == part]:
            self._house(flavour, guests, queue.take(domain, len(guests)))
        for _ in range(len(queue.turn)):
            if not guests:
                return
            domain = queue.turn.popleft()
            if domain not in served:
                slots = queue.take(domain, len(guests))
                if not slots:
                    continue
                served[domain] = part
                self._house(flavour, guests, slots)
            queue.turn.append(domain)

    def _house(self, flavour: int, guests: list[int], slots: Sequence[int]) -> None:
        """The last guests into these slots."""
        forms, rows = self.slots[flavour]
        for slot in slots:
            guest = guests.pop()
            self.free[flavour][slot] = False
            self.homes.form[guest], self.homes.rows[guest] = forms[slot], rows[slot]

    def _deal_rest(self, flavour: int, guests: Ints) -> None:
        forms, rows = self.slots[flavour]
        slots = np.flatnonzero(self.free[flavour])[: len(guests)]
        self.free[flavour][slots] = False
        self.homes.form[guests[: len(slots)]], self.homes.rows[guests[: len(slots)]] = forms[slots], rows[slots]

    def _queue(self, flavour: int, level: str) -> _Queue:
        if (flavour, level) not in self._queues:
            domains = self._domains(level, self.slots[flavour][1])
            self._queues[flavour, level] = _Queue(domains, self.free[flavour], self.rng)
        return self._queues[flavour, level]

    def _domains(self, level: str, rows: Rows) -> Ints:
        """(n,) the domain of each home."""
        return self.left.supply.domain_of_host(level)[self._host_of_row[rows[:, 0]]]

    def _served_by_others(self, group: GroupOf, at: int) -> Ints:
        """The domains in which members of other parts than that member's live."""
        parts = _parts(group)
        others = group.members[(self.homes.form[group.members] >= 0) & (parts != parts[at])]
        return self._domains(group.level, self.homes.rows[others])


class _Queue:
    """The slots of a flavour by the domain of a level; domains take turns."""

    def __init__(self, domains: Ints, free: Mask, rng: np.random.Generator) -> None:
        self._free = free
        order = np.argsort(domains, kind="stable")
        names, first = np.unique(domains[order], return_index=True)
        self._slots = dict(zip(names.tolist(), (part.tolist() for part in np.split(order, first)[1:]), strict=True))
        self.turn = deque(rng.permutation(names).tolist())

    def take(self, domain: int, most: int) -> list[int]:
        """Up to so many slots of this domain that are free, out of the queue."""
        slots, taken = self._slots.get(domain, []), list[int]()
        while slots and len(taken) < most:
            slot = slots.pop()
            if self._free[slot]:
                taken.append(slot)
        return taken


def _parts(group: GroupOf) -> Ints:
    return np.arange(len(group.members)) if group.rule is GroupRule.ANTI_AFFINITY else group.parts


def _by_part(group: GroupOf) -> list[tuple[int, Ints]]:
    """The members of each part, the largest part first."""
    parts = _parts(group)
    order = np.argsort(parts, kind="stable")
    names, first = np.unique(parts[order], return_index=True)
    members = zip(names.tolist(), np.split(group.members[order], first)[1:], strict=True)
    return sorted(members, key=lambda part: -len(part[1]))


def _by_flavour(members: Ints, flavours: Ints) -> list[tuple[int, list[int]]]:
    found = defaultdict(list)
    for member, flavour in zip(members.tolist(), flavours.tolist(), strict=True):
        found[flavour].append(member)
    return sorted(found.items(), key=lambda of: -len(of[1]))
