"""Large batches of all kinds of guests: patterns for those whom they know, and the rest one by one."""

from __future__ import annotations

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
from policies.solver.budget import Budget
from policies.solver.solve import solver
from policies.solver.turns import in_turns
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


@pytest.mark.parametrize(("seed", "guests"), [(0, 60), (1, 60), (2, 60), (3, 60), (4, 20), (7, 20)])
def test_what_is_placed_in_turns_keeps_every_rule(seed: int, guests: int) -> None:
    """Nobody twice, nothing broken, and nobody left out for whom there is room."""
    requests, fleet = [*map(with_odd_cores, batch(seed, guests))], fleet_of(seed, 6)
    found = in_turns(requests, fleet, Budget(Effort(time_limit_s=None)), 1.0)
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
