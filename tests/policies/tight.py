"""Small fleets and batches in which room is short, so that every rule binds somewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any, TypeVar

from hypothesis import strategies as st

from policies.capacity import HostCapacity, NodeCapacity, Resident
from policies.fleet import Fleet
from policies.objective import Objective, ObjectiveTier, Term
from policies.request import Group, GroupRule, GuestName, GuestRequest, HostName, Membership
from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.snapshot import Hypervisor
from probe.topology import Core, HostTopology, L3Domain, NumaNode, Package
from tests.policies.hosts import GIB_KIB
from tests.policies.strategies import bound_somehow, cpu_policies, near_devices, on_cpus, pci_devices, uneven

slit = st.sampled_from([11, 12, 20, 20, 20, 31, 31, 255])


def _halves(node: NumaNode) -> list[CpuSet]:
    cpus = list(node.cpus)
    return [CpuSet.of(*cpus[:2]), CpuSet.of(*cpus[2:])]


@st.composite
def tight_topologies(draw: st.DrawFn, nodes: int, cpuless: int = 0) -> HostTopology:
    """Up to 4 pCPUs a node, seldom none; seldom no memory; any distances, or none told."""
    counts = draw(st.lists(st.sampled_from([4, 3, 4, 2, 3, 4, 1, 0, 0]), min_size=nodes, max_size=nodes))
    counts[nodes - cpuless :] = [0] * cpuless
    told = draw(st.booleans())
    made, first = [], 0
    for i, count in enumerate(counts):
        row = {NodeId(n): 10 if n == i else draw(slit) for n in range(nodes)} if told else None
        total_gib = draw(st.sampled_from([8, 8, 8, 8, 8, 8, 0]))
        cpus = CpuSet.of(*range(first, first + count))
        made.append(NumaNode(node_id=NodeId(i), cpus=cpus, memory_total_kib=total_gib * GIB_KIB, distances=row))
        first += count
    sockets = [CpuSet.union(node.cpus for node in made[i : i + 2]) for i in range(0, nodes, 2)]
    packages = [Package(package_id=i, cpus=cpus) for i, cpus in enumerate(sockets) if cpus]
    threads = draw(st.sampled_from([2, 2, 1, 0]))
    cores = [
        Core(cpus=CpuSet.of(*list(node.cpus)[i : i + threads]), node_id=node.node_id, package_id=None)
        for node in made
        for i in range(0, len(node.cpus) if threads else 0, threads or 1)
    ]
    online = CpuSet.of(*range(first))
    l3 = draw(st.sampled_from([[], [node.cpus for node in made], sockets, [half for n in made for half in _halves(n)]]))
    devices = draw(pci_devices([node.node_id for node in made]))
    return HostTopology(
        nodes=tuple(made),
        online_cpus=online,
        packages=tuple(packages),
        l3=tuple(L3Domain(cpus=cpus, size_kib=None) for cpus in l3 if cpus),
        cores=tuple(cores),
        devices=devices,
    )


@st.composite
def tight_hosts(draw: st.DrawFn, name: str, nodes: int, cpuless: int = 0) -> HostCapacity:
    topology = draw(tight_topologies(nodes, cpuless))
    kept = CpuSet.of(*([draw(st.sampled_from(list(topology.online_cpus)))] if topology.online_cpus else []))
    kept = draw(st.sampled_from([CpuSet(), CpuSet(), kept]))
    left = []
    for node in topology.nodes:
        some = st.frozensets(st.sampled_from(list(node.cpus))).map(CpuSet) if node.cpus else st.just(CpuSet())
        part = st.one_of(st.just(node.cpus), st.just(node.cpus), st.just(node.cpus), some)
        has_memory = bool(node.memory_total_kib)
        memory_kib = {4: draw(st.integers(1, 8)) * 1024 * 1024 if has_memory else 0}
        if has_memory and draw(st.booleans()):
            memory_kib[2048] = draw(st.integers(0, 4)) * 512 * 1024
        if has_memory and draw(st.integers(0, 3)) == 0:
            memory_kib[GIB_KIB] = draw(st.integers(0, 4)) * GIB_KIB
        left.append(
            NodeCapacity(
                node_id=node.node_id,
                free_cpus=draw(part) - kept,
                shared_cpus=draw(part) - kept,
                shared_vcpus=draw(st.sampled_from([0, 0, 0, 0, 1, 4])),
                memory_kib=memory_kib,
            )
        )
    return HostCapacity(
        name=HostName(name),
        topology=topology,
        nodes=tuple(left),
        overcommit=draw(st.sampled_from([Fraction(1), Fraction(1), Fraction(3, 2), Fraction(4), Fraction(3, 4)])),
        hypervisor=draw(st.sampled_from([Hypervisor.KVM, Hypervisor.KVM, Hypervisor.KVM, Hypervisor.XEN, None])),
        schedulable=draw(st.sampled_from([*[True] * 11, False])),
        domains=draw(st.sampled_from([{}, {"rack": "r0"}, {"rack": "r0"}, {"rack": "r1"}])),
        housekeeping_cpus=kept,
        residents=draw(residents(nodes)),
    )


@st.composite
def memberships(draw: st.DrawFn) -> tuple[Membership, ...]:
    """Mostly none; else one of four groups, seldom two, whose levels are one for the whole batch."""
    chosen = draw(st.sampled_from([(), (), (), (0,), (1,), (2,), (3,), (0, 1), (1, 3)]))
    return tuple(
        Membership(
            group=GROUPS[i], part=draw(st.sampled_from("ab")) if GROUPS[i].rule is GroupRule.FAULT_DOMAINS else ""
        )
        for i in chosen
    )


GROUPS = (
    Group(name="near", rule=GroupRule.AFFINITY),
    Group(name="far", rule=GroupRule.ANTI_AFFINITY),
    Group(name="parts", rule=GroupRule.FAULT_DOMAINS),
    Group(name="whole", rule=GroupRule.ALL_OR_NOTHING),
)
"""At level host, and hard; `tight_batches` makes others of them."""


@st.composite
def residents(draw: st.DrawFn, nodes: int) -> tuple[Resident, ...]:
    """Seldom a member of a group who lives there already."""
    groups = draw(memberships())
    if not groups or draw(st.integers(0, 2)):
        return ()
    return (Resident(groups=groups, nodes=NodeSet.of(draw(st.integers(0, nodes - 1)))),)


@st.composite
def tight_requests(draw: st.DrawFn, name: str, hosts: int) -> GuestRequest:
    vcpus = draw(st.integers(1, 5))
    cells = draw(st.sampled_from([1, 1, "auto", "auto", *([2] if vcpus > 1 else [])]))
    only = draw(st.sampled_from([None, None, None, None, None, frozenset({HostName(f"h{hosts - 1}")})]))
    page_kib = draw(st.sampled_from([4, 4, 4, 4, 2048]))
    request = GuestRequest(
        name=GuestName(name),
        vcpus=vcpus,
        memory_kib=draw(st.integers(1, 8)) * 512 * 1024,
        page_kib=page_kib,
        largest_pages=page_kib == 4 and draw(st.integers(0, 3)) == 0,
        cells=cells,
        max_nodes=draw(st.sampled_from([None, 1, 2, 3])) if cells in (1, "auto") else None,
        max_distance=draw(st.sampled_from([None, None, None, 10, 12, 20, 31])),
        far_memory=draw(st.sampled_from([False, False, True])),
        **draw(cpu_policies(vcpus)),
        priority=draw(st.sampled_from([1, 1, 1, 2, 5])),
        hosts=only,
        overhead_kib=draw(st.sampled_from([0, 0, 256 * 1024])),
        groups=draw(memberships()),
    )
    return draw(near_devices(draw(on_cpus(draw(uneven(draw(bound_somehow(request))))))))


@st.composite
def tight_batches(draw: st.DrawFn) -> tuple[tuple[GuestRequest, ...], Fleet]:
    """A batch and a fleet that exhaustive search gets through; some guests ask for the same."""
    shape = draw(st.sampled_from([(1, 3, 3), (2, 2, 4), (3, 1, 4), (1, 2, 4), (2, 3, 2)]))
    hosts, nodes, guests = shape
    fleet = Fleet.of([draw(tight_hosts(f"h{i}", nodes)) for i in range(hosts)])
    requests: list[GuestRequest] = []
    for i in range(guests):
        if requests and draw(st.integers(0, 2)) == 0:
            alike = draw(st.sampled_from(requests))
            requests.append(replace(alike, name=GuestName(f"g{i}")))
        else:
            requests.append(draw(tight_requests(f"g{i}", hosts)))
    levels = st.sampled_from(["host", "host", "rack", "package", "node"])
    made = {g.name: replace(g, level=draw(levels), **draw(st.sampled_from(HARD_OR_SOFT))) for g in GROUPS[:3]}
    made[GROUPS[3].name] = GROUPS[3]
    fleet = Fleet.of([replace(h, residents=tuple(_in(made, r) for r in h.residents)) for h in fleet])
    return tuple(_in(made, request) for request in requests), fleet


@st.composite
def far_batches(draw: st.DrawFn) -> tuple[tuple[GuestRequest, ...], Fleet]:
    """Guests on one or two KVM hosts whose last nodes have no pCPUs; the memory of most may be far."""
    hosts, nodes, cpuless, guests = draw(st.sampled_from([(1, 3, 1, 3), (1, 4, 2, 2), (2, 3, 1, 2), (1, 4, 1, 2)]))
    there = [replace(draw(tight_hosts(f"h{i}", nodes, cpuless)), hypervisor=Hypervisor.KVM) for i in range(hosts)]
    made = [draw(tight_requests(f"g{i}", hosts)) for i in range(guests)]
    requests = tuple(replace(each, far_memory=draw(st.sampled_from([True, True, False]))) for each in made)
    return requests, Fleet.of([replace(host, schedulable=True) for host in there])


HARD_OR_SOFT: tuple[dict[str, Any], ...] = ({}, {}, {"hard": False}, {"hard": False, "weight": 3})


@st.composite
def objectives(draw: st.DrawFn, requests: tuple[GuestRequest, ...]) -> Objective:
    """Any order of some of the terms below the first, in tiers of one or several."""
    terms = draw(st.lists(st.sampled_from(list(Term)[1:]), unique=True, max_size=6))
    tiers: list[list[tuple[Term, int]]] = [[(Term.PLACED, 1)]]
    for term in terms:
        weighted = (term, draw(st.sampled_from([1, 1, 2, 7])))
        if len(tiers) > 1 and draw(st.integers(0, 2)) == 0:
            tiers[-1].append(weighted)
        else:
            tiers.append([weighted])
    simple = [request for request in requests if not request.cell_sizes and not request.stack_cells]
    flavours = draw(st.lists(st.sampled_from(simple), max_size=2)) if simple else []
    return Objective(tiers=tuple(ObjectiveTier(terms=tuple(some)) for some in tiers), flavours=tuple(flavours))


@st.composite
def tight_guests(draw: st.DrawFn) -> tuple[GuestRequest, HostCapacity]:
    """One guest, of up to four cells of any sizes, and a host of up to five nodes with a few residents."""
    request, host = draw(tight_requests("g", 1)), draw(tight_hosts("h0", draw(st.integers(2, 5))))
    if request.cells == 2 and draw(st.booleans()):
        cells = draw(st.integers(3, 4))
        plain = replace(request, cell_sizes=(), stack_cells=False, max_nodes=None, cells=cells, vcpus=2 + cells)
        request = draw(uneven(plain))
    levels = st.sampled_from(["host", "rack", "package", "package", "node"])
    made = {g.name: replace(g, level=draw(levels), **draw(st.sampled_from(HARD_OR_SOFT))) for g in GROUPS[:3]}
    made[GROUPS[3].name] = GROUPS[3]
    there = [*host.residents]
    if request.groups and draw(st.booleans()):
        others = tuple(replace(m, part="b") if m.part else m for m in request.groups)
        there.append(Resident(groups=others, nodes=NodeSet.of(draw(st.sampled_from(host.nodes)).node_id)))
    less = draw(st.sampled_from([1, 1, 3]))
    nodes = (
        replace(n, memory_kib={page: kib // less // page * page for page, kib in n.memory_kib.items()})
        for n in host.nodes
    )
    host = replace(host, nodes=tuple(nodes), residents=tuple(_in(made, resident) for resident in there))
    return _in(made, request), host


_Member = TypeVar("_Member", GuestRequest, Resident)


def _in(made: Mapping[str, Group], member: _Member) -> _Member:
    """The same with its groups made so."""
    return replace(member, groups=tuple(replace(m, group=made[m.group.name]) for m in member.groups))
