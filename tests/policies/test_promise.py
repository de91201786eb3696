"""Memory that may be promised, and pCPUs: everybody counted once, and nothing promised twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from policies.capacity import HostCapacity
from policies.compose import make_placement
from policies.fleet import Fleet
from policies.homes import homes
from policies.host_rules import HostRules, OutstandingClaim
from policies.promise import host_capacity, memory_notes
from policies.request import CpuPolicy, GuestName, GuestRequest, HostName
from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.snapshot import (
    HostSnapshot,
    HugepagePool,
    Hypervisor,
    Occupant,
    OccupantMemory,
    OccupantState,
)
from tests.policies.hosts import GIB_KIB, host_of, snapshot_of, topology_of

H = HostName("h")


def promise(
    snapshot: HostSnapshot, rules: HostRules | None = None, claims: Sequence[OutstandingClaim] = ()
) -> HostCapacity:
    return host_capacity(H, snapshot, rules or HostRules(), claims)


def gib(capacity: HostCapacity, page_kib: int = 4) -> list[float]:
    """GiB that each node may promise."""
    return [node.memory_kib[page_kib] / GIB_KIB for node in capacity.nodes]


def occupant(
    memory_gib: float,
    *,
    node: int | None = 0,
    page_kib: int = 4,
    resident_gib: float | None = None,
    cpus: str | None = None,
    state: OccupantState = OccupantState.RUNNING,
    claim: str | None = None,
    guest: str = "g",
    vcpus: int = 2,
) -> Occupant:
    told = None if cpus is None else CpuSet.parse(cpus)
    share = OccupantMemory(
        node_id=None if node is None else NodeId(node),
        kib=int(memory_gib * GIB_KIB),
        page_kib=page_kib,
        resident_kib=None if resident_gib is None else int(resident_gib * GIB_KIB),
    )
    return Occupant(guest=guest, uuid=None, state=state, vcpus=vcpus, declared_cpus=told, memory=(share,), claim=claim)


def claim_on(
    snapshot: HostSnapshot, node: int, memory_gib: int, *, dedicated: bool = False, claim_id: str = "c1", **more: int
) -> OutstandingClaim:
    """What we promised earlier to guest "g", of 2 vCPUs, on one node."""
    request = GuestRequest(
        name=GuestName("g"),
        vcpus=2,
        memory_kib=memory_gib * GIB_KIB,
        cpus=CpuPolicy.DEDICATED if dedicated else CpuPolicy.SHARED,
        **more,  # type: ignore[arg-type]
    )
    empty = host_of("h", topology=snapshot.topology)
    home = next(home for home in homes(empty) if home.cpu_node == node)
    return OutstandingClaim(claim_id=claim_id, placement=make_placement(request, empty, [home]))


TOPOLOGY = topology_of(cpus=4, nodes=2, memory_gib=64)


def test_a_host_full_of_page_cache_still_places():
    """MemFree is 1 GiB and 61 GiB are cache: a guest of 60 GiB fits."""
    capacity = promise(snapshot_of(TOPOLOGY, free_gib=1, cache_gib=61))
    assert gib(capacity) == [62, 62]
    request = GuestRequest(name=GuestName("g"), vcpus=1, memory_kib=60 * GIB_KIB)
    assert Fleet.of([capacity]).open().fits(make_placement(request, capacity, homes(capacity)[:1]))


def test_guests_that_have_not_touched_their_memory_do_not_make_room():
    """MemFree is 62 GiB, but a guest of 50 GiB has touched 1 GiB only: 13 GiB are left, not 62."""
    host = snapshot_of(TOPOLOGY, free_gib=62, occupants=[occupant(50, resident_gib=1)])
    assert gib(promise(host)) == [13, 62]


def test_a_guest_of_unknown_residence_counts_as_untouched():
    """The careful side: 62 GiB are free and 50 GiB may still be touched."""
    assert gib(promise(snapshot_of(TOPOLOGY, free_gib=62, occupants=[occupant(50)]))) == [12, 62]


def test_memory_that_is_resident_is_not_taken_off_twice():
    """A guest of 50 GiB that has touched all: 12 GiB are free, and 12 GiB may be promised."""
    host = snapshot_of(TOPOLOGY, free_gib=12, occupants=[occupant(50, resident_gib=50)])
    assert gib(promise(host))[0] == 12


def test_the_host_keeps_the_larger_of_its_reserve_and_what_it_uses():
    """Of 64 GiB the host uses 4: a reserve of 3 changes nothing, one of 10 does."""
    host = snapshot_of(TOPOLOGY, free_gib=60)
    assert gib(promise(host, HostRules(reserve_kib=3 * GIB_KIB))) == [60, 60]
    rules = HostRules(reserve_kib=3 * GIB_KIB, node_reserve_kib={1: 10 * GIB_KIB})
    assert gib(promise(host, rules)) == [60, 54]


def test_an_undeclared_occupant_is_taken_from_every_node_it_could_be_on():
    """8 GiB bound to no node: off both; pinned to node 1's pCPUs: off node 1 only."""
    unpinned = snapshot_of(TOPOLOGY, free_gib=60, occupants=[occupant(8, node=None)])
    assert gib(promise(unpinned)) == [52, 52]
    pinned = snapshot_of(TOPOLOGY, free_gib=60, occupants=[occupant(8, node=None, cpus="4-5")])
    assert gib(promise(pinned)) == [60, 52]


def test_an_occupant_bound_among_nodes_is_taken_from_each_of_them_wherever_it_runs():
    """`strict` over nodes 0-1 fills either, also when the pCPUs are on node 2."""
    bound = occupant(8, node=None, cpus="8-11")
    bound = replace(bound, memory=(replace(bound.memory[0], nodes=NodeSet.of(0, 1)),))
    host = snapshot_of(topology_of(nodes=3), free_gib=60, occupants=[bound])
    free = gib(promise(snapshot_of(topology_of(nodes=3), free_gib=60)))
    assert gib(promise(host)) == [free[0] - 8, free[1] - 8, free[2]]


def test_an_observed_occupant_is_taken_from_where_it_is():
    """Unpinned, but somebody looked: 8 GiB are on node 1."""
    observed = occupant(8, node=1, resident_gib=8)
    assert gib(promise(snapshot_of(TOPOLOGY, free_gib=60, occupants=[observed]))) == [60, 56]


def test_huge_pages_come_out_of_the_total_and_have_their_own_account():
    """A pool of 32 GiB, 20 GiB of it free: 64 − 32 in 4 KiB pages, 20 in 2 MiB pages."""
    pool = HugepagePool(size_kib=2048, total=16 * 1024, free=10 * 1024)
    host = snapshot_of(TOPOLOGY, free_gib=32, pools=[pool])
    assert gib(promise(host)) == [32, 32]
    assert gib(promise(host), 2048) == [20, 20]


def test_a_running_guest_has_its_huge_pages_already():
    """12 of 32 GiB are a running guest's: free says so, and they are not taken off again."""
    pool = HugepagePool(size_kib=2048, total=16 * 1024, free=10 * 1024)
    running = snapshot_of(TOPOLOGY, free_gib=32, pools=[pool], occupants=[occupant(12, page_kib=2048)])
    assert gib(promise(running), 2048)[0] == 20
    shutoff = occupant(12, page_kib=2048, state=OccupantState.SHUTOFF)
    assert gib(promise(snapshot_of(TOPOLOGY, free_gib=32, pools=[pool], occupants=[shutoff])), 2048)[0] == 8


def test_without_a_free_count_the_pool_is_what_the_books_leave():
    """Surplus pages go when they are freed, so they are not promised."""
    pool = HugepagePool(size_kib=2048, total=16 * 1024, free=None, surplus=1024)
    host = snapshot_of(TOPOLOGY, pools=[pool], occupants=[occupant(12, page_kib=2048)])
    assert gib(promise(host), 2048) == [18, 30]


def test_huge_pages_of_a_pool_that_nobody_told_of_are_still_memory():
    """Capabilities may show no pools: a guest in 2 MiB pages then counts in the node's memory."""
    host = snapshot_of(TOPOLOGY, free_gib=None, occupants=[occupant(12, page_kib=2048)])
    assert gib(promise(host)) == [52, 64]


def test_every_guest_has_its_overhead():
    """A stranger's process: on each node of its memory. Ours: what its placement says."""
    rules = HostRules(guest_overhead_kib=GIB_KIB)
    host = snapshot_of(TOPOLOGY, free_gib=60, occupants=[occupant(8)])
    assert gib(promise(host, rules)) == [51, 60]
    ours = claim_on(host, 1, 8, overhead_kib=2 * GIB_KIB)
    assert gib(promise(snapshot_of(TOPOLOGY, free_gib=60), rules, [ours])) == [60, 50]


@pytest.mark.parametrize(("declared_gib", "counted_gib"), [(8, 8), (10, 10), (4, 8)])
def test_an_occupant_with_our_claim_counts_once_at_the_larger(declared_gib: int, counted_gib: int):
    """8 GiB were promised. Counting both would be 16; neither, 0."""
    host = snapshot_of(TOPOLOGY, free_gib=60, occupants=[occupant(declared_gib, claim="c1", cpus="0-3")])
    assert gib(promise(host, claims=[claim_on(host, 0, 8)])) == [60 - counted_gib, 60]


def test_a_claim_counts_without_its_occupant_and_an_occupant_without_its_claim():
    """A claim stands while its guest is away; a foreign claim id is a stranger's."""
    away = snapshot_of(TOPOLOGY, free_gib=60)
    assert gib(promise(away, claims=[claim_on(away, 0, 8)])) == [52, 60]
    foreign = snapshot_of(TOPOLOGY, free_gib=60, occupants=[occupant(8, node=1, claim="theirs")])
    assert gib(promise(foreign, claims=[claim_on(foreign, 0, 8)])) == [52, 52]


def test_a_clone_of_our_guest_is_a_stranger():
    """`virsh dumpxml | define` copies our claim id: the namesake is ours, the copy counts too."""
    copies = [occupant(8, node=1, claim="c1", guest="g-copy"), occupant(8, claim="c1")]
    host = snapshot_of(TOPOLOGY, free_gib=60, occupants=copies)
    assert gib(promise(host, claims=[claim_on(host, 0, 8)])) == [52, 52]


def test_a_shut_off_stranger_counts_unless_the_operator_says_otherwise():
    """Ours count in any case: the claim stands."""
    shutoff = occupant(8, state=OccupantState.SHUTOFF, cpus="0-1", claim="c1")
    host = snapshot_of(TOPOLOGY, free_gib=60, occupants=[shutoff])
    ignoring = HostRules(count_shutoff=False)
    assert gib(promise(host)) == [52, 60]
    assert gib(promise(host, ignoring)) == [60, 60]
    assert promise(host).nodes[0].free_cpus == CpuSet.parse("2-3")
    assert promise(host, ignoring).nodes[0].free_cpus == CpuSet.parse("0-3")
    assert gib(promise(host, ignoring, [claim_on(host, 0, 8)])) == [52, 60]


def test_a_memory_only_node_promises_memory_and_no_pcpus():
    """CXL: 64 GiB, no pCPUs. A memory-less node: the other way round."""
    topology = topology_of(nodes=3, cpuless=[1], memoryless=[2])
    capacity = promise(snapshot_of(topology, free_gib=60))
    assert gib(capacity) == [60, 60, 0]
    assert [len(n.free_cpus) for n in capacity.nodes] == [4, 0, 4]


def test_xen_promises_what_is_free_less_the_reserve():
    """The span of a node is no total, and running guests have their memory since creation."""
    topology = topology_of(memory_gib=None)
    dom0 = occupant(8, node=None, guest="Domain-0", cpus="0-7")
    host = snapshot_of(topology, free_gib=40, occupants=[dom0], hypervisor=Hypervisor.XEN)
    assert gib(promise(host, HostRules(reserve_kib=2 * GIB_KIB, guest_overhead_kib=GIB_KIB))) == [38, 38]
    big = replace(dom0, memory=(OccupantMemory(node_id=None, kib=30 * GIB_KIB),))
    span = snapshot_of(topology_of(memory_gib=48), free_gib=40, occupants=[big], hypervisor=Hypervisor.XEN)
    assert gib(promise(span)) == [40, 40]


def test_on_xen_a_guest_that_does_not_run_has_nothing_yet():
    """A claim and a shut-off guest are taken off what is free."""
    topology = topology_of(memory_gib=None)
    shutoff = occupant(8, node=None, cpus="0-3", state=OccupantState.SHUTOFF)
    host = snapshot_of(topology, free_gib=40, occupants=[shutoff], hypervisor=Hypervisor.XEN)
    assert gib(promise(host, claims=[claim_on(host, 1, 10)])) == [32, 30]


def test_what_is_unknown_is_not_promised():
    """Only a total: the books. Only what is free: that. Neither: nothing, and the note says so."""
    assert gib(promise(snapshot_of(TOPOLOGY, free_gib=None, occupants=[occupant(8)]))) == [56, 64]
    no_total = topology_of(memory_gib=None)
    reserve = HostRules(reserve_kib=GIB_KIB)
    assert gib(promise(snapshot_of(no_total, free_gib=40, occupants=[occupant(8)]), reserve)) == [31, 39]
    dark = snapshot_of(no_total, free_gib=None)
    assert gib(promise(dark)) == [0, 0]
    assert "neither total nor free memory is known" in memory_notes(dark, HostRules())[0].text


def test_the_note_shows_the_sum():
    """For `explain`: every part that is not zero, and the answer."""
    rules = HostRules(reserve_kib=GIB_KIB, guest_overhead_kib=GIB_KIB // 2)
    host = snapshot_of(TOPOLOGY, free_gib=62, occupants=[occupant(8)])
    assert memory_notes(host, rules)[0].text == (
        "node 0, 4KiB pages: 53.5GiB of total 64GiB − reserve 1GiB − guests 8GiB − overhead 512MiB; "
        "available 62GiB − untouched 8.5GiB"
    )
