"""Small hosts for examples: all that matters on one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction

from policies.capacity import HostCapacity, NodeCapacity
from policies.request import HostName
from probe.cpuset import CpuSet, NodeId
from probe.snapshot import HostSnapshot, HugepagePool, Hypervisor, NodeMemory, Occupant
from probe.topology import Core, HostTopology, L3Domain, NumaNode

GIB_KIB = 1024**2


def topology_of(
    *,
    cpus: int = 4,
    nodes: int = 2,
    memory_gib: int | None = 64,
    cpuless: Sequence[int] = (),
    memoryless: Sequence[int] = (),
    distances: Mapping[int, Mapping[int, int]] | None = None,
    smt: int = 1,
    l3_of: int = 0,
) -> HostTopology:
    """`nodes` nodes of `cpus` pCPUs and `memory_gib` each; ids count up; `l3_of` pCPUs share an L3."""
    made, next_cpu = [], 0
    for i in range(nodes):
        count = 0 if i in cpuless else cpus
        own = CpuSet(frozenset(range(next_cpu, next_cpu + count)))
        next_cpu += count
        total = 0 if i in memoryless else None if memory_gib is None else memory_gib * GIB_KIB
        row = None if distances is None else {NodeId(n): d for n, d in distances[i].items()}
        made.append(NumaNode(node_id=NodeId(i), cpus=own, memory_total_kib=total, distances=row))
    cores = [
        Core(cpus=CpuSet.of(*range(c, c + smt)), node_id=node.node_id, package_id=None)
        for node in made
        for c in list(node.cpus)[::smt]
    ]
    domains = range(0, next_cpu, l3_of) if l3_of else ()
    return HostTopology(
        nodes=tuple(made),
        online_cpus=CpuSet(frozenset(range(next_cpu))),
        cores=tuple(cores),
        l3=tuple(L3Domain(cpus=CpuSet.of(*range(c, c + l3_of)), size_kib=None) for c in domains),
    )


def host_of(
    name: str,
    *,
    cpus: int = 4,
    nodes: int = 2,
    memory_gib: int = 64,
    pages_gib: Mapping[int, int] | None = None,
    overcommit: Fraction = Fraction(1),
    hypervisor: Hypervisor | None = Hypervisor.KVM,
    topology: HostTopology | None = None,
    schedulable: bool = True,
    housekeeping: str = "",
) -> HostCapacity:
    """An empty, undivided host; `pages_gib` has page sizes (KiB) and how many GiB of them a node has."""
    topology = topology_of(cpus=cpus, nodes=nodes, memory_gib=memory_gib) if topology is None else topology
    kept = CpuSet.parse(housekeeping)
    pages = {page: gib * GIB_KIB for page, gib in (pages_gib or {}).items()}
    return HostCapacity(
        name=HostName(name),
        topology=topology,
        nodes=tuple(
            NodeCapacity(
                node_id=n.node_id,
                free_cpus=n.cpus - kept,
                shared_cpus=n.cpus - kept,
                shared_vcpus=0,
                memory_kib={4: n.memory_total_kib or 0, **pages},
            )
            for n in topology.nodes
        ),
        overcommit=overcommit,
        hypervisor=hypervisor,
        schedulable=schedulable,
        housekeeping_cpus=kept,
    )


def snapshot_of(
    topology: HostTopology,
    *,
    free_gib: int | None = 60,
    cache_gib: int | None = 0,
    pools: Sequence[HugepagePool] = (),
    occupants: Sequence[Occupant] = (),
    hypervisor: Hypervisor | None = Hypervisor.KVM,
    usable: CpuSet | None = None,
) -> HostSnapshot:
    """A host at one moment; every node with memory has the same figures, GiB each."""
    return HostSnapshot(
        hostname="h",
        sources=(),
        taken_at=datetime(2026, 1, 1, tzinfo=UTC),
        topology=topology,
        memory=tuple(
            NodeMemory(
                node_id=n.node_id,
                total_kib=n.memory_total_kib,
                free_kib=None if free_gib is None else 0 if n.memory_total_kib == 0 else free_gib * GIB_KIB,
                reclaimable_kib=None if cache_gib is None else cache_gib * GIB_KIB,
                hugepages=tuple(pools),
            )
            for n in topology.nodes
        ),
        usable_cpus=topology.online_cpus if usable is None else usable,
        hypervisor=hypervisor,
        occupants=tuple(occupants),
    )
