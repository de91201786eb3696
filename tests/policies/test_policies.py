"""Every policy, on any fleet: one decision per request, and no hard rule is broken."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from policies.check import violations
from policies.compose import make_placement
from policies.fleet import Fleet
from policies.greedy import best_fit, first_fit, unpinned, worst_fit
from policies.homes import homes
from policies.one_by_one import one_by_one
from policies.plan import Placement, Reason, Rejection
from policies.policy import Effort, Policy
from policies.registry import OURS, load_policy
from policies.request import CpuPolicy, GuestName, GuestRequest
from policies.tiers import objective_of
from tests.policies.hosts import GIB_KIB, host_of
from tests.policies.strategies import batches, fleets
from tests.policies.tight import tight_batches

EFFORT = Effort(time_limit_s=None, deterministic_limit=1.0)
ANY_FLEET = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def ask(name: str, vcpus: int, gib: int = 1, **more: object) -> GuestRequest:
    base = GuestRequest(name=GuestName(name), vcpus=vcpus, memory_kib=gib * GIB_KIB)
    return replace(base, **more)  # type: ignore[arg-type]


def assert_sound(policy: Policy, requests: tuple[GuestRequest, ...], fleet: Fleet) -> None:
    answer = policy(requests, fleet, EFFORT)
    assert [r.name for r in requests] == [d.guest for d in answer.decisions]
    assert violations(answer.decisions, requests, fleet) == ()
    counted = [(t.name, t.value) for t in objective_of(answer.decisions, requests, fleet)]
    assert counted == [(t.name, t.value) for t in answer.objective]
    assert all(d.detail for d in answer.decisions if isinstance(d, Rejection))


def hosts_of(policy: Policy, requests: list[GuestRequest], fleet: Fleet) -> list[str | None]:
    decisions = policy(requests, fleet, EFFORT).decisions
    return [d.host if isinstance(d, Placement) else None for d in decisions]


def nodes_of(policy: Policy, requests: list[GuestRequest], fleet: Fleet) -> list[list[int]]:
    decisions = policy(requests, fleet, EFFORT).decisions
    return [sorted(d.memory_nodes.ids) for d in decisions if isinstance(d, Placement)]


@pytest.mark.parametrize("name", OURS)
@given(requests=batches(), fleet=fleets())
@ANY_FLEET
def test_no_policy_breaks_a_hard_rule(name: str, requests: tuple[GuestRequest, ...], fleet: Fleet):
    """On hosts with everything that real machines were seen to have."""
    assert_sound(load_policy(name), requests, fleet)


@pytest.mark.parametrize("name", OURS)
@given(batch=tight_batches())
@ANY_FLEET
def test_no_policy_breaks_a_hard_rule_where_room_is_short(name: str, batch: tuple[tuple[GuestRequest, ...], Fleet]):
    """Where most rules bind."""
    assert_sound(load_policy(name), *batch)


@pytest.mark.long
@pytest.mark.parametrize("name", OURS)
@given(requests=batches(max_size=10), fleet=fleets())
@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_policy_breaks_a_hard_rule_at_length(name: str, requests: tuple[GuestRequest, ...], fleet: Fleet):
    """The same, thousands of times and with more guests."""
    assert_sound(load_policy(name), requests, fleet)


@given(batch=tight_batches())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_solver_is_never_worse_than_any_greedy_policy(batch: tuple[tuple[GuestRequest, ...], Fleet]):
    """Tier by tier, in order."""
    requests, fleet = batch

    def worth(policy: Policy) -> tuple[int, ...]:
        placed, *less = [tier.value for tier in policy(requests, fleet, EFFORT).objective]
        return placed, *(-value for value in less)

    best = worth(load_policy("solver"))
    assert all(best >= worth(policy) for policy in (first_fit, best_fit, worst_fit))


LARGE_SMALL = Fleet.of([host_of("large", nodes=2, memory_gib=8), host_of("small", nodes=2, memory_gib=3)])


def test_first_fit_takes_the_first_host_that_holds_it():
    """In the order of the hosts file."""
    assert ["large", "large"] == hosts_of(first_fit, [ask("a", 1, 2), ask("b", 1, 2)], LARGE_SMALL)


def test_best_fit_leaves_the_largest_hole():
    """The small node takes the small guest, so the large one is still there."""
    assert ["small", "large"] == hosts_of(best_fit, [ask("a", 1, 2), ask("b", 1, 7)], LARGE_SMALL)


def test_worst_fit_takes_the_emptiest_node():
    """Then the next emptiest: two nodes of the large host, and no more than that."""
    assert [[0], [1]] == nodes_of(worst_fit, [ask("a", 1, 2), ask("b", 1, 2)], LARGE_SMALL)
    assert ["large", "large"] == hosts_of(worst_fit, [ask("a", 1, 2), ask("b", 1, 2)], LARGE_SMALL)


@pytest.mark.parametrize("policy", [best_fit, worst_fit])
def test_fewer_nodes_come_before_fuller_ones(policy: Policy):
    """A guest that fits one node anywhere is not spread over two."""
    fleet = Fleet.of([host_of("a", cpus=4, nodes=2), host_of("b", cpus=8, nodes=2)])
    assert ["b"] == hosts_of(policy, [ask("g", 6, 2, cells="auto")], fleet)


@pytest.mark.parametrize("policy", [first_fit, best_fit, worst_fit, unpinned])
def test_higher_priority_goes_first_and_decisions_stay_in_order(policy: Policy):
    """One place for two guests: the later and more important one gets it."""
    fleet = Fleet.of([host_of("h", cpus=4, nodes=1)])
    low, high = policy([ask("low", 4), ask("high", 4, priority=2)], fleet, EFFORT).decisions
    assert isinstance(high, Placement)
    assert isinstance(low, Rejection)
    assert (low.guest, low.reason) == ("low", Reason.CONTENTION)


def test_unpinned_fills_the_host_s_sum_and_binds_nothing():
    """8 GiB on two nodes of 6 + 2: what happens without us, and what no pinned guest is promised."""
    host = host_of("h", nodes=2, memory_gib=8)
    left = tuple(replace(n, memory_kib={4: gib * GIB_KIB}) for n, gib in zip(host.nodes, (6, 2), strict=True))
    fleet = Fleet.of([replace(host, nodes=left)])
    (free,) = unpinned([ask("a", 2, 8)], fleet, EFFORT).decisions
    assert isinstance(free, Placement)
    assert (None, None) == (free.cpus, free.emulator_cpus)
    (refused,) = first_fit([ask("a", 2, 8)], fleet, EFFORT).decisions
    assert isinstance(refused, Rejection)
    assert (Reason.MEMORY, "node 0 of h lacks 2GiB") == (refused.reason, refused.detail)


@pytest.mark.parametrize(
    ("request_", "what"),
    [
        (ask("a", 2, cpus=CpuPolicy.DEDICATED), "dedicated pCPUs cannot be had without pins"),
        (ask("a", 2, cells=2), "2 cells on nodes of their own cannot be had without pins"),
    ],
)
def test_unpinned_refuses_what_needs_pins(request_: GuestRequest, what: str):
    """As unsupported, with what it is, and the change that helps."""
    (decision,) = unpinned([request_], LARGE_SMALL, EFFORT).decisions
    assert isinstance(decision, Rejection)
    assert (Reason.UNSUPPORTED, what) == (decision.reason, decision.detail)
    assert decision.fits_if in ("cpus: shared", "cells: auto")


def test_unpinned_guests_count_as_spanning_their_whole_host():
    """They may run on all of its nodes; so comparing them is fair."""
    answer = unpinned([ask("a", 1)], Fleet.of([host_of("h", nodes=4)]), EFFORT)
    assert [1, 4, 6 * 20, 0, 1] == [tier.value for tier in answer.objective]


def test_a_rule_of_a_user_is_lifted_and_booked():
    """Always node 1 of the first host: the second guest does not fit there any more."""

    def always_node_1(request, book):
        host = book.host(book.fleet.hosts[0].name)
        placement = make_placement(request, host, homes(host)[1:2])
        return placement if book.fits(placement) else None

    policy = one_by_one(always_node_1)
    fleet = Fleet.of([host_of("h", nodes=2, memory_gib=4)])
    assert ["h", None] == hosts_of(policy, [ask("a", 1, 3), ask("b", 1, 3)], fleet)
    assert [[1]] == nodes_of(policy, [ask("a", 1, 3), ask("b", 1, 3)], fleet)


def test_uneven_vcpus_are_split_unevenly():
    """peers.md section 9: 3 + 1 vCPUs over two nodes of 3 and 1 (KubeVirt splits memory in halves)."""
    host = host_of("h", cpus=3, nodes=2, memory_gib=3)
    left = (host.nodes[0], replace(host.nodes[1], memory_kib={4: 1 * GIB_KIB}))
    fleet = Fleet.of([replace(host, nodes=left)])
    for name in ("solver", "first-fit", "best-fit"):
        (decision,) = load_policy(name)([ask("a", 3, 3, cells=2)], fleet, EFFORT).decisions
        assert isinstance(decision, Placement), name
        assert [(2, 2 * GIB_KIB), (1, GIB_KIB)] == [(len(c.vcpus), c.memory[0].kib) for c in decision.cells]


@pytest.mark.parametrize("name", OURS)
def test_an_impossible_request_is_refused(name: str):
    """peers.md section 9: numad returns all nodes for a guest that is larger than the host."""
    fleet = Fleet.of([host_of("h", cpus=4, nodes=2, memory_gib=4)])
    for request in (ask("cpus", 99, 1, cells="auto"), ask("memory", 2, 99, cells="auto")):
        (decision,) = load_policy(name)([request], fleet, EFFORT).decisions
        assert isinstance(decision, Rejection)
        assert decision.reason in (Reason.PCPUS, Reason.MEMORY)
