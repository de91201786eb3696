"""NPS1 to NPS4 and back: nothing of a host is lost or doubled by other nodes, and its guests are asked for again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from policies.check import violations
from policies.fleet import Fleet
from policies.host_rules import HostRules
from policies.policy import Effort
from policies.request import HostName
from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.errors import BadInputError
from probe.graph import topology_from_graph, topology_to_graph
from probe.snapshot import HostSnapshot, HugepagePool, Occupant, OccupantMemory, OccupantState
from probe.sources.registry import read_source
from probe.topology import Package
from scheduler.files.hosts_file import HostConfig
from scheduler.ledger import Cordon
from scheduler.planning import HostView
from scheduler.what_if import plan_supposed, suppose
from scheduler.what_if.change import Change, Drain, NodesPerPackage, parse_change
from scheduler.what_if.supposed import Supposed
from tests.policies.hosts import GIB_KIB, snapshot_of, topology_of
from tests.scheduler.what_if.worlds import World, asked, worlds
from tests.strategies import snapshots

PACKAGES = (Package(package_id=0, cpus=CpuSet.parse("0-7")), Package(package_id=1, cpus=CpuSet.parse("8-15")))
COUNTS = st.sampled_from([1, 2, 3, 4])

SIFTED = settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
"""Most hosts that are drawn cannot be divided so; the others are what these tests are of."""


def view_of(snapshot: HostSnapshot, rules: HostRules | None = None) -> HostView:
    return HostView(config=HostConfig(name=HostName("h1"), sources=(), rules=rules or HostRules()), snapshot=snapshot)


def changed(view: HostView, *changes: Change) -> HostView | None:
    """The host after these changes; None where it cannot be changed so."""
    try:
        return suppose(Supposed(guests=(), views=(view,)), changes).view("h1", "")
    except BadInputError:
        return None


def sums(snapshot: HostSnapshot) -> dict[object, int | None]:
    """What a host has of everything, all nodes together; None where a node does not tell."""
    found: dict[object, int | None] = {
        "online": len(CpuSet.union(node.cpus for node in snapshot.topology.nodes)),
        "topology": _sum(node.memory_total_kib for node in snapshot.topology.nodes),
        "total": _sum(memory.total_kib for memory in snapshot.memory),
        "free": _sum(memory.free_kib for memory in snapshot.memory),
        "reclaimable": _sum(memory.reclaimable_kib for memory in snapshot.memory),
    }
    for size in {pool.size_kib for memory in snapshot.memory for pool in memory.hugepages}:
        pools = [pool for memory in snapshot.memory for pool in memory.hugepages if pool.size_kib == size]
        found[size] = sum(pool.total for pool in pools)
        found[f"{size} free"] = _sum(pool.free for pool in pools)
        found[f"{size} surplus"] = _sum(pool.surplus for pool in pools)
    return found


def _sum(amounts: Iterable[int | None]) -> int | None:
    told = list(amounts)
    return None if None in told else sum(amount for amount in told if amount is not None)


@SIFTED
@given(snapshots(max_occupants=0), COUNTS)
def test_sums_are_conserved(snapshot: HostSnapshot, count: int) -> None:
    """pCPUs, memory and huge pages of any host that the probe may find; and its graph is its topology."""
    after = changed(view_of(snapshot), NodesPerPackage(host="h1", count=count))
    assume(after is not None)
    assert after is not None
    assert sums(snapshot) == sums(after.snapshot)
    assert list(range(len(after.snapshot.memory))) == [node.node_id for node in after.snapshot.topology.nodes]
    topology = after.snapshot.topology
    assert topology == topology_from_graph(topology_to_graph(topology, after.snapshot.memory))
    for memory in after.snapshot.memory:
        assert all((pool.free or 0) <= pool.total for pool in memory.hugepages)
        assert memory.total_kib is None or memory.total_kib >= memory.hugepages_kib


@SIFTED
@given(worlds(max_hosts=1, max_guests=0), COUNTS, st.sampled_from([11, 12, 16]))
def test_there_and_back(world: World, count: int, distance: int) -> None:
    """The same nodes at the same distances, with the same of everything."""
    (before,) = world.empty
    there = NodesPerPackage(host="h1", count=count * len(_with_cpus(before)), distance=distance)
    back = NodesPerPackage(host="h1", count=len(_with_cpus(before)))
    assume(there.count != back.count)
    after = changed(before, there, back)
    assume(after is not None)
    assert after is not None
    one, two = before.snapshot, after.snapshot
    assert [(n.node_id, n.cpus, n.memory_total_kib) for n in one.topology.nodes] == [
        (n.node_id, n.cpus, n.memory_total_kib) for n in two.topology.nodes
    ]
    pairs = [(a, b) for a in one.topology.node_ids for b in one.topology.node_ids]
    assert [one.topology.distance(a, b) for a, b in pairs] == [two.topology.distance(a, b) for a, b in pairs]
    assert one.memory == two.memory
    assert before.capacity.nodes == after.capacity.nodes


def _with_cpus(view: HostView) -> list[NodeId]:
    return [node.node_id for node in view.snapshot.topology.nodes if node.cpus]


@given(worlds(), st.data())
def test_its_guests_are_asked_for_again(world: World, data: st.DataObject) -> None:
    """The host offers what it would without them, and the plan keeps the hard rules on the changed fleet."""
    host = data.draw(st.sampled_from([view.config.name for view in world.empty]))
    change = NodesPerPackage(host=host, count=data.draw(st.sampled_from([2, 4, 8])))
    try:
        supposed = suppose(world.supposed, [change])
    except BadInputError:
        return
    emptied = suppose(Supposed(guests=(), views=world.empty), [change])
    assert emptied.view(host, "").capacity == supposed.view(host, "").capacity
    assert {home.guest for home in world.standing if home.host == host} == {a.guest for a in supposed.asked_again}
    made = plan_supposed(supposed, {}, "first-fit", Effort())
    fresh = [d for d in made.plan.decisions if d.guest not in supposed.standing.homes]
    assert not violations(fresh, asked(supposed), Fleet.of([view.capacity for view in supposed.views]))


def test_whole_l3_domains_and_cores() -> None:
    """A node of four L3 domains in two: two domains each. In eight: whole cores, and no core is on two nodes."""
    view = view_of(snapshot_of(topology_of(cpus=16, nodes=1, smt=2, l3_of=4)))
    two, eight = (changed(view, NodesPerPackage(host="h1", count=count)) for count in (2, 8))
    assert two is not None
    assert ["0-7", "8-15"] == [str(node.cpus) for node in two.snapshot.topology.nodes]
    assert eight is not None
    assert [f"{c}-{c + 1}" for c in range(0, 16, 2)] == [str(node.cpus) for node in eight.snapshot.topology.nodes]
    assert list(range(8)) == [core.node_id for core in eight.snapshot.topology.cores]
    assert 12 == eight.snapshot.topology.distance(0, 7)


def test_no_l3_domain_is_cut_where_there_are_enough() -> None:
    """Three domains on two nodes: one and two, not one and a half each."""
    after = changed(view_of(snapshot_of(topology_of(cpus=12, nodes=1, l3_of=4))), NodesPerPackage(host="h1", count=2))
    assert after is not None
    assert ["0-3", "4-11"] == [str(node.cpus) for node in after.snapshot.topology.nodes]


def test_pages_are_cut_before_the_memory_beside_them() -> None:
    """Five pages of 1 GiB in 6 GiB, on four nodes: one has two of them, and the 1 GiB beside them is a quarter each."""
    pools = (HugepagePool(size_kib=GIB_KIB, total=5, free=5),)
    view = view_of(snapshot_of(topology_of(nodes=1, memory_gib=6), free_gib=1, pools=pools))
    after = changed(view, NodesPerPackage(host="h1", count=4))
    assert after is not None
    assert [2, 1, 1, 1] == [memory.hugepages[0].total for memory in after.snapshot.memory]
    assert [2.25, 1.25, 1.25, 1.25] == [(memory.total_kib or 0) / GIB_KIB for memory in after.snapshot.memory]
    assert [GIB_KIB // 4] * 4 == [node.memory_kib[4] for node in after.capacity.nodes]


def test_joined_nodes_are_as_far_as_the_farthest() -> None:
    """In each direction by itself."""
    rows = {0: {0: 10, 1: 15, 2: 20, 3: 22}, 1: {0: 15, 1: 10, 2: 30, 3: 25}, 2: {0: 40, 1: 21, 2: 10, 3: 12}, 3: {}}
    topology = replace(topology_of(nodes=4, distances=rows), packages=PACKAGES)
    after = changed(view_of(snapshot_of(topology)), NodesPerPackage(host="h1", count=1))
    assert after is not None
    joined = after.snapshot.topology
    assert (30, 40, 10) == (joined.distance(0, 1), joined.distance(1, 0), joined.distance(0, 0))


@pytest.mark.parametrize(
    ("nodes", "cpus", "count", "expected"),
    [
        (2, 4, 2, "h1 has them already"),
        (3, 4, 2, "the package of h1 has 3 nodes, which make no 2"),
        (1, 2, 4, "node 0 of h1 has 2 cores, too few for 4 nodes"),
    ],
)
def test_nodes_that_cannot_be(nodes: int, cpus: int, count: int, expected: str) -> None:
    """It says what the host has."""
    start = Supposed(guests=(), views=(view_of(snapshot_of(topology_of(cpus=cpus, nodes=nodes))),))
    with pytest.raises(BadInputError, match=expected):
        suppose(start, [NodesPerPackage(host="h1", count=count)])


def test_what_hangs_on_a_node_goes_with_it() -> None:
    """Cordons and reserves of a node are on its parts, a stranger's memory may be on any of them."""
    memory = (OccupantMemory(node_id=NodeId(1), kib=1024), OccupantMemory(node_id=None, kib=4, nodes=NodeSet.of(0, 1)))
    stranger = Occupant(guest="g", uuid=None, state=OccupantState.RUNNING, vcpus=1, memory=memory)
    snapshot = snapshot_of(topology_of(nodes=2), occupants=[stranger])
    view = view_of(snapshot, HostRules(reserve_kib=8, node_reserve_kib={1: 800}))
    closed = replace(view, cordons=(Cordon(host="h1", node=1, since=snapshot.taken_at),))
    after = changed(closed, NodesPerPackage(host="h1", count=4))
    assert after is not None
    assert [2, 3] == [cordon.node for cordon in after.cordons]
    assert {2: 400, 3: 400} == after.config.rules.node_reserve_kib
    assert [(None, NodeSet.of(2, 3)), (None, NodeSet.of(0, 1, 2, 3))] == [
        (share.node_id, share.nodes) for share in after.snapshot.occupants[0].memory
    ]
    joined = changed(after, NodesPerPackage(host="h1", count=1))
    assert joined is not None
    assert {0: 2 * 8 + 800} == joined.config.rules.node_reserve_kib
    assert [0] == [cordon.node for cordon in joined.cordons]


def test_a_stranger_may_lie_beyond_the_part_that_it_runs_on() -> None:
    """6 GiB that nothing binds, of a guest on one pCPU of a node of 8 GiB: in halves, neither is promised whole."""
    stranger = Occupant(
        guest="g",
        uuid=None,
        state=OccupantState.RUNNING,
        vcpus=1,
        effective_cpus=CpuSet.of(0),
        memory=(OccupantMemory(node_id=None, kib=6 * GIB_KIB),),
    )
    view = view_of(snapshot_of(topology_of(nodes=1, memory_gib=8), free_gib=8, occupants=[stranger]))
    after = changed(view, NodesPerPackage(host="h1", count=2))
    assert after is not None
    assert [0, 0] == [node.memory_kib[4] for node in after.capacity.nodes]


@SIFTED
@given(snapshots(), COUNTS)
def test_any_host_with_strangers_has_a_capacity_then(snapshot: HostSnapshot, count: int) -> None:
    """Counted on every node where they may be, strangers leave no more than before."""
    before = view_of(snapshot, HostRules(overcommit=Fraction(2)))
    after = changed(before, NodesPerPackage(host="h1", count=count))
    if after is None:
        return
    assert {o.guest for o in snapshot.occupants} == {o.guest for o in after.snapshot.occupants}
    assert sum(len(n.free_cpus) for n in before.capacity.nodes) == sum(len(n.free_cpus) for n in after.capacity.nodes)
    if len(after.snapshot.memory) - len(snapshot.memory) == (count - 1) * len(
        _with_cpus(before)
    ):  # cut, and not joined
        offered, left = (Counter[int](), Counter[int]())
        for counter, view in ((offered, before), (left, after)):
            for node in view.capacity.nodes:
                counter.update(node.memory_kib)
        assert left <= offered


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("hwloc:flux-sched-hwloc-v1/corona11.xml", "nodes=h1:1", 2),
        ("hwloc:flux-sched-hwloc-v1/corona11.xml", "nodes=h1:8", 16),
        ("hwloc:prrte/test-topo.xml", "nodes=h1:1", 2),
        ("hwloc:prrte/test-topo.xml", "nodes=h1:4", 8),
        ("sysfs:hwloc/linux/64amd64-4s2n4ca2co.tar.bz2", "nodes=h1:1", 4),
        ("sysfs:hwloc/linux/64amd64-4s2n4ca2co.tar.bz2", "nodes=h1:4", 16),
        ("sysfs:nri-plugins/sample2.tar.xz", "nodes=h1:1", 6),
        ("sysfs:recorded/kvm/h1/sysfs-node-cpu.tar.gz", "nodes=h1:2", 9),
    ],
)
def test_real_hosts(data: Path, name: str, change: str, expected: int) -> None:
    """Recorded machines: EPYC, Opteron, Xeon with persistent memory (whose nodes without pCPUs stay), the lab's."""
    kind, _, path = name.partition(":")
    before = read_source(f"{kind}:{data / path}")
    made = parse_change(change)
    assert isinstance(made, NodesPerPackage)
    after = changed(view_of(before), made)
    assert after is not None
    topology = after.snapshot.topology
    assert expected == len(topology.nodes)
    assert sums(before) == sums(after.snapshot)
    assert topology == topology_from_graph(topology_to_graph(topology, after.snapshot.memory))
    for package in topology.packages:
        assert made.count == sum(bool(node.cpus) and node.cpus <= package.cpus for node in topology.nodes)
    assert changed(view_of(before), made, Drain(host="h1", node=expected - 1)) is not None


@pytest.mark.data
def test_a_node_over_several_packages_is_not_cut(data: Path) -> None:
    """A recording without NUMA: one node of two packages, and nothing tells how far these are."""
    snapshot = read_source(f"hwloc:{data / 'hwloc/x86-xml/AMD-19h-Zen3-2xEpyc-7763.xml'}")
    with pytest.raises(BadInputError, match=r"node 0 of h1 is on packages \[0, 1\]; expected one"):
        suppose(Supposed(guests=(), views=(view_of(snapshot),)), [NodesPerPackage(host="h1", count=4)])
