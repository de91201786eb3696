"""Memory that is added counts once, on its node; nobody loses by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from policies.policy import Effort
from policies.request import HostName
from probe.errors import BadInputError
from probe.graph import topology_from_graph, topology_to_graph
from probe.snapshot import HostSnapshot
from probe.sources.registry import read_source
from scheduler.files.hosts_file import HostConfig
from scheduler.planning import HostView
from scheduler.what_if import plan_supposed, suppose
from scheduler.what_if.change import AddCxl, AddMemory
from scheduler.what_if.supposed import Supposed
from tests.policies.hosts import GIB_KIB, snapshot_of, topology_of
from tests.scheduler.what_if.worlds import World, worlds
from tests.strategies import snapshots

EFFORT = Effort(time_limit_s=None, deterministic_limit=2, workers=1)


def host(snapshot: HostSnapshot) -> Supposed:
    return Supposed(guests=(), views=(HostView(config=HostConfig(name=HostName("h1"), sources=()), snapshot=snapshot),))


@given(worlds(), st.data(), st.sampled_from([4, 1024, 8 * GIB_KIB]))
def test_more_memory_is_on_offer_there_and_nowhere_else(world: World, data: st.DataObject, kib: int) -> None:
    """Exactly so much where the node had some to promise; the graph is the topology."""
    before = data.draw(st.sampled_from(world.supposed.views))
    node = data.draw(st.sampled_from(sorted(before.snapshot.topology.node_ids)))
    change = AddMemory(host=before.config.name, node=node, kib=kib)
    after = suppose(world.supposed, [change]).view(before.config.name, "")
    for one, two in zip(before.capacity.nodes, after.capacity.nodes, strict=True):
        more = two.memory_kib[4] - one.memory_kib[4]
        assert more == (kib if one.node_id == node else 0) or (one.node_id == node and one.memory_kib[4] == 0 <= more)
        assert replace(one, memory_kib={}) == replace(two, memory_kib={})
    topology = after.snapshot.topology
    assert topology == topology_from_graph(topology_to_graph(topology, after.snapshot.memory))
    assert [n.memory_total_kib for n in topology.nodes] == [m.total_kib for m in after.snapshot.memory]


@given(worlds(max_hosts=2, max_guests=3), st.data())
def test_more_memory_never_places_fewer(world: World, data: st.DataObject) -> None:
    """Where both plans are proven."""
    view = data.draw(st.sampled_from(world.supposed.views))
    node = data.draw(st.sampled_from(sorted(view.snapshot.topology.node_ids)))
    change = AddMemory(host=view.config.name, node=node, kib=data.draw(st.sampled_from([1, 30])) * GIB_KIB)
    before = plan_supposed(world.supposed, {}, "solver", EFFORT).plan
    after = plan_supposed(suppose(world.supposed, [change]), {}, "solver", EFFORT).plan
    for one, two in zip(before.objective[:1], after.objective[:1], strict=False):
        assert two.value >= one.value or two.gap != 0


@given(snapshots(max_occupants=0))
def test_a_cxl_node_is_one_more(snapshot: HostSnapshot) -> None:
    """The others stay as they are, at the distances that count for them."""
    start = host(snapshot)
    after = suppose(start, [AddCxl(host="h1", kib=GIB_KIB, distance=40)])
    one, two = start.views[0].capacity, after.views[0].capacity
    *others, new = two.nodes
    assert one.nodes == tuple(others)
    topology, known = two.topology, one.topology.node_ids
    assert (GIB_KIB, 0) == (new.memory_kib[4], len(new.free_cpus | new.shared_cpus))
    to_and_from = [topology.distance(a, new.node_id) for a in known] + [
        topology.distance(new.node_id, a) for a in known
    ]
    assert {40} == set(to_and_from)
    assert all(one.topology.distance(a, b) == topology.distance(a, b) for a in known for b in known)
    assert topology == topology_from_graph(topology_to_graph(topology, after.views[0].snapshot.memory))


def test_whose_memory_is_on_a_cxl_node() -> None:
    """That of guests on a memory-less node, if it is the nearest; else of those that ask for it, and that is said."""
    change = AddCxl(host="h1", kib=GIB_KIB)
    plain = suppose(host(snapshot_of(topology_of(nodes=2))), [change])
    assert ("Node 2 of h1 has no pCPUs",) == tuple(note.partition(":")[0] for note in plain.notes)
    assert () == suppose(host(snapshot_of(topology_of(nodes=1, memoryless=(0,)))), [change]).notes


def test_a_node_of_which_nothing_is_known() -> None:
    """More than unknown is unknown."""
    unknown = host(snapshot_of(topology_of(memory_gib=None), free_gib=None))
    with pytest.raises(BadInputError, match="no source tells how much memory node 1 of h1 has"):
        suppose(unknown, [AddMemory(host="h1", node=1, kib=4)])


@pytest.mark.data
@pytest.mark.parametrize("source", ["sysfs:nri-plugins/sample2.tar.xz", "sysfs:recorded/kvm/h1/sysfs-node-cpu.tar.gz"])
def test_real_hosts_with_memory_only_nodes(data: Path, source: str) -> None:
    """One more beside theirs; what they tell is as it was."""
    kind, _, path = source.partition(":")
    snapshot = read_source(f"{kind}:{data / path}")
    without_cpus = [node.node_id for node in snapshot.topology.nodes if not node.cpus]
    after = suppose(host(snapshot), [AddCxl(host="h1", kib=GIB_KIB)]).views[0]
    assert [*without_cpus, max(snapshot.topology.node_ids) + 1] == [
        node.node_id for node in after.snapshot.topology.nodes if not node.cpus
    ]
    more = suppose(host(snapshot), [AddMemory(host="h1", node=without_cpus[0], kib=GIB_KIB)]).views[0]
    assert len(after.capacity.nodes) == len(more.capacity.nodes) + 1


@pytest.mark.data
def test_the_distances_that_are_taken_for_granted(data: Path) -> None:
    """The stated defaults are what these recordings tell."""
    memory_only = read_source(f"sysfs:{data / 'nri-plugins/sample2.tar.xz'}").topology
    far = {memory_only.distance(n.node_id, 4) for n in memory_only.nodes if n.cpus}
    assert (28, {17, 28}) == (AddCxl(host="h1", kib=4).distance, far)
    epyc = read_source(f"hwloc:{data / 'prrte/test-topo.xml'}").topology
    assert (12, 32) == (epyc.distance(0, 1), epyc.distance(0, 2))
