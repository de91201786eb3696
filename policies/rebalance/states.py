"""Each state between two steps, looked at only where it changes: as quick for many guests as for few.

Says of every state what the rules of `policies.check` say that look at more than one guest, from counts of
its own; what they say of one guest alone, and of the last state, they are asked themselves (`verify`).
During a step old and new place count together: of what is in both, the larger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from policies.capacity import HostCapacity
from policies.demand import memory_taken
from policies.fleet import Fleet
from policies.groups import GroupBook
from policies.plan import Placement
from probe.cpuset import CpuSet

_Node = int | None
"""A node of the host; None: all of them together."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What a placement holds of its host."""

    memory: Mapping[tuple[_Node, int], int]
    floating: Mapping[_Node, int]
    own: CpuSet
    runs: CpuSet

    @classmethod
    def by(cls, placement: Placement, host: HostCapacity) -> _Held:
        taken = memory_taken(placement)
        floating: Counter[_Node] = Counter()
        for pin in placement.floating_pins.values():
            floating.update(node.node_id for node in host.nodes if not node.shared_cpus.isdisjoint(pin))
        runs = CpuSet.union(placement.floating_pins.values())
        if placement.cpus is None:
            runs, floating[None] = host.topology.online_cpus, sum(len(cell.vcpus) for cell in placement.cells)
        memory = {(node, page): kib for node, pages in taken.items() for page, kib in pages.items()}
        return cls(memory=memory, floating=floating, own=placement.own_cpus, runs=runs)

    def beside(self, other: _Held) -> _Held:
        """Both places of one guest."""
        return _Held(
            memory={
                key: max(self.memory.get(key, 0), other.memory.get(key, 0)) for key in (*self.memory, *other.memory)
            },
            floating={
                n: max(self.floating.get(n, 0), other.floating.get(n, 0)) for n in (*self.floating, *other.floating)
            },
            own=self.own | other.own,
            runs=self.runs | other.runs,
        )


class _Host:
    """What is held of one host."""

    def __init__(self, host: HostCapacity) -> None:
        self._host = host
        self._memory: Counter[tuple[_Node, int]] = Counter()
        self._floating: Counter[_Node] = Counter()
        self._owners: Counter[int] = Counter()
        self._runners: Counter[int] = Counter(dict.fromkeys(host.topology.online_cpus.ids, 0))
        self._room: dict[tuple[_Node, int], int] = {
            (node.node_id, page): kib for node in host.nodes for page, kib in node.memory_kib.items()
        }

    def add(self, held: _Held, sign: int) -> None:
        for key, kib in held.memory.items():
            self._memory[key] += sign * kib
        for node, n in held.floating.items():
            self._floating[node] += sign * n
        for cpu in held.own.ids:
            self._owners[cpu] += sign
        for cpu in held.runs.ids:
            self._runners[cpu] += sign

    def complaints(self, more: _Held) -> Iterator[str]:
        """What breaks with this beside what is held."""
        owned = CpuSet(frozenset(cpu for cpu, n in self._owners.items() if n > 0))
        if taken := more.own & owned:
            yield f"pCPUs {taken} belong to others"
        if trespassed := more.runs & (owned | more.own | self._host.dedicated_cpus):
            yield f"runs on pCPUs {trespassed}, which are dedicated"
        if driven := [cpu for cpu in more.own.ids if self._runners[cpu] > 0]:
            yield f"others run on its pCPUs {CpuSet(frozenset(driven))}"
        yield from self._of_memory(more)
        yield from self._of_vcpus(more, owned | more.own)

    def _of_memory(self, more: _Held) -> Iterator[str]:
        loose = any(kib for (node, _), kib in self._memory.items() if node is None)
        for (node, page), kib in more.memory.items():
            if node is not None and self._memory[node, page] + kib > self._room.get((node, page), 0):
                yield f"node {node} has not enough memory in pages of {page} KiB"
            if loose or node is None:
                held = sum(n for (_, size), n in self._memory.items() if size == page)
                extra = sum(n for (_, size), n in more.memory.items() if size == page)
                if held + extra > sum(n for (_, size), n in self._room.items() if size == page):
                    yield f"all nodes together have not enough memory in pages of {page} KiB"

    def _of_vcpus(self, more: _Held, owned: CpuSet) -> Iterator[str]:
        room = 0
        for node in self._host.nodes:
            floating = self._floating[node.node_id] + more.floating.get(node.node_id, 0)
            most = self._host.overcommit * len(node.shared_cpus - owned)
            room += max(0, int(most) - node.shared_vcpus - floating)
            if floating and floating + node.shared_vcpus > most:
                yield f"node {node.node_id} has {floating + node.shared_vcpus} shared vCPUs, and room for {most}"
        if self._floating[None] + more.floating.get(None, 0) > room:
            yield f"room for {room} unpinned vCPUs, and there are more"


class States:
    """A state, and what breaks in it and on the way to the next. Mutable."""

    def __init__(self, fleet: Fleet, placements: Iterable[Placement]) -> None:
        """`placements`: who is there; nothing of this is looked at."""
        self._fleet = fleet
        self._groups = GroupBook(fleet)
        self._hosts = {host.name: _Host(host) for host in fleet}
        for placement in placements:
            self._put(placement, 1)

    def step(self, origin: Placement, target: Placement) -> Iterator[str]:
        """Take a step, and tell what breaks during it, and after it."""
        self._put(origin, -1)
        new = _Held.by(target, self._fleet.host(target.host))
        yield from self._hosts[target.host].complaints(new)
        if origin.host == target.host:
            both = new.beside(_Held.by(origin, self._fleet.host(origin.host)))
            yield from self._hosts[target.host].complaints(both)
        host = self._fleet.host(target.host)
        if conflict := self._groups.conflict_of(target, host):
            yield conflict
        self._put(target, 1)

    def _put(self, placement: Placement, sign: int) -> None:
        host = self._fleet.host(placement.host)
        self._hosts[host.name].add(_Held.by(placement, host), sign)
        self._groups.book(placement, host, sign=sign)
