"""A host of the embedded hypervisor: one SQLite file, several processes, no part of any ledger.

Each call is one transaction; after each the file holds the host's new snapshot, which the probe
reads as `sim:FILE`. KVM guests touch a quarter of their memory when they are resumed; Xen guests
have all their pages from the start, as the real ones.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.errors import SourceMalformedError, SourceUnreadableError
from probe.snapshot import Disagreement, HostSnapshot, Hypervisor, NodeMemory, Occupant, OccupantMemory, OccupantState
from probe.snapshot_json import snapshot_from_json, snapshot_to_json
from scheduler.sim.errors import ReplyLostError, SimError
from scheduler.sim.pages import OutOfMemoryError, Pools, automatic_node, place_at_creation, touch
from scheduler.sim.wanted import Wanted, read_wanted

Result = TypeVar("Result")

TOUCHED_AT_RESUME = 4
"""A KVM guest touches one part in so many of its memory when it begins to run."""

_SCHEMA = """
CREATE TABLE host (id INTEGER PRIMARY KEY CHECK (id = 1), flavour TEXT NOT NULL, base TEXT NOT NULL);
CREATE TABLE published (id INTEGER PRIMARY KEY CHECK (id = 1), snapshot TEXT NOT NULL);
CREATE TABLE domain (uuid TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, state TEXT NOT NULL,
                     text TEXT NOT NULL, pages TEXT NOT NULL);
CREATE TABLE fault (call TEXT NOT NULL, nth INTEGER NOT NULL, kind TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimDomain:
    """One domain. `pages`: for each guest cell, node id to resident KiB."""

    wanted: Wanted
    state: OccupantState
    text: str
    pages: tuple[dict[int, int], ...] = field(default=())

    @property
    def resident_kib(self) -> dict[int, int]:
        total: dict[int, int] = {}
        for cell in self.pages:
            for node, kib in cell.items():
                total[node] = total.get(node, 0) + kib
        return total


class SimHypervisor:
    """A connection to one host file. Refusals are `SimError`, lost replies `ReplyLostError`."""

    def __init__(self, path: Path) -> None:
        """Open a host file. Raises `SourceUnreadableError`, `SourceMalformedError`."""
        if not path.is_file():
            raise SourceUnreadableError(str(path), "no such file", advice="Maybe: numaplace sim create")
        self.path = path
        self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        try:
            flavour, base = self._connection.execute("SELECT flavour, base FROM host").fetchone()
        except (sqlite3.DatabaseError, TypeError) as error:
            raise SourceMalformedError(str(path), "a host of the embedded hypervisor", error) from error
        self.flavour = Hypervisor(flavour)
        self.base = snapshot_from_json(json.loads(base), origin=str(path))

    @classmethod
    def create(cls, path: Path, snapshot: HostSnapshot, flavour: Hypervisor, *, name: str = "") -> SimHypervisor:
        """Make a host file of any snapshot; its occupants stay as they are. Raises `SimError` if it exists."""
        if path.exists():
            raise SimError(9, f"{path} exists already")
        base = replace(snapshot, hypervisor=flavour, hostname=name or snapshot.hostname, sources=(f"sim:{path}",))
        with sqlite3.connect(path) as connection:
            connection.executescript(_SCHEMA)
            text = json.dumps(snapshot_to_json(base))
            connection.execute("INSERT INTO host VALUES (1, ?, ?)", (flavour.value, text))
            connection.execute("INSERT INTO published VALUES (1, ?)", (text,))
        connection.close()
        return cls(path)

    def close(self) -> None:
        self._connection.close()

    def define(self, text: str) -> str:
        """Define a domain, or define it anew; answers its uuid."""

        def do() -> str:
            wanted = read_wanted(text, self.flavour)
            for other in self._domains():
                if (other.wanted.name == wanted.name) != (other.wanted.uuid == wanted.uuid):
                    raise SimError(9, f"domain '{wanted.name}' already exists with uuid {other.wanted.uuid}")
            old = self._find(wanted.uuid)
            if old is None:
                self._write(SimDomain(wanted=wanted, state=OccupantState.SHUTOFF, text=text))
            else:
                self._write(replace(old, text=text))
            return wanted.uuid

        return self._call("define", do)

    def start(self, uuid: str) -> None:
        """Start a domain paused, with its memory where the definition really puts it."""

        def do() -> None:
            domain = self._known(uuid)
            if domain.state is not OccupantState.SHUTOFF:
                raise SimError(55, f"domain '{domain.wanted.name}' is already running")
            self._check_host(domain.wanted)
            place = self._started_on_xen if self.flavour is Hypervisor.XEN else self._started_on_kvm
            self._write(replace(domain, state=OccupantState.PAUSED, pages=place(domain.wanted, self.pools())))

        self._call("start", do)

    def resume(self, uuid: str) -> None:
        """Let it run; a KVM guest begins to touch its memory."""

        def do() -> None:
            domain = self._known(uuid)
            if domain.state is OccupantState.SHUTOFF:
                raise SimError(55, f"domain '{domain.wanted.name}' is not running")
            self._write(replace(domain, state=OccupantState.RUNNING))
            if self.flavour is Hypervisor.KVM:
                self._touched(uuid, sum(c.memory_kib for c in domain.wanted.cells) // TOUCHED_AT_RESUME)

        self._call("resume", do)

    def touch(self, uuid: str, kib: int) -> None:
        """The guest touches so much more memory, in proportion to its cells."""
        self._call("touch", lambda: self._touched(uuid, kib))

    def destroy(self, uuid: str) -> None:
        """Stop it; its pages are free again."""

        def do() -> None:
            domain = self._known(uuid)
            self._write(replace(domain, state=OccupantState.SHUTOFF, pages=()))

        self._call("destroy", do)

    def undefine(self, uuid: str) -> None:
        """Forget a domain that does not run."""

        def do() -> None:
            domain = self._known(uuid)
            if domain.state is not OccupantState.SHUTOFF:
                raise SimError(55, f"domain '{domain.wanted.name}' is running")
            self._connection.execute("DELETE FROM domain WHERE uuid = ?", (uuid,))

        self._call("undefine", do)

    def find(self, uuid: str) -> SimDomain | None:
        return self._call("find", lambda: self._find(uuid))

    def domains(self) -> list[SimDomain]:
        return self._call("list", lambda: list(self._domains()))

    def inject(self, call: str, kind: str, *, nth: int = 1) -> None:
        """Make the nth next `call` go wrong: "fail", "lose-reply", "die-before" or "die-after"."""
        with self._transaction():
            self._connection.execute("INSERT INTO fault VALUES (?, ?, ?)", (call, nth, kind))

    def pools(self) -> Pools:
        """Free KiB of each node and page size, what guests have taken off the base's."""
        pools: Pools = {}
        for memory in self.base.memory:
            known = memory.available_kib if memory.available_kib is not None else memory.total_kib
            pools[memory.node_id, 4] = known or 0
            for pool in memory.hugepages:
                free = pool.total if pool.free is None else pool.free
                pools[memory.node_id, pool.size_kib] = free * pool.size_kib
        for domain in self._domains():
            for node, kib in domain.resident_kib.items():
                pools[node, domain.wanted.page_kib] -= kib
        return pools

    def snapshot(self) -> HostSnapshot:
        """The host as it is now."""
        return snapshot_from_json(self._published(), origin=str(self.path))

    def _started_on_kvm(self, wanted: Wanted, pools: Pools) -> tuple[dict[int, int], ...]:
        """Nothing is resident yet, but huge pages are all taken at the start, or the start fails."""
        if wanted.page_kib == 4:
            return tuple({} for _ in wanted.cells)
        try:
            return tuple(touch(cell, cell.memory_kib, wanted.page_kib, pools, NodeSet()) for cell in wanted.cells)
        except OutOfMemoryError:
            text = "unable to map backing store for guest RAM: Cannot allocate memory"
            raise SimError(1, text) from None

    def _started_on_xen(self, wanted: Wanted, pools: Pools) -> tuple[dict[int, int], ...]:
        pinned = CpuSet.union(wanted.affinity.values()) if wanted.affinity else None
        nodes = automatic_node(pools)
        if not wanted.automatic and pinned is not None:
            nodes = self.base.topology.nodes_of_cpus(pinned)
        return (place_at_creation(wanted.cells[0].memory_kib, pools, nodes),)

    def _check_host(self, wanted: Wanted) -> None:
        for cell in wanted.cells:
            if stray := cell.nodes - self.base.topology.node_ids:
                raise SimError(67, f"unsupported configuration: NUMA node {min(stray)} is unavailable")
        pins = CpuSet.union(wanted.affinity.values())
        if stray_cpus := pins - self.base.topology.online_cpus:
            raise SimError(38, f"Unable to write to cpuset.cpus: {stray_cpus}: Numerical result out of range")

    def _touched(self, uuid: str, kib: int) -> None:
        """Allocate within the policy; a guest that may not spill is killed when its nodes are full."""
        domain = self._known(uuid)
        wanted, pools = domain.wanted, self.pools()
        if self.flavour is Hypervisor.XEN or wanted.page_kib != 4:
            return
        pages = [dict(cell) for cell in domain.pages]
        try:
            for i, cell in enumerate(wanted.cells):
                part_kib = kib * cell.memory_kib // sum(each.memory_kib for each in wanted.cells)
                want = min(part_kib, cell.memory_kib - sum(pages[i].values())) // 4 * 4
                for node, part in touch(cell, max(0, want), 4, pools, self._near(wanted, pools)).items():
                    pages[i][node] = pages[i].get(node, 0) + part
        except OutOfMemoryError:
            self._write(replace(domain, state=OccupantState.SHUTOFF, pages=()))
            return
        self._write(replace(domain, pages=tuple(pages)))

    def _near(self, wanted: Wanted, pools: Pools) -> NodeSet:
        """Nodes whose CPUs first touch the memory. Pins alone are applied after QEMU has started."""
        if wanted.start_cpus is not None:
            return self.base.topology.nodes_of_cpus(wanted.start_cpus)
        return automatic_node(pools)

    def _call(self, call: str, do: Callable[[], Result]) -> Result:
        """One transaction, with the faults that were ordered for this call."""
        kind = self._next_fault(call)
        if kind == "die-before":
            os._exit(70)
        if kind == "fail":
            raise SimError(1, f"internal error: {call} was told to fail")
        with self._transaction():
            result = do()
            text = json.dumps(snapshot_to_json(self._now()))
            self._connection.execute("UPDATE published SET snapshot = ?", (text,))
        if kind == "die-after":
            os._exit(70)
        if kind == "lose-reply":
            raise ReplyLostError(f"{call}: End of file while reading data: Input/output error")
        return result

    def _next_fault(self, call: str) -> str | None:
        with self._transaction():
            self._connection.execute("UPDATE fault SET nth = nth - 1 WHERE call = ?", (call,))
            row = self._connection.execute("SELECT kind FROM fault WHERE call = ? AND nth <= 0", (call,)).fetchone()
            self._connection.execute("DELETE FROM fault WHERE call = ? AND nth <= 0", (call,))
        return None if row is None else str(row[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _known(self, uuid: str) -> SimDomain:
        domain = self._find(uuid)
        if domain is None:
            raise SimError(42, f"Domain not found: no domain with matching uuid '{uuid}'")
        return domain

    def _find(self, uuid: str) -> SimDomain | None:
        return next((domain for domain in self._domains() if domain.wanted.uuid == uuid), None)

    def _domains(self) -> Iterator[SimDomain]:
        for text, state, pages in self._connection.execute("SELECT text, state, pages FROM domain ORDER BY name"):
            yield SimDomain(
                wanted=read_wanted(text, self.flavour),
                state=OccupantState(state),
                text=text,
                pages=tuple({int(n): kib for n, kib in cell.items()} for cell in json.loads(pages)),
            )

    def _write(self, domain: SimDomain) -> None:
        wanted = domain.wanted
        self._connection.execute(
            "INSERT INTO domain VALUES (?, ?, ?, ?, ?) ON CONFLICT (uuid) DO UPDATE"
            " SET name = excluded.name, state = excluded.state, text = excluded.text, pages = excluded.pages",
            (wanted.uuid, wanted.name, domain.state.value, domain.text, json.dumps(domain.pages)),
        )

    def _published(self) -> Any:
        return json.loads(self._connection.execute("SELECT snapshot FROM published").fetchone()[0])

    def _now(self) -> HostSnapshot:
        """The base with what its domains have taken, and the domains as occupants."""
        pools, domains = self.pools(), list(self._domains())
        occupants = tuple(self._occupant(domain) for domain in domains)
        told = tuple(
            Disagreement(
                what=f"cpus of guest {o.guest}",
                readings={"effective": str(o.effective_cpus), "declared": str(o.declared_cpus)},
            )
            for o in occupants
            if o.effective_cpus is not None and o.declared_cpus is not None and o.effective_cpus != o.declared_cpus
        )
        return replace(
            self.base,
            memory=tuple(_left(memory, pools) for memory in self.base.memory),
            occupants=(*self.base.occupants, *occupants),
            disagreements=(*self.base.disagreements, *told),
        )

    def _occupant(self, domain: SimDomain) -> Occupant:
        wanted, online = domain.wanted, self.base.topology.online_cpus
        runs = domain.state is not OccupantState.SHUTOFF
        effective = CpuSet.union(wanted.affinity.get(v, online) for v in range(wanted.vcpus)) if runs else None
        return Occupant(
            guest=wanted.name,
            uuid=wanted.uuid,
            state=domain.state,
            vcpus=wanted.vcpus,
            declared_cpus=wanted.declared_cpus,
            effective_cpus=effective,
            memory=tuple(self._shares(domain)),
            ledger=wanted.ledger,
            claim=wanted.claim,
            source=f"sim:{self.path}",
        )

    def _shares(self, domain: SimDomain) -> Iterator[OccupantMemory]:
        wanted = domain.wanted
        pages = domain.pages or tuple({} for _ in wanted.cells)
        for cell, resident in zip(wanted.cells, pages, strict=True):
            bound = sorted(cell.nodes.ids) if cell.mode != "preferred" else []
            nodes: list[int | None] = [*(sorted(resident) if self.flavour is Hypervisor.XEN else bound)]
            for node in nodes or [None]:
                there = sum(resident.values()) if node is None else resident.get(node, 0)
                share = there if self.flavour is Hypervisor.XEN and resident else cell.memory_kib // max(1, len(nodes))
                yield OccupantMemory(
                    node_id=None if node is None else NodeId(node),
                    kib=share,
                    page_kib=wanted.page_kib,
                    resident_kib=there,
                )


def _left(memory: NodeMemory, pools: Pools) -> NodeMemory:
    """The node's memory with what is left of it now."""
    node = memory.node_id
    free = pools[node, 4] - (memory.reclaimable_kib or 0)
    return replace(
        memory,
        free_kib=max(0, free),
        reclaimable_kib=min(pools[node, 4], memory.reclaimable_kib or 0),
        hugepages=tuple(replace(p, free=pools[node, p.size_kib] // p.size_kib) for p in memory.hugepages),
    )
