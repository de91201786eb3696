"""Large batches that neither arrays nor a model hold: answers that keep every rule, and a bound that holds."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from policies.check import violations
from policies.fleet import Fleet
from policies.plan import Placement
from policies.policy import Effort
from policies.request import Group, GroupRule, GuestRequest, Membership
from policies.solver import large, starts, unmodelled
from policies.solver.solve import solver
from policies.solver.unmodelled import place_unmodelled
from tests.policies.hosts import host_of
from tests.policies.oracle import best_vector
from tests.policies.test_policies import ask
from tests.policies.tight import tight_batches

EFFORT = Effort(time_limit_s=None, deterministic_limit=0.05)


@given(batch=tight_batches())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_rule_is_broken_and_the_best_of_all_answers_is_within_the_bound(
    batch: tuple[tuple[GuestRequest, ...], Fleet],
) -> None:
    requests, fleet = batch
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(unmodelled, "MOST_WAYS", -1)
        patched.setattr(starts, "is_large", lambda *_: True)
        answer = place_unmodelled(requests, fleet, EFFORT)
    assert answer is not None
    assert violations(answer.decisions, requests, fleet) == ()
    placed = answer.objective[0]
    assert placed.bound is not None
    assert placed.value <= best_vector(requests, fleet.hosts)[0] <= placed.bound


def test_a_batch_of_many_whole_groups_is_not_modelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each group is a class of its own: those that fit are whole, and the bound is one of patterns."""
    monkeypatch.setattr(large, "SMALL", 10)
    monkeypatch.setattr(unmodelled, "MOST_WAYS", 10)
    fleet = Fleet.of([host_of(f"h{n}", nodes=1) for n in range(4)])
    groups = [(Membership(group=Group(name=f"w{n}", rule=GroupRule.ALL_OR_NOTHING)),) for n in range(12)]
    requests = [ask(f"g{n}-{m}", 1, 1, groups=whole) for n, whole in enumerate(groups) for m in range(3)]
    answer = solver(requests, fleet, EFFORT)
    assert violations(answer.decisions, requests, fleet) == ()
    assert (15, 16) == (answer.objective[0].value, answer.objective[0].bound)
    assert 15 == sum(isinstance(decision, Placement) for decision in answer.decisions)
