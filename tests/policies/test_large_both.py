"""Large batches in which guests own pCPUs, share them, or both: one problem, sound answers, and bounds that hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from policies.asked import EmulatorPolicy
from policies.capacity import HostCapacity, NodeCapacity
from policies.check import violations
from policies.fleet import Fleet
from policies.homes import has_own_pcpus
from policies.objective import DEFAULT_OBJECTIVE
from policies.patterns.place import place
from policies.patterns.verify import broken_rules
from policies.plan import Placement
from policies.policy import Effort
from policies.request import CpuPolicy, Group, GroupRule, GuestName, GuestRequest, Membership
from policies.solver.arrays import Asked, as_arrays
from policies.solver.large import place_large
from probe.cpuset import CpuSet
from tests.policies.hosts import GIB_KIB, host_of
from tests.policies.oracle import best_vector
from tests.policies.strategies import cpu_policies
from tests.policies.test_policies import ask

EFFORT = Effort(time_limit_s=None, deterministic_limit=0.05)
OWN, SHARED = CpuPolicy.DEDICATED, CpuPolicy.SHARED
DIVISIONS = ("undivided", "undivided", "divided", "lived in", "anyhow")


def divided(node: NodeCapacity, how: str, some: frozenset[int], there: int) -> NodeCapacity:
    """A node whose pCPUs are all of either kind, or some of one and some of the other."""
    cpus, part = node.free_cpus, CpuSet(some) & node.free_cpus
    free, shared = {
        "undivided": (cpus, cpus),
        "divided": (part, cpus - part),
        "lived in": (part, cpus),
        "anyhow": (cpus, part),
    }[how]
    return replace(node, free_cpus=free, shared_cpus=shared, shared_vcpus=0 if how == "undivided" else there)


@st.composite
def hosts(draw: st.DrawFn, name: str) -> HostCapacity:
    ratio = draw(st.sampled_from([Fraction(1), Fraction(2), Fraction(3, 2), Fraction(4), Fraction(3, 4)]))
    host = host_of(name, nodes=draw(st.integers(1, 2)), memory_gib=draw(st.integers(1, 6)), overcommit=ratio)
    how = draw(st.sampled_from(DIVISIONS))
    nodes = (
        divided(
            node, how, draw(st.frozensets(st.sampled_from(list(node.free_cpus)))), draw(st.sampled_from([0, 0, 1, 3]))
        )
        for node in host.nodes
    )
    return replace(host, nodes=tuple(nodes))


@st.composite
def guests(draw: st.DrawFn, name: str) -> GuestRequest:
    vcpus = draw(st.integers(1, 5))
    cells = draw(st.sampled_from([1, 1, "auto", *([2] if vcpus > 1 else [])]))
    request = ask(name, vcpus, draw(st.integers(1, 3)), cells=cells, priority=draw(st.sampled_from([1, 1, 2, 5])))
    request = replace(request, **draw(cpu_policies(vcpus)), overhead_kib=draw(st.sampled_from([0, GIB_KIB // 4])))
    emulators = [EmulatorPolicy.AUTO, *([EmulatorPolicy.OWN] if has_own_pcpus(request) else [])]
    return replace(request, emulator=draw(st.sampled_from(emulators)))


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[GuestRequest], Fleet]:
    fleet = Fleet.of([draw(hosts(f"h{n}")) for n in range(draw(st.integers(1, 2)))])
    kinds = [draw(guests(f"k{n}")) for n in range(draw(st.integers(1, 4)))]
    asked = draw(st.lists(st.sampled_from(kinds), min_size=2, max_size=5))
    return [replace(kind, name=GuestName(f"g{n}")) for n, kind in enumerate(asked)], fleet


def arrays_of(requests: Sequence[GuestRequest], fleet: Fleet) -> Asked:
    asked = as_arrays(requests, fleet, DEFAULT_OBJECTIVE)
    assert asked is not None
    return asked


@given(batch=batches())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_owns_and_what_floats_is_placed_soundly_and_within_the_bound(
    batch: tuple[list[GuestRequest], Fleet],
) -> None:
    """The arrays' own rules hold, so does the checker, and the best of all answers is not above the bound."""
    requests, fleet = batch
    asked = as_arrays(requests, fleet, DEFAULT_OBJECTIVE)
    assume(asked is not None)  # somebody could live somewhere
    assert asked is not None
    assert broken_rules(asked.supply, asked.batch, place(asked.supply, asked.batch).homes) == []
    answer = place_large(requests, fleet, EFFORT)
    assert answer is not None
    assert violations(answer.decisions, requests, fleet) == ()
    best = best_vector(requests, fleet.hosts)[0]
    assert answer.objective[0].bound is not None
    assert answer.objective[0].value <= best <= answer.objective[0].bound


def some(count: int, name: str, vcpus: int, cpus: CpuPolicy, **more: object) -> list[GuestRequest]:
    return [ask(f"{name}{n}", vcpus, 1, cpus=cpus, **more) for n in range(count)]


def parted(name: str, own: int, **more: object) -> HostCapacity:
    """A host of two nodes of 4 pCPUs; the first `own` of each may be owned, the others are shared."""
    host = host_of(name, **more)  # type: ignore[arg-type]
    nodes = (divided(n, "divided", frozenset(list(n.free_cpus)[:own]), 0) for n in host.nodes)
    return replace(host, nodes=tuple(nodes))


def lived_in(name: str, **more: object) -> HostCapacity:
    """A host of two nodes of 4 pCPUs, on the first of which a vCPU floats."""
    host = host_of(name, **more)  # type: ignore[arg-type]
    return replace(host, nodes=(divided(host.nodes[0], "lived in", frozenset(), 1), *host.nodes[1:]))


MIXED = {"dedicated_vcpus": CpuSet.of(0)}


@pytest.mark.parametrize(
    ("fleet", "requests", "most"),
    [
        # a node of 4 pCPUs with overcommit 2 holds p owned and 8 - 2p floating ones
        ([host_of("h", overcommit=Fraction(2))], some(9, "d", 1, OWN) + some(9, "s", 4, SHARED), 8),
        ([host_of("h", overcommit=Fraction(2))], some(2, "d", 3, OWN) + some(9, "s", 1, SHARED), 10),
        ([host_of("h", overcommit=Fraction(3, 2))], some(4, "d", 2, OWN) + some(9, "s", 3, SHARED), 4),
        # mixed guests of one owned and one floating vCPU take 3 of 8 each
        ([host_of("h", overcommit=Fraction(2))], some(9, "m", 2, CpuPolicy.MIXED, **MIXED), 4),
        # hosts that count otherwise, in one batch
        (
            [host_of("a", nodes=1), host_of("b", nodes=1, overcommit=Fraction(4))],
            some(8, "d", 1, OWN) + some(16, "s", 1, SHARED),
            20,
        ),
        # on the first node somebody floats: nothing can be owned there, and 7 more may float
        ([lived_in("h", overcommit=Fraction(2))], some(9, "d", 1, OWN) + some(7, "s", 1, SHARED), 11),
        # on divided hosts what is owned and what is shared are two pools
        ([parted("h", 3)], some(9, "d", 1, OWN) + some(9, "s", 1, SHARED), 8),
        ([parted("h", 1)], some(9, "d", 2, OWN) + some(9, "s", 3, SHARED), 2),
        ([parted("a", 2), host_of("b", nodes=1)], some(9, "d", 2, OWN) + some(9, "s", 4, SHARED), 4),
    ],
)
def test_what_both_kinds_take_of_a_node_is_counted_exactly(
    fleet: list[HostCapacity], requests: list[GuestRequest], most: int
) -> None:
    """The patterns alone place as many as their bound allows, which is the most that there can be."""
    asked = arrays_of(requests, Fleet.of(fleet))
    placed = place(asked.supply, asked.batch)
    assert (most, most) == (placed.value, placed.bound)


def test_no_guest_is_overcommitted_against_itself() -> None:
    """Four floating vCPUs need all four pCPUs of a node, whatever its overcommit would let in beside them."""
    fleet = Fleet.of([host_of("h", nodes=1, overcommit=Fraction(4))])
    asked = arrays_of([*some(1, "s", 4, SHARED), *some(1, "d", 1, OWN), *some(1, "w", 5, SHARED)], fleet)
    placed = place(asked.supply, asked.batch)
    assert 1 == placed.value
    assert broken_rules(asked.supply, asked.batch, placed.homes) == []
    crowded = replace(placed.homes, form=np.zeros(3, np.int8), rows=np.zeros((3, 1), np.int32))
    assert ["node 0: a guest has 5 floating vCPUs, and 3 pCPUs are shared"] == broken_rules(
        asked.supply, asked.batch, crowded
    )


def test_members_of_both_kinds_live_in_one_rack_or_on_distinct_hosts() -> None:
    near = Membership(group=Group(name="near", rule=GroupRule.AFFINITY, level="rack"))
    apart = Membership(group=Group(name="apart", rule=GroupRule.ANTI_AFFINITY))
    fleet = Fleet.of(
        [replace(host_of(f"h{n}", overcommit=Fraction(1 + n % 2)), domains={"rack": f"r{n // 4}"}) for n in range(12)]
    )
    requests = [*some(6, "a", 2, OWN, groups=(near,)), *some(12, "b", 2, SHARED, groups=(near,))]
    requests += [*some(4, "c", 1, OWN, groups=(apart,)), *some(4, "d", 1, SHARED, groups=(apart,))]
    answer = place_large(requests, fleet, EFFORT)
    assert answer is not None
    assert violations(answer.decisions, requests, fleet) == ()
    assert all(isinstance(decision, Placement) for decision in answer.decisions)
