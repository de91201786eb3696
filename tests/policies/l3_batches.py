"""Small batches whose groups look at L3 domains: several in a node, or one over several nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from policies.asked import EmulatorPolicy, SmtPolicy
from policies.capacity import HostCapacity, Resident
from policies.fleet import Fleet
from policies.request import CpuPolicy, Group, GroupRule, GuestName, GuestRequest, Membership
from probe.cpuset import CpuSet, NodeSet
from probe.topology import HostTopology, L3Domain
from tests.policies.hosts import GIB_KIB, host_of, topology_of
from tests.policies.strategies import cpu_policies, on_cpus
from tests.policies.tight import HARD_OR_SOFT, tight_hosts

RULES = (GroupRule.AFFINITY, GroupRule.ANTI_AFFINITY, GroupRule.FAULT_DOMAINS)


def with_caches(draw: st.DrawFn, topology: HostTopology) -> HostTopology:
    """Halves of nodes, of all nodes together, whole nodes, or single pCPUs; or some are known and others not."""
    nodes = [list(node.cpus) for node in topology.nodes]
    halves = [half for cpus in nodes for half in (cpus[:2], cpus[2:])]
    across = [[cpu for cpus in nodes for cpu in cpus[:2]], [cpu for cpus in nodes for cpu in cpus[2:]]]
    single = [[cpu] for cpus in nodes for cpu in cpus]
    threads = max((len(core.cpus) for core in topology.cores), default=0)
    sets = draw(st.sampled_from([halves, halves, across, nodes, halves[:1], *([single] if threads < 2 else [])]))
    return replace(topology, l3=tuple(L3Domain(cpus=CpuSet.of(*cpus), size_kib=None) for cpus in sets if cpus))


@st.composite
def _hosts(draw: st.DrawFn, name: str, nodes: int) -> HostCapacity:
    host = draw(tight_hosts(name, nodes))
    return replace(host, topology=with_caches(draw, host.topology), residents=())


@st.composite
def _memberships(draw: st.DrawFn, groups: tuple[Group, ...], *, often: bool = True) -> tuple[Membership, ...]:
    """Mostly one of two groups, seldom both."""
    none = () if often else ((), (), ())
    chosen = draw(st.sampled_from([*none, (), (0,), (0,), (0,), (1,), (0, 1)]))
    parts = st.sampled_from("ab")
    return tuple(
        Membership(group=groups[i], part=draw(parts) if groups[i].rule is GroupRule.FAULT_DOMAINS else "")
        for i in chosen
    )


@st.composite
def _residents(draw: st.DrawFn, groups: tuple[Group, ...], host: HostCapacity) -> tuple[Resident, ...]:
    """Seldom one, with pCPUs that are told, or not."""
    members = draw(_memberships(groups, often=False))
    node = draw(st.sampled_from(host.topology.nodes))
    if not members or not node.cpus:
        return ()
    cpus = draw(st.one_of(st.none(), st.frozensets(st.sampled_from(list(node.cpus)), min_size=1, max_size=2)))
    told = None if cpus is None else CpuSet(cpus)
    return (Resident(groups=members, nodes=NodeSet.of(node.node_id), cpus=told),)


@st.composite
def _requests(draw: st.DrawFn, name: str, groups: tuple[Group, ...]) -> GuestRequest:
    vcpus = draw(st.sampled_from([1, 1, 2, 2, 3, 4]))
    policies = draw(cpu_policies(vcpus))
    if draw(st.booleans()):
        policies = {"cpus": CpuPolicy.DEDICATED}
    request = GuestRequest(
        name=GuestName(name),
        vcpus=vcpus,
        memory_kib=draw(st.integers(1, 4)) * GIB_KIB // 2,
        cells=draw(st.sampled_from([1, 1, 1, "auto", *([2] if vcpus > 1 else [])])),
        **policies,
        priority=draw(st.sampled_from([1, 1, 1, 2, 5])),
        groups=draw(_memberships(groups)),
    )
    return draw(on_cpus(request))


@st.composite
def l3_batches(draw: st.DrawFn, *, most: int = 3) -> tuple[tuple[GuestRequest, ...], Fleet]:
    """A batch and a fleet that exhaustive search gets through; some guests ask for the same."""
    hosts, nodes, guests = draw(st.sampled_from([(1, 1, 3), (1, 1, 3), (1, 2, 2), (2, 1, 2), (1, 2, 3)]))
    groups = tuple(
        Group(name=name, rule=draw(st.sampled_from(RULES)), level=draw(levels), **draw(st.sampled_from(HARD_OR_SOFT)))
        for name, levels in (("g", st.just("l3")), ("h", st.sampled_from(["l3", "l3", "node", "host"])))
    )
    bare = [draw(_hosts(f"h{i}", nodes)) for i in range(hosts)]
    fleet = Fleet.of([replace(host, residents=draw(_residents(groups, host))) for host in bare])
    requests: list[GuestRequest] = []
    for i in range(min(most, guests)):
        if requests and draw(st.integers(0, 2)) == 0:
            requests.append(replace(draw(st.sampled_from(requests)), name=GuestName(f"g{i}")))
        else:
            requests.append(draw(_requests(f"g{i}", groups)))
    return tuple(requests), fleet


@st.composite
def crowded_nodes(draw: st.DrawFn) -> tuple[tuple[GuestRequest, ...], Fleet]:
    """One node of cores of two threads, some of them shared, for guests on whole cores, on any, and who share."""
    made = host_of("h0", topology=topology_of(cpus=8, nodes=1, smt=2, l3_of=draw(st.sampled_from([4, 4, 2]))))
    some = st.frozensets(st.sampled_from(range(8)), min_size=3).map(CpuSet)
    free, shared = draw(st.one_of(st.just(CpuSet.parse("0-7")), some)), draw(some)
    (node,) = made.nodes
    host = replace(made, nodes=(replace(node, free_cpus=free, shared_cpus=shared),))
    group = Group(name="g", rule=draw(st.sampled_from(RULES)), level="l3", **draw(st.sampled_from(HARD_OR_SOFT)))
    floats = GuestRequest(name=GuestName("floats"), vcpus=draw(st.integers(1, 4)), memory_kib=GIB_KIB)
    requests = [replace(floats, priority=draw(st.sampled_from([1, 3])))]
    for i in range(draw(st.sampled_from([2, 3]))):
        members = draw(_memberships((group,) * 2))[:1]
        vcpus, asks = draw(st.sampled_from([1, 1, 2, 3])), draw(st.sampled_from(_OWN))
        guest = GuestRequest(name=GuestName(f"g{i}"), vcpus=vcpus, memory_kib=GIB_KIB, groups=members, **asks)
        requests.append(guest)
    return tuple(requests), Fleet.of([host])


_OWN: tuple[dict[str, Any], ...] = (
    {"cpus": CpuPolicy.DEDICATED},
    {"cpus": CpuPolicy.DEDICATED, "smt": SmtPolicy.ISOLATE},
    {"cpus": CpuPolicy.DEDICATED, "smt": SmtPolicy.ISOLATE, "emulator": EmulatorPolicy.OWN},
    {"cpus": CpuPolicy.DEDICATED, "smt": SmtPolicy.REQUIRE},
)
