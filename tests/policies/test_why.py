"""Explanations beside a plan: who holds a place, what would help, and what a place costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from policies.check import violations
from policies.compose import settle_shared
from policies.fleet import Fleet
from policies.groups import whole_groups_of
from policies.objective import DEFAULT_OBJECTIVE
from policies.plan import Answer, Placement, Reason, Rejection
from policies.policy import Effort
from policies.request import CpuPolicy, Group, GroupRule, GuestRequest, Membership
from policies.solver.rejected import first_place
from policies.solver.solve import solver
from policies.tiers import objective_of
from policies.why import again
from policies.why.account import account, worth
from policies.why.again import AS_IT_IS
from policies.why.beside import Beside
from policies.why.changes import changes
from policies.why.explanation import explanation_of
from policies.why.holders import holders_of
from policies.why.moves import moves
from policies.why.watch import Watch
from tests.policies.hosts import host_of
from tests.policies.test_policies import ask
from tests.policies.tight import tight_batches

OWN = CpuPolicy.DEDICATED
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
        found = holders_of(request, plan.placed, plan.fleet, weights)
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
        for change in changes(request, plan, Watch()).found:
            if "more" not in change.text and "moved" not in change.text:
                assert plan.book().fits(change.placement)
            if change.text.startswith("guest "):
                moved = change.text.split()[1]
                others = replace(plan, placed=[p for p in plan.placed if p.guest != moved]).book()
                others.take(change.placement)
                assert first_place(plan.asked[next(n for n in plan.asked if n == moved)], others) is not None


@given(batch=tight_batches())
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_moves_are_all_that_help(batch: Batch):
    """Whom nobody tries could not have helped: the same are found by trying everybody."""
    plan, _, refused = planned(batch)
    for request in refused:
        book = plan.book()
        if first_place(request, book) is not None:
            continue
        found = moves(request, plan, book, Watch(), keeping=0.0)
        assert {move.moved.guest for move in found.found} == {
            placement.guest for placement in plan.placed if helps_elsewhere(placement, request, plan)
        }
        assert found.tried == found.could_help


def helps_elsewhere(placement: Placement, request: GuestRequest, plan: Beside) -> bool:
    book = replace(plan, placed=[p for p in plan.placed if p is not placement]).book()
    home = first_place(request, book)
    if home is None:
        return False
    book.take(home)
    return first_place(plan.asked[placement.guest], book) is not None


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
    texts = [change.text for change in changes(paged, plan, Watch()).found]
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
    texts = [change.text for change in changes(wide, plan, Watch()).found]
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
    assert ["groups: without crew"] == [change.text for change in told.changes.found]
    assert told.holders is None
    full = replace(guests[0], vcpus=9)
    told = explanation_of(full, answer.decisions[0], beside([full, guests[1]], fleet, answer), DEFAULT_OBJECTIVE)
    assert told.causes
    assert "vcpus: 4" in [change.text for change in told.changes.found]


def test_a_guest_that_fits_beside_all_is_told_who_floats_in_its_way():
    """No holders: whoever runs keeps the pCPUs where it floats, and would have others of its node; or nobody does."""
    fleet = Fleet.of([host_of("h", cpus=4, nodes=1)])
    guests = [ask("runs", 2, 1), ask("late", 2, 1, cpus=OWN)]
    answer = solver(guests[:1], fleet, EFFORT)
    refused = Rejection(guest=guests[1].name, reason=Reason.PCPUS, detail="node 0 of h lacks 2 free pCPUs")
    told = explanation_of(guests[1], refused, beside(guests, fleet, answer), DEFAULT_OBJECTIVE)
    assert (None, ()) == (told.holders, told.causes)
    assert ["these are pinned elsewhere on their nodes: runs"] == [change.text for change in told.changes.found]
    told = explanation_of(guests[1], refused, replace(beside(guests, fleet, answer), placed=()), DEFAULT_OBJECTIVE)
    assert [(AS_IT_IS, True)] == [(change.text, change.new_plan) for change in told.changes.found]


def crossed(**more: object) -> Beside:
    """One node without pCPUs, the other without memory: two of the guests would have to change places."""
    fleet = Fleet.of([host_of("h", cpus=4, nodes=2, memory_gib=8)])
    guests = [ask("c1", 2, 2, cpus=OWN), ask("c2", 2, 2, cpus=OWN), ask("a", 1, 4, cpus=OWN), ask("b", 1, 4, cpus=OWN)]
    book = fleet.open()
    for guest in guests:
        if (placement := first_place(guest, book)) is not None:
            book.take(placement)
    return Beside(
        fleet=fleet, placed=tuple(book.taken.values()), asked={g.name: g for g in guests}, rule=first_place, **more
    )


def test_where_nothing_helps_beside_the_plan_it_is_solved_again():
    """As it asks it fits in a new plan; with twice the memory only what is left there, and nobody else loses."""
    plan = crossed(solve=solver)
    told = changes(ask("g", 1, 1, cpus=OWN), plan, Watch())
    assert [(AS_IT_IS, True)] == [(each.text, each.new_plan) for each in told.found]
    assert (("h",), "") == (told.planned_again, told.limited_by)
    told = changes(ask("g", 1, 4, cpus=OWN), plan, Watch())
    assert ["memory: 2GiB"] == [each.text for each in told.found]
    assert told.found[0].placement.host == "h"
    assert not changes(ask("g", 1, 4, cpus=OWN), crossed(), Watch()).found


def test_only_the_hosts_with_the_most_room_are_planned_again_where_the_plan_is_large(monkeypatch: pytest.MonkeyPatch):
    """Members of its groups who live elsewhere keep it from there as before."""
    far = Membership(group=Group(name="far", rule=GroupRule.ANTI_AFFINITY, level="rack"))
    racks = ("x", "y", "y")
    hosts = [replace(host_of(f"h{i}", cpus=4, nodes=1, memory_gib=8), domains={"rack": r}) for i, r in enumerate(racks)]
    guests = [ask("m", 4, 1, groups=(far,)), ask("n", 4, 1), ask("o", 3, 1)]
    fleet = Fleet.of(hosts)
    plan = beside(guests, fleet, solver(guests, fleet, EFFORT))
    there = next(p.host for p in plan.placed if p.guest == "m")
    monkeypatch.setattr(again, "MOST_SOLVED", 4)
    part = again.concerned(ask("g", 2, 1, groups=(far,)), plan)
    assert ["o"] == [p.guest for p in part.placed]
    assert {there} == {host.name for host in part.fleet if not host.schedulable}
    assert part.fleet.open().groups.domains_with(far) == plan.book().groups.domains_with(far)


def test_a_search_that_has_no_time_says_whom_it_did_not_try():
    plan = crossed(solve=solver)
    told = changes(ask("g", 1, 1, cpus=OWN), plan, Watch(0.0))
    assert ((), 0, 4, "the time limit of 0s") == (told.found, told.moved, told.could_move, told.limited_by)


def test_a_new_plan_that_is_not_proven_to_be_none_says_so():
    """The solver is stopped before it knows; of one that is sure nothing is said."""
    plan, wide = crossed(), ask("g", 1, 4, cpus=OWN)

    def stopped(requests: Sequence[GuestRequest], fleet: Fleet, effort: Effort) -> Answer:
        refused = tuple(Rejection(guest=r.name, reason=Reason.TIME_LIMIT, detail="") for r in requests)
        return Answer(decisions=refused, limited_by="the time limit of 1s")

    told = changes(wide, replace(plan, solve=stopped), Watch(60.0))
    assert ((), "the time limit of 60s") == (told.found, told.limited_by)
    sure = changes(wide, replace(plan, solve=lambda r, f, e: replace(stopped(r, f, e), limited_by="")), Watch(60.0))
    assert ((), "") == (sure.found, sure.limited_by)
