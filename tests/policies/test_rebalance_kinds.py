"""Rebalancing by example: groups that are whole or nothing, and pCPUs that a guest keeps."""

from __future__ import annotations

from dataclasses import replace

from policies.rebalance.question import Budget, StepKind
from policies.rebalance.rebalance import rebalance
from policies.rebalance.verify import violations_of_steps
from policies.request import CpuPolicy, Group, GroupRule, Membership
from tests.policies.hosts import host_of, topology_of
from tests.policies.standing import guest
from tests.policies.test_rebalance_cases import asked, hosts, stands


def test_a_group_that_is_all_or_nothing_finds_places_for_all_or_for_none() -> None:
    """One of two would fit as things are; room for both takes a step, and without budget for it neither is placed."""
    (host,) = hosts("h1")
    whole = (Membership(group=Group(name="all", rule=GroupRule.ALL_OR_NOTHING)),)
    wanted = [guest(name, gib, groups=whole) for name, gib in (("a", 2), ("b", 8))]
    question = asked([host], [stands(guest("there", 3), host, 0), stands(guest("too", 3), host, 1)], *wanted)
    found = rebalance(question, 30.0)
    assert (True, ["a", "b"], 1) == (found.proven, sorted(p.guest for p in found.placed), len(found.steps))
    poor = rebalance(replace(question, budget=Budget(most_moves=0)), 30.0)
    assert (True, (), ()) == (poor.proven, poor.placed, poor.steps)


def test_a_guest_keeps_its_own_pcpus_on_the_node_where_it_stays() -> None:
    """One part of it is pinned elsewhere, and of the other part's node all pCPUs are its own already."""
    near = {a: {b: 10 if a == b else 20 for b in range(3)} for a in range(3)}
    topology = topology_of(cpus=2, nodes=3, memoryless=(2,), distances=near)
    host = host_of("h1", topology=topology, memory_gib=8)
    wide = guest("wide", 2, 3, cells=2, cpus=CpuPolicy.DEDICATED)
    there = stands(wide, host, 1, 2)
    question = asked([host], [there])
    found = rebalance(question, 30.0)
    (step,) = found.steps
    assert (True, StepKind.RE_PIN, ()) == (found.proven, step.kind, violations_of_steps(question, found.steps, ()))
    assert step.origin.cells[0].cpus == step.target.cells[0].cpus
    assert step.origin.cells[1].memory == step.target.cells[1].memory
