"""The solver: equal to exhaustive search, honest about time, the same for the same seed."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from policies.capacity import HostCapacity
from policies.check import violations
from policies.fleet import Fleet
from policies.greedy import Choice, best_fit, choose_fullest, first_fit, worst_fit
from policies.objective import DEFAULT_OBJECTIVE, Objective
from policies.open_fleet import OpenFleet
from policies.plan import Answer, Placement, Reason, SolveStatus
from policies.policy import Effort
from policies.request import CpuPolicy, GuestName, GuestRequest
from policies.solver import budget, problem, starts
from policies.solver.solve import solver
from policies.tiers import objective_of
from tests.policies.hosts import GIB_KIB, host_of
from tests.policies.oracle import best_vector, vectors
from tests.policies.tight import objectives, tight_batches

EFFORT = Effort(time_limit_s=None, deterministic_limit=60.0)
Batch = tuple[tuple[GuestRequest, ...], Fleet]


def ask(name: str, vcpus: int, gib: int, **more: object) -> GuestRequest:
    base = GuestRequest(name=GuestName(name), vcpus=vcpus, memory_kib=gib * GIB_KIB)
    return replace(base, **more)  # type: ignore[arg-type]


def worth(answer: Answer) -> tuple[int, ...]:
    """Larger is better, tier by tier."""
    return tuple(tier.value if tier.more_is_better else -tier.value for tier in answer.objective)


def assert_is_best(batch: Batch, objective: Objective = DEFAULT_OBJECTIVE) -> None:
    requests, fleet = batch
    answer = solver(requests, fleet, replace(EFFORT, objective=objective))
    assert violations(answer.decisions, requests, fleet) == ()
    assert max(vectors(requests, fleet.hosts, objective)) == worth(answer)
    assert answer.status is SolveStatus.OPTIMAL
    assert [tier.gap for tier in answer.objective] == [0.0] * len(objective.tiers)
    counted = objective_of(answer.decisions, requests, fleet, objective)
    assert [(t.name, t.value) for t in counted] == [(t.name, t.value) for t in answer.objective]


@given(batch=tight_batches())
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_solver_equals_exhaustive_search(batch: Batch):
    """All tiers have the best values that any answer has, proven, and nothing breaks a rule."""
    assert_is_best(batch)


@given(data=st.data(), batch=tight_batches())
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_objective_is_reached_as_exhaustive_search_reaches_it(data: st.DataObject, batch: Batch):
    """Each term, alone or with others in its tier, in any order."""
    assert_is_best(batch, data.draw(objectives(batch[0])))


@pytest.mark.long
@given(batch=tight_batches())
@settings(max_examples=4000, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_solver_equals_exhaustive_search_at_length(batch: Batch):
    """The same, thousands of times."""
    assert_is_best(batch)


@pytest.mark.long
@given(data=st.data(), batch=tight_batches())
@settings(max_examples=4000, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_objective_is_reached_as_exhaustive_search_reaches_it_at_length(data: st.DataObject, batch: Batch):
    """The same, thousands of times."""
    assert_is_best(batch, data.draw(objectives(batch[0])))


CROWDED = Fleet.of([host_of(f"h{i}", cpus=8, nodes=2, memory_gib=20) for i in range(4)])


def crowd(guests: int = 24) -> tuple[GuestRequest, ...]:
    """More than the four hosts hold, of seven kinds, two of them of several nodes."""
    kinds = [
        ask("a", 3, 5),
        ask("b", 2, 8, cpus=CpuPolicy.DEDICATED),
        ask("c", 10, 6, cells="auto"),
        ask("d", 1, 3, priority=3),
        ask("e", 4, 12, cells=2, cpus=CpuPolicy.DEDICATED),
        ask("f", 5, 2),
        ask("g", 3, 9, cpus=CpuPolicy.DEDICATED, priority=2),
    ]
    return tuple(replace(kinds[i % 7], name=GuestName(f"g{i}")) for i in range(guests))


def test_the_solver_is_never_worse_than_the_greedy_policies():
    """Their answers are starts of its search."""
    best = worth(solver(crowd(), CROWDED, Effort(time_limit_s=None, deterministic_limit=1.0)))
    for policy in (first_fit, best_fit, worst_fit):
        assert best >= worth(policy(crowd(), CROWDED, Effort()))


def test_the_same_seed_and_deterministic_limit_give_the_same_answer():
    """Even where the limit ends the search."""
    effort = Effort(time_limit_s=None, deterministic_limit=0.5, seed=3, workers=2)
    assert solver(crowd(), CROWDED, effort) == solver(crowd(), CROWDED, effort)


@pytest.mark.parametrize("time_limit_s", [0.0, 0.01, 0.3])
def test_a_short_time_limit_still_answers_and_claims_nothing(time_limit_s: float):
    """Sound, no worse than best fit, every bound on the right side of its value."""
    answer = solver(crowd(), CROWDED, Effort(time_limit_s=time_limit_s))
    assert violations(answer.decisions, crowd(), CROWDED) == ()
    assert worth(answer) >= worth(best_fit(crowd(), CROWDED, Effort()))
    placed, *less = answer.objective
    assert placed.bound is not None
    assert placed.bound >= placed.value
    assert all(tier.bound is not None and tier.bound <= tier.value for tier in less)
    if placed.gap:
        lost = {d.reason for d in answer.decisions if not isinstance(d, Placement)}
        assert lost == {Reason.TIME_LIMIT}
        assert answer.status is SolveStatus.FEASIBLE


class Clock:
    """A second passes each time that somebody looks."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        self.now_s += 1.0
        return self.now_s


@pytest.mark.parametrize("limit_s", [0.0, 1e-3, 2.5])
def test_nothing_is_searched_for_long_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch, limit_s: float):
    """However far beyond the limit it is: a share of less than nothing would be for ever."""
    monkeypatch.setattr(budget, "time", Clock())
    left = budget.Budget(Effort(time_limit_s=limit_s))
    for until in (0.4, 0.7, 1.0) * 3:
        share = left.part_of(until, 0.6)
        assert 0.0 <= share <= 1.0
        assert left.solver(share=share).parameters.max_time_in_seconds <= max(budget.SHORTEST_S, limit_s)


@given(batch=tight_batches())
@settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck])
def test_guests_who_come_one_by_one_are_a_start(batch: Batch):
    """Their places are ways of the model, whose answer is the best then too."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(starts, "MANY", 0)
        assert_is_best(batch)


def test_of_many_guests_one_start_is_enough(monkeypatch: pytest.MonkeyPatch):
    """The greedy policies, which take long, are not asked when the time is over, and not to the end."""
    monkeypatch.setattr(starts, "MANY", 50)
    asked: list[str] = []

    def first(request: GuestRequest, book: OpenFleet) -> Choice | None:
        asked.append(request.name)
        return choose_fullest(request, book)

    monkeypatch.setattr(starts, "choose_fullest", first)
    for seconds, most in ((0.0, 0), (30.0, 9)):
        monkeypatch.setattr(budget, "time", Clock())
        answer = solver(crowd(), CROWDED, Effort(time_limit_s=seconds))
        assert violations(answer.decisions, crowd(), CROWDED) == ()
        assert answer.objective[0].value > 20
        assert len(asked) <= most
    assert asked


def test_a_bound_is_never_beaten_by_a_longer_search():
    """What a short search says no answer can reach, a proven answer does not reach."""
    short = solver(crowd(), CROWDED, Effort(time_limit_s=None, deterministic_limit=0.05))
    long = solver(crowd(), CROWDED, Effort(time_limit_s=None, deterministic_limit=8.0))
    bound = short.objective[0].bound
    assert bound is not None
    assert bound >= long.objective[0].value


def test_the_tiers_have_their_names_and_order():
    """What scripts read in `objective`."""
    answer = solver([ask("a", 1, 1)], CROWDED, EFFORT)
    assert [(tier.tier, tier.name) for tier in answer.objective] == [
        (1, "placed"),
        (2, "nodes-spanned"),
        (3, "distance"),
        (4, "soft-wishes"),
        (5, "fewest-hosts"),
    ]


@pytest.mark.parametrize("fleet", [Fleet.of([]), CROWDED])
def test_nobody_to_place_is_an_answer(fleet: Fleet):
    """An empty batch is optimal."""
    assert solver([], fleet, EFFORT).status is SolveStatus.OPTIMAL


def test_no_hosts_is_an_answer():
    """Everybody is refused, and that is proven."""
    answer = solver([ask("a", 1, 1)], Fleet.of([]), EFFORT)
    assert answer.status is SolveStatus.OPTIMAL
    assert [d.reason for d in answer.decisions if not isinstance(d, Placement)] == [Reason.HOST]


def test_priority_outweighs_number():
    """One guest of weight 5 before four of weight 1."""
    fleet = Fleet.of([host_of("h", cpus=4, nodes=1)])
    small = [ask(f"s{i}", 1, 1) for i in range(4)]
    answer = solver([*small, ask("big", 4, 1, priority=5)], fleet, EFFORT)
    assert [d.guest for d in answer.decisions if isinstance(d, Placement)] == ["big"]


def leave(nodes: int, free: frozenset[int]) -> HostCapacity:
    """A host of which only some nodes have memory left, 2 GiB each."""
    host = host_of("h", cpus=4, nodes=nodes, memory_gib=2)
    left = [replace(n, memory_kib={4: 2 * GIB_KIB if n.node_id in free else 1 * GIB_KIB}) for n in host.nodes]
    return replace(host, nodes=tuple(left))


def test_eight_cells_go_to_the_eight_nodes_that_hold_them():
    """More ways than are all looked at, and only one of them fits: it is found, and not called proven."""
    free = frozenset({0, 2, 3, 7, 8, 10, 13, 15})
    fleet = Fleet.of([leave(16, free)])
    answer = solver([ask("big", 16, 16, cells=8)], fleet, EFFORT)
    placed = [d for d in answer.decisions if isinstance(d, Placement)]
    assert [free] == [p.memory_nodes.ids for p in placed]


def test_seven_nodes_do_not_hold_eight_cells():
    """Refused at once, with what lacks, and not by trying half a billion permutations."""
    fleet = Fleet.of([leave(16, frozenset({0, 2, 3, 7, 8, 10, 13}))])
    (decision,) = solver([ask("big", 16, 16, cells=8)], fleet, EFFORT).decisions
    assert not isinstance(decision, Placement)
    assert (
        decision.reason,
        decision.detail,
        decision.fits_if,
    ) == (
        Reason.MEMORY,
        "node 1 of h lacks 1GiB; cells 0-7 want 8 nodes, and only nodes 0,2-3,7-8,10,13 of h hold one",
        "cells: auto",
    )


def test_ways_that_are_left_out_cost_the_proof_and_nothing_else(monkeypatch: pytest.MonkeyPatch):
    """With few ways per class the answer stays sound, and no tier is called proven that is not."""
    whole = solver(crowd(12), CROWDED, EFFORT)
    monkeypatch.setattr(problem, "MOST_WAYS", 10)
    answer = solver(crowd(12), CROWDED, Effort(time_limit_s=None, deterministic_limit=1.0))
    assert violations(answer.decisions, crowd(12), CROWDED) == ()
    assert worth(answer) <= worth(whole)
    bound = answer.objective[0].bound
    assert bound is not None
    assert bound >= whole.objective[0].value


@given(batch=tight_batches(), most=st.sampled_from([1, 6, 30]))
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_bounds_hold_when_ways_are_left_out(batch: Batch, most: int):
    """Tier by tier, as far as the values above are the best ones: no exhaustive answer beats a bound."""
    requests, fleet = batch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(problem, "MOST_WAYS", most)
        answer = solver(requests, fleet, EFFORT)
    assert violations(answer.decisions, requests, fleet) == ()
    for tier, best, value in zip(answer.objective, best_vector(requests, fleet.hosts), worth(answer), strict=True):
        assert tier.bound is not None
        assert tier.bound >= best if tier.tier == 1 else tier.bound <= -best
        if value != best:
            break


def test_terabytes_do_not_overflow():
    """peers.md section 9: KiB compared as 32-bit numbers (libxl_dom.c) go wrong from 2 TiB on."""
    fleet = Fleet.of([host_of("small", nodes=1, memory_gib=1), host_of("large", nodes=2, memory_gib=5000)])
    (decision,) = solver([ask("a", 4, 4999)], fleet, EFFORT).decisions
    assert isinstance(decision, Placement)
    assert decision.host == "large"


def test_the_overcommit_ratio_is_exact():
    """11 vCPUs on 10 pCPUs at 1.1, and no twelfth."""
    fleet = Fleet.of([host_of("h", cpus=10, nodes=1, overcommit=Fraction("1.1"))])
    answer = solver([ask(f"g{i}", 1, 1) for i in range(12)], fleet, EFFORT)
    assert answer.objective[0].value == 11
