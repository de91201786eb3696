"""The objective: read from text, and what each term makes of a plan. Optimal values are `test_solver.py`'s business."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from policies.check import violations
from policies.fleet import Fleet
from policies.objective import (
    DEFAULT_OBJECTIVE,
    MOST_WEIGHT,
    Objective,
    ObjectiveInvalidError,
    ObjectiveTier,
    Term,
    objective_with,
    parse_objective,
)
from policies.plan import Answer, Placement
from policies.policy import Effort
from policies.registry import load_policy
from policies.request import CpuPolicy, Group, GroupRule, GuestName, GuestRequest, Membership
from policies.solver.large import place_large
from policies.solver.solve import solver
from policies.tiers import objective_of
from tests.policies.hosts import GIB_KIB, host_of

EFFORT = Effort(time_limit_s=None, deterministic_limit=60.0)
FLEET = Fleet.of([host_of(f"h{i}", cpus=4, nodes=2, memory_gib=16) for i in range(3)])


def ask(name: str, vcpus: int, gib: int, **more: object) -> GuestRequest:
    base = GuestRequest(name=GuestName(name), vcpus=vcpus, memory_kib=gib * GIB_KIB)
    return replace(base, **more)  # type: ignore[arg-type]


def solved(requests: list[GuestRequest], objective: Objective, fleet: Fleet = FLEET) -> Answer:
    answer = solver(requests, fleet, replace(EFFORT, objective=objective))
    assert violations(answer.decisions, requests, fleet) == ()
    return answer


def hosts_of(answer: Answer) -> list[str]:
    return [d.host for d in answer.decisions if isinstance(d, Placement)]


def nodes_of(answer: Answer) -> set[tuple[str, object]]:
    return {(d.host, d.cpu_nodes) for d in answer.decisions if isinstance(d, Placement)}


@st.composite
def tables(draw: st.DrawFn) -> tuple[ObjectiveTier, ...]:
    terms = draw(st.lists(st.sampled_from(list(Term)[1:]), unique=True, max_size=6))
    cut = draw(st.integers(0, len(terms)))
    below = [some for some in (terms[:cut], terms[cut:]) if some]
    weights = st.integers(1, MOST_WEIGHT)
    return (
        ObjectiveTier(terms=((Term.PLACED, 1),)),
        *(ObjectiveTier(terms=tuple((term, draw(weights)) for term in some)) for some in below),
    )


@given(table=tables())
def test_what_a_tier_is_called_is_read_as_that_tier(table: tuple[ObjectiveTier, ...]):
    """The names in a plan are the text that `--objective` takes."""
    assert Objective(tiers=table) == parse_objective(", ".join(tier.name for tier in table))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("distance", "the first tier is placed"),
        ("placed + distance", "the first tier is placed"),
        ("2*placed", "the first tier is placed"),
        ("", "expected a term"),
        ("placed,", "expected a term"),
        ("placed, nodes", "expected a term, or a weight and a term as in 10*distance, got 'nodes'"),
        ("placed, -1*distance", "expected a term"),
        ("placed, 0*distance", "a weight is 1 to 1000"),
        ("placed, 1001*distance", "a weight is 1 to 1000"),
        ("placed, distance, balance + distance", "distance is in it twice"),
        ("placed, ١*distance", "expected a term"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, complaint: str):
    with pytest.raises(ObjectiveInvalidError, match=complaint.replace("*", r"\*")):
        parse_objective(text)


def test_flavours_with_uneven_cells_are_no_reference():
    """Room is counted in parts of one size."""
    flavour = ask("f", 4, 4, cells=2, stack_cells=True)
    with pytest.raises(ObjectiveInvalidError, match="cells of several sizes, or stacked"):
        replace(objective_with(Term.KEEP_LARGEST), flavours=(flavour,))


def test_the_packings_differ():
    """Two guests: on one host, spread over nodes, or where they leave most room for one that needs a whole node."""
    pair = [ask("a", 2, 2), ask("b", 2, 2)]
    few, even = (solved(pair, objective_with(term)) for term in (Term.FEWEST_HOSTS, Term.BALANCE))
    assert 1 == len(set(hosts_of(few)))
    assert 2 == len(nodes_of(even))
    whole = ask("whole", 4, 8, cpus=CpuPolicy.DEDICATED)
    kept = solved(pair, replace(objective_with(Term.KEEP_LARGEST), flavours=(whole,)))
    assert 1 == len(nodes_of(kept))
    assert 5 == kept.objective[-1].value


def test_weights_decide_within_a_tier():
    """One host saved against a soft group kept: what weighs more wins."""
    far = Group(name="far", rule=GroupRule.ANTI_AFFINITY, hard=False)
    pair = [ask(n, 1, 1, groups=(Membership(group=far),)) for n in "ab"]
    apart = solved(pair, parse_objective("placed, 2*soft-wishes + fewest-hosts"))
    together = solved(pair, parse_objective("placed, soft-wishes + 2*fewest-hosts"))
    assert (2, 1) == (len(set(hosts_of(apart))), len(set(hosts_of(together))))
    assert (2, 3) == (apart.objective[1].value, together.objective[1].value)


@pytest.mark.parametrize("rule", [r for r in GroupRule if r is not GroupRule.ALL_OR_NOTHING])
def test_a_soft_group_is_kept_where_that_costs_no_place_and_broken_where_it_does(rule: GroupRule):
    """Affinity with room for one on a host, the others with room on one host only."""
    group = Group(name="g", rule=rule, hard=False)
    parts = "ab" if rule is GroupRule.FAULT_DOMAINS else ("", "")
    pair = [ask(f"g{i}", 3, 3, groups=(Membership(group=group, part=parts[i]),)) for i in range(2)]
    roomy = solved(pair, DEFAULT_OBJECTIVE)
    assert 0 == roomy.objective[3].value
    narrow = Fleet.of([host_of(f"h{i}", cpus=4, nodes=1) for i in range(2)])
    one = Fleet.of([host_of("h", cpus=8, nodes=1)])
    short = solved(pair, DEFAULT_OBJECTIVE, narrow if rule is GroupRule.AFFINITY else one)
    assert (2, 1) == (short.objective[0].value, short.objective[3].value)
    hard = [replace(r, groups=tuple(replace(m, group=replace(m.group, hard=True)) for m in r.groups)) for r in pair]
    assert 1 == solved(hard, DEFAULT_OBJECTIVE, narrow if rule is GroupRule.AFFINITY else one).objective[0].value


def test_a_tier_that_no_plan_can_change_is_constant():
    """Guests of one node each, on one host: nothing below the first tier can be otherwise."""
    answer = solved([ask("a", 1, 1), ask("b", 1, 1)], DEFAULT_OBJECTIVE, Fleet.of([host_of("h")]))
    assert [False, True, True, True, True] == [tier.constant for tier in answer.objective]
    wide = solved([ask("a", 2, 1, cells="auto"), ask("b", 1, 1)], DEFAULT_OBJECTIVE, Fleet.of([host_of("h")]))
    assert [False, False, False, True, True] == [tier.constant for tier in wide.objective]
    alone = solved([ask("a", 2, 1, cells="auto")], DEFAULT_OBJECTIVE, Fleet.of([host_of("h")]))
    assert [False, False, True, True, True] == [tier.constant for tier in alone.objective]


@pytest.mark.parametrize("name", ["first-fit", "unpinned", "nova-pack", "numad"])
def test_every_policy_is_judged_by_the_objective_that_was_asked_for(name: str):
    """Also one that does not search, or that binds nothing."""
    objective = parse_objective("placed, balance, keep-largest, 3*soft-wishes + distance")
    requests = [ask("a", 1, 1), ask("b", 2, 4)]
    answer = load_policy(name)(requests, FLEET, replace(EFFORT, objective=objective))
    assert [tier.name for tier in objective.tiers] == [tier.name for tier in answer.objective]


def test_large_batches_keep_room_for_the_largest_within_their_bound():
    """By patterns: the value is what the terms count, the bound is on the right side and near."""
    fleet = Fleet.of([host_of(f"h{i}", cpus=16, nodes=2, memory_gib=64) for i in range(12)])
    requests = [ask(f"g{i}", (1, 2, 4)[i % 3], (2, 4, 8)[i % 3]) for i in range(60)]
    objective = replace(objective_with(Term.KEEP_LARGEST), flavours=(ask("flavour", 16, 32),))
    answer = place_large(requests, fleet, replace(EFFORT, objective=objective))
    assert answer is not None
    counted = objective_of(answer.decisions, requests, fleet, objective)
    assert [tier.value for tier in counted] == [tier.value for tier in answer.objective]
    kept = answer.objective[-1]
    assert kept.bound is not None
    assert 0 <= kept.bound - kept.value <= 1


BRIEF = Effort(time_limit_s=None, deterministic_limit=1.0)


def test_large_batches_heed_wishes_after_the_patterns():
    """Patterns look at hard groups only, and pack; then a few hosts at a time are filled again."""
    far = Group(name="far", rule=GroupRule.ANTI_AFFINITY, hard=False)
    requests = [ask(f"g{i}", 1, 1, groups=(Membership(group=far),)) for i in range(3)]
    packed = place_large(requests, FLEET, replace(BRIEF, deterministic_limit=1e-6))
    answer = place_large(requests, FLEET, BRIEF)
    assert packed is not None
    assert answer is not None
    assert violations(answer.decisions, requests, FLEET) == ()
    assert (2, 0) == (packed.objective[3].value, answer.objective[3].value)
    assert "the effort of 1e-06" == packed.limited_by


def test_without_a_limit_nothing_is_tried_after_the_patterns():
    """It would never end: a wish that patterns do not look at is never proven kept."""
    far = Group(name="far", rule=GroupRule.ANTI_AFFINITY, hard=False)
    requests = [ask(f"g{i}", 1, 1, groups=(Membership(group=far),)) for i in range(8)]
    answer = place_large(requests, FLEET, Effort(time_limit_s=None))
    assert answer is not None
    assert "the patterns" in answer.limited_by


def test_hard_groups_hold_in_large_batches_whatever_wishes_there_are():
    """Both kinds in one batch."""
    far = Group(name="far", rule=GroupRule.ANTI_AFFINITY, hard=False)
    near = Group(name="near", rule=GroupRule.AFFINITY)
    requests = [ask(f"g{i}", 1, 1, groups=(Membership(group=far), Membership(group=near))) for i in range(8)]
    answer = place_large(requests, FLEET, replace(BRIEF, deterministic_limit=0.2))
    assert answer is not None
    assert violations(answer.decisions, requests, FLEET) == ()
    assert (7, 8 - 3) == (answer.objective[3].value, answer.objective[3].bound)


def test_what_limited_a_search_is_told():
    """Nothing where all is proven."""
    crowd = [ask(f"g{i}", 1 + i % 3, 3 + i % 5, cells="auto") for i in range(24)]
    short = solver(crowd, FLEET, replace(EFFORT, deterministic_limit=0.01))
    assert "the effort of 0.01" == short.limited_by
    assert "" == solver([ask("a", 1, 1)], FLEET, EFFORT).limited_by
