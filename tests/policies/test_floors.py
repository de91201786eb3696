"""Least loads and least broken wishes: never above those of any plan, and reached where loads can be even."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from policies.fleet import Fleet
from policies.objective import Objective, ObjectiveTier, Term, objective_with
from policies.plan import Placement
from policies.policy import Effort
from policies.registry import load_policy
from policies.request import CpuPolicy, Group, GroupRule, GuestRequest, Membership
from policies.solver.floors import least_broken, least_load
from policies.solver.large import place_large
from policies.tiers import terms_of
from tests.policies.hosts import host_of
from tests.policies.oracle import best_vector
from tests.policies.test_large_both import batches
from tests.policies.test_policies import ask
from tests.policies.tight import tight_batches

Batch = tuple[tuple[GuestRequest, ...], Fleet]
EFFORT = Effort(time_limit_s=None, deterministic_limit=0.05)


def of_terms(*terms: Term) -> Objective:
    return Objective(tiers=tuple(ObjectiveTier(terms=((term, 1),)) for term in terms))


@given(batch=tight_batches(), name=st.sampled_from(["best-fit", "worst-fit", "round-robin"]))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_plan_is_loaded_less_or_breaks_fewer_wishes(batch: Batch, name: str) -> None:
    requests, fleet = batch
    objective = of_terms(Term.PLACED, Term.BALANCE, Term.SOFT_WISHES)
    decisions = load_policy(name)(requests, fleet, Effort(time_limit_s=None)).decisions
    found = terms_of(decisions, requests, fleet, objective)
    there = [r for r, d in zip(requests, decisions, strict=True) if isinstance(d, Placement)]
    kib = sum(request.memory_kib + request.overhead_kib for request in there)
    assert least_load(fleet, sum(request.vcpus for request in there), kib) <= found[Term.BALANCE]
    assert least_broken(requests, fleet, found[Term.PLACED]) <= found[Term.SOFT_WISHES]


@given(batch=batches())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_best_load_of_all_plans_is_within_the_bound_of_a_large_batch(
    batch: tuple[list[GuestRequest], Fleet],
) -> None:
    requests, fleet = batch
    objective = of_terms(Term.PLACED, Term.BALANCE)
    answer = place_large(requests, fleet, replace(EFFORT, objective=objective))
    assume(answer is not None)
    assert answer is not None
    placed, load = best_vector(requests, fleet.hosts, objective)
    bound = answer.objective[1].bound
    assert bound is not None
    assert placed != answer.objective[0].value or bound <= -load


def fleet_of(hosts: int, **more: object) -> Fleet:
    return Fleet.of([host_of(f"h{n}", **more) for n in range(hosts)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("guests", "most"),
    [
        ([ask(f"g{n}", 1, 1) for n in range(16)], 8 * 50**2),  # 2 of 4 pCPUs on each of 8 nodes
        ([ask(f"g{n}", 1, 16) for n in range(24)], 8 * 75**2),  # 3 × 16 of 64 GiB
        ([ask(f"g{n}", 1, 1, cpus=CpuPolicy.DEDICATED) for n in range(32)], 8 * 100**2),
    ],
)
def test_even_loads_are_proven(guests: list[GuestRequest], most: int) -> None:
    """By patterns and neighbourhoods, or at least foretold."""
    answer = place_large(
        guests, fleet_of(4), Effort(time_limit_s=None, deterministic_limit=2.0, objective=objective_with(Term.BALANCE))
    )
    assert answer is not None
    assert most == answer.objective[-1].bound


def test_nodes_of_different_sizes_are_filled_by_what_one_more_costs() -> None:
    """2 vCPUs on 4 pCPUs and 8 on 8 would be even; a square is less where the large node has more than its part."""
    fleet = Fleet.of([host_of("a", nodes=1, cpus=4), host_of("b", nodes=1, cpus=8)])
    exact = min((Fraction(100 * n, 4)) ** 2 + Fraction(100 * (6 - n), 8) ** 2 for n in range(5))
    assert 0 < least_load(fleet, 6, 0) <= exact


@pytest.mark.parametrize(
    ("rule", "level", "vcpus", "broken"),
    [
        (GroupRule.ANTI_AFFINITY, "host", 1, 9 - 3),
        (GroupRule.ANTI_AFFINITY, "node", 1, 9 - 6),
        (GroupRule.AFFINITY, "host", 2, 2),  # 18 vCPUs on hosts of 8 pCPUs
        (GroupRule.AFFINITY, "host", 1, 1),
        (GroupRule.AFFINITY, "rack", 2, 2),  # a host that names no rack is one
        (GroupRule.FAULT_DOMAINS, "host", 1, 0),
    ],
)
def test_more_members_than_domains_can_take_break_a_wish(rule: GroupRule, level: str, vcpus: int, broken: int) -> None:
    group = Group(name="g", rule=rule, level=level, hard=False, weight=3)
    part = "a" if rule is GroupRule.FAULT_DOMAINS else ""
    requests = [ask(f"g{n}", vcpus, 1, groups=(Membership(group=group, part=part),)) for n in range(9)]
    assert 3 * broken == least_broken(requests, fleet_of(3), weight=9)
    assert 0 == least_broken(requests, fleet_of(3), weight=3)
