"""What a host has left to promise: per node the pCPUs and, per page size, the memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType

from policies.request import HostName, Membership
from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.snapshot import Hypervisor
from probe.topology import HostTopology


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCapacity:
    """What one node of a host may still promise.

    Attributes:
        free_cpus: pCPUs that may be dedicated: no occupant, claim or housekeeping may run there.
        shared_cpus: pCPUs on which shared guests float. In an undivided host (the stated default,
            no partition in the hosts file) these overlap with `free_cpus`, and a pCPU that is
            dedicated leaves the shared ones.
        shared_vcpus: vCPUs that float there already.
        memory_kib: page size to the KiB that may still be promised in such pages.
    """

    node_id: NodeId
    free_cpus: CpuSet
    shared_cpus: CpuSet
    shared_vcpus: int
    memory_kib: Mapping[int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "memory_kib", MappingProxyType(dict(self.memory_kib)))

    def __hash__(self) -> int:
        return hash((self.node_id, self.free_cpus))


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """A member of groups that lives on a host already.

    Attributes:
        nodes: None is any of the host's.
        cpus: the pCPUs that its vCPUs may use; None is not known: any of its nodes.
    """

    groups: tuple[Membership, ...]
    nodes: NodeSet | None
    cpus: CpuSet | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCapacity:
    """What one host may still promise.

    Attributes:
        topology: for distances, cores and L3 domains.
        nodes: in the topology's node order.
        overcommit: shared vCPUs per shared pCPU (`Fraction`, so that 1.1 is exact).
        hypervisor: None is treated like KVM (a plan without a definition, as in `advise`).
        schedulable: False takes no new guests (hosts file, cordon).
        cordoned, cordoned_nodes: what `numaplace cordon` has closed; such nodes offer nothing.
        housekeeping_cpus: usable pCPUs that no guest's vCPU runs on; emulator threads may.
        dedicated_cpus: pCPUs that guests who are there already own.
        domains: kind to the name of what it shares with other hosts: {"rack": "r7", "power": "a"}.
        residents: members of groups that are there already.
    """

    name: HostName
    topology: HostTopology
    nodes: tuple[NodeCapacity, ...]
    overcommit: Fraction = Fraction(1)
    hypervisor: Hypervisor | None = None
    schedulable: bool = True
    cordoned: bool = False
    cordoned_nodes: NodeSet = field(default_factory=NodeSet)
    housekeeping_cpus: CpuSet = field(default_factory=CpuSet)
    dedicated_cpus: CpuSet = field(default_factory=CpuSet)
    domains: Mapping[str, str] = field(default_factory=dict)
    residents: tuple[Resident, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "domains", MappingProxyType(dict(self.domains)))

    def __hash__(self) -> int:
        return hash((self.name, self.nodes))

    @property
    def is_open(self) -> bool:
        """Whether it takes new guests: it is schedulable, and not cordoned."""
        return self.schedulable and not self.cordoned

    def node(self, node_id: int) -> NodeCapacity:
        """The capacity of one node. Raises `KeyError` where there is none."""
        for node in self.nodes:
            if node.node_id == node_id:
                return node
        raise KeyError(node_id)
