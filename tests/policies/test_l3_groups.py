"""Groups that look at L3 domains: which pCPUs a guest owns decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from policies.asked import EmulatorPolicy, SmtPolicy
from policies.capacity import HostCapacity, Resident
from policies.check import violations
from policies.compose import make_placement
from policies.compose_all import compose_all
from policies.fleet import Fleet
from policies.homes import homes
from policies.online.fleet import OnlineFleet
from policies.plan import Decision, Placement, Reason, Rejection
from policies.policy import Effort
from policies.registry import load_policy
from policies.request import CpuPolicy, Group, GroupRule, GuestRequest, HostName, Membership
from policies.solver import large, problem
from policies.solver.budget import Budget
from policies.solver.improve import Neighbourhoods
from policies.solver.polish import assigned_of
from policies.solver.problem import classes_of, problem_of
from policies.solver.solve import solver
from policies.solver.starts import starts
from policies.why.causes import causes
from probe.cpuset import CpuSet, NodeSet
from tests.policies.hosts import host_of, topology_of
from tests.policies.l3_batches import crowded_nodes, l3_batches
from tests.policies.oracle import best_vector, has_a_place
from tests.policies.test_policies import EFFORT, ask
from tests.policies.test_solver import assert_is_best
from tests.policies.tight import objectives

POLICIES = ("solver", "first-fit", "best-fit", "worst-fit", "round-robin", "random")
Groups = tuple[Membership, ...]
Batch = tuple[tuple[GuestRequest, ...], Fleet]
some = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
many = settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))


@given(batch=l3_batches())
@some
def test_the_solver_equals_exhaustive_search(batch: Batch):
    """Hard and soft groups of each rule."""
    assert_is_best(batch)


@given(batch=crowded_nodes())
@some
def test_a_crowded_node_is_filled_as_exhaustive_search_fills_it(batch: Batch):
    """Whole cores and single pCPUs in the L3 domains where they must be, at the least cost for those who share."""
    assert_is_best(batch)


@given(data=st.data(), batch=l3_batches(most=2))
@some
def test_any_objective_is_reached_as_exhaustive_search_reaches_it(data: st.DataObject, batch: Batch):
    """What is kept for others depends on which pCPUs are taken."""
    assert_is_best(batch, data.draw(objectives(batch[0])))


@pytest.mark.long
@given(batch=l3_batches())
@many
def test_the_solver_equals_exhaustive_search_at_length(batch: Batch):
    """The same, thousands of times."""
    assert_is_best(batch)


@pytest.mark.long
@given(batch=crowded_nodes())
@many
def test_a_crowded_node_is_filled_as_exhaustive_search_fills_it_at_length(batch: Batch):
    """The same, thousands of times."""
    assert_is_best(batch)


@pytest.mark.long
@given(data=st.data(), batch=l3_batches(most=2))
@many
def test_any_objective_is_reached_as_exhaustive_search_reaches_it_at_length(data: st.DataObject, batch: Batch):
    """The same, thousands of times."""
    assert_is_best(batch, data.draw(objectives(batch[0])))


def test_who_floats_is_in_l3_domains_that_others_own_for_now():
    """Two guests own all of one domain that is shared otherwise: where they go, it floats there again."""
    host = host_of("h", topology=topology_of(cpus=4, nodes=1, l3_of=2), housekeeping="0")
    online, fleet = OnlineFleet(Fleet.of([host])), [host]
    own_one = [ask(f"own{i}", 1, 1, cpus=CpuPolicy.DEDICATED, smt=SmtPolicy.ISOLATE) for i in range(2)]
    there = [decision for request in own_one if isinstance(decision := online.place_one(request), Placement)]
    floats = ask("floats", 1, 1, groups=member(GroupRule.AFFINITY))
    assert isinstance(online.place_one(floats), Rejection)
    assert not has_a_place(floats, [_left(online, host, there)], fleet)


@given(batch=l3_batches())
@some
def test_a_guest_who_comes_finds_a_place_whenever_there_is_one(batch: Batch):
    """On the book as it is: exhaustive search on what is left says the same, guest by guest."""
    requests, fleet = batch
    online, there = OnlineFleet(fleet), list[Placement]()
    for number, request in enumerate(requests, 1):
        left = [_left(online, host, there) for host in fleet]
        decision = online.place_one(request)
        assert isinstance(decision, Placement) == has_a_place(request, left, fleet.hosts)
        if isinstance(decision, Placement):
            there.append(decision)
            placed = {placement.guest for placement in there}
            assert violations(there, [r for r in requests[:number] if r.name in placed], fleet) == ()
            if decision.floating_pins:
                return  # what a host has left does not tell how many vCPUs the largest guest floats with


def _left(online: OnlineFleet, host: HostCapacity, there: list[Placement]) -> HostCapacity:
    """What a host has left, and the guests that came as members who are there."""
    new = tuple(Resident(groups=p.groups, nodes=p.cpu_nodes, cpus=p.cpus) for p in there if p.host == host.name)
    left = online.book.host(host.name)
    return replace(left, residents=(*left.residents, *new))


def epyc() -> HostCapacity:
    """An EPYC-like host as one node (NPS1): 8 L3 domains of 4 cores of 2 threads."""
    return host_of("h", topology=topology_of(cpus=64, nodes=1, smt=2, l3_of=8, memory_gib=256))


def member(rule: GroupRule, *, hard: bool = True, part: str = "") -> tuple[Membership, ...]:
    return (Membership(group=Group(name="team", rule=rule, level="l3", hard=hard), part=part),)


def own(count: int, vcpus: int, groups: Groups, *, name: str = "g", **more: object) -> list[GuestRequest]:
    return [ask(f"{name}{i}", vcpus, cpus=CpuPolicy.DEDICATED, groups=groups, **more) for i in range(count)]


def domains_used(decisions: Iterable[Decision]) -> Iterator[set[int]]:
    """Of each guest that has a place, the L3 domains of its pCPUs, by their number."""
    for decision in decisions:
        if isinstance(decision, Placement):
            yield {cpu // 8 for cpu in (decision.cpus or CpuSet()).ids}


@pytest.mark.parametrize("policy", POLICIES)
def test_eight_that_keep_apart_have_an_l3_each_and_a_ninth_has_none(policy: str):
    """One node would hold many more."""
    requests = own(9, 3, member(GroupRule.ANTI_AFFINITY))
    decisions = load_policy(policy)(requests, Fleet.of([epyc()]), EFFORT).decisions
    assert [{i} for i in range(8)] == sorted(domains_used(decisions), key=min)
    (refused,) = [d for d in decisions if isinstance(d, Rejection)]
    assert (refused.reason, refused.fits_if) == (Reason.CONTENTION, "groups: without team")
    assert "; beside them group team (anti-affinity, l3): a member is in h l3 domain of pCPUs " in refused.detail


@pytest.mark.parametrize("rule", [GroupRule.ANTI_AFFINITY, GroupRule.AFFINITY])
@pytest.mark.parametrize("policy", POLICIES)
def test_wishes_are_heeded_where_there_is_room_for_them(policy: str, rule: GroupRule):
    """A ninth that wished to be apart, and a guest that no longer fits beside the others, have a place all the same."""
    requests = own(9, 3, member(rule, hard=False))
    answer = load_policy(policy)(requests, Fleet.of([epyc()]), EFFORT)
    used = list(domains_used(answer.decisions))
    assert 9 == len(used)
    if rule is GroupRule.ANTI_AFFINITY:
        assert [{i} for i in range(8)] == sorted(used[:8], key=min)
    else:
        assert used[0] == used[1]


@pytest.mark.parametrize("policy", POLICIES)
def test_three_with_affinity_share_an_l3(policy: str):
    """And a fourth that would need a second one is refused."""
    requests = own(3, 2, member(GroupRule.AFFINITY)) + own(1, 3, member(GroupRule.AFFINITY), name="more")
    decisions = load_policy(policy)(requests, Fleet.of([epyc()]), EFFORT).decisions
    assert 1 == len(set().union(*domains_used(decisions)))
    assert 3 == len(list(domains_used(decisions)))


def test_a_ninth_who_comes_later_is_told_who_is_in_the_way():
    """Each L3 domain has a member; one of them is named, with its pCPUs."""
    online = OnlineFleet(Fleet.of([epyc()]))
    for request in own(8, 3, member(GroupRule.ANTI_AFFINITY)):
        assert isinstance(online.place_one(request), Placement)
    refused = online.place_one(ask("late", 1, cpus=CpuPolicy.DEDICATED, groups=member(GroupRule.ANTI_AFFINITY)))
    assert isinstance(refused, Rejection)
    assert Reason.GROUP is refused.reason
    assert "group team (anti-affinity, l3): a member is in h l3 domain of pCPUs 0-7" in refused.detail


def test_a_guest_that_floats_is_in_every_l3_of_its_node():
    """So it is with nobody in one, and keeps apart from nobody; the refusal says why."""
    (refused,) = solver([ask("g", 1, groups=member(GroupRule.AFFINITY))], Fleet.of([epyc()]), EFFORT).decisions
    assert isinstance(refused, Rejection)
    assert Reason.GROUP is refused.reason
    assert "(vCPUs that float are in the L3 domains of all shared pCPUs)" in refused.detail
    host = epyc()
    (cause,) = causes(ask("g", 1, groups=member(GroupRule.AFFINITY)), Fleet.of([host]).open(), host)
    assert cause.text in refused.detail


def test_a_resident_whose_pcpus_are_known_keeps_others_out_of_its_l3_only():
    """One whose pCPUs nobody knows counts in all L3 domains of its nodes."""
    apart = member(GroupRule.ANTI_AFFINITY)
    for cpus, expected in ((CpuSet.parse("0-1,9"), set(range(2, 8))), (None, set[int]())):
        there = Resident(groups=apart, nodes=NodeSet.of(0), cpus=cpus)
        fleet = Fleet.of([replace(epyc(), residents=(there,))])
        decisions = solver(own(8, 1, apart), fleet, EFFORT).decisions
        assert expected == set().union(*domains_used(decisions))


def test_fault_domains_by_l3():
    """Two parts never share one, members of a part may."""
    first = own(4, 3, member(GroupRule.FAULT_DOMAINS, part="a"))
    others = own(4, 3, member(GroupRule.FAULT_DOMAINS, part="b"), name="o")
    answer = solver([*first, *others], Fleet.of([epyc()]), EFFORT)
    used = list(domains_used(answer.decisions))
    assert 8 == len(used)
    assert set().union(*used[:4]).isdisjoint(set().union(*used[4:]))


def test_whole_cores_stay_where_members_need_them():
    """Two L3 domains of two cores: who must be together finds two in one, though others take a core each too."""
    host = host_of("h", topology=topology_of(cpus=8, nodes=1, smt=2, l3_of=4))
    alone, cored = own(2, 1, (), name="i", smt=SmtPolicy.ISOLATE), {"smt": SmtPolicy.ISOLATE}
    answer = solver([*alone, *own(2, 1, member(GroupRule.AFFINITY), **cored)], Fleet.of([host]), EFFORT)
    assert 4 == answer.objective[0].value


def two_caches(shared: str, there: str) -> Fleet:
    """A node of two L3 domains of two cores each; a member of the team with affinity runs on one pCPU."""
    host = host_of("h", topology=topology_of(cpus=8, nodes=1, smt=2, l3_of=4))
    (node,) = host.nodes
    lives = Resident(groups=member(GroupRule.AFFINITY), nodes=NodeSet.of(0), cpus=CpuSet.parse(there))
    node = replace(node, free_cpus=CpuSet.parse("0-7"), shared_cpus=CpuSet.parse(shared))
    return Fleet.of([replace(host, nodes=(node,), residents=(lives,))])


ISOLATED = {"smt": SmtPolicy.ISOLATE}
TEAM = member(GroupRule.AFFINITY)


@pytest.mark.parametrize(
    ("shared", "there", "requests", "placed"),
    [
        ("", "0", [*own(1, 4, TEAM), *own(1, 1, (), name="core", **ISOLATED)], 2),
        ("0-3", "0", [*own(1, 1, TEAM, **ISOLATED), ask("floats", 3)], 1),
        ("0-3", "0", [*own(1, 1, TEAM, **ISOLATED), ask("floats", 2)], 2),
        ("1,3", "0", [*own(1, 1, TEAM, **ISOLATED), ask("floats", 2)], 1),
        ("0-3", "4", [*own(1, 1, TEAM), *own(1, 1, (), name="core", **ISOLATED), ask("floats", 4)], 3),
        ("0-3", "4", [*own(3, 1, TEAM), *own(1, 1, (), name="core", **ISOLATED), ask("floats", 4)], 4),
        ("0-3", "4", [*own(1, 4, TEAM, emulator=EmulatorPolicy.OWN), ask("floats", 3)], 2),
        ("0-3", "4", [*own(1, 4, TEAM, emulator=EmulatorPolicy.OWN), ask("floats", 4)], 1),
    ],
)
def test_others_take_what_members_leave(shared: str, there: str, requests: list[GuestRequest], placed: int):
    """Whole cores elsewhere, shared pCPUs last: as much as the members need in their L3 domain, and no more is lost."""
    fleet = two_caches(shared, there)
    assert_is_best((tuple(requests), fleet))
    assert placed == solver(requests, fleet, EFFORT).objective[0].value


@given(batch=st.one_of(l3_batches(), crowded_nodes()))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_each_policy_answers_is_sound(batch: Batch):
    """Pins and groups agree by the independent checker, whoever decides."""
    requests, fleet = batch
    for policy in (*POLICIES[1:], "unpinned"):
        assert violations(load_policy(policy)(requests, fleet, EFFORT).decisions, requests, fleet) == ()


@given(batch=st.one_of(l3_batches(), crowded_nodes()), most=st.sampled_from([1, 6]))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_bounds_hold_when_ways_are_left_out(batch: Batch, most: int):
    """No exhaustive answer beats the bound of the first tier."""
    requests, fleet = batch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(problem, "MOST_WAYS", most)
        answer = solver(requests, fleet, EFFORT)
    assert violations(answer.decisions, requests, fleet) == ()
    assert answer.objective[0].bound is not None
    assert answer.objective[0].bound >= best_vector(requests, fleet.hosts)[0] >= answer.objective[0].value


@given(batch=l3_batches())
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_hosts_that_are_filled_again_keep_to_the_l3_domains_of_members_elsewhere(batch: Batch):
    """From each start, host by host."""
    requests, fleet = batch
    classes, budget = classes_of(requests), Budget(Effort(time_limit_s=None, deterministic_limit=5.0))
    for start in starts(classes, requests, fleet, budget):
        search = Neighbourhoods(problem_of(classes, fleet, start), budget)
        for host in fleet:
            found = search._refilled(start, frozenset({host.name}))
            placed = compose_all(assigned_of(found, classes), fleet)
            asked = [request for request in requests if request.name in placed]
            assert violations([placed[request.name] for request in asked], asked, fleet) == ()


def test_wishes_of_a_large_batch_are_aimed_at_when_it_is_polished(monkeypatch: pytest.MonkeyPatch):
    """Patterns place two on each host, in the same L3; the model then gives each one of its own."""
    monkeypatch.setattr(large, "SMALL", 0)
    fleet = Fleet.of([replace(epyc(), name=HostName(f"h{i}")) for i in range(2)])
    wish = member(GroupRule.ANTI_AFFINITY, hard=False)
    answer = solver(own(8, 2, wish), fleet, Effort(time_limit_s=None, deterministic_limit=20.0))
    assert ("soft-wishes", 0) == (answer.objective[3].name, answer.objective[3].value)


@pytest.mark.parametrize(
    ("rule", "parts", "cpus", "broken"),
    [
        (GroupRule.ANTI_AFFINITY, ("", ""), ("0", "7"), "members_with_anti_affinity_share_no_domain"),
        (GroupRule.ANTI_AFFINITY, ("", ""), ("0", "8"), None),
        (GroupRule.AFFINITY, ("", ""), ("0", "8"), "members_with_affinity_share_a_domain"),
        (GroupRule.AFFINITY, ("", ""), ("0", "7"), None),
        (GroupRule.FAULT_DOMAINS, ("a", "b"), ("0", "7"), "fault_domains_serve_one_part"),
        (GroupRule.FAULT_DOMAINS, ("a", "a"), ("0", "7"), None),
    ],
)
def test_the_checker_looks_at_pins(rule: GroupRule, parts: tuple[str, str], cpus: tuple[str, str], broken: str | None):
    """pCPUs 0 to 7 share an L3, 8 to 15 the next one."""
    host = epyc()
    requests = [own(1, 1, member(rule, part=part), name=f"g{i}-")[0] for i, part in enumerate(parts)]
    placed = [
        make_placement(request, host, homes(host), [((CpuSet.parse(cpu), 1),)])
        for request, cpu in zip(requests, cpus, strict=True)
    ]
    found = violations(placed, requests, Fleet.of([host]))
    assert ([broken] if broken else []) == [violation.rule for violation in found]
