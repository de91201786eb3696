"""One guest alone: what CP-SAT proves, without CP-SAT."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from policies.capacity import HostCapacity
from policies.check import violations
from policies.fleet import Fleet
from policies.greedy import best_fit
from policies.nearest import search
from policies.objective import DEFAULT_OBJECTIVE, parse_objective
from policies.plan import Answer, Placement, SolveStatus
from policies.policy import Effort
from policies.request import CpuPolicy, GuestName, GuestRequest
from policies.solver import one_guest
from policies.solver.one_guest import can_be_placed_alone, place_alone
from policies.solver.rules import HARD_RULES
from policies.solver.solve import solve, solver
from policies.tiers import objective_of
from tests.policies.hosts import GIB_KIB, host_of, topology_of
from tests.policies.oracle import vectors
from tests.policies.tight import tight_batches, tight_guests

EFFORT = Effort(time_limit_s=None, deterministic_limit=60.0)


def is_alone(request: GuestRequest) -> bool:
    return can_be_placed_alone(request, DEFAULT_OBJECTIVE)


def values(answer: Answer) -> list[tuple[int, int | None]]:
    return [(tier.value, tier.bound) for tier in answer.objective]


def assert_as_proven_by_cp_sat(request: GuestRequest, fleet: Fleet) -> None:
    answer = place_alone(request, fleet, EFFORT)
    assert violations(answer.decisions, [request], fleet) == ()
    assert answer.status is SolveStatus.OPTIMAL
    proven = solve([request], fleet, EFFORT, rules=HARD_RULES)
    assert values(answer) == values(proven)
    assert [t.value for t in objective_of(answer.decisions, [request], fleet)] == [t.value for t in answer.objective]
    assert_constant_where_it_is(answer, request, fleet)
    if not isinstance(answer.decisions[0], Placement):
        assert answer.decisions == proven.decisions


def assert_constant_where_it_is(answer: Answer, request: GuestRequest, fleet: Fleet) -> None:
    """Every answer with the values of the tiers above has the value of such a tier."""
    reached = tuple(t.value if t.more_is_better else -t.value for t in answer.objective)
    every = list(vectors([request], fleet.hosts, DEFAULT_OBJECTIVE))
    for i, tier in enumerate(answer.objective):
        if tier.constant:
            assert {reached[i]} == {vector[i] for vector in every if vector[:i] == reached[:i]}


@given(question=tight_guests().filter(lambda question: is_alone(question[0])))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_one_host(question: tuple[GuestRequest, HostCapacity]):
    """Values, bounds, and the refusals word for word."""
    assert_as_proven_by_cp_sat(question[0], Fleet.of([question[1]]))


@given(batch=tight_batches().filter(lambda batch: len(batch[1]) > 1 and is_alone(batch[0][0])))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_several_hosts(batch: tuple[tuple[GuestRequest, ...], Fleet]):
    """The nearest of the places on the fewest nodes, whichever host has it; by exhaustive search too."""
    request, fleet = batch[0][0], batch[1]
    assert_as_proven_by_cp_sat(request, fleet)
    answer = place_alone(request, fleet, EFFORT)
    worth = tuple(tier.value if tier.more_is_better else -tier.value for tier in answer.objective)
    assert worth == max(vectors([request], fleet.hosts, DEFAULT_OBJECTIVE))


def far_and_near() -> HostCapacity:
    """Twelve nodes, of which the nearest four are no one's nearest: from each of them another one is nearer."""
    far = {i: {j: 10 if i == j else 40 for j in range(12)} for i in range(12)}
    for i in range(8):
        for j in range(8):
            near = i < 4 and j < 4
            far[i][j] = 10 if i == j else 20 if near else 15 if abs(i - j) == 4 else 40
    return host_of("h", cpus=2, nodes=12, topology=topology_of(cpus=2, nodes=12, distances=far))


def wide(cells: int) -> GuestRequest:
    return GuestRequest(
        name=GuestName("g"), vcpus=2 * cells, memory_kib=cells * GIB_KIB, cells=cells, cpus=CpuPolicy.DEDICATED
    )


def test_the_solver_places_one_guest_without_a_model(monkeypatch: pytest.MonkeyPatch):
    """Its homes are nearer than those of a rule that takes the nearest one after the other."""
    monkeypatch.setattr("policies.solver.solve.solve", None)
    answer = solver([wide(4)], Fleet.of([far_and_near()]), EFFORT)
    assert [p.memory_nodes.ids for p in answer.decisions if isinstance(p, Placement)] == [frozenset(range(4))]
    assert values(answer) == [(1, 1), (4, 4), (120, 120), (0, 0), (1, 1)]


def test_hosts_that_cannot_be_better_are_not_searched(monkeypatch: pytest.MonkeyPatch):
    """Twenty alike, the one where the least is left in the middle: what best fit answers is as near as can be."""
    hosts = [host_of(f"h{i}", cpus=8 - (i == 9), nodes=4) for i in range(20)]
    monkeypatch.setattr(one_guest, "nearest_way", None)
    answer = solver([wide(3)], Fleet.of(hosts), EFFORT)
    assert [d.host for d in answer.decisions if isinstance(d, Placement)] == ["h9"]
    assert values(answer) == [(1, 1), (3, 3), (60, 60), (0, 0), (1, 1)]


@pytest.mark.parametrize(
    ("objective", "alone"),
    [
        ("placed, nodes-spanned, 3*distance", True),
        ("placed, nodes-spanned, distance, fewest-hosts + soft-wishes", True),
        ("placed, distance", False),
        ("placed, nodes-spanned + distance", False),
        ("placed, nodes-spanned, distance, balance", False),
    ],
)
def test_other_objectives_are_for_the_model(objective: str, alone: bool):
    """Where more counts than nodes and distance; and the values are in the objective's weights."""
    aim = parse_objective(objective)
    assert can_be_placed_alone(wide(4), aim) is alone
    answer = solver([wide(2)], Fleet.of([far_and_near()]), replace(EFFORT, objective=aim))
    assert answer.status is SolveStatus.OPTIMAL
    assert [t.value for t in objective_of(answer.decisions, [wide(2)], Fleet.of([far_and_near()]), aim)] == [
        t.value for t in answer.objective
    ]


def test_a_search_without_time_claims_nothing(monkeypatch: pytest.MonkeyPatch):
    """No worse than best fit, bounds on the right side, and the same again with a deterministic limit."""
    monkeypatch.setattr(search, "starts", lambda _: [])
    monkeypatch.setattr(search, "AT_ONCE", 1)
    monkeypatch.setattr(one_guest, "SETS_PER_DETERMINISTIC_S", 1)
    fleet = Fleet.of([far_and_near()])
    best = solver([wide(4)], fleet, EFFORT).objective[2].value
    for effort in (Effort(time_limit_s=0.0), Effort(time_limit_s=None, deterministic_limit=2.0)):
        answer = solver([wide(4)], fleet, effort)
        distance = answer.objective[2]
        assert distance.bound is not None
        assert distance.bound <= best <= distance.value <= best_fit([wide(4)], fleet, effort).objective[2].value
        assert answer.status is (SolveStatus.OPTIMAL if distance.bound == distance.value else SolveStatus.FEASIBLE)
        limit = "the effort of 2" if effort.deterministic_limit else "the time limit of 0s"
        assert answer.limited_by == ("" if answer.status is SolveStatus.OPTIMAL else limit)
        assert answer == solver([wide(4)], fleet, effort)
