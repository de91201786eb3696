"""The calls of the embedded hypervisor. It is its own: no part of any ledger's transaction.

Each call is one transaction on the host's file (`host_file`); after each the file holds the host's
new snapshot, which the probe reads as `sim:FILE`. KVM guests touch a quarter of their memory when
they are resumed; Xen guests have all their pages from the start, as the real ones.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from probe.cpuset import CpuSet, NodeSet
from probe.snapshot import HostSnapshot, Hypervisor, OccupantState
from scheduler.sim.errors import ReplyLostError, SimError
from scheduler.sim.host_file import HostFile, SimDomain
from scheduler.sim.marking import with_mark
from scheduler.sim.pages import OutOfMemoryError, Pools, automatic_node, moved, place_at_creation, touch
from scheduler.sim.published import snapshot_now
from scheduler.sim.rebinding import with_nodes, with_pins
from scheduler.sim.wanted import Wanted

Result = TypeVar("Result")

TOUCHED_AT_RESUME = 4
"""A KVM guest touches one part in so many of its memory when it begins to run."""

CALLS = (
    *("define", "start", "resume", "suspend", "touch", "destroy", "undefine"),
    *("find", "list", "mark", "repin", "set-nodes"),
)
FAULTS = ("fail", "lose-reply", "die-before", "die-after")


class SimHypervisor:
    """A connection to one host file. Refusals are `SimError`, lost replies `ReplyLostError`."""

    def __init__(self, path: Path) -> None:
        """Open a host file. Raises `SourceUnreadableError`, `SourceMalformedError`."""
        self._file = HostFile(path)
        self.path, self.flavour, self.base = path, self._file.flavour, self._file.base

    @classmethod
    def create(cls, path: Path, snapshot: HostSnapshot, flavour: Hypervisor, *, name: str = "") -> SimHypervisor:
        """Make a host file of any snapshot; its occupants stay as they are. Raises `BadInputError` if it exists."""
        base = replace(snapshot, hypervisor=flavour, hostname=name or snapshot.hostname, sources=(f"sim:{path}",))
        HostFile.create(path, base, flavour).close()
        return cls(path)

    def close(self) -> None:
        self._file.close()

    def define(self, text: str) -> str:
        """Define a domain, or define it anew for its next start; answers its uuid."""

        def do() -> str:
            new = self._file.add(text)
            for old in self._file.domains():
                same_uuid, same_name = old.wanted.uuid == new.wanted.uuid, old.wanted.name == new.wanted.name
                if same_name and same_uuid:
                    shut_off = old.state is OccupantState.SHUTOFF
                    self._file.write(new if shut_off else replace(old, next_text=text))
                    return new.wanted.uuid
                if same_name or same_uuid:
                    raise SimError(9, f"domain '{old.wanted.name}' already exists with uuid {old.wanted.uuid}")
            self._file.write(new)
            return new.wanted.uuid

        return self._call("define", do)

    def start(self, uuid: str) -> None:
        """Start a domain paused, with its memory where the definition really puts it."""

        def do() -> None:
            domain = self._known(uuid)
            if domain.state is not OccupantState.SHUTOFF:
                raise SimError(55, f"domain '{domain.wanted.name}' is already running")
            self._check_host(domain.wanted)
            place = self._started_on_xen if self.flavour is Hypervisor.XEN else self._started_on_kvm
            pages = place(domain.wanted, self._pools())
            self._file.write(replace(domain, state=OccupantState.PAUSED, pages=pages))

        self._call("start", do)

    def resume(self, uuid: str) -> None:
        """Let it run; a KVM guest begins to touch its memory."""

        def do() -> None:
            domain = self._started(uuid)
            self._file.write(replace(domain, state=OccupantState.RUNNING))
            if self.flavour is Hypervisor.KVM:
                self._touched(uuid, sum(c.memory_kib for c in domain.wanted.cells) // TOUCHED_AT_RESUME)

        self._call("resume", do)

    def suspend(self, uuid: str) -> None:
        """Let its vCPUs stand still; its memory stays where it is."""

        def do() -> None:
            self._file.write(replace(self._started(uuid), state=OccupantState.PAUSED))

        self._call("suspend", do)

    def touch(self, uuid: str, kib: int) -> None:
        """The guest touches so much more memory, in proportion to its cells."""
        self._call("touch", lambda: self._touched(uuid, kib))

    def destroy(self, uuid: str) -> None:
        """Stop it; its pages are free again, and what was defined meanwhile holds."""

        def do() -> None:
            domain = self._known(uuid)
            if domain.next_text is not None:
                self._file.write(replace(self._file.add(domain.next_text), wanted=domain.wanted))
            else:
                self._file.write(replace(domain, state=OccupantState.SHUTOFF, pages=()))

        self._call("destroy", do)

    def undefine(self, uuid: str) -> None:
        """Forget a domain that does not run."""

        def do() -> None:
            domain = self._known(uuid)
            if domain.state is not OccupantState.SHUTOFF:
                raise SimError(55, f"domain '{domain.wanted.name}' is running")
            self._file.forget(uuid)

        self._call("undefine", do)

    def mark(self, uuid: str, mark: tuple[str, str] | None) -> None:
        """Set its mark (ledger id, claim id) or take it away; also in what its next start takes."""

        def do() -> None:
            self._rewrite(self._known(uuid), lambda text: with_mark(text, mark))

        self._call("mark", do)

    def repin(self, uuid: str, pins: Mapping[int, CpuSet], emulator: CpuSet | None) -> None:
        """Change what a running domain's vCPUs, and emulator threads, may use. No memory moves."""

        def do() -> None:
            self._rewrite(self._started(uuid), lambda text: with_pins(text, pins, emulator))

        self._call("repin", do)

    def set_nodes(self, uuid: str, nodes: NodeSet) -> None:
        """Change the nodes of a running domain's memory; its pages follow as far as there is room."""

        def do() -> None:
            domain = self._started(uuid)
            if self.flavour is Hypervisor.XEN:
                raise SimError(3, "this function is not supported by the connection driver")
            if {cell.mode for cell in domain.wanted.cells} - {"restrictive", "local"}:
                raise SimError(55, "change of nodeset for running domain requires restrictive numa mode")
            pools, page_kib = self._pools(), domain.wanted.page_kib
            pages = tuple(moved(dict(cell), nodes, page_kib, pools) for cell in domain.pages)
            self._rewrite(replace(domain, pages=pages), lambda text: with_nodes(text, nodes))

        self._call("set-nodes", do)

    def _rewrite(self, domain: SimDomain, change: Callable[[str], str]) -> None:
        """Change the live definition, and what its next start takes."""
        following = None if domain.next_text is None else change(domain.next_text)
        self._file.write(replace(domain, text=change(domain.text), next_text=following))

    def find(self, uuid: str) -> SimDomain | None:
        return self._call("find", lambda: self._file.find(uuid))

    def domains(self) -> list[SimDomain]:
        return self._call("list", lambda: list(self._file.domains()))

    def inject(self, call: str, kind: str, *, nth: int = 1) -> None:
        """Make the nth next of `CALLS` go wrong, in one of the ways of `FAULTS`."""
        self._file.order_fault(call, kind, nth)

    def _pools(self) -> Pools:
        """Free KiB of each node and page size: the base's, less what guests have taken."""
        pools: Pools = {}
        for memory in self.base.memory:
            known = memory.available_kib if memory.available_kib is not None else memory.total_kib
            pools[memory.node_id, 4] = known or 0
            for pool in memory.hugepages:
                free = pool.total if pool.free is None else pool.free
                pools[memory.node_id, pool.size_kib] = free * pool.size_kib
        for domain in self._file.domains():
            for node, kib in domain.resident_kib.items():
                pools[node, domain.wanted.page_kib] -= kib
        return pools

    def _started_on_kvm(self, wanted: Wanted, pools: Pools) -> tuple[dict[int, int], ...]:
        """Nothing is resident yet; what is pre-allocated is all taken at the start, or the start fails."""
        if not wanted.preallocated:
            return tuple({} for _ in wanted.cells)
        near = NodeSet() if wanted.page_kib > 4 else self._near(wanted, pools)
        try:
            return tuple(touch(cell, cell.memory_kib, wanted.page_kib, pools, near) for cell in wanted.cells)
        except OutOfMemoryError:
            text = "unable to map backing store for guest RAM: Cannot allocate memory"
            raise SimError(1, text) from None

    def _started_on_xen(self, wanted: Wanted, pools: Pools) -> tuple[dict[int, int], ...]:
        return (place_at_creation(wanted.cells[0].memory_kib, pools, self._near(wanted, pools)),)

    def _check_host(self, wanted: Wanted) -> None:
        topology = self.base.topology
        for cell in wanted.cells:
            if stray := cell.nodes - topology.node_ids:
                raise SimError(67, f"unsupported configuration: NUMA node {min(stray)} is unavailable")
        for pins in wanted.affinity.values():
            if self.flavour is Hypervisor.XEN and pins.isdisjoint(topology.online_cpus):
                raise SimError(38, "libxenlight failed to create new domain: vcpu hard affinity map is empty")
            if self.flavour is Hypervisor.KVM and pins - topology.online_cpus:
                raise SimError(38, f"Unable to write to cpuset.cpus: {pins}: Numerical result out of range")

    def _touched(self, uuid: str, kib: int) -> None:
        """Allocate within the policy; a guest that may not spill is killed when its nodes are full."""
        domain = self._started(uuid)
        wanted, pools = domain.wanted, self._pools()
        if self.flavour is Hypervisor.XEN or wanted.page_kib != 4:
            return
        pages = [dict(cell) for cell in domain.pages]
        near = NodeSet(frozenset(domain.resident_kib)) or self._near(wanted, pools)  # it stays where it began
        try:
            for i, cell in enumerate(wanted.cells):
                part_kib = kib * cell.memory_kib // sum(each.memory_kib for each in wanted.cells)
                want = min(part_kib, cell.memory_kib - sum(pages[i].values())) // 4 * 4
                for node, part in touch(cell, max(0, want), 4, pools, near).items():
                    pages[i][node] = pages[i].get(node, 0) + part
        except OutOfMemoryError:
            self._file.write(replace(domain, state=OccupantState.SHUTOFF, pages=()))
            return
        self._file.write(replace(domain, pages=tuple(pages)))

    def _near(self, wanted: Wanted, pools: Pools) -> NodeSet:
        """Nodes that unbound memory comes from."""
        if wanted.near_cpus is not None:
            return self.base.topology.nodes_of_cpus(wanted.near_cpus)
        vcpus: Counter[int] = Counter()
        for domain in self._file.domains():
            vcpus.update(dict.fromkeys(domain.resident_kib, domain.wanted.vcpus))
        return automatic_node(pools, vcpus)

    def _call(self, call: str, do: Callable[[], Result]) -> Result:
        """One transaction, with the faults that were ordered for this call."""
        kind = self._file.next_fault(call)
        if kind == "die-before":
            os._exit(70)
        if kind == "fail":
            raise SimError(1, f"internal error: {call} was told to fail")
        with self._file.transaction():
            result = do()
            self._file.publish(snapshot_now(self.base, self.flavour, tuple(self._file.domains()), self._pools()))
        if kind == "die-after":
            os._exit(70)
        if kind == "lose-reply":
            raise ReplyLostError(f"{call}: End of file while reading data: Input/output error")
        return result

    def _started(self, uuid: str) -> SimDomain:
        domain = self._known(uuid)
        if domain.state is OccupantState.SHUTOFF:
            raise SimError(55, f"domain '{domain.wanted.name}' is not running")
        return domain

    def _known(self, uuid: str) -> SimDomain:
        domain = self._file.find(uuid)
        if domain is None:
            raise SimError(42, f"Domain not found: no domain with matching uuid '{uuid}'")
        return domain
