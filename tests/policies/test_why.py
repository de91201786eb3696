"""Explanations beside a plan: who holds a place, what would help, and what a place costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import HealthCheck, given, settings

from policies.check import violations
from policies.compose import settle_shared
from policies.fleet import Fleet
from policies.groups import whole_groups_of
from policies.objective import DEFAULT_OBJECTIVE
from policies.plan import Answer, Placement, Rejection
from policies.policy import Effort
from policies.request import Group, GroupRule, GuestRequest, Membership
from policies.solver.rejected import first_place
from policies.solver.solve import solver
from policies.tiers import objective_of
from policies.why.account import account, worth
from policies.why.changes import Beside, changes
from policies.why.explanation import explanation_of
from policies.why.holders import holders_of
from tests.policies.hosts import host_of
from tests.policies.test_policies import ask
from tests.policies.tight import tight_batches

EFFORT = Effort(time_limit_s=None, deterministic_limit=30.0)
Batch = tuple[tuple[GuestRequest, ...], Fleet]


def beside(requests: Sequence[GuestRequest], fleet: Fleet, answer: Answer) -> Beside:
    placed = tuple(d for d in answer.decisions if isinstance(d, Placement))
    return Beside(fleet=fleet, placed=placed, asked={r.name: r for r in requests}, rule=first_place)


def planned(batch: Batch) -> tuple[Beside, Answer, list[GuestRequest]]:
    """A plan, and the guests that it has no place for and that stand by themselves."""
    requests, fleet = batch
    answer = solver(requests, fleet, EFFORT)
    decided = zip(requests, answer.decisions, strict=True)
    refused = [r for r, d in decided if isinstance(d, Rejection) and not whole_groups_of(r)]
    return beside(requests, fleet, answer), answer, refused


@given(batch=tight_batches())
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_holders_are_those_who_stand_in_the_way(batch: Batch):
    """Without all of them the guest fits; beside any one of them it does not."""
    plan, _, refused = planned(batch)
    weights = {name: request.priority for name, request in plan.asked.items()}
    for request in refused:
        found = holders_of(request, plan.placed, plan.fleet, first_place, weights)
        if first_place(request, plan.fleet.open()) is None:
            continue
        assert found is not None
        assert found.weight == sum(weights[guest] for guest in found.guests)
        there = replace(request, hosts=frozenset({found.placement.host}))
        for back in (None, *found.guests):
            kept = [p for p in plan.placed if p.guest not in found.guests or p.guest == back]
            fits = first_place(there, replace(plan, placed=kept).book()) is not None
            assert fits == (back is None)


@given(batch=tight_batches())
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_each_change_makes_the_guest_fit_beside_the_plan(batch: Batch):
    """What is told as its place is free: of the fleet as it is, but for changes of the hosts and of other guests."""
    plan, _, refused = planned(batch)
    for request in refused:
        for change in changes(request, plan):
            if "more" not in change.text and "moved" not in change.text:
                assert plan.book().fits(change.placement)
            if change.text.startswith("guest "):
                moved = change.text.split()[1]
                others = replace(plan, placed=[p for p in plan.placed if p.guest != moved]).book()
                others.take(change.placement)
                assert first_place(plan.asked[next(n for n in plan.asked if n == moved)], others) is not None


@given(batch=tight_batches())
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_other_place_is_better_than_that_of_a_proven_plan(batch: Batch):
    """Tier by tier; and what is told of the other place is what the plan would be with it."""
    plan, answer, _ = planned(batch)
    for placement in plan.placed:
        told = account(plan.asked[placement.guest], plan, DEFAULT_OBJECTIVE)
        assert [t.value for t in told.tiers] == [t.value for t in answer.objective]
        assert told.tiers[0].value - told.without[0].value == plan.asked[placement.guest].priority
        if told.alternative is not None:
            assert worth(told.otherwise) <= worth(answer.objective)
            swapped = [told.alternative if d.guest == placement.guest else d for d in answer.decisions]
            requests = list(plan.asked.values())
            assert objective_of(swapped, requests, plan.fleet) == told.otherwise
            assert violations(settle_shared(swapped, plan.fleet), requests, plan.fleet) == ()


def test_the_changes_come_in_the_order_of_what_they_cost():
    """Another guest elsewhere is before smaller pages, more pages before less memory."""
    host = host_of("h", cpus=4, nodes=2, memory_gib=8, pages_gib={2048: 2})
    small = ask("small", 3, 1)
    paged = ask("paged", 2, 3, page_kib=2048)
    fleet = Fleet.of([host])
    answer = solver([small], fleet, EFFORT)
    plan = beside([small, paged], fleet, answer)
    texts = [change.text for change in changes(paged, plan)]
    assert ["max_nodes: 2", "page_size: 4KiB", "512 more 2MiB pages on node 1 of h", "memory: 2GiB"] == texts


def test_a_guest_elsewhere_makes_room():
    """Two small guests on two nodes: one of them moves, and the large one has a node."""
    fleet = Fleet.of([host_of("h", cpus=4, nodes=2)])
    guests = [ask("a", 1, 1), ask("b", 1, 1)]
    spread = Group(name="far", rule=GroupRule.ANTI_AFFINITY, level="node")
    placed = solver([replace(g, groups=(Membership(group=spread),)) for g in guests], fleet, EFFORT)
    wide = ask("wide", 4, 1)
    loose = tuple(replace(d, groups=()) for d in placed.decisions if isinstance(d, Placement))
    plan = Beside(fleet=fleet, placed=loose, asked={g.name: g for g in (*guests, wide)}, rule=first_place)
    texts = [change.text for change in changes(wide, plan)]
    moves = ["guest a moved to node 1 of h", "guest b moved to node 0 of h"]
    assert ["max_nodes: 2", "max_nodes: 3", "max_nodes: 4", *moves] == texts[:5]


def test_a_guest_of_a_crew_is_looked_at_by_itself():
    """All or nothing: what keeps it off is the crew."""
    crew = (Membership(group=Group(name="crew", rule=GroupRule.ALL_OR_NOTHING)),)
    guests = [ask("a", 1, 1, groups=crew), ask("b", 9, 1, groups=crew)]
    fleet = Fleet.of([host_of("h", cpus=4, nodes=1)])
    answer = solver(guests, fleet, EFFORT)
    told = explanation_of(guests[0], answer.decisions[0], beside(guests, fleet, answer), DEFAULT_OBJECTIVE)
    assert (("crew",), ()) == (told.whole_groups, told.causes)
    assert ["groups: without crew"] == [change.text for change in told.changes]
    assert told.holders is None
    full = replace(guests[0], vcpus=9)
    told = explanation_of(full, answer.decisions[0], beside([full, guests[1]], fleet, answer), DEFAULT_OBJECTIVE)
    assert told.causes
    assert "vcpus: 4" in [change.text for change in told.changes]
