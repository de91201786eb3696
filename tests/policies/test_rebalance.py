"""Rebalancing: each step feasible, within the budget, never worse, and minimal where it says so."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from policies.rebalance.question import Question
from policies.rebalance.rebalance import rebalance
from policies.rebalance.verify import violations_of_steps
from tests.policies.rebalance_oracle import best_rank
from tests.policies.standing import questions

LONG = 60.0


@given(questions())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_search_finds_what_all_sequences_hold(question: Question) -> None:
    """Value, memory copied and number of steps are those of exhaustive search, pCPU by pCPU."""
    found = rebalance(question, LONG)
    assert found.proven
    tiers = {tier.name: tier.value for tier in found.after}
    if question.wanted:
        weights = {request.name: request.priority for request in question.wanted}
        value: tuple[int, ...] = (-sum(weights[p.guest] for p in found.placed),)
    else:
        value = tiers["nodes-spanned"], tiers["distance"], tiers["fewest-hosts"]
    assert best_rank(question) == (value, (found.moved_kib, len(found.steps)))


@given(questions(most_guests=6, most_moves=6))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_each_state_is_feasible_within_the_budget_and_nothing_gets_worse(question: Question) -> None:
    """By the independent checker: between the steps, during each, and with the new guests at the end."""
    found = rebalance(question, LONG)
    assert () == violations_of_steps(question, found.steps, found.placed)
    assert len(found.steps) <= question.budget.most_moves
    assert found.moved_kib <= question.budget.most_memory_kib
    before, after = ([tier.value for tier in tiers] for tiers in (found.before, found.after))
    assert after[0] >= before[0]
    if not question.wanted:
        assert after <= before
