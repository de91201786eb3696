"""What a host is made of: NUMA nodes, packages, dies, L3 domains, cores, devices.

Nothing here changes while the host runs (hot-plug apart): what is free, who runs there and what
we may use stands in `probe.snapshot`. Ids are the kernel's (or Xen's) own, never renumbered.
Absent data is `None` or empty, never a guess.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.errors import BadInputError

LOCAL_DISTANCE = 10
"""SLIT distance of a node to itself (ACPI 6.2, 5.2.17)."""

UNREACHABLE_DISTANCE = 255
"""SLIT value for "no path" (ACPI 6.2, 5.2.17); Xen's 2^32-1 is read as this too."""


class TopologyInvalidError(BadInputError):
    """A topology contradicts itself, so no placement on it could mean anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySideCache:
    """A cache in front of a node's memory (`node<N>/memory_side_cache/index<level>`)."""

    level: int
    size_kib: int | None
    line_size_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NumaNode:
    """One NUMA node: the pCPUs and the memory that are local to each other.

    Attributes:
        node_id: kernel index, `/sys/devices/system/node/node<N>`.
        cpus: online pCPUs of the node; empty for a memory-only node (CXL, HBM). Two nodes may list
            the same pCPUs (an interleaved or `numa=fake` machine, TRAPS.md 3).
        memory_total_kib: all memory of the node, huge pages included; 0 for a memory-less node;
            None where the source does not tell (Xen's `memsize` is a span, not a total).
        distances: SLIT distance to each node that the source tells, itself included; None where
            the source has none. May be asymmetric; 255 stands for "no path".
    """

    node_id: NodeId
    cpus: CpuSet
    memory_total_kib: int | None
    distances: Mapping[NodeId, int] | None = None
    memory_side_caches: tuple[MemorySideCache, ...] = ()

    def __post_init__(self) -> None:
        if self.distances is not None:
            object.__setattr__(self, "distances", MappingProxyType(dict(self.distances)))

    def __hash__(self) -> int:
        return hash((self.node_id, self.cpus))


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A physical package (socket). `cpus` are its online pCPUs."""

    package_id: int
    cpus: CpuSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Die:
    """A die of a package. Ids count within the package."""

    die_id: int
    package_id: int | None
    cpus: CpuSet


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuGroup:
    """A level that only some machines have.

    Attributes:
        kind: "cluster" (cores that share an L2 or a fabric stop), "book" or "drawer" (s390).
    """

    kind: str
    group_id: int
    cpus: CpuSet


@dataclass(frozen=True, slots=True, kw_only=True)
class L3Domain:
    """The pCPUs that share one L3 cache."""

    cpus: CpuSet
    size_kib: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """A physical core: its SMT siblings (online pCPUs), the node and the package it lies in."""

    cpus: CpuSet
    node_id: NodeId | None
    package_id: int | None
    efficiency: int | None = None
    """hwloc CPU kind: higher is faster and hungrier; None where there is one kind, or no telling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PciDevice:
    """A PCI device and the node it is attached to.

    Attributes:
        address: `domain:bus:device.function`, e.g. "0000:3b:00.0".
        node_id: None where the kernel says -1 or nothing.
        class_code: the kernel's 24-bit class as text, e.g. "0x020000", or its first 16 bits, which is what
            hwloc tells; None where unknown.
    """

    address: str
    node_id: NodeId | None
    class_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryAccess:
    """How fast one set of initiators reaches the memory of one node (HMAT; ACPI 6.2, 5.2.27).

    Attributes:
        target: the node that holds the memory.
        initiators: the nodes whose CPUs (and, for class 0, other initiators) these figures are for.
        access_class: the kernel's 0 (best initiator of any kind) or 1 (best CPU).
    """

    target: NodeId
    initiators: NodeSet
    access_class: int
    read_bandwidth_mib_s: int | None = None
    write_bandwidth_mib_s: int | None = None
    read_latency_ns: int | None = None
    write_latency_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTier:
    """A kernel memory tier (`/sys/devices/virtual/memory_tiering`): lower ids are faster."""

    tier_id: int
    nodes: NodeSet


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTopology:
    """A host's hardware. Every tuple is sorted by id (or first pCPU); cpus are online ones.

    Checked once, here: unique node ids, no pCPU on two cores, cores and nodes hold online pCPUs
    only, distances name known nodes.

    Raises:
        TopologyInvalidError: one of these does not hold.
    """

    nodes: tuple[NumaNode, ...]
    online_cpus: CpuSet
    offline_cpus: CpuSet = CpuSet()
    isolated_cpus: CpuSet = CpuSet()
    nohz_full_cpus: CpuSet = CpuSet()
    packages: tuple[Package, ...] = ()
    dies: tuple[Die, ...] = ()
    groups: tuple[CpuGroup, ...] = ()
    l3: tuple[L3Domain, ...] = ()
    cores: tuple[Core, ...] = ()
    devices: tuple[PciDevice, ...] = ()
    memory_access: tuple[MemoryAccess, ...] = ()
    memory_tiers: tuple[MemoryTier, ...] = ()
    _node_by_id: Mapping[int, NumaNode] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_node_by_id", {n.node_id: n for n in self.nodes})
        for rule in (_node_ids_are_unique, _cpus_are_online, _cores_do_not_overlap, _distances_name_nodes):
            rule(self)

    def node(self, node_id: int) -> NumaNode:
        """The node with this id. Raises `KeyError` where there is none."""
        return self._node_by_id[node_id]

    @property
    def node_ids(self) -> NodeSet:
        return NodeSet(frozenset(self._node_by_id))

    def nodes_of_cpus(self, cpus: CpuSet) -> NodeSet:
        """Every node that lists at least one of `cpus`."""
        return NodeSet(frozenset(n.node_id for n in self.nodes if not n.cpus.isdisjoint(cpus)))

    def distance(self, origin: int, target: int) -> int:
        """SLIT distance from one node to another.

        Where the source tells none: 10 to itself, 20 to any other, as Linux assumes
        (`LOCAL_DISTANCE`, `REMOTE_DISTANCE` in include/linux/topology.h). A zero on the diagonal
        (TRAPS.md 5) counts as 10.
        """
        told = (self._node_by_id[origin].distances or {}).get(NodeId(target))
        if origin == target:
            return told or LOCAL_DISTANCE
        return told if told is not None else 2 * LOCAL_DISTANCE

    def fingerprint(self) -> str:
        """A hash of what a placement relies on: nodes, their CPUs, distances and total memory.

        `apply` refuses a host whose fingerprint is not the plan's.
        """
        lines = [f"{n.node_id}|{n.cpus}|{n.memory_total_kib}|{sorted((n.distances or {}).items())}" for n in self.nodes]
        return hashlib.sha256("\n".join([*lines, str(self.online_cpus)]).encode()).hexdigest()[:16]


def _node_ids_are_unique(topology: HostTopology) -> None:
    if len({n.node_id for n in topology.nodes}) != len(topology.nodes):
        raise TopologyInvalidError(f"node ids repeat: {[int(n.node_id) for n in topology.nodes]}.")


def _cpus_are_online(topology: HostTopology) -> None:
    parts: Iterable[NumaNode | Core] = (*topology.nodes, *topology.cores)
    stray = CpuSet.union(part.cpus for part in parts) - topology.online_cpus
    if stray:
        raise TopologyInvalidError(f"CPUs {stray} are on a node or a core and not online.")


def _cores_do_not_overlap(topology: HostTopology) -> None:
    seen: set[int] = set()
    for core in topology.cores:
        if twice := seen & core.cpus.ids:
            raise TopologyInvalidError(f"CPUs {CpuSet(frozenset(twice))} are on two cores.")
        seen |= core.cpus.ids


def _distances_name_nodes(topology: HostTopology) -> None:
    for node in topology.nodes:
        if stray := set(node.distances or ()) - topology.node_ids.ids:
            raise TopologyInvalidError(f"node {node.node_id} has a distance to {sorted(stray)}, which is no node.")
