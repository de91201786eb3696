"""What is held of each row of the fleet, and whether one more place can be held too. Mutable, and fast."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from typing import TypeVar

from policies.asked import SmtPolicy
from policies.groups import Domain, broken_wishes, domains_of
from policies.rebalance.model import GuestClass, Model
from policies.rebalance.places import MemoryPlace, Place, mask_of
from policies.request import GroupRule, Membership

_Key = TypeVar("_Key")

_Pages = tuple[tuple[int, int], ...]
"""Page sizes, ascending, each with KiB."""

_Member = tuple[frozenset[Domain], str]
"""The domains that a member of a group touches, and its part."""


class Loads:
    """What guests hold together.

    Attributes:
        hosts: how many of those who may be moved are on each.
        hosts_in_use: how many hosts anybody of ours is on.
        changed_hosts: on which something has changed; who looks at them takes them out.

    Only what grows is looked at: a row on which more is held than there is (a reserve was raised, say)
    keeps what it has, and gets nothing.
    """

    def __init__(self, model: Model) -> None:
        fleet = model.fleet
        self._room: dict[MemoryPlace, int] = {
            (row, page): int(kib) for page, column in fleet.memory_kib.items() for row, kib in enumerate(column)
        }
        nodes = [node for host in fleet for node in host.nodes]
        self._free = [mask_of(node.free_cpus) for node in nodes]
        self._unshared = [len(node.free_cpus - node.shared_cpus) for node in nodes]
        self._shared = [len(node.shared_cpus) for node in nodes]
        self._there = [node.shared_vcpus for node in nodes]
        self._overcommit = [host.overcommit.as_integer_ratio() for host in fleet for _ in host.nodes]
        self._offered = [sum(node.memory_kib.values()) for node in nodes]
        self._pcpus = [len(node.free_cpus | node.shared_cpus) for node in nodes]
        self.memory: Counter[MemoryPlace] = Counter()
        self.own = [0] * len(nodes)
        self.floating = [0] * len(nodes)
        self._sizes: list[Counter[int]] = [Counter() for _ in nodes]
        self._pins: list[Counter[int]] = [Counter() for _ in nodes]
        self._pages_of: list[Counter[int]] = [Counter() for _ in nodes]
        self.hosts: Counter[int] = Counter()
        self.hosts_in_use = len(model.fixed_hosts)
        self.changed_hosts: set[int] = set()
        self._fixed_hosts = model.fixed_hosts
        self._members: dict[str, Counter[_Member]] = defaultdict(Counter)
        self._residents = _Residents(model)
        members = [member for kind in model.standing for member in kind.request.groups if not member.group.hard]
        self._wishes = {member.group.name: member for member in members}
        self._broken: dict[str, int] = {}
        self._stale = set(self._wishes)

    def add(self, kind: GuestClass, place: Place, sign: int = 1) -> None:
        """Hold a place (1), or let it go (-1)."""
        for row, n in place.own:
            self.own[row] += sign * n
        for row, n in place.floating:
            self.floating[row] += sign * n
            _count(self._sizes[row], n, sign)
        for row, mask in place.pins:
            _count(self._pins[row], mask, sign)
        for where, kib in place.memory:
            self.memory[where] += sign * kib
            _count(self._pages_of[where[0]], where[1], sign * kib)
        _count(self.hosts, place.host, sign)
        if place.host not in self._fixed_hosts and self.hosts[place.host] == max(0, sign):
            self.hosts_in_use += sign
        self.changed_hosts.add(place.host)
        for member, domains in zip(kind.request.groups, place.domains, strict=True):
            _count(self._members[member.group.name], (domains, member.part), sign)
            self._stale.add(member.group.name)

    def fits(self, kind: GuestClass, place: Place, beside: Place | None = None) -> bool:
        """Whether a guest that holds `beside` already can hold `place` too, and its groups let it live there.

        Whether enough pCPUs are nobody's is another question: `unowned`.
        """
        return next(self.lacking(kind, place, beside), None) is None and self._groups_hold(kind, place, beside)

    def lacking(self, kind: GuestClass, place: Place, beside: Place | None = None) -> Iterator[int]:
        """The rows that have not got what they are to give; a row may come twice."""
        held = dict(beside.memory) if beside is not None else {}
        for where, kib in place.memory:
            more = kib - held.get(where, 0)
            if more > 0 and self.memory[where] + more > self._room.get(where, 0):
                yield where[0]
        own = dict(more_own(kind, place, beside))
        for row, n in own.items():
            if self.own[row] + n > self._free[row].bit_count() or not self._floats(row, own=n, more=0, largest=0):
                yield row
        floats = dict(beside.floating) if beside is not None else {}
        for row, n in place.floating:
            if not self._floats(row, own=own.get(row, 0), more=max(0, n - floats.get(row, 0)), largest=n):
                yield row

    def wishes_broken(self) -> int:
        """How much the soft groups of those who may be moved are broken, each times its weight."""
        for name in self._stale & self._wishes.keys():
            member, there = self._wishes[name], defaultdict[Domain, Counter[str]](Counter)
            for domains, part in (*self._members[name].elements(), *self._residents.of(member)):
                for domain in domains:
                    there[domain][part] += 1
            self._broken[name] = member.group.weight * broken_wishes(member.group.rule, there)
        self._stale.clear()
        return sum(self._broken.values())

    def held(self, row: int) -> tuple[int, int, int, int, _Pages]:
        """Of a row: own pCPUs, how many of them were shared, shared vCPUs, the most of one guest, and memory."""
        own, pages = self.own[row], self._pages_of[row]
        lost = max(0, own - self._unshared[row])
        return own, lost, self.floating[row], max(self._sizes[row], default=0), tuple(sorted(pages.items()))

    def fullness(self, row: int) -> float:
        """How much of the row is held: of its memory, or of its pCPUs, whichever is more. 0 where nobody is."""
        used = sum(self._pages_of[row].values())
        vcpus, pcpus = self.own[row] + self.floating[row], max(1, self._pcpus[row])
        return max(used / max(1, self._offered[row]), vcpus / pcpus)

    def missing_kib(self, place: Place) -> int:
        """How much memory of others is in the way of the place."""
        over = (self.memory[where] + kib - self._room.get(where, 0) for where, kib in place.memory)
        return sum(more for more in over if more > 0)

    def unowned(self, row: int, without: Collection[int] = ()) -> int:
        """pCPUs that a dedicated guest may take; `without` are pins that are looked away from."""
        busy = 0
        for pins in self._pins[row]:
            if pins not in without:
                busy |= pins
        return (self._free[row] & ~busy).bit_count() - self.own[row]

    def _floats(self, row: int, *, own: int, more: int, largest: int) -> bool:
        """Whether those who float on the row still can, with more of them or more pCPUs dedicated."""
        floating = self.floating[row] + more
        if not floating:
            return True
        left = self._shared[row] - max(0, self.own[row] + own - self._unshared[row])
        if max(largest, max(self._sizes[row], default=0)) > left:
            return False
        vcpus, pcpus = self._overcommit[row]
        return (floating + self._there[row]) * pcpus <= vcpus * left

    def _groups_hold(self, kind: GuestClass, place: Place, beside: Place | None) -> bool:
        for i, (member, domains) in enumerate(zip(kind.request.groups, place.domains, strict=True)):
            if not member.group.hard:
                continue
            others = self._members[member.group.name].copy()
            if beside is not None:
                _count(others, (beside.domains[i], member.part), -1)
            if not _may_join(member, domains, (*others, *self._residents.of(member))):
                return False
        return True


class _Residents:
    """Members of groups who are not moved, by the level at which they are looked at."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._known: dict[tuple[str, str], tuple[_Member, ...]] = {}

    def of(self, member: Membership) -> tuple[_Member, ...]:
        key = member.group.name, member.group.level
        if key not in self._known:
            self._known[key] = tuple(
                (domains_of(member.group.level, host, resident.nodes), other.part)
                for host in self._model.fleet
                for resident in host.residents
                for other in resident.groups
                if other.group.name == member.group.name
            )
        return self._known[key]


def more_own(kind: GuestClass, place: Place, beside: Place | None) -> Iterator[tuple[int, int]]:
    """Rows, and how many pCPUs such a guest gets there for its own beside those that it has there and keeps.

    Who wants whole cores gets others: which of them are whole counts do not tell.
    """
    keeps = dict(beside.own) if beside is not None and kind.request.smt is SmtPolicy.PREFER else {}
    for row, n in place.own:
        if n > keeps.get(row, 0):
            yield row, n - keeps.get(row, 0)


def _may_join(member: Membership, domains: frozenset[Domain], others: tuple[_Member, ...]) -> bool:
    if member.group.rule is GroupRule.AFFINITY:
        return len(domains.union(*(theirs for theirs, _ in others))) <= 1
    if member.group.rule is GroupRule.ANTI_AFFINITY:
        return all(domains.isdisjoint(theirs) for theirs, _ in others)
    return all(domains.isdisjoint(theirs) or part == member.part for theirs, part in others)


def _count(counter: Counter[_Key], key: _Key, sign: int) -> None:
    counter[key] += sign
    if not counter[key]:
        del counter[key]
