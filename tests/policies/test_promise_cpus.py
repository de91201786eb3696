"""Which pCPUs may be promised, and that no promise is more than what is there."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from hypothesis import given, strategies as st

from policies.compose import make_unpinned
from policies.fleet import Fleet
from policies.host_rules import HostRules, OutstandingClaim
from policies.plan import Placement
from policies.request import GuestName, GuestRequest
from probe.cpuset import CpuSet, NodeId
from probe.snapshot import (
    HostSnapshot,
    Hypervisor,
    OccupantState,
)
from tests.policies.hosts import GIB_KIB, host_of, snapshot_of, topology_of
from tests.policies.strategies import candidates
from tests.policies.test_promise import TOPOLOGY, H, claim_on, gib, occupant, promise
from tests.strategies import snapshots


def test_pcpus_where_anybody_may_run_are_not_free():
    """A stranger on pCPUs 0-1, one that may run anywhere, a paused one: none of theirs is free."""
    host = snapshot_of(TOPOLOGY, occupants=[occupant(1, cpus="0-1")])
    assert promise(host).nodes[0].free_cpus == CpuSet.parse("2-3")
    paused = snapshot_of(TOPOLOGY, occupants=[occupant(1, cpus="0-1", state=OccupantState.PAUSED)])
    assert promise(paused).nodes[0].free_cpus == CpuSet.parse("2-3")
    anywhere = snapshot_of(TOPOLOGY, occupants=[occupant(1)])
    assert [n.free_cpus for n in promise(anywhere).nodes] == [CpuSet(), CpuSet()]


def test_what_is_effective_counts_not_what_is_declared():
    """On Xen `<vcpu cpuset>` is ignored: declared 0-1, and it runs on 4-5."""
    xen = replace(occupant(1, cpus="0-1"), effective_cpus=CpuSet.parse("4-5"))
    capacity = promise(snapshot_of(TOPOLOGY, occupants=[xen], hypervisor=Hypervisor.XEN))
    assert [str(n.free_cpus) for n in capacity.nodes] == ["0-3", "6-7"]


def test_claimed_pcpus_leave_the_free_and_the_shared():
    """Two dedicated pCPUs of four: two are left for either."""
    host = snapshot_of(TOPOLOGY)
    capacity = promise(host, claims=[claim_on(host, 0, 1, dedicated=True)])
    node = capacity.nodes[0]
    assert capacity.dedicated_cpus == CpuSet.parse("0-1")
    assert (node.free_cpus, node.shared_cpus) == (CpuSet.parse("2-3"), CpuSet.parse("2-3"))
    assert node.shared_vcpus == 0


def test_shared_claims_keep_their_pcpus_shared_and_count_there():
    """Its vCPUs float on all of node 0: none of it is free, two of four are used."""
    host = snapshot_of(TOPOLOGY, occupants=[occupant(1, cpus="0-3", claim="c1")])
    node = promise(host, claims=[claim_on(host, 0, 1)]).nodes[0]
    assert (node.free_cpus, node.shared_cpus, node.shared_vcpus) == (CpuSet(), CpuSet.parse("0-3"), 2)


def test_an_occupant_over_several_nodes_counts_in_proportion_rounded_up():
    """3 vCPUs on 8 pCPUs, 4 a node: 2 and 2. All on node 1: 0 and 3."""
    wide = promise(snapshot_of(TOPOLOGY, occupants=[occupant(1, vcpus=3)]))
    assert [n.shared_vcpus for n in wide.nodes] == [2, 2]
    narrow = promise(snapshot_of(TOPOLOGY, occupants=[occupant(1, vcpus=3, cpus="4-7")]))
    assert [n.shared_vcpus for n in narrow.nodes] == [0, 3]


def test_dedicating_pcpus_makes_no_room_for_shared_vcpus():
    """A shut-off guest of 4 vCPUs may use 8 pCPUs: with 2 of node 0's dedicated it still counts 2 there."""
    shutoff = occupant(1, vcpus=4, state=OccupantState.SHUTOFF)
    host = snapshot_of(TOPOLOGY, occupants=[shutoff])
    before = promise(host).nodes[0]
    after = promise(host, claims=[claim_on(host, 0, 1, dedicated=True, claim_id="c2")]).nodes[0]
    assert (before.shared_vcpus, len(before.shared_cpus)) == (2, 4)
    assert (after.shared_vcpus, len(after.shared_cpus)) == (2, 2)


def test_our_dedicated_guest_does_not_count_as_shared_where_it_runs():
    """Its occupant is seen on the pCPUs that it owns."""
    host = snapshot_of(TOPOLOGY, occupants=[occupant(1, cpus="0-1", claim="c1")])
    node = promise(host, claims=[claim_on(host, 0, 1, dedicated=True)]).nodes[0]
    assert (node.shared_vcpus, str(node.shared_cpus)) == (0, "2-3")


def test_a_partition_is_kept():
    """Dedicated 0-1, shared the rest, housekeeping nobody's; one side given, the other is the rest."""
    host = snapshot_of(TOPOLOGY)
    rules = HostRules(dedicated_cpus=CpuSet.parse("0-1"), housekeeping_cpus=CpuSet.of(3))
    node = promise(host, rules).nodes[0]
    assert (node.free_cpus, node.shared_cpus) == (CpuSet.parse("0-1"), CpuSet.of(2))
    node = promise(host, HostRules(shared_cpus=CpuSet.parse("0-1"))).nodes[0]
    assert (node.free_cpus, node.shared_cpus) == (CpuSet.parse("2-3"), CpuSet.parse("0-1"))


def test_isolated_pcpus_are_dedicated_never_shared_and_withheld_ones_are_neither():
    """`isolcpus=2`: no balancing there. A cpuset keeps pCPU 3 from us."""
    topology = replace(TOPOLOGY, isolated_cpus=CpuSet.of(2))
    node = promise(snapshot_of(topology, usable=CpuSet.parse("0-2,4-7"))).nodes[0]
    assert (node.free_cpus, node.shared_cpus) == (CpuSet.parse("0-2"), CpuSet.parse("0-1"))


def test_nodes_that_list_the_same_pcpus_share_them_out():
    """TRAPS.md 3: 4 nodes, all with pCPUs 0-7 in cores of two: 2 pCPUs each, cores whole."""
    base = topology_of(cpus=8, nodes=1, smt=2)
    nodes = tuple(replace(base.nodes[0], node_id=NodeId(i)) for i in range(4))
    capacity = promise(snapshot_of(replace(base, nodes=nodes)))
    assert [str(n.free_cpus) for n in capacity.nodes] == ["0-1", "2-3", "4-5", "6-7"]


@given(snapshot=snapshots())
def test_no_pcpu_is_promised_through_two_nodes(snapshot: HostSnapshot):
    """On any host, free and shared pCPUs of the nodes are disjoint, online and usable."""
    seen: set[int] = set()
    for node in promise(snapshot).nodes:
        cpus = node.free_cpus | node.shared_cpus
        assert cpus <= snapshot.usable_cpus & snapshot.topology.node(node.node_id).cpus
        assert not cpus.ids & seen
        seen |= cpus.ids
        assert node.shared_cpus.isdisjoint(snapshot.topology.isolated_cpus)


@given(snapshot=snapshots(), reserve=st.integers(0, 2**30))
def test_a_promise_is_never_negative_nor_more_than_what_is_there(snapshot: HostSnapshot, reserve: int):
    """Whole pages between 0 and what is available, on any host, with any occupants."""
    capacity = promise(snapshot, HostRules(reserve_kib=reserve, guest_overhead_kib=1024))
    for node, memory in zip(capacity.nodes, snapshot.memory, strict=True):
        for page, kib in node.memory_kib.items():
            assert kib >= 0
            assert kib % page == 0
        if memory.available_kib is not None:
            assert node.memory_kib[4] <= memory.available_kib
        if memory.total_kib is not None and snapshot.hypervisor is not Hypervisor.XEN:
            assert node.memory_kib[4] <= max(0, memory.total_kib - memory.hugepages_kib - reserve)


@given(data=st.data(), snapshot=snapshots())
def test_after_a_claim_no_more_is_promised_than_its_book_has_left(data: st.DataObject, snapshot: HostSnapshot):
    """Claim what a policy would, look again: the new promise is within what the book says is left."""
    snapshot = replace(snapshot, occupants=tuple(replace(o, claim=None) for o in snapshot.occupants))
    book = Fleet.of([promise(snapshot)]).open()
    placement: Placement | None = data.draw(candidates(book.fleet, "ours"))
    if placement is None or placement.cpus is None or not book.fits(placement):
        return
    book.take(placement)
    again = promise(snapshot, claims=[OutstandingClaim(claim_id="c9", placement=placement)])
    for left, node in zip(book.host(H).nodes, again.nodes, strict=True):
        assert node.free_cpus <= left.free_cpus
        assert node.shared_cpus == left.shared_cpus
        assert node.shared_vcpus >= left.shared_vcpus
        for page, kib in node.memory_kib.items():
            assert kib <= left.memory_kib[page]


def test_an_unpinned_claim_may_be_anywhere():
    """Its memory is taken from every node, its vCPUs float over all, and nothing is free."""
    host = snapshot_of(TOPOLOGY, free_gib=60)
    request = GuestRequest(name=GuestName("g"), vcpus=2, memory_kib=8 * GIB_KIB)
    unpinned = make_unpinned(request, host_of("h", topology=TOPOLOGY))
    capacity = promise(host, claims=[OutstandingClaim(claim_id="c1", placement=unpinned)])
    assert gib(capacity) == [52, 52]
    assert [(len(n.free_cpus), n.shared_vcpus) for n in capacity.nodes] == [(0, 1), (0, 1)]


def test_rules_reach_the_capacity():
    """Overcommit, cordon, hypervisor and the usable housekeeping pCPUs."""
    rules = HostRules(overcommit=Fraction(2), schedulable=False, housekeeping_cpus=CpuSet.parse("3,99"))
    capacity = promise(snapshot_of(TOPOLOGY), rules)
    assert (capacity.overcommit, capacity.schedulable, capacity.name) == (Fraction(2), False, H)
    assert (capacity.housekeeping_cpus, capacity.hypervisor) == (CpuSet.of(3), Hypervisor.KVM)
