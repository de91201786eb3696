"""Hosts for the property tests: small, and with everything that real machines were seen to have.

CPU-less and memory-less nodes, holes in the ids, nodes that share their CPUs, asymmetric and
unreachable distances, offline CPUs, huge pages, occupants of all sorts. Use `topologies()` and
`snapshots()`; the smaller ones serve where a test needs only a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import TypeVar

from hypothesis import strategies as st

from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.snapshot import (
    Cpupool,
    Disagreement,
    HostSnapshot,
    HugepagePool,
    Hypervisor,
    NodeMemory,
    Occupant,
    OccupantMemory,
    OccupantState,
)
from probe.topology import (
    Core,
    CpuGroup,
    Die,
    HostTopology,
    L3Domain,
    MemoryAccess,
    MemorySideCache,
    MemoryTier,
    NumaNode,
    Package,
    PciDevice,
)

_T = TypeVar("_T")

GIB_KIB = 1024**2
MAX_KIB = 2 * 1024 * GIB_KIB
REMOTE_DISTANCES = (11, 12, 16, 20, 21, 28, 31, 40, 254, 255)

names = st.text(min_size=1, max_size=12)
"""Any text: what a hypervisor of somebody else's may call a guest."""
guest_names = st.from_regex(r"[a-z][a-z0-9]{0,7}(-[0-9]{1,2})?", fullmatch=True)
kib = st.integers(0, MAX_KIB)


def optional(some: st.SearchStrategy[_T]) -> st.SearchStrategy[_T | None]:
    return st.one_of(st.none(), some)


@st.composite
def partitions(draw: st.DrawFn, ids: Sequence[int], largest: int = 4) -> list[CpuSet]:
    """`ids` cut into consecutive runs of at most `largest`."""
    parts: list[CpuSet] = []
    rest = list(ids)
    while rest:
        size = draw(st.integers(1, largest))
        parts.append(CpuSet.of(*rest[:size]))
        rest = rest[size:]
    return parts


@st.composite
def cpus_of_nodes(draw: st.DrawFn, online: Sequence[int], count: int) -> list[CpuSet]:
    """The CPUs of `count` nodes: dealt out (some get none), or the same for all (TRAPS.md 3)."""
    if draw(st.integers(0, 9)) == 0:
        return [CpuSet.of(*online)] * count
    cuts = sorted(draw(st.lists(st.integers(0, len(online)), min_size=count - 1, max_size=count - 1)))
    return [CpuSet.of(*online[low:high]) for low, high in pairwise([0, *cuts, len(online)])]


@st.composite
def distances(draw: st.DrawFn, ids: Sequence[int]) -> list[dict[NodeId, int] | None]:
    """One row a node: none at all, symmetric, or anything goes; the diagonal is 10, seldom 0."""
    kind = draw(st.sampled_from(["none", "symmetric", "asymmetric", "partial"]))
    if kind == "none":
        return [None] * len(ids)
    remote = st.sampled_from(REMOTE_DISTANCES)
    local = draw(st.sampled_from([10, 10, 10, 0]))
    rows: list[dict[NodeId, int]] = [{} for _ in ids]
    for i, a in enumerate(ids):
        for j, b in enumerate(ids):
            mirrored = rows[j].get(NodeId(a)) if kind == "symmetric" and j < i else None
            rows[i][NodeId(b)] = local if i == j else mirrored or draw(remote)
    absent = draw(st.integers(0, len(ids) - 1)) if kind == "partial" else -1
    return [None if i == absent else row for i, row in enumerate(rows)]


@st.composite
def cores_of(draw: st.DrawFn, nodes: Sequence[NumaNode], packages: Sequence[Package]) -> tuple[Core, ...]:
    """The CPUs of each node (of the first that lists them) as cores of one to four siblings."""
    cores: list[Core] = []
    seen = CpuSet()
    efficiencies = draw(st.sampled_from([[None], [None], [0, 1]]))
    for node in nodes:
        for cpus in draw(partitions(list(node.cpus - seen))):
            package = next((p.package_id for p in packages if cpus <= p.cpus), None)
            efficiency = draw(st.sampled_from(efficiencies))
            cores.append(Core(cpus=cpus, node_id=node.node_id, package_id=package, efficiency=efficiency))
        seen |= node.cpus
    return tuple(sorted(cores, key=lambda core: min(core.cpus)))


@st.composite
def packages_of(draw: st.DrawFn, nodes: Sequence[NumaNode]) -> tuple[Package, ...]:
    """No telling, or one package for one or two nodes in a row."""
    if draw(st.booleans()):
        return ()
    size = draw(st.integers(1, 2))
    groups = [nodes[i : i + size] for i in range(0, len(nodes), size)]
    unions = [CpuSet.union(n.cpus for n in group) for group in groups]
    if any(not a.isdisjoint(b) for i, a in enumerate(unions) for b in unions[i + 1 :]):
        unions = [CpuSet.union(unions)]
    step = draw(st.sampled_from([1, 8]))
    kept = [u for u in unions if u]
    return tuple(Package(package_id=i * step, cpus=cpus) for i, cpus in enumerate(kept))


side_caches = st.lists(
    st.builds(MemorySideCache, level=st.just(1), size_kib=optional(kib), line_size_bytes=optional(st.just(64))),
    max_size=1,
).map(tuple)


def memory_accesses(ids: Sequence[int]) -> st.SearchStrategy[MemoryAccess]:
    figure = optional(st.integers(1, 500_000))
    return st.builds(
        MemoryAccess,
        target=st.sampled_from(ids).map(NodeId),
        initiators=st.sets(st.sampled_from(ids), min_size=1).map(lambda s: NodeSet(frozenset(s))),
        access_class=st.integers(0, 1),
        read_bandwidth_mib_s=figure,
        write_bandwidth_mib_s=figure,
        read_latency_ns=figure,
        write_latency_ns=figure,
    )


def pci_devices(ids: Sequence[int]) -> st.SearchStrategy[tuple[PciDevice, ...]]:
    device = st.builds(
        PciDevice,
        address=st.from_regex(r"0000:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]", fullmatch=True),
        node_id=optional(st.sampled_from(ids).map(NodeId)),
        class_code=optional(st.sampled_from(["0x020000", "0x010802", "0x030200"])),
    )
    return st.lists(device, max_size=3, unique_by=lambda d: d.address).map(
        lambda found: tuple(sorted(found, key=lambda d: d.address))
    )


@st.composite
def numa_nodes(draw: st.DrawFn, max_nodes: int, max_cpus: int) -> tuple[NumaNode, ...]:
    ids = sorted(draw(st.sets(st.integers(0, 40), min_size=1, max_size=max_nodes)))
    online = sorted(draw(st.sets(st.integers(0, 4 * max_cpus), min_size=1, max_size=max_cpus)))
    cpus = draw(cpus_of_nodes(online, len(ids)))
    rows = draw(distances(ids))
    return tuple(
        NumaNode(
            node_id=NodeId(node_id),
            cpus=cpus[i],
            memory_total_kib=draw(st.one_of(st.none(), st.just(0), st.integers(1, MAX_KIB))),
            distances=rows[i],
            memory_side_caches=draw(side_caches),
        )
        for i, node_id in enumerate(ids)
    )


@st.composite
def topologies(draw: st.DrawFn, *, max_nodes: int = 5, max_cpus: int = 16) -> HostTopology:
    """Any host that `HostTopology` accepts, of few nodes and CPUs."""
    nodes = draw(numa_nodes(max_nodes, max_cpus))
    ids = [int(n.node_id) for n in nodes]
    on_nodes = CpuSet.union(n.cpus for n in nodes)
    stray = draw(st.sets(st.integers(200, 210), max_size=draw(st.sampled_from([0, 0, 0, 2]))))
    online = on_nodes | CpuSet.of(*stray)
    packages = draw(packages_of(nodes))
    cores = draw(cores_of(nodes, packages))
    some_cpus = st.sets(st.sampled_from(sorted(online.ids))).map(lambda s: CpuSet(frozenset(s)))
    one_l3_each = [[cpus] for cpus in draw(partitions(list(on_nodes), 8))] if draw(st.booleans()) else []
    tiers = draw(st.booleans())
    return HostTopology(
        nodes=nodes,
        online_cpus=online,
        offline_cpus=CpuSet(frozenset(draw(st.sets(st.integers(300, 310), max_size=3)))),
        isolated_cpus=draw(st.one_of(st.just(CpuSet()), some_cpus)),
        nohz_full_cpus=draw(st.one_of(st.just(CpuSet()), some_cpus)),
        packages=packages,
        dies=tuple(Die(die_id=0, package_id=p.package_id, cpus=p.cpus) for p in packages)
        if draw(st.booleans())
        else (),
        groups=tuple(
            CpuGroup(kind=draw(st.sampled_from(["cluster", "book", "drawer"])), group_id=i, cpus=p.cpus)
            for i, p in enumerate(packages)
        )
        if draw(st.booleans())
        else (),
        l3=tuple(L3Domain(cpus=cpus, size_kib=draw(optional(kib))) for [cpus] in one_l3_each),
        cores=cores,
        devices=draw(pci_devices(ids)),
        memory_access=tuple(draw(st.lists(memory_accesses(ids), max_size=2, unique=True))),
        memory_tiers=(MemoryTier(tier_id=4, nodes=NodeSet.of(*ids)),) if tiers else (),
    )


@st.composite
def node_memories(draw: st.DrawFn, node: NumaNode, source: str = "made-up") -> NodeMemory:
    """Memory that adds up: pools, then free, then reclaimable fit into the total where it is told."""
    total = node.memory_total_kib
    left = MAX_KIB if total is None else total
    pools: list[HugepagePool] = []
    for size_kib in sorted(draw(st.sets(st.sampled_from([2048, 1048576]), max_size=2))):
        count = draw(st.integers(0, min(left // size_kib, 1000)))
        free = draw(optional(st.integers(0, count)))
        surplus = draw(optional(st.integers(0, count)))
        pools.append(HugepagePool(size_kib=size_kib, total=count, free=free, surplus=surplus))
        left -= count * size_kib
    free_kib = draw(optional(st.integers(0, left)))
    reclaimable = draw(optional(st.integers(0, left - (free_kib or 0))))
    return NodeMemory(
        node_id=node.node_id,
        total_kib=total,
        free_kib=free_kib,
        reclaimable_kib=reclaimable,
        hugepages=tuple(pools),
        source=source,
    )


def occupant_memories(ids: Sequence[int]) -> st.SearchStrategy[OccupantMemory]:
    return st.builds(
        OccupantMemory,
        node_id=optional(st.sampled_from(ids).map(NodeId)),
        kib=st.integers(0, 4 * GIB_KIB),
        page_kib=st.sampled_from([4, 4, 2048, 1048576]),
        resident_kib=optional(st.integers(0, 4 * GIB_KIB)),
        nodes=optional(st.sets(st.sampled_from(ids), min_size=2).map(lambda s: NodeSet(frozenset(s))))
        if len(set(ids)) > 1
        else st.none(),
    )


@st.composite
def occupants(draw: st.DrawFn, topology: HostTopology, guest: str | None = None) -> Occupant:
    """A guest of anybody's, in any state; its CPUs are among the host's, or it says nothing."""
    cpus = st.sets(st.sampled_from(sorted(topology.online_cpus.ids))).map(lambda s: CpuSet(frozenset(s)))
    ours = draw(st.booleans())
    ids = [int(n.node_id) for n in topology.nodes]
    return Occupant(
        guest=draw(guest_names) if guest is None else guest,
        uuid=draw(optional(st.uuids().map(str))),
        state=draw(st.sampled_from(OccupantState)),
        vcpus=draw(st.integers(1, 16)),
        declared_cpus=draw(optional(cpus)),
        effective_cpus=draw(optional(cpus)),
        memory=tuple(draw(st.lists(occupant_memories(ids), max_size=2))),
        ledger="ledger-1" if ours else None,
        claim="claim-1" if ours else None,
        source=draw(st.sampled_from(["", "qemu:///system"])),
    )


@st.composite
def snapshots(draw: st.DrawFn, *, max_nodes: int = 5, max_cpus: int = 16, max_occupants: int = 3) -> HostSnapshot:
    """A host at one moment, with guests of distinct names."""
    topology = draw(topologies(max_nodes=max_nodes, max_cpus=max_cpus))
    guests = draw(st.lists(st.one_of(guest_names, names), max_size=max_occupants, unique=True))
    withheld = CpuSet.of(*draw(st.sets(st.sampled_from(sorted(topology.online_cpus.ids)), max_size=2)))
    readings = st.dictionaries(names, st.text(max_size=8), min_size=2, max_size=2)
    pool = st.builds(
        Cpupool,
        name=names,
        cpus=st.just(topology.online_cpus),
        scheduler=optional(st.just("credit2")),
        domains=optional(st.integers(0, 9)),
    )
    return HostSnapshot(
        hostname=draw(st.sampled_from(["", "h1", "host.example"])),
        sources=tuple(draw(st.lists(st.sampled_from(["sysfs:", "qemu:///system", "xl:"]), max_size=2, unique=True))),
        taken_at=draw(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))),
        topology=topology,
        memory=tuple(draw(node_memories(node)) for node in topology.nodes),
        usable_cpus=topology.online_cpus - withheld,
        hypervisor=draw(optional(st.sampled_from(Hypervisor))),
        occupants=tuple(draw(occupants(topology, guest)) for guest in guests),
        cpupools=tuple(draw(st.lists(pool, max_size=1))),
        disagreements=tuple(draw(st.lists(st.builds(Disagreement, what=names, readings=readings), max_size=1))),
    )
