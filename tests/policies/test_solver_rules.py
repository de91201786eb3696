"""Each hard rule of the model binds: without it the answer breaks something that others notice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import pytest

from policies.asked import SmtPolicy
from policies.capacity import HostCapacity
from policies.check import violations
from policies.errors import DoesNotFitError
from policies.fleet import Fleet
from policies.policy import Effort
from policies.request import CpuPolicy, Group, GroupRule, GuestName, GuestRequest, Membership
from policies.solver.budget import Budget
from policies.solver.groups import members_keep_to_their_groups
from policies.solver.improve import PolicyError
from policies.solver.rules import (
    HARD_RULES,
    Rule,
    all_have_a_place_or_none,
    dedicated_pcpus_are_not_shared_out_twice,
    memory_is_not_overcommitted,
    no_guest_is_overcommitted_against_itself,
    no_guest_lives_twice,
    pcpus_of_an_l3_domain_are_not_given_out_twice,
    shared_vcpus_stay_within_the_overcommit,
    whole_cores_are_not_given_out_twice,
)
from policies.solver.solve import best_counts, solve
from policies.solver.terms import values_of
from probe.cpuset import CpuSet
from tests.policies.hosts import GIB_KIB, host_of, topology_of
from tests.policies.oracle import best_vector

EFFORT = Effort(time_limit_s=None, deterministic_limit=20.0)
OWN = CpuPolicy.DEDICATED
APART = (Membership(group=Group(name="team", rule=GroupRule.ANTI_AFFINITY)),)
WHOLE = (Membership(group=Group(name="crew", rule=GroupRule.ALL_OR_NOTHING)),)


def ask(name: str, vcpus: int, gib: int = 1, **more: object) -> GuestRequest:
    base = GuestRequest(name=GuestName(name), vcpus=vcpus, memory_kib=gib * GIB_KIB)
    return replace(base, **more)  # type: ignore[arg-type]


def in_one_l3(team: str) -> tuple[Membership, ...]:
    return (Membership(group=Group(name=team, rule=GroupRule.AFFINITY, level="l3")),)


def divided(free: str, shared: str) -> HostCapacity:
    """A host of one node whose pCPUs are partitioned."""
    made = host_of("h", cpus=8, nodes=1)
    (node,) = made.nodes
    return replace(made, nodes=(replace(node, free_cpus=CpuSet.parse(free), shared_cpus=CpuSet.parse(shared)),))


def cored(host: HostCapacity) -> HostCapacity:
    """The same with two threads per core."""
    return replace(host, topology=topology_of(cpus=8, nodes=1, smt=2))


@dataclass(frozen=True)
class Instance:
    """A batch on which exactly this rule binds."""

    rule: Rule
    requests: tuple[GuestRequest, ...]
    host: HostCapacity


INSTANCES = (
    Instance(
        no_guest_lives_twice,
        (ask("a", 1, priority=5), ask("b", 1, 4), ask("c", 1, 4)),
        host_of("h", nodes=2, memory_gib=4),
    ),
    Instance(
        memory_is_not_overcommitted,
        (ask("a", 1, 3), ask("b", 1, 3), ask("c", 1, 3)),
        host_of("h", nodes=2, memory_gib=5),
    ),
    Instance(
        dedicated_pcpus_are_not_shared_out_twice,
        (ask("a", 2, cpus=OWN), ask("b", 2, cpus=OWN)),
        divided(free="0-2", shared="4-7"),
    ),
    Instance(
        whole_cores_are_not_given_out_twice,
        (ask("a", 1, cpus=OWN, smt=SmtPolicy.ISOLATE), ask("b", 1, cpus=OWN, smt=SmtPolicy.ISOLATE)),
        cored(divided(free="0-2,5", shared="")),
    ),
    Instance(
        pcpus_of_an_l3_domain_are_not_given_out_twice,
        tuple(ask(name, 2, cpus=OWN, groups=in_one_l3(name)) for name in "abc"),
        replace(divided(free="0-2,4-6", shared=""), topology=topology_of(cpus=8, nodes=1, l3_of=4)),
    ),
    Instance(
        shared_vcpus_stay_within_the_overcommit,
        (ask("a", 2), ask("b", 2)),
        host_of("h", nodes=1, overcommit=Fraction(1, 2)),
    ),
    Instance(
        no_guest_is_overcommitted_against_itself,
        (ask("a", 4), ask("b", 2, cpus=OWN)),
        host_of("h", nodes=1, overcommit=Fraction(4)),
    ),
    Instance(
        members_keep_to_their_groups,
        (ask("a", 1, groups=APART), ask("b", 1, groups=APART)),
        host_of("h", nodes=1),
    ),
    Instance(
        all_have_a_place_or_none,
        (ask("a", 3, groups=WHOLE), ask("b", 3, groups=WHOLE)),
        host_of("h", nodes=1),
    ),
)


def test_there_is_an_instance_for_every_rule():
    """A new rule needs one."""
    assert set(HARD_RULES) == {instance.rule for instance in INSTANCES}


@pytest.mark.parametrize("instance", INSTANCES, ids=lambda i: i.rule.__name__)
def test_with_all_rules_the_answer_is_the_best_sound_one(instance: Instance):
    """Exhaustive search says so, and the checker has nothing to say."""
    fleet = Fleet.of([instance.host])
    answer = solve(instance.requests, fleet, EFFORT, rules=HARD_RULES)
    assert violations(answer.decisions, instance.requests, fleet) == ()
    assert best_vector(instance.requests, [instance.host])[0] == answer.objective[0].value


@pytest.mark.parametrize("instance", INSTANCES, ids=lambda i: i.rule.__name__)
def test_without_the_rule_the_model_places_more_than_is_possible(instance: Instance):
    """More weight than exhaustive search finds: the rule, and only it, forbids that."""
    fleet = Fleet.of([instance.host])
    others = [rule for rule in HARD_RULES if rule is not instance.rule]
    problem, counts, _ = best_counts(instance.requests, fleet, Budget(EFFORT), others)
    assert values_of(problem, counts)[0] > best_vector(instance.requests, [instance.host])[0]


@pytest.mark.parametrize("instance", INSTANCES[1:-1], ids=lambda i: i.rule.__name__)
def test_an_answer_of_a_wrong_model_stops_at_composing(instance: Instance):
    """A bug in the model is an error and never a plan."""
    fleet = Fleet.of([instance.host])
    others = [rule for rule in HARD_RULES if rule is not instance.rule]
    with pytest.raises(PolicyError, match="the model let through what does not fit") as caught:
        solve(instance.requests, fleet, EFFORT, rules=others)
    assert isinstance(caught.value.__cause__, DoesNotFitError)
