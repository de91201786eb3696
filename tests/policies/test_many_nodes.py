"""Hosts of 1 to 1,024 nodes: distances that differ by direction, islands, nodes without pCPUs or without memory."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from policies.capacity import HostCapacity
from policies.check import violations
from policies.fleet import Fleet
from policies.homes import homes
from policies.online.fleet import OnlineFleet
from policies.plan import Answer, Placement
from policies.policy import Effort
from policies.registry import load_policy
from policies.request import CpuPolicy, GuestName, GuestRequest
from tests.policies.hosts import GIB_KIB, host_of, topology_of

EFFORT = Effort(time_limit_s=None, deterministic_limit=0.2)
NEAR = 11
UNREACHABLE = 255


def host(nodes: int, *, near: tuple[int, ...] = (), islands: int = 1) -> HostCapacity:
    """Nodes at random distances from 15 to 40, others in the other direction, `NEAR` among some.

    Of sixteen nodes one has no pCPUs and one no memory; nodes of different islands do not reach each other.
    """
    rng = random.Random(nodes)  # noqa: S311
    rows = {
        a: {
            b: 10 if a == b else UNREACHABLE if a % islands != b % islands else rng.randint(15, 40)
            for b in range(nodes)
        }
        for a in range(nodes)
    }
    for a in near:
        rows[a] |= {b: NEAR for b in near if b != a}
    topology = topology_of(
        nodes=nodes, cpus=2, memory_gib=8, distances=rows, cpuless=range(7, nodes, 16), memoryless=range(9, nodes, 16)
    )
    return host_of("h", topology=topology)


def ask(cells: int, *, gib: int = 2, **more: object) -> GuestRequest:
    """A guest of so many cells, each of 2 vCPUs and so many GiB."""
    request = GuestRequest(
        name=GuestName(f"g{cells}"), vcpus=2 * cells, memory_kib=cells * gib * GIB_KIB, cells=cells, overhead_kib=0
    )
    return replace(request, **more)


def answer_of(policy: str, requests: list[GuestRequest], fleet: Fleet) -> Answer:
    """What the policy answers, after the independent checker has looked at it."""
    answer = load_policy(policy)(requests, fleet, EFFORT)
    assert [] == list(violations(answer.decisions, requests, fleet))
    return answer


@pytest.mark.parametrize("nodes", [1, 2, 16, 64])
def test_guests_of_any_width_live_on_any_number_of_nodes(nodes):
    """Each is placed where so many nodes have pCPUs and memory, and refused where they are fewer."""
    there = nodes - len(range(7, nodes, 16))
    lives_on(nodes, sorted({1, 2, 8, there // 4 or 1, there - len(range(9, nodes, 16)), there + 1}))


def test_guests_live_on_1024_nodes():
    """Of which some have no pCPUs, and some no memory."""
    lives_on(1024, [1, 8])


def lives_on(nodes: int, widths: list[int]) -> None:
    """Guests of so many cells have a place each, alone, where there are so many homes."""
    fleet = Fleet.of([host(nodes)])
    there = nodes - len(range(7, nodes, 16))
    for cells in widths:
        found = [answer_of(policy, [ask(cells)], fleet).decisions[0] for policy in ("solver", "best-fit")]
        found.append(OnlineFleet(fleet).place_one(ask(cells)))
        assert [cells <= there] * 3 == [isinstance(decision, Placement) for decision in found], cells


@pytest.mark.parametrize(("nodes", "near"), [(4, (1, 2)), (64, (3, 40)), (1024, (17, 1001))])
def test_the_two_nearest_of_many_nodes_are_found(nodes, near):
    """And proven to be, in either direction's distances."""
    answer = answer_of("solver", [ask(2)], Fleet.of([host(nodes, near=near)]))
    (placement,) = answer.decisions
    assert isinstance(placement, Placement)
    assert set(near) == {int(n) for n in placement.cpu_nodes or ()}
    assert "optimal" == answer.status


@pytest.mark.parametrize("nodes", [8, 64])
def test_nobody_lives_on_two_islands(nodes):
    """Four islands of a quarter of the nodes each: a guest of more cells is refused, however much is free."""
    fleet = Fleet.of([host(nodes, islands=4)])
    (narrow, wide) = (ask(2), ask(nodes // 4 + 1))
    answer = answer_of("solver", [narrow, wide], fleet)
    assert [True, False] == [isinstance(decision, Placement) for decision in answer.decisions]


def test_a_batch_fills_a_host_of_1024_nodes():
    """One dedicated guest for each node that is the memory of some pCPUs, and one more that has no place."""
    there = host(1024)
    count = len({home.memory_node for home in homes(there)})
    full = [ask(1, gib=8, name=GuestName(f"d{i}"), cpus=CpuPolicy.DEDICATED) for i in range(count)]
    late = ask(1, gib=8, name=GuestName("late"), cpus=CpuPolicy.DEDICATED)
    answer = answer_of("first-fit", [*full, late], Fleet.of([there]))
    assert count == sum(isinstance(decision, Placement) for decision in answer.decisions)
