"""What is there now: a host's topology, its memory, and the guests that occupy it.

A snapshot is immutable and serialises to one versioned JSON file (`probe.snapshot_json`). Each
number says where it comes from: `source` names the source as the user wrote it, and what a guest
has *declared* in its configuration is kept apart from what is *effective* or *resident*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.topology import HostTopology


class Hypervisor(StrEnum):
    """Who creates guests on the host; decides which definition a plan becomes."""

    KVM = "kvm"
    XEN = "xen"


class OccupantState(StrEnum):
    """States of a domain, in libvirt's words; a defined domain that does not run is `shutoff`."""

    RUNNING = "running"
    PAUSED = "paused"
    SHUTOFF = "shutoff"
    OTHER = "other"

    @property
    def holds_memory(self) -> bool:
        """Whether a hypervisor has memory set aside for it right now."""
        return self is not OccupantState.SHUTOFF


@dataclass(frozen=True, slots=True, kw_only=True)
class HugepagePool:
    """The huge pages of one size on one node.

    Attributes:
        free: None where the source only tells the total.
        surplus: pages over the configured pool; they go when freed. None where not told.
    """

    size_kib: int
    total: int
    free: int | None = None
    surplus: int | None = None

    @property
    def total_kib(self) -> int:
        return self.size_kib * self.total


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMemory:
    """The memory of one node when it was looked at.

    Attributes:
        total_kib: all of it, huge pages included; None where the source does not tell.
        free_kib: `MemFree`, what nobody uses (libvirt: `getCellsFreeMemory`; Xen: `memfree`).
        reclaimable_kib: page cache and slab that the kernel gives back without swapping
            (`FilePages` - `Shmem` - `Dirty` - `Writeback` + `SReclaimable`, where told); 0 on Xen.
        hugepages: pools, ascending by size; empty where there are none or the source does not tell.
        source: the source that was read.
    """

    node_id: NodeId
    total_kib: int | None
    free_kib: int | None
    reclaimable_kib: int | None = None
    hugepages: tuple[HugepagePool, ...] = ()
    source: str = ""

    @property
    def available_kib(self) -> int | None:
        """Free and reclaimable 4 KiB memory, what a new guest could touch; None where not told."""
        return None if self.free_kib is None else self.free_kib + (self.reclaimable_kib or 0)

    @property
    def hugepages_kib(self) -> int:
        """Memory that is set aside in huge-page pools."""
        return sum(pool.total_kib for pool in self.hugepages)


@dataclass(frozen=True, slots=True, kw_only=True)
class OccupantMemory:
    """One share of an occupant's memory.

    Attributes:
        node_id: where its configuration (or the hypervisor) binds it; None where it binds it to
            no single node. It is then taken from every node it could be on.
        kib: what was promised to the guest: its configured memory.
        page_kib: 4, 2048, 1048576: the page size that backs it.
        resident_kib: what is really there already; None where nobody looked.
        nodes: without a `node_id`, the nodes among which it is bound (`strict` over several); None
            where nothing but the guest's pCPUs hints at its place.
    """

    node_id: NodeId | None
    kib: int
    page_kib: int = 4
    resident_kib: int | None = None
    nodes: NodeSet | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant:
    """A guest that is seen on a host, ours or somebody else's: running, paused, or only defined.

    Attributes:
        guest: the domain's name.
        vcpus: maximum number of vCPUs.
        declared_cpus: union of what its configuration allows its vCPUs; None where it says nothing.
        effective_cpus: union of what the hypervisor really allows them (`virDomainGetVcpus`,
            `xl vcpu-list`); None where it does not run or was not asked. On Xen only this counts.
        ledger: id of the ledger whose mark is in its metadata; None for a stranger.
        claim: id of the claim in that ledger; None for a stranger.
    """

    guest: str
    uuid: str | None
    state: OccupantState
    vcpus: int
    declared_cpus: CpuSet | None = None
    effective_cpus: CpuSet | None = None
    memory: tuple[OccupantMemory, ...] = ()
    ledger: str | None = None
    claim: str | None = None
    source: str = ""

    def possible_cpus(self, online: CpuSet) -> CpuSet:
        """The pCPUs that its vCPUs may run on: effective if known, else declared, else all."""
        told = self.effective_cpus if self.effective_cpus is not None else self.declared_cpus
        return online if told is None else told & online


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpupool:
    """A cpupool: Xen's partition of the pCPUs. A guest runs in one pool only."""

    name: str
    cpus: CpuSet
    scheduler: str | None = None
    domains: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """Something that two sources, or a configuration and the hypervisor, tell differently.

    Attributes:
        what: a sentence's subject, e.g. "node 1 cpus" or "cpus of guest db-1".
        readings: source (or "declared"/"effective") to its value as text. The first is the one
            that the snapshot uses.
    """

    what: str
    readings: Mapping[str, str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "readings", MappingProxyType(dict(self.readings)))

    def __hash__(self) -> int:
        return hash((self.what, tuple(self.readings.items())))


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSnapshot:
    """A host at one moment.

    Attributes:
        hostname: the host's own name; "" where the source does not tell.
        sources: what was read, as the user wrote it, e.g. ("sysfs:", "qemu:///system").
        taken_at: aware UTC; for a recording, when it was read (recordings seldom tell their age).
        hypervisor: None where the source does not tell (sysfs, hwloc, numactl).
        memory: one entry per node, in node order; values None where not told.
        usable_cpus: online CPUs that no cgroup, cpuset or cpupool withholds from guests.
        disagreements: everything that was told differently; never silently chosen.
    """

    hostname: str
    sources: tuple[str, ...]
    taken_at: datetime
    topology: HostTopology
    memory: tuple[NodeMemory, ...]
    usable_cpus: CpuSet
    hypervisor: Hypervisor | None = None
    occupants: tuple[Occupant, ...] = ()
    cpupools: tuple[Cpupool, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()

    def __post_init__(self) -> None:
        if [m.node_id for m in self.memory] != [n.node_id for n in self.topology.nodes]:
            raise ValueError("memory must have one entry per node, in node order.")

    def memory_of(self, node_id: int) -> NodeMemory:
        """The memory of one node. Raises `KeyError` where there is no such node."""
        for memory in self.memory:
            if memory.node_id == node_id:
                return memory
        raise KeyError(node_id)

    def declared_kib(self, node_id: int) -> int:
        """Σ of what occupants have declared or were promised on this node, all page sizes."""
        return sum(m.kib for o in self.occupants for m in o.memory if m.node_id == node_id)

    def resident_kib(self, node_id: int) -> int | None:
        """Σ of what is resident there of the occupants; None where it is unknown for one of them."""
        shares = [m for o in self.occupants for m in o.memory if m.node_id == node_id]
        known = [m.resident_kib for m in shares if m.resident_kib is not None]
        return sum(known) if len(known) == len(shares) else None
