"""Rebalancing: each step feasible, within the budget, never worse, and minimal where it says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from policies.objective import Term, objective_with
from policies.rebalance.bound import bound_of
from policies.rebalance.counting import model_of
from policies.rebalance.question import Question, Rebalancing
from policies.rebalance.realize import realize
from policies.rebalance.rebalance import rebalance
from policies.rebalance.room import Room
from policies.rebalance.search import Search
from policies.rebalance.verify import violations_of_steps
from policies.rebalance.walk import Walk, cost_of
from tests.policies.rebalance_oracle import Rank, best_rank
from tests.policies.standing import questions
from tests.policies.standing_rich import rich_questions

LONG = 60.0
SLOW = [HealthCheck.too_slow]


def rank_of(question: Question, found: Rebalancing) -> Rank:
    """Value and cost of an answer, as the oracle counts them."""
    tiers = {tier.name: tier.value for tier in found.after}
    weights = {request.name: request.priority for request in question.wanted}
    value = -sum(weights[p.guest] for p in found.placed), 0, 0, 0
    if not question.wanted:
        value = tiers["nodes-spanned"], tiers["distance"], tiers["soft-wishes"], found.after[-1].value
    return value, (found.moved_kib, len(found.steps))


@given(questions())
@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
def test_the_search_finds_what_all_sequences_hold(question: Question) -> None:
    """Value, memory copied and number of steps are those of exhaustive search, pCPU by pCPU."""
    found = rebalance(question, LONG)
    assert (True, best_rank(question)) == (found.proven, rank_of(question, found))


@given(questions())
@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
def test_the_search_balances_as_well_as_all_sequences(question: Question) -> None:
    """With `balance` as the last tier."""
    question = replace(question, wanted=(), objective=objective_with(Term.BALANCE))
    found = rebalance(question, LONG)
    assert (True, best_rank(question)) == (found.proven, rank_of(question, found))


@given(rich_questions())
@settings(max_examples=50, deadline=None, suppress_health_check=SLOW)
def test_the_search_finds_what_all_sequences_hold_of_guests_of_every_kind(question: Question) -> None:
    """Mixed ones, own pCPUs of emulators, any cells, huge pages, groups of every level but L3, closed nodes."""
    found = rebalance(question, LONG)
    assert (True, best_rank(question)) == (found.proven, rank_of(question, found))


@given(rich_questions(smt=True))
@settings(max_examples=20, deadline=None, suppress_health_check=SLOW)
def test_nothing_is_called_proven_of_whole_cores(question: Question) -> None:
    """And what is found is sound, and no better than what there is."""
    found = rebalance(question, LONG)
    best, rank = best_rank(question), rank_of(question, found)
    assert (best == rank if found.proven else best <= rank, ()) == (
        True,
        violations_of_steps(question, found.steps, found.placed),
    )


@pytest.mark.long
@given(rich_questions())
@settings(max_examples=2000, deadline=None, suppress_health_check=SLOW)
def test_the_search_finds_what_all_sequences_hold_of_every_kind_in_thousands_of_cases(question: Question) -> None:
    """The same, for `make test-long`."""
    found = rebalance(question, LONG)
    assert (True, best_rank(question)) == (found.proven, rank_of(question, found))


@pytest.mark.long
@given(questions())
@settings(max_examples=4000, deadline=None, suppress_health_check=SLOW)
def test_the_search_finds_what_all_sequences_hold_in_thousands_of_cases(question: Question) -> None:
    """The same, for `make test-long`."""
    found = rebalance(question, LONG)
    assert (True, best_rank(question)) == (found.proven, rank_of(question, found))


@given(questions(most_guests=5, most_moves=4))
@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
def test_each_state_is_feasible_within_the_budget_and_nothing_gets_worse(question: Question) -> None:
    """By the independent checker: between the steps, during each, and with the new guests at the end."""
    found = rebalance(question, LONG)
    assert () == violations_of_steps(question, found.steps, found.placed)
    assert len(found.steps) <= question.budget.most_moves
    assert found.moved_kib <= question.budget.most_memory_kib
    before, after = ([tier.value for tier in tiers] for tiers in (found.before, found.after))
    assert after[0] >= before[0]
    assert question.wanted or after <= before


@given(questions(most_guests=8, most_moves=6))
@settings(max_examples=80, deadline=None, suppress_health_check=SLOW)
def test_room_made_the_quick_way_is_feasible_too(question: Question) -> None:
    """What is found without a search of all states: sound, within the budget, and no worse than as it is."""
    model = model_of(question)
    room = Room(model, lambda: True)
    found = room.for_wanted() if question.wanted else room.for_objective()
    made = realize(model, found)
    assert made is not None
    assert () == violations_of_steps(question, *made)
    assert found.cost[0] <= question.budget.most_memory_kib
    assert found.cost[1] <= question.budget.most_moves
    assert question.wanted or found.value <= Walk(model).value


@given(questions(most_guests=6, most_moves=4))
@settings(max_examples=200, deadline=None, suppress_health_check=SLOW)
def test_no_bound_asks_for_more_than_is_needed(question: Question) -> None:
    """From every state on the way to what was found, what is still done is no less than the bound."""
    model = model_of(question)
    room = Room(model, lambda: True)
    found = room.for_wanted() if question.wanted else room.for_objective()
    search = Search(model, found, lambda _: True, lambda: True)
    if found.cost[1] < 3:
        search.run()
    found, walk, bound = search.best, Walk(model), bound_of(model)
    start = Walk(model).value if not question.wanted else None
    for i in range(len(found.moves) + 1):
        left = cost_of(found.moves[i:])
        least = bound.onward(walk, found.value, better=False)
        assert least is not None
        assert (least[0] <= left[0], least[1] <= left[1]) == (True, True)
        if start is not None and found.value < start:
            better = bound.onward(walk, start, better=True)
            assert better is not None
            assert better[0] <= left[0]
        walk.do(found.moves[i : i + 1])
    assert bound.ideal <= found.value


@given(questions(), st.integers(0, 60))
@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
def test_so_many_looks_give_the_same_sound_steps_each_time(question: Question, looks: int) -> None:
    """However few: no clock decides."""
    found = rebalance(question, None, looks=looks)
    assert found == rebalance(question, None, looks=looks)
    assert () == violations_of_steps(question, found.steps, found.placed)
