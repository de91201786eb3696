"""Memory on nodes without pCPUs (CXL, HBM): for those who ask for it, near memory first."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from policies.candidates import candidates
from policies.capacity import HostCapacity
from policies.check import violations
from policies.compose import make_placement, make_unpinned
from policies.fleet import Fleet
from policies.headroom import Fits, how_many, stranded
from policies.homes import Home, far_homes, homes, homes_for, refusal
from policies.online.fleet import OnlineFleet
from policies.plan import Placement, Reason, Rejection
from policies.policy import Effort
from policies.rebalance.question import Question, Standing, StepKind, asked_by, memory_can_follow, merged
from policies.rebalance.rebalance import rebalance
from policies.rebalance.verify import violations_of_steps
from policies.registry import OURS, load_policy
from policies.request import GuestName, GuestRequest
from policies.solver.arrays import for_arrays
from policies.solver.problem import classes_of
from policies.solver.starts import homes_of
from policies.why.causes import causes
from probe.cpuset import CpuSet
from probe.snapshot import Hypervisor
from probe.topology import HostTopology
from tests.policies.hosts import GIB_KIB, host_of, topology_of
from tests.policies.oracle import best_vector
from tests.policies.test_policies import ask
from tests.policies.tight import far_batches

EFFORT = Effort(time_limit_s=None, deterministic_limit=1.0)
SLIT = ((10, 21, 14, 24), (21, 10, 24, 14), (14, 24, 10, 26), (24, 14, 26, 10))
"""Two sockets, and CXL memory behind each."""


def cxl_topology(
    *, memoryless: tuple[int, ...] = (), changed: dict[tuple[int, int], int] | None = None
) -> HostTopology:
    rows = {i: {j: (changed or {}).get((i, j), d) for j, d in enumerate(row)} for i, row in enumerate(SLIT)}
    return topology_of(nodes=4, cpuless=(2, 3), memoryless=memoryless, memory_gib=8, distances=rows)


def cxl_host(name: str = "h1", **changes: object) -> HostCapacity:
    """Nodes 0 and 1 of 4 pCPUs, 2 and 3 of none, each with 8 GiB."""
    return host_of(name, topology=cxl_topology(), **changes)  # type: ignore[arg-type]


def far(name: str, vcpus: int, gib: int, **more: object) -> GuestRequest:
    return ask(name, vcpus, gib, far_memory=True, **more)


def pairs(there: tuple[Home, ...]) -> list[tuple[int, int]]:
    return [(home.cpu_node, home.memory_node) for home in there]


def memory_of(policy: str, *requests: GuestRequest, host: HostCapacity | None = None) -> list[list[int]]:
    """The memory nodes of each guest in turn; none of one without a place. The plan is sound."""
    fleet = Fleet.of([host or cxl_host()])
    decisions = load_policy(policy)(requests, fleet, EFFORT).decisions
    assert () == violations(decisions, requests, fleet)
    return [sorted(d.memory_nodes.ids) if isinstance(d, Placement) else [] for d in decisions]


def test_a_far_home_is_a_node_with_pcpus_and_memory_of_one_without():
    """After its own, the nearest first; not where no path leads, nor from where none leads back; never on Xen."""
    plain, asks = ask("g", 1), far("g", 1, 1)
    assert [(0, 0), (1, 1)] == pairs(homes_for(plain, cxl_host())) == pairs(homes(cxl_host()))
    assert [(0, 0), (0, 2), (0, 3), (1, 1), (1, 3), (1, 2)] == pairs(homes_for(asks, cxl_host()))
    one_way = host_of("a", topology=cxl_topology(changed={(0, 3): 255, (2, 1): 255}))
    assert [(0, 0), (0, 2), (1, 1), (1, 3)] == pairs(far_homes(one_way))
    bare = host_of("a", topology=cxl_topology(memoryless=(0,)))
    assert [(0, 2), (0, 3), (1, 1), (1, 3), (1, 2)] == pairs(far_homes(bare))
    assert pairs(homes(cxl_host())) == pairs(far_homes(cxl_host(hypervisor=Hypervisor.XEN)))
    assert homes(host_of("a")) == far_homes(host_of("a"))


def test_xen_refuses_who_asks_for_far_memory():
    """Memory follows the affinity there."""
    refused = refusal(far("g", 1, 1), cxl_host(hypervisor=Hypervisor.XEN))
    assert (Reason.UNSUPPORTED, "h1 is Xen, where memory follows the affinity, to no node without pCPUs") == refused


@pytest.mark.parametrize("policy", ["solver", "best-fit", "first-fit"])
def test_near_memory_comes_first(policy: str):
    """Two guests fill the near memory, whoever may have far memory; then comes the nearer of the far nodes."""
    assert [[0], [1]] == sorted(memory_of(policy, far("a", 2, 8), far("b", 2, 8)))
    three = memory_of(policy, *(far(f"g{i}", 2, 8) for i in range(3)))
    assert {(0,), (1,)} < {tuple(nodes) for nodes in three}
    assert len(three) == len({tuple(nodes) for nodes in three if nodes})


@pytest.mark.parametrize("policy", OURS)
def test_only_who_asks_has_far_memory(policy: str):
    """Four guests that fill a node each: all have a place where they ask, and near ones only where they do not."""
    asking = [far(f"g{i}", 2, 8) for i in range(4)]
    not_asking = [replace(request, far_memory=False) for request in asking]
    if policy == "unpinned":
        assert [[]] * 4 == memory_of(policy, *asking)
        return
    assert [[0], [1], [2], [3]] == sorted(memory_of(policy, *asking))
    assert [[], [], [0], [1]] == sorted(memory_of(policy, *not_asking))


def test_guests_that_come_one_by_one():
    """The same, and the class of those who do not ask is another one."""
    online = OnlineFleet(Fleet.of([cxl_host()]))
    found = [online.place_one(far(f"g{i}", 2, 8)) for i in range(3)]
    assert [[0], [1]] == sorted(sorted(d.memory_nodes.ids) for d in found[:2] if isinstance(d, Placement))
    third = found[2]
    assert isinstance(third, Placement)
    assert {2, 3} > set(third.memory_nodes.ids)
    assert isinstance(online.place_one(ask("near", 1, 8)), Rejection)
    assert isinstance(online.place_one(far("last", 1, 8)), Placement)
    assert 2 == len(classes_of([ask("a", 1, 8), far("b", 1, 8)]))


def test_hosts_that_differ_in_far_memory_only():
    """They are told apart: the guest goes to the one whose CPU-less nodes have memory."""
    bare = host_of("a", topology=cxl_topology(memoryless=(2, 3)))
    online = OnlineFleet(Fleet.of([bare, cxl_host("b")]))
    near = [online.place_one(ask(f"near-{i}", 1, 8)) for i in range(4)]
    found = online.place_one(far("g", 1, 8))
    assert isinstance(found, Placement)
    assert (4, "b") == (sum(isinstance(each, Placement) for each in near), found.host)


def test_the_homes_of_a_placement_are_those_it_was_made_on():
    """Of guest cells, stacked ones too, and of one cell over several nodes: starts of the search are placements."""
    host = cxl_host()
    for request in (far("g", 4, 4, cells=2), far("g", 4, 4, max_nodes=2), far("g", 4, 4, cells=4, stack_cells=True)):
        for way in candidates(request, host, 2):
            made = make_placement(request, host, way.homes)
            assert way.homes == homes_of(made, Fleet.of([host]))


def test_cells_may_share_a_far_node_as_far_as_it_holds_them():
    """Two cells of 4 GiB, nothing near is left: one far node holds both; of 5 GiB each it holds one."""
    host = cxl_host()
    nodes = [replace(node, memory_kib={4: 0}) if node.node_id != 2 else node for node in host.nodes]
    full = replace(host, nodes=tuple(nodes))
    assert [[2]] == memory_of("solver", far("g", 4, 8, cells=2), host=full)
    wide = far("g", 4, 10, cells=2)
    answer = load_policy("solver")([wide], Fleet.of([full]), EFFORT)
    (refused,) = answer.decisions
    assert isinstance(refused, Rejection)
    assert "node 2 of h1 lacks 2GiB" == refused.detail


def test_no_two_homes_are_on_one_cpu_node():
    """Two cells want two CPU nodes, though node 0 has three homes."""
    host, none = cxl_host(), CpuSet()
    kept = tuple(replace(n, free_cpus=none, shared_cpus=none) if n.node_id == 1 else n for n in host.nodes)
    less = replace(host, nodes=kept)
    (refused,) = load_policy("solver")([far("g", 2, 2, cells=2)], Fleet.of([less]), EFFORT).decisions
    assert isinstance(refused, Rejection)
    assert "node 1 of h1 lacks 1 shared pCPU; cells 0-1 want 2 nodes, and only node 0 of h1 holds one" == refused.detail


@pytest.mark.parametrize("policy", ["solver", "best-fit"])
def test_two_cells_are_not_both_on_one_cpu_node(policy: str):
    """Nodes 0 and 1 are 21 apart: within 14 there are two homes on node 0, and no place for two cells."""
    two = far("g", 2, 2, cells=2, max_distance=14)
    assert [[], []] == memory_of(policy, two, replace(two, name=GuestName("h")))
    assert [[]] == memory_of(policy, two)
    assert isinstance(OnlineFleet(Fleet.of([cxl_host()])).place_one(two), Rejection)


def test_how_far_it_may_be():
    """`max_distance` 14 keeps a guest to the memory behind its own socket, and 12 to that of its own node."""
    crowd = [ask(f"near-{i}", 2, 8) for i in range(2)]
    nodes = memory_of("solver", *crowd, *(far(f"g{i}", 1, 8, max_distance=14) for i in range(3)))
    assert [[], [2], [3]] == sorted(nodes[2:])
    assert [[]] == memory_of("solver", *crowd, far("g", 1, 8, max_distance=12))[2:]


def test_what_would_help_is_far_memory():
    """After all that asks for less of anything else, and before less memory; then in the plan too."""
    crowd = [ask(f"near-{i}", 1, 8) for i in range(2)]
    (*_, refused) = load_policy("solver")([*crowd, ask("late", 1, 8)], Fleet.of([cxl_host()]), EFFORT).decisions
    assert isinstance(refused, Rejection)
    assert "far_memory: true" == refused.fits_if
    assert [] not in memory_of("solver", *crowd, far("late", 1, 8))


def test_causes_name_the_far_node_too():
    """A guest of 9 GiB finds it nowhere: each node that could have its memory lacks 1 GiB, and none can be spared."""
    host = cxl_host()
    told = causes(far("g", 1, 9), Fleet.of([host]).open(), host)
    assert [f"node {n} of h1 lacks 1GiB" for n in (0, 2, 3, 1)] == [cause.text for cause in told]


def test_how_many_more_and_what_is_stranded():
    """8 pCPUs: eight guests of 4 GiB fill all nodes; those that may not be far leave the CXL memory to nobody."""
    fleet = Fleet.of([cxl_host()])
    asks, plain = far("far", 1, 4), ask("near", 1, 4)
    assert [(Fits(8, 8),), (Fits(4, 4),)] == [how_many(asks, fleet), how_many(plain, fleet)]
    (host,) = fleet
    assert {4: 16 * GIB_KIB} == stranded([plain], host).memory_kib
    assert {} == stranded([plain, asks], host).memory_kib
    full = replace(host, nodes=tuple(replace(n, memory_kib={4: 0}) if n.node_id < 2 else n for n in host.nodes))
    assert (8, 0) == (stranded([plain], full).vcpus, stranded([asks], full).vcpus)


@given(batch=far_batches())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_all_policies_against_exhaustive_search(batch: tuple[tuple[GuestRequest, ...], Fleet]):
    """The solver reaches the best there is in each tier; no other policy does better; who comes alone finds a place."""
    requests, fleet = batch
    best = best_vector(requests, fleet.hosts)
    answer = load_policy("solver")(requests, fleet, EFFORT)
    assert () == violations(answer.decisions, requests, fleet)
    assert best == tuple(tier.value if tier.more_is_better else -tier.value for tier in answer.objective)
    greedy = load_policy("best-fit")(requests, fleet, EFFORT)
    assert () == violations(greedy.decisions, requests, fleet)
    assert greedy.objective[0].value <= best[0]
    for request in requests:
        alone = replace(request, groups=())
        fits = best_vector([alone], fleet.hosts)[0] > 0
        one, first = OnlineFleet(fleet).place_one(alone), load_policy("first-fit")([alone], fleet, EFFORT).decisions[0]
        assert [fits] * 2 == [isinstance(each, Placement) for each in (one, first)]
        assert () == violations([one], [alone], fleet)


def test_how_many_guests_of_two_cells():
    """Each on two CPU nodes, their memory anywhere: of four, as many as node 1 has pCPUs, and none without any."""
    host = cxl_host()
    two = far("g", 2, 8, cells=2)
    assert (Fits(4, 4),) == how_many(two, Fleet.of([host]))
    fewer = (replace(n, free_cpus=CpuSet.of(4), shared_cpus=CpuSet.of(4)) if n.node_id == 1 else n for n in host.nodes)
    assert (Fits(1, 1),) == how_many(two, Fleet.of([replace(host, nodes=tuple(fewer))]))
    without = (replace(n, free_cpus=CpuSet(), shared_cpus=CpuSet()) if n.node_id == 1 else n for n in host.nodes)
    assert (Fits(0, 0),) == how_many(two, Fleet.of([replace(host, nodes=tuple(without))]))


@pytest.mark.parametrize("limit", [{"max_nodes": 2}, {"max_distance": 21}])
def test_what_is_bound_to_nothing_may_be_far(limit: dict[str, int]):
    """A host of two CPU nodes, 21 apart, may give an unbound guest memory of all four: no limit is kept that way."""
    asked = far("g", 2, 2, **limit)
    host = cxl_host()
    broken = violations([make_unpinned(asked, host)], [asked], Fleet.of([host]))
    near = host_of("b", nodes=2)
    assert 0 < len(broken)
    assert () == violations([make_unpinned(asked, near)], [asked], Fleet.of([near]))


@pytest.mark.parametrize("running", [True, False])
def test_a_running_guest_may_be_far_where_it_is_or_the_file_lets_it(running: bool):
    """What is there is never forbidden, and what the file allows now may be used."""
    plain, asks = ask("g", 1), far("g", 1, 1)
    both = merged(asks, plain) if running else merged(plain, asks)
    assert both.far_memory
    assert not merged(plain, plain).far_memory


def test_memory_comes_nearer_when_there_is_room():
    """A running guest's memory is moved to its own node, where nothing else is better."""
    host = cxl_host()
    crowd = [ask("near-0", 1, 8), ask("near-1", 1, 8), far("g", 1, 4)]
    placed = load_policy("solver")(crowd, Fleet.of([host]), EFFORT).decisions[2]
    assert isinstance(placed, Placement)
    assert placed.memory_nodes.ids <= {2, 3}
    standing = Standing(
        request=replace(asked_by(placed, host.topology), max_distance=None),
        placement=placed,
        memory_follows=memory_can_follow(placed, host.hypervisor),
        may_migrate=False,
    )
    question = Question(fleet=Fleet.of([host]), guests=(standing,), wanted=())
    found = rebalance(question, 30.0)
    assert () == violations_of_steps(question, found.steps, found.placed)
    assert [(StepKind.MOVE_MEMORY, 4 * GIB_KIB)] == [(step.kind, step.kib) for step in found.steps]
    (step,) = found.steps
    assert step.target.memory_nodes == step.target.cpu_nodes


def test_large_batches_leave_far_memory_to_others():
    """Patterns know no far memory; on hosts without any it is no reason to leave a guest to the model."""
    both = [far("a", 1, 1), ask("b", 1, 1)]
    names = [[r.name for r in for_arrays(both, Fleet.of([host]))] for host in (cxl_host(), host_of("h2"))]
    assert [["b"], ["a", "b"]] == names


def test_one_guest_alone_is_proven():
    """The search of one guest knows its far homes: what it finds is compared with exhaustive search elsewhere."""
    host = cxl_host()
    for cells, gib in itertools.product((1, 2), (7, 8)):
        answer = load_policy("solver")([far("g", 2, gib, cells=cells)], Fleet.of([host]), EFFORT)
        assert all(tier.gap == 0 for tier in answer.objective)
