"""Rebalancing among many guests: what is quick is as sound as what is slow, and it is told what ended it."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from policies.asked import EmulatorPolicy
from policies.objective import Term, objective_with
from policies.places import all_ways, placed
from policies.plan import Placement
from policies.rebalance import counting
from policies.rebalance.counting import model_of
from policies.rebalance.question import Budget, Limit, Question, Step, StepKind
from policies.rebalance.realize import realize
from policies.rebalance.rebalance import rebalance
from policies.rebalance.room import Room
from policies.rebalance.verify import is_sound, violations_between, violations_of_steps
from policies.rebalance.walk import Walk
from policies.request import CpuPolicy
from probe.cpuset import CpuSet
from tests.policies.hosts import GIB_KIB
from tests.policies.standing import guest, questions
from tests.policies.test_rebalance_cases import asked, hosts, stands

SLOW = [HealthCheck.too_slow]


def _any_steps(chance: Random, question: Question, most: int) -> list[Step]:
    """Guests go anywhere that an empty host would hold them, whoever is there."""
    empty, now = question.fleet.open(), {g.request.name: g.placement for g in question.guests}
    steps = []
    for _ in range(chance.randint(1, most)):
        moved = chance.choice(question.guests)
        host = chance.choice(question.fleet.hosts)
        ways = [*all_ways(moved.request, empty, host)]
        target = placed(moved.request, empty, host, chance.choice(ways)) if ways else None
        if target is not None:
            origin = now[target.guest]
            steps.append(Step(kind=_kind(origin, target), origin=origin, target=target, kib=_copied(origin, target)))
            now[target.guest] = target
    return steps


def _kind(origin: Placement, target: Placement) -> StepKind:
    if origin.host != target.host:
        return StepKind.MIGRATE
    return StepKind.MOVE_MEMORY if _copied(origin, target) else StepKind.RE_PIN


def _copied(origin: Placement, target: Placement) -> int:
    same = origin.host == target.host and [c.memory for c in origin.cells] == [c.memory for c in target.cells]
    return 0 if same else 1


@given(questions(most_guests=5), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None, suppress_health_check=SLOW)
def test_what_the_checker_finds_is_found_where_only_changes_are_looked_at(question: Question, seed: int) -> None:
    """Of steps of any kind, most of them unsound."""
    if not question.guests:
        return
    steps = _any_steps(Random(seed), question, 3)  # noqa: S311
    slow = violations_of_steps(question, steps, ())
    quick = [*violations_between(question, steps)]
    assert bool(quick) or not slow, slow


@given(questions(most_guests=7, most_moves=5))
@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
def test_sound_steps_are_sound_where_only_changes_are_looked_at(question: Question) -> None:
    """And those that were found are."""
    model = model_of(question)
    room = Room(model, lambda: True)
    made = realize(model, room.for_wanted() if question.wanted else room.for_objective())
    assert made is not None
    assert [] == [*violations_between(question, made[0])]
    assert () == violations_of_steps(question, *made)


def crowd(count: int, moves: int) -> Question:
    """So many shared guests float on the one node of a host, and one wants pCPUs of its own."""
    (host,) = hosts("h1", gib=count + 1, nodes=1, cpus=count // 4 + 4)
    there = [stands(guest(f"g{i}"), host, 0) for i in range(count)]
    return asked([host], there, guest("new", 1, 4, cpus=CpuPolicy.DEDICATED), budget=Budget(most_moves=moves))


def test_hundreds_give_way_to_one() -> None:
    """Each is pinned anew once; that is proven, and sound by whichever way it is looked at."""
    question = crowd(300, 1000)
    found = rebalance(question, None, looks=100_000)
    assert (Limit.NONE, 300, {StepKind.RE_PIN}) == (found.limit, len(found.steps), {s.kind for s in found.steps})
    assert is_sound(question, found.steps, found.placed)
    few = found.steps[:-1]
    assert not is_sound(question, few, found.placed)
    assert not is_sound(question, [*reversed(found.steps), found.steps[0]], ())


def test_what_ended_the_search_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time, before anything was looked at; the hosts that were not looked at; or nothing."""
    two = hosts("h1", "h2", "h3")
    there = [stands(guest("a", 4), two[0], 0, migrates=True), stands(guest("b", 3), two[1], 0, migrates=True)]
    over, whole = (rebalance(asked(two, there), limit) for limit in (0.0, 60.0))
    assert (Limit.TIME, False, ()) == (over.limit, over.looked_through, over.steps)
    assert (Limit.NONE, True, [StepKind.MIGRATE]) == (whole.limit, whole.looked_through, [s.kind for s in whole.steps])
    monkeypatch.setattr(counting, "MOST_CLASS_NODES", 4)
    some = rebalance(asked(two, there), 60.0)
    assert (Limit.WAYS, True) == (some.limit, some.looked_through)


def test_many_kinds_of_guests_go_to_the_hosts_with_the_most_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where classes times nodes are too many; what is found is sound."""
    monkeypatch.setattr(counting, "MOST_CLASS_NODES", 20)
    fleet = hosts(*(f"h{i}" for i in range(12)))
    there = [stands(guest(f"g{i}", 1 + i % 4), host, i % 2, migrates=True) for i, host in enumerate(fleet)]
    question = asked(fleet, there, budget=Budget(most_moves=4, most_memory_kib=99 * GIB_KIB))
    found = rebalance(question, None, looks=3_000)
    assert (4, ()) == (len(found.steps), violations_of_steps(question, found.steps, ()))


def test_without_time_to_count_guests_stay_on_their_hosts() -> None:
    """Of a class that is counted too late no other host is looked at, and nothing is proven."""
    two = hosts("h1", "h2")
    question = asked(two, [stands(guest("a", 4), two[0], 0, migrates=True)])
    for has_time, reached in ((True, {0, 1}), (False, {0})):
        model = model_of(question, lambda has_time=has_time: has_time)
        (kind,) = model.standing
        assert (has_time, reached) == (model.exact, {place.host for place in kind.places})


def test_hosts_of_one_shape_differ_by_their_housekeeping_pcpus() -> None:
    """A guest whose emulator is to run there goes where there are some, on whichever host."""
    kept = CpuSet.of(4)
    one, two = hosts("h1", "h2")
    nodes = tuple(replace(n, free_cpus=n.free_cpus - kept, shared_cpus=n.shared_cpus - kept) for n in two.nodes)
    two = replace(two, nodes=nodes, housekeeping_cpus=kept)
    wanted = guest("new", emulator=EmulatorPolicy.HOUSEKEEPING)
    for fleet in ([replace(one, housekeeping_cpus=CpuSet.of(0)), two], [two, one]):
        (place,) = rebalance(asked(fleet, [], wanted), 30.0).placed
        assert place.emulator_cpus is not None
        assert place.emulator_cpus <= kept | CpuSet.of(0)
    places = model_of(asked([replace(one, housekeeping_cpus=CpuSet.of(0)), two], [], wanted)).wanted[0].places
    assert [(0, 0), (1, 1)] == sorted((place.host, place.homes[0].cpu_node) for place in places)


@given(questions(most_guests=7, most_moves=5), st.sampled_from([Term.BALANCE, Term.KEEP_LARGEST]))
@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
def test_nodes_are_evened_out_soundly_and_within_the_budget(question: Question, term: Term) -> None:
    """And nothing gets worse."""
    question = replace(question, wanted=(), objective=objective_with(term))
    model = model_of(question)
    found = Room(model, lambda: True).for_objective()
    made = realize(model, found)
    assert made is not None
    assert () == violations_of_steps(question, *made)
    assert found.value <= Walk(model).value
    assert (found.cost[0] <= question.budget.most_memory_kib, found.cost[1] <= question.budget.most_moves) == (
        True,
        True,
    )


def test_nodes_of_many_hosts_are_evened_out_the_quick_way() -> None:
    """From the fullest to the emptiest, the best step first: six guests on one host go to the six that are empty."""
    fleet = hosts(*(f"h{i}" for i in range(7)), nodes=1)
    there = [stands(guest(f"g{i}", 1), fleet[0], 0, migrates=True) for i in range(7)]
    question = asked(fleet, there, objective=objective_with(Term.BALANCE))
    found = Room(model_of(question), lambda: True).for_objective()
    assert {move.way.target for move in found.moves} == set(range(2, 8))
    assert len(found.moves) == 6
