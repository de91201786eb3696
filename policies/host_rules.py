"""What the operator keeps back on a host (hosts file), and what was promised there before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from policies.plan import Placement
from probe.cpuset import CpuSet, NodeSet


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRules:
    """How much of a host may be promised, and to whom.

    Attributes:
        reserve_kib: 4 KiB memory kept back on every node for the host itself.
        node_reserve_kib: node id to another reserve for that node.
        dedicated_cpus, shared_cpus: the partition of the usable pCPUs. Both None (the default) is
            an undivided host: every usable pCPU that is not housekeeping may serve either, and a
            dedicated one leaves the shared. With only one given, the other is the rest.
        housekeeping_cpus: pCPUs that no guest's vCPU runs on.
        overcommit: shared vCPUs per shared pCPU.
        guest_overhead_kib: 4 KiB memory of the hypervisor process that each occupant and guest
            needs beside its own, where its request says nothing.
        count_shutoff: whether guests that are defined but not running keep what they declare.
        schedulable: False takes no new guests.
        cordoned: closed for new guests by `numaplace cordon`.
        cordoned_nodes: nodes closed so; they offer neither pCPUs nor memory.
        domains: kind to the name of what the host shares with others: {"rack": "r7", "power": "a"}.
    """

    reserve_kib: int = 0
    node_reserve_kib: Mapping[int, int] = field(default_factory=dict)
    dedicated_cpus: CpuSet | None = None
    shared_cpus: CpuSet | None = None
    housekeeping_cpus: CpuSet = CpuSet()
    overcommit: Fraction = Fraction(1)
    guest_overhead_kib: int = 0
    count_shutoff: bool = True
    schedulable: bool = True
    cordoned: bool = False
    cordoned_nodes: NodeSet = field(default_factory=NodeSet)
    domains: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutstandingClaim:
    """A promise in our books that still stands on a host, also while its guest is shut off.

    An occupant that carries `claim_id` is this guest: it is counted once, at the larger of what
    was promised and what it declares. So is one with the domain's `uuid` that bears no mark (where
    none can be set). `adopted`: its placement was read off the guest.
    """

    claim_id: str
    placement: Placement
    uuid: str | None = None
    adopted: bool = False
