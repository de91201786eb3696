"""The peers decide as their own documentation and code say, traps included (peers.md, sections 3 and 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given

from policies.capacity import HostCapacity
from policies.check import violations
from policies.fleet import Fleet
from policies.peers.numad import advice
from policies.peers.seen import SeenHost
from policies.plan import Placement, Reason, Rejection
from policies.policy import Effort
from policies.registry import PEERS, load_policy
from policies.request import CpuPolicy, GuestName, GuestRequest
from policies.tiers import objective_of
from probe.cpuset import CpuSet, NodeId
from probe.topology import Package
from tests.policies.hosts import GIB_KIB, host_of, topology_of
from tests.policies.strategies import batches, fleets
from tests.policies.test_policies import ANY_FLEET, ask, hosts_of, nodes_of
from tests.policies.tight import tight_batches

DEDICATED = CpuPolicy.DEDICATED
EFFORT = Effort(time_limit_s=None)


def uneven(name: str, gib: Sequence[int], *, cpus: int = 4, distances: Mapping[int, Mapping[int, int]] | None = None):
    """A host whose nodes have so many GiB free."""
    topology = topology_of(cpus=cpus, nodes=len(gib), memory_gib=max(gib), distances=distances)
    host = host_of(name, topology=topology)
    nodes = tuple(replace(n, memory_kib={4: g * GIB_KIB}) for n, g in zip(host.nodes, gib, strict=True))
    return replace(host, nodes=nodes)


def slit(nodes: int, near: Mapping[tuple[int, int], int], far: int = 20) -> dict[int, dict[int, int]]:
    """A symmetric distance table: 10 on the diagonal, `far` where `near` says nothing."""
    both = {**near, **{(b, a): d for (a, b), d in near.items()}}
    return {a: {b: 10 if a == b else both.get((a, b), far) for b in range(nodes)} for a in range(nodes)}


def where(policy: str, requests: Sequence[GuestRequest], *hosts: HostCapacity) -> list[list[int]]:
    return nodes_of(load_policy(policy), list(requests), Fleet.of(hosts))


def only(policy: str, request: GuestRequest, *hosts: HostCapacity) -> Placement | Rejection:
    return load_policy(policy)([request], Fleet.of(hosts), EFFORT).decisions[0]


@pytest.mark.parametrize("name", PEERS)
@given(requests=batches(), fleet=fleets())
@ANY_FLEET
def test_a_peer_decides_on_any_fleet(name: str, requests: tuple[GuestRequest, ...], fleet: Fleet):
    """One decision per request, counted as every policy's."""
    answer = load_policy(name)(requests, fleet, EFFORT)
    assert [r.name for r in requests] == [d.guest for d in answer.decisions]
    assert objective_of(answer.decisions, requests, fleet) == answer.objective
    assert all(d.detail for d in answer.decisions if isinstance(d, Rejection))
    about_form = {"each_request_has_one_decision", "the_host_exists", "every_vcpu_is_in_one_cell", "memory_adds_up"}
    broken = {v.rule for v in violations(answer.decisions, requests, fleet)}
    assert not broken & about_form, broken


@pytest.mark.parametrize("name", PEERS)
@given(batch=tight_batches())
@ANY_FLEET
def test_a_peer_sees_no_less_than_nothing_free(name: str, batch: tuple[tuple[GuestRequest, ...], Fleet]):
    """Where room is short too; nor does a second run remember the first."""
    requests, fleet = batch
    first = load_policy(name)(requests, fleet, EFFORT)
    assert first == load_policy(name)(requests, fleet, EFFORT)


def test_what_a_node_has_not_is_taken_elsewhere():
    """The sum of what is free falls by what the guest has, and no node below nothing."""
    fleet = Fleet.of([uneven("h", [6, 2])])
    placement = only("libxl", ask("a", 2, 8, cells=1), fleet.hosts[0])
    assert isinstance(placement, Placement)
    seen = SeenHost(fleet.hosts[0])
    seen.take(placement)
    assert {0: 0, 1: 0} == seen.free_kib[4]


class TestLibxl:
    """Sums over combinations of nodes."""

    def test_the_sum_is_enough_for_it(self):
        """6 + 2 GiB hold 8: half of it cannot be on the node that has 2 (peers.md, the first trap)."""
        host = uneven("h", [6, 2])
        request = ask("a", 2, 8, max_nodes=2)
        decision = only("libxl", request, host)
        assert isinstance(decision, Placement)
        assert [0, 1] == sorted(decision.memory_nodes)
        broken = violations([decision], [request], Fleet.of([host]))
        assert ["no_node_promises_more_memory_than_it_has"] == [v.rule for v in broken]

    def test_it_begins_with_as_many_nodes_as_the_vcpus_need(self):
        """Six vCPUs are never tried on one node of four CPUs; on uneven nodes one is."""
        assert [[0, 1]] == where("libxl", [ask("a", 6)], host_of("h", cpus=4, nodes=2))

    def test_fewer_runnable_vcpus_count_before_more_memory(self):
        """The second guest avoids the first one's node, though that has more left."""
        assert [[0], [1]] == where("libxl", [ask("a", 1), ask("b", 1)], uneven("h", [64, 8]))

    def test_distance_counts_for_nothing(self):
        """Of the pairs the one with the most memory, however far its nodes are."""
        host = uneven("h", [4, 3, 4], distances=slit(3, {(0, 2): 200}))
        assert [[0, 2]] == where("libxl", [ask("a", 8)], host)

    def test_a_difference_above_two_tib_wraps(self):
        """3 TiB against half a TiB: the difference of 2.5 TiB is negative in 32 bits."""
        assert [[1]] == where("libxl", [ask("a", 1)], uneven("h", [3 * 1024, 512]))
        assert [[0]] == where("libxl", [ask("a", 1)], uneven("h", [2 * 1024, 512]))

    @pytest.mark.parametrize(("nodes", "bound"), [(1, False), (16, True), (17, False)])
    def test_more_than_sixteen_nodes_are_left_alone(self, nodes: int, bound: bool):
        """As is a single one: nothing is bound, and the domain is created."""
        decision = only("libxl", ask("a", 1), host_of("h", cpus=1, nodes=nodes))
        assert isinstance(decision, Placement)
        assert bound == (decision.cpus is not None)


class TestXenopsd:
    """Sets by distance."""

    def test_three_near_nodes_come_before_two_far_ones(self):
        """xen-api's NUMA/index.md: "3 NUMA nodes may have a smaller average/maximum distance than 2"."""
        near = {(0, 1): 12, (0, 2): 12, (1, 2): 12}
        host = uneven("h", [4, 2, 2, 4], distances=slit(4, near, far=31))
        assert [[0, 1, 2]] == where("xenopsd", [ask("a", 3, 8)], host)
        assert [[0, 3]] == where("libxl", [ask("a", 3, 8)], host)

    def test_equally_near_nodes_take_turns(self):
        """By how often each was chosen, not by what is free."""
        assert [[0], [1], [0]] == where("xenopsd", [ask("a", 1), ask("b", 1), ask("c", 1)], uneven("h", [8, 64]))

    def test_an_odd_table_switches_it_off(self):
        """A distance below 10."""
        decision = only("xenopsd", ask("a", 1), uneven("h", [8, 8], distances=slit(2, {(0, 1): 5})))
        assert isinstance(decision, Placement)
        assert decision.cpus is None

    def test_more_than_sixteen_nodes_leave_single_ones(self):
        """A guest that needs two of them is not bound."""
        host = host_of("h", cpus=2, nodes=17)
        assert [[0]] == where("xenopsd", [ask("a", 2)], host)
        assert [[]] == where("xenopsd", [ask("a", 3)], host)


class TestNumad:
    """numad.c's arithmetic."""

    def test_the_worth_is_as_in_its_source(self):
        """Node 1 has the most excess; with its distance it is worth more than node 0."""
        assert [1] == advice(2, 1024, SeenHost(uneven("h", [4, 32])))
        assert [0] == advice(2, 1024, SeenHost(uneven("h", [32, 4])))

    def test_a_hundred_mib_of_each_node_are_left_out(self):
        """4 GiB do not fit the node that has 4 GiB."""
        assert [0, 1] == advice(1, 4096, SeenHost(uneven("h", [4, 4])))
        assert [0] == advice(1, 3996, SeenHost(uneven("h", [4, 4])))

    def test_it_never_refuses(self):
        """More than the host has: all nodes."""
        assert [0, 1] == sorted(advice(999, 10**7, SeenHost(host_of("h"))))

    def test_the_first_node_stands_for_all(self):
        """Node 0 has one GiB in all: 4 GiB need "four nodes", so that each node's worth counts for all."""
        topology = topology_of(cpus=4, nodes=2, memory_gib=1)
        small_first = replace(topology.nodes[1], memory_total_kib=64 * GIB_KIB)
        host = host_of("h", topology=replace(topology, nodes=(topology.nodes[0], small_first)))
        assert [0, 1] == sorted(advice(1, 4096, SeenHost(host)))

    def test_guests_that_do_not_compute_yet_are_not_seen(self):
        """Four guests of four vCPUs on one node of four CPUs, as long as its memory is worth most."""
        assert [[0]] * 4 == where("numad", [ask(f"g{n}", 1) for n in range(4)], uneven("h", [64, 8], cpus=4))


class TestNova:
    """Sorted cells, first permutation."""

    @pytest.mark.parametrize(("policy", "expected"), [("nova-pack", [0, 0]), ("nova-spread", [0, 1])])
    def test_the_strategy_decides_about_the_second_guest(self, policy: str, expected: list[int]):
        """nova's cpu-topologies.rst: packing puts it on the used cell, else the least used one comes first."""
        assert [[n] for n in expected] == where(policy, [ask("a", 1), ask("b", 1)], host_of("h", cpus=8))

    def test_the_weighers_spread_over_hosts_in_either(self):
        """RAM and CPU weighers have positive multipliers by default."""
        fleet = Fleet.of([host_of("h1", cpus=8), host_of("h2", cpus=8)])
        for policy in ("nova-pack", "nova-spread"):
            assert ["h1", "h2"] == hosts_of(load_policy(policy), [ask("a", 1), ask("b", 1)], fleet)

    def test_each_cell_has_a_node_of_its_own(self):
        """Two cells never share one, however large it is."""
        assert [[0, 1]] == where("nova-spread", [ask("a", 4, 4, cells=2)], host_of("h", cpus=64))
        assert isinstance(only("nova-spread", ask("a", 4, 4, cells=2), host_of("h", nodes=1, cpus=64)), Rejection)

    def test_the_overhead_is_not_counted(self):
        """The node is full to the last page, and QEMU has no room: strict without headroom (peers.md)."""
        host, request = host_of("h", nodes=1, memory_gib=4), ask("a", 1, 4, overhead_kib=64 * 1024)
        decision = only("nova-pack", request, host)
        assert isinstance(decision, Placement)
        assert violations([decision], [request], Fleet.of([host]))

    def test_eight_cells_and_seven_nodes_are_refused(self):
        """Bug 1978372; the permutations that begin alike are not walked here."""
        host = uneven("h", [8] * 7 + [1] * 9)
        decision = only("nova-spread", ask("a", 8, 64, cells=8), host)
        assert isinstance(decision, Rejection)
        assert decision.reason is Reason.CONTENTION


class TestKubelet:
    """Hints and their merge."""

    def test_everything_lands_on_node_0(self):
        """scheduler-plugins #956: of equally narrow masks the lowest."""
        guests = [ask(f"g{n}", 1, cpus=DEDICATED) for n in range(3)]
        assert [[0]] * 3 == where("kubelet-restricted", guests, host_of("h", cpus=8))

    def test_a_node_in_a_group_serves_no_single_guest(self):
        """KEP-1769, "Reject Pod2": the first guest ties both nodes together."""
        large, small = ask("large", 6, 12, cpus=DEDICATED), ask("small", 1, 1, cpus=DEDICATED)
        decisions = load_policy("kubelet-restricted")([large, small], Fleet.of([uneven("h", [8, 8])]), EFFORT).decisions
        assert isinstance(decisions[0], Placement)
        assert isinstance(decisions[1], Rejection)
        assert "TopologyAffinityError" in decisions[1].detail

    @pytest.mark.parametrize(
        ("policy", "nodes"),
        [("kubelet-best-effort", [0, 1]), ("kubelet-restricted", None), ("kubelet-single-numa-node", None)],
    )
    def test_what_is_not_preferred(self, policy: str, nodes: list[int] | None):
        """A guest of four vCPUs would fit an empty node; three are left on each."""
        first = [ask("a", 1, cpus=DEDICATED, hosts=None), ask("b", 4, cpus=DEDICATED)]
        host = host_of("h", cpus=4)
        taken = tuple(replace(n, free_cpus=CpuSet(frozenset(sorted(n.free_cpus.ids)[1:]))) for n in host.nodes)
        decision = only(policy, first[1], replace(host, nodes=taken))
        if nodes is None:
            assert isinstance(decision, Placement) is False
        else:
            assert isinstance(decision, Placement)
            assert nodes == sorted(decision.memory_nodes)
            assert [3, 1] == [len((decision.cpus or CpuSet()) & n.cpus) for n in host.topology.nodes]

    def test_two_nodes_are_preferred_for_who_needs_two(self):
        """`restricted` admits what no single node could ever hold; `single-numa-node` does not."""
        large = ask("a", 6, 96, cpus=DEDICATED)
        assert [[0, 1]] == where("kubelet-restricted", [large], host_of("h", cpus=4))
        assert [] == where("kubelet-single-numa-node", [large], host_of("h", cpus=4))

    def test_resources_that_need_different_numbers_of_nodes_never_agree(self):
        """Its CPUs need two nodes, its memory would do with one: no hint is preferred by both."""
        assert [] == where("kubelet-restricted", [ask("a", 6, cpus=DEDICATED)], host_of("h", cpus=4))

    def test_the_closest_of_equally_narrow_masks(self):
        """`prefer-closest-numa-nodes` looks at distances, the default at the mask's number."""
        host = host_of("h", topology=topology_of(cpus=4, nodes=3, distances=slit(3, {(0, 1): 30, (1, 2): 12})))
        large = ask("a", 6, cpus=DEDICATED)
        assert [[0, 1]] == where("kubelet-best-effort", [large], host)
        assert [[1, 2]] == where("kubelet-closest", [large], host)

    def test_its_refusal_is_final(self):
        """The scheduler picked the host with more in sum; the other would have held the guest."""
        broken, whole = host_of("broken", cpus=4, nodes=4), host_of("whole", cpus=4, nodes=1)
        taken = tuple(replace(n, free_cpus=CpuSet(frozenset(sorted(n.free_cpus.ids)[1:]))) for n in broken.nodes)
        filled = replace(whole, nodes=tuple(replace(n, memory_kib={4: 8 * GIB_KIB}) for n in whole.nodes))
        decision = only("kubelet-restricted", ask("a", 4, cpus=DEDICATED), replace(broken, nodes=taken), filled)
        assert isinstance(decision, Rejection)
        assert decision.detail.startswith("broken: TopologyAffinityError")

    def test_more_than_eight_nodes_are_refused(self):
        """KEP-4622, without its option."""
        for nodes, refused in ((8, False), (9, True)):
            decision = only("kubelet-best-effort", ask("a", 1, cpus=DEDICATED), host_of("h", nodes=nodes))
            assert refused == isinstance(decision, Rejection)

    def test_guest_cells_have_equal_memory_and_uneven_vcpus(self):
        """KubeVirt's numaMapping (peers.md, section 9): 3 + 1 vCPUs with half of the memory each."""
        host = host_of("h", cpus=4)
        taken = tuple(replace(n, free_cpus=CpuSet(frozenset(sorted(n.free_cpus.ids)[1:]))) for n in host.nodes)
        request = ask("a", 4, 8, cpus=DEDICATED, cells="auto")
        decision = only("kubelet-best-effort", request, replace(host, nodes=taken))
        assert isinstance(decision, Placement)
        assert [(3, 4), (1, 4)] == [(len(c.vcpus), c.memory[0].kib // GIB_KIB) for c in decision.cells]
        broken = violations([decision], [request], Fleet.of([replace(host, nodes=taken)]))
        assert {"guest_cells_are_split_evenly"} == {v.rule for v in broken}


class TestOvirt:
    """Sockets, and the first assignment."""

    def test_the_socket_with_the_most_free_pcpus(self):
        """Nodes within it are not looked at: the guest's pCPUs cross them core by core."""
        topology = topology_of(cpus=2, nodes=4)
        sockets = (Package(package_id=0, cpus=CpuSet.parse("0-3")), Package(package_id=1, cpus=CpuSet.parse("4-7")))
        host = host_of("h", topology=replace(topology, packages=sockets))
        guests = [ask("a", 1, cpus=DEDICATED), ask("b", 3, cpus=DEDICATED)]
        assert [[0], [2, 3]] == where("ovirt", guests, host)

    def test_no_socket_holds_it(self):
        """A guest is one virtual socket."""
        assert isinstance(only("ovirt", ask("a", 8, cpus=DEDICATED), _two_sockets()), Rejection)

    def test_two_cells_on_one_node(self):
        """Memory alone decides, the last node comes first, and nobody minds that both are there."""
        decision = only("ovirt", ask("a", 2, 4, cells=2), host_of("h"))
        assert isinstance(decision, Placement)
        assert [[1], [1]] == [sorted(cell.memory_nodes) for cell in decision.cells]

    def test_hosts_where_one_node_holds_it_come_first(self):
        """`NumaWeightPolicyUnit`."""
        fleet = Fleet.of([host_of("small", memory_gib=4), host_of("large", memory_gib=8)])
        assert ["large"] == hosts_of(load_policy("ovirt"), [ask("a", 1, 6)], fleet)


def _two_sockets() -> HostCapacity:
    sockets = tuple(Package(package_id=n, cpus=CpuSet.parse(cpus)) for n, cpus in enumerate(("0-3", "4-7")))
    return host_of("h", topology=replace(topology_of(cpus=4, nodes=2), packages=sockets))


def test_the_numbers_of_nodes_are_the_kernels():
    """A host whose nodes are not 0, 1, … is no reason to miss one."""
    host = host_of("h")
    assert [NodeId(0), NodeId(1)] == SeenHost(host).nodes
    assert GuestName("a") == ask("a", 1).name
