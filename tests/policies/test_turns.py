"""Large batches of all kinds of guests: patterns for those whom they know, and the rest one by one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from random import Random

import pytest

from policies.asked import SmtPolicy
from policies.check import violations
from policies.compose import settle_shared
from policies.fleet import Fleet
from policies.online.fleet import OnlineFleet
from policies.plan import Placement, Rejection
from policies.policy import Effort
from policies.request import CpuPolicy, Group, GroupRule, GuestRequest, Membership
from policies.solver import turns
from policies.solver.budget import Budget
from policies.solver.problem import classes_of
from policies.solver.solve import solver
from policies.solver.starts import PAIR_S, SHARE, starts
from policies.solver.turns import in_turns, one_by_one
from probe.cpuset import CpuSet
from tests.policies.hosts import host_of
from tests.policies.test_policies import ask

APART = (Membership(group=Group(name="apart", rule=GroupRule.ANTI_AFFINITY)),)


def batch(seed: int, guests: int) -> list[GuestRequest]:
    """Shared, dedicated and some mixed guests; of each sort some want a host each."""
    chance = Random(seed)  # noqa: S311
    found = []
    for number in range(guests):
        vcpus = chance.choice([1, 2, 2, 4])
        cpus = chance.choice([CpuPolicy.SHARED, CpuPolicy.SHARED, CpuPolicy.DEDICATED])
        request = ask(f"g{number}", vcpus, chance.choice([1, 2, 4]), cpus=cpus, priority=chance.choice([1, 1, 2]))
        if vcpus > 1 and number % 10 == 0:
            request = replace(request, cpus=CpuPolicy.MIXED, dedicated_vcpus=CpuSet.of(0))
        found.append(replace(request, groups=APART if number % 9 == 0 else ()))
    return found


def with_odd_cores(request: GuestRequest) -> GuestRequest:
    """Some dedicated guests as patterns do not know them."""
    is_odd = request.cpus is CpuPolicy.DEDICATED and int(request.name[1:]) % 3 == 0
    return replace(request, smt=SmtPolicy.ISOLATE, priority=2) if is_odd else request


def fleet_of(seed: int, hosts: int) -> Fleet:
    chance = Random(seed)  # noqa: S311
    return Fleet.of(
        [
            host_of(f"h{i}", nodes=2, memory_gib=chance.choice([6, 8, 12]), overcommit=Fraction(chance.choice([1, 2])))
            for i in range(hosts)
        ]
    )


@pytest.mark.parametrize("others_first", [False, True])
@pytest.mark.parametrize(("seed", "guests"), [(0, 60), (1, 60), (2, 60), (3, 60), (4, 20), (7, 20)])
def test_what_is_placed_in_turns_keeps_every_rule(seed: int, guests: int, *, others_first: bool) -> None:
    """Nobody twice, nothing broken, and nobody left out for whom there is room."""
    requests, fleet = [*map(with_odd_cores, batch(seed, guests))], fleet_of(seed, 6)
    found = in_turns(requests, fleet, Budget(Effort(time_limit_s=None)), 1.0, others_first=others_first)
    asked = {request.name: request for request in requests}
    placed = [asked[placement.guest] for placement in found]
    assert violations(settle_shared(found, fleet), placed, fleet) == ()
    assert {CpuPolicy.SHARED, CpuPolicy.DEDICATED} <= {request.cpus for request in placed}
    assert guests > 20 or {SmtPolicy.PREFER, SmtPolicy.ISOLATE} <= {request.smt for request in placed}
    online = OnlineFleet(fleet)
    for placement in found:
        online.take(placement)
    left = [request for request in requests if request not in placed]
    assert all(isinstance(online.place_one(request), Rejection) for request in left)


def test_a_large_batch_of_both_kinds_is_placed_whole_where_there_is_room() -> None:
    """2 × 2 dedicated and 4 × 2 shared vCPUs fill each of 60 hosts with overcommit 2."""
    fleet = Fleet.of([host_of(f"h{i}", nodes=2, memory_gib=8, overcommit=Fraction(2)) for i in range(60)])
    own = [ask(f"d{i}", 2, 2, cpus=CpuPolicy.DEDICATED) for i in range(120)]
    shared = [ask(f"s{i}", 2, 2) for i in range(240)]
    answer = solver([*own, *shared], fleet, Effort(time_limit_s=None, deterministic_limit=0.01))
    assert 360 == sum(isinstance(decision, Placement) for decision in answer.decisions)


def crew(name: str, count: int, vcpus: int) -> list[GuestRequest]:
    """Guests who all have a place or none."""
    whole = (Membership(group=Group(name=name, rule=GroupRule.ALL_OR_NOTHING)),)
    return [ask(f"{name}{n}", vcpus, 1, groups=whole) for n in range(count)]


def test_all_or_nothing_groups_come_whole_or_not_at_all() -> None:
    """Before the patterns both have room; after them neither has."""
    fleet = fleet_of(3, 6)
    requests = [*batch(3, 60), *crew("a", 4, 2), *crew("b", 3, 4), *crew("c", 90, 1)]
    counts = {}
    for others_first in (False, True):
        found = in_turns(requests, fleet, Budget(Effort(time_limit_s=None)), 1.0, others_first=others_first)
        asked = {request.name: request for request in requests}
        assert violations(settle_shared(found, fleet), [asked[p.guest] for p in found], fleet) == ()
        counts[others_first] = Counter(placement.guest[0] for placement in found)
    assert {(counts[False][name], counts[True][name]) for name in "abc"} == {(0, 4), (0, 3), (0, 0)}


def test_guests_come_one_by_one_until_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who came have their places, and a group that is whole or not at all is whole."""
    monkeypatch.setattr(turns, "AT_ONCE", 1)
    looks = iter(range(3))
    monkeypatch.setattr(Budget, "has_lasted", lambda _, **__: next(looks, None) is None)
    fleet, budget = fleet_of(0, 6), Budget(Effort(time_limit_s=1.0))
    found = one_by_one([*crew("a", 4, 1), *batch(0, 20)], OnlineFleet(fleet), budget)
    assert ["a0", "a1", "a2", "a3", "g0", "g1"] == [placement.guest for placement in found]


def test_counted_effort_is_not_spent_on_greedy_starts_of_large_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """By size, not by the clock: the same starts on every machine."""
    asked: list[int] = []

    def greedy(*_: object) -> dict[object, int]:
        asked.append(1)
        return {}

    monkeypatch.setattr("policies.solver.starts._greedy", greedy)
    requests, fleet = batch(1, 900), fleet_of(1, 6)
    work_s = 900 * 6 * PAIR_S
    for limit, greedy_starts in ((work_s, 0), (2.5 * work_s / SHARE, 2), (99 * work_s, 6)):
        asked.clear()
        starts(classes_of(requests), requests, fleet, Budget(Effort(time_limit_s=None, deterministic_limit=limit)))
        assert greedy_starts == len(asked)
