"""Large batches: what the arrays answer keeps every rule, and their bounds hold for the best of all answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from policies.asked import SmtPolicy
from policies.capacity import HostCapacity, Resident
from policies.check import violations
from policies.fleet import Fleet
from policies.plan import Placement, Reason
from policies.policy import Effort
from policies.request import CpuPolicy, Group, GroupRule, GuestName, GuestRequest, HostName, Membership
from policies.solver import large
from policies.solver.large import place_large
from policies.solver.solve import solver
from policies.tiers import objective_of
from probe.cpuset import NodeSet
from tests.policies.hosts import GIB_KIB, host_of, topology_of
from tests.policies.oracle import best_vector
from tests.policies.strategies import batches, fleets
from tests.policies.tight import tight_batches

EFFORT = Effort(time_limit_s=None, deterministic_limit=0.3)
Batch = tuple[tuple[GuestRequest, ...], Fleet]


def ask(name: str, vcpus: int, gib: int, **more: object) -> GuestRequest:
    base = GuestRequest(name=GuestName(name), vcpus=vcpus, memory_kib=gib * GIB_KIB)
    return replace(base, **more)  # type: ignore[arg-type]


@given(batch=tight_batches())
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_rule_is_broken_and_the_best_of_all_answers_is_within_the_bounds(batch: Batch) -> None:
    requests, fleet = batch
    answer = place_large(requests, fleet, EFFORT)
    if answer is None:
        return
    assert violations(answer.decisions, requests, fleet) == ()
    values = [tier.value for tier in answer.objective]
    assert values == [tier.value for tier in objective_of(answer.decisions, requests, fleet)]
    placed, *costs = best_vector(requests, fleet.hosts)
    best = [placed, *(-cost for cost in costs)]
    assert values[0] <= best[0]
    for tier, (value, of_best) in zip(answer.objective, zip(values, best, strict=True), strict=True):
        assert tier.bound is None or (of_best <= tier.bound if tier.tier == 1 else of_best >= tier.bound)
        if value != of_best:
            break


@given(requests=batches(), fleet=fleets())
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_rule_is_broken_whatever_the_hosts_are(requests: tuple[GuestRequest, ...], fleet: Fleet) -> None:
    answer = place_large(requests, fleet, EFFORT)
    assert answer is None or violations(answer.decisions, requests, fleet) == ()


def hosts(count: int, **more: object) -> list[HostCapacity]:
    return [replace(host_of(f"h{n}", cpus=8, nodes=2), domains={"rack": f"r{n // 4}"}, **more) for n in range(count)]


def test_a_large_batch_goes_to_the_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "SMALL", 400)
    apart = Group(name="db", rule=GroupRule.ANTI_AFFINITY)
    near = Group(name="web", rule=GroupRule.AFFINITY, level="rack")
    requests = [ask(f"a{n}", 4, 8, groups=(Membership(group=apart),)) for n in range(6)]
    requests += [ask(f"b{n}", 2, 8, groups=(Membership(group=near),)) for n in range(9)]
    requests += [ask(f"c{n}", 8, 16) for n in range(15)]
    requests += [ask("wide", 64, 8), ask("pages", 2, 2, page_kib=GIB_KIB)]
    fleet = Fleet.of(hosts(12))
    answer = solver(requests, fleet, EFFORT)
    assert violations(answer.decisions, requests, fleet) == ()
    refused = {d.guest: d.reason for d in answer.decisions if not isinstance(d, Placement)}
    assert refused == {"wide": Reason.PCPUS, "pages": Reason.HUGEPAGES}
    assert [tier.gap for tier in answer.objective[:3]] == [0.0] * 3
    assert answer.objective[3].value <= 11


def test_what_the_arrays_have_no_word_for_is_left_to_the_model() -> None:
    fleet = Fleet.of(hosts(2))
    group = Membership(group=Group(name="db", rule=GroupRule.ANTI_AFFINITY))
    on_nodes = Membership(group=Group(name="db", rule=GroupRule.ANTI_AFFINITY, level="node"))
    there = Fleet.of(hosts(2, residents=(Resident(groups=(group,), nodes=NodeSet.of(0)),)))
    cut = topology_of(distances={0: {0: 10, 1: 255}, 1: {0: 255, 1: 10}})
    for requests, of in (
        ([ask("a", 2, 2), ask("b", 2, 2, cpus=CpuPolicy.DEDICATED, smt=SmtPolicy.ISOLATE)], fleet),
        ([ask("a", 2, 2, groups=(on_nodes,))], fleet),
        ([ask("a", 2, 2, groups=(group, replace(group, group=replace(group.group, name="x"))))], fleet),
        ([ask("a", 2, 2, groups=(group,))], there),
        ([ask("a", 2, 2, cells=2)], Fleet.of([host_of("h", topology=cut)])),
    ):
        assert place_large(requests, of, EFFORT) is None
    assert place_large([ask("a", 2, 2)], fleet, EFFORT) is not None


def test_guests_keep_to_their_hosts() -> None:
    requests = [ask(f"a{n}", 4, 4, hosts=frozenset({HostName("h1")})) for n in range(5)]
    answer = place_large(requests, Fleet.of(hosts(2)), EFFORT)
    assert answer is not None
    assert [d.host for d in answer.decisions if isinstance(d, Placement)] == ["h1"] * 4


def test_a_time_limit_ends_the_patterns_too() -> None:
    """The rest is placed without looking ahead, and the plan says what limited it."""
    fleet = Fleet.of([host_of(f"h{i}", cpus=16, nodes=2, memory_gib=64) for i in range(12)])
    requests = [ask(f"g{i}", (3, 5, 7)[i % 3], (9, 20, 13)[i % 3]) for i in range(90)]
    answer = place_large(requests, fleet, Effort(time_limit_s=1e-6))
    assert answer is not None
    assert violations(answer.decisions, requests, fleet) == ()
    assert "the time limit of 1e-06s" == answer.limited_by
    assert answer.objective[0].value > 0
