"""A cordoned node offers nothing, and the rest of its host offers what it did."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from policies.fleet import Fleet
from policies.host_rules import HostRules
from policies.plan import Placement, Reason, Rejection
from policies.policy import Effort
from policies.promise import host_capacity
from policies.registry import load_policy
from policies.request import GuestName, GuestRequest, HostName
from probe.cpuset import NodeSet
from probe.snapshot import Occupant, OccupantState
from tests.policies.hosts import GIB_KIB, snapshot_of, topology_of

SNAPSHOT = snapshot_of(topology_of(cpus=4, nodes=3, memory_gib=8), free_gib=8)
H1 = HostName("h1")


@given(closed=st.sets(st.integers(0, 2)))
def test_only_what_is_closed_is_missing(closed: set[int]) -> None:
    """Node by node: nothing, or exactly what it would offer."""
    everywhere = Occupant(guest="theirs", uuid=None, state=OccupantState.RUNNING, vcpus=6)
    snapshot = replace(SNAPSHOT, occupants=(everywhere,))
    whole = host_capacity(H1, snapshot, HostRules())
    rest = host_capacity(H1, snapshot, HostRules(cordoned_nodes=NodeSet(frozenset(closed))))
    for before, after in zip(whole.nodes, rest.nodes, strict=True):
        if before.node_id in closed:
            assert not after.free_cpus | after.shared_cpus
            assert ({0}, 0) == (set(after.memory_kib.values()), after.shared_vcpus)
        else:
            assert before == after
    assert rest.schedulable
    assert NodeSet(frozenset(closed)) == rest.cordoned_nodes


@pytest.mark.parametrize("policy", ["solver", "first-fit", "worst-fit"])
@given(closed=st.sets(st.integers(0, 2), min_size=1), count=st.integers(1, 5))
def test_no_policy_uses_what_is_closed(policy: str, closed: set[int], count: int) -> None:
    """Neither pCPUs nor memory of it; a refusal names it."""
    rules = HostRules(cordoned_nodes=NodeSet(frozenset(closed)))
    fleet = Fleet.of([host_capacity(H1, SNAPSHOT, rules)])
    requests = [
        GuestRequest(name=GuestName(f"g{i}"), vcpus=2, memory_kib=3 * GIB_KIB, cells="auto") for i in range(count)
    ]
    for decision in load_policy(policy)(requests, fleet, Effort(deterministic_limit=0.2)).decisions:
        if isinstance(decision, Placement):
            nodes = decision.memory_nodes | NodeSet.union(c.cpu_nodes for c in decision.cells if c.cpu_nodes)
            assert not nodes.ids & closed
        elif decision.reason is not Reason.CONTENTION:
            assert f"node {rules.cordoned_nodes} of h1 is cordoned" in decision.detail


def test_a_cordoned_host_says_so() -> None:
    """Not only that it takes no guests."""
    fleet = Fleet.of([host_capacity(H1, SNAPSHOT, replace(HostRules(), cordoned=True))])
    request = GuestRequest(name=GuestName("g"), vcpus=1, memory_kib=GIB_KIB)
    (decision,) = load_policy("solver")([request], fleet, Effort(time_limit_s=5)).decisions
    assert isinstance(decision, Rejection)
    assert (Reason.HOST, "h1 is cordoned") == (decision.reason, decision.detail)
