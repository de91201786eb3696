"""The three figures of a guest, from what is planned and what is seen."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, strategies as st

from policies.plan import Placement
from probe.cpuset import CpuSet
from scheduler.executors.port import Observation
from scheduler.verify import figures
from tests.scheduler.ledger.made import SNAPSHOT, placement, unpinned

KIB = 1024**2
TOPOLOGY = SNAPSHOT.topology
"""Node 0 has pCPUs 0 to 3, node 1 has 4 to 7."""


def seen(
    cpus: Mapping[int, str], resident_kib: Mapping[int, int] | None, *, nodes: set[int] | None = None
) -> Observation:
    masks = {vcpu: CpuSet.parse(text) for vcpu, text in cpus.items()}
    return Observation(
        vcpu_cpus=masks,
        emulator_cpus=CpuSet.union(masks.values()),
        memory_nodes_allowed=frozenset(nodes) if nodes else None,
        resident_kib=resident_kib,
        how="made",
    )


def ratios(planned: Placement, observation: Observation) -> tuple[float | None, float | None, float | None]:
    found = figures(planned, observation, TOPOLOGY)
    return found.on_plan_ratio, found.locality_ratio, found.resident_ratio


def test_where_it_was_planned() -> None:
    """Bound, all on plan, all local, and half of it touched."""
    planned = placement("db", cpus="0-1", dedicated=True, gib=2)
    observation = seen({0: "0", 1: "1"}, {0: KIB}, nodes={0})
    assert (1.0, 1.0, 0.5) == ratios(planned, observation)
    assert (True, ()) == (
        figures(planned, observation, TOPOLOGY).binding_ok,
        figures(planned, observation, TOPOLOGY).problems,
    )


@pytest.mark.parametrize(
    ("cpus", "resident", "locality"),
    [
        ({0: "0-7"}, {0: KIB}, 0.5),  # anywhere: half of the time on the other node
        ({0: "0-7"}, {0: KIB, 1: KIB}, 0.5),
        ({0: "0-4"}, {0: KIB}, 0.8),  # on each of five pCPUs for the same time
        ({0: "0-3", 1: "4-7"}, {0: 3 * KIB, 1: KIB}, 0.5),  # each vCPU counts the same
        ({0: "4"}, {0: 3 * KIB, 1: KIB}, 0.25),
        ({0: "4"}, {0: KIB}, 0.0),
        ({0: "4"}, {}, None),  # nothing resident: not yet known
        ({0: "4"}, None, None),
        ({}, {0: KIB}, None),
    ],
)
def test_locality(cpus: Mapping[int, str], resident: Mapping[int, int] | None, locality: float | None) -> None:
    """Of any guest, also of one that nobody has placed."""
    assert locality == ratios(unpinned("free", vcpus=2), seen(cpus, resident))[1]


def test_what_is_not_as_planned_is_told() -> None:
    """Masks, nodes and pages, each in a sentence."""
    planned = placement("web", node=1, cpus="4-7", vcpus=2)
    found = figures(planned, seen({0: "4-7", 1: "0-3"}, {0: KIB // 4, 1: KIB * 3 // 4}, nodes={0, 1}), TOPOLOGY)
    assert (False, 0.75) == (found.binding_ok, found.on_plan_ratio)
    for part in (
        "vCPU 1 may use CPUs 0-3, planned 4-7",
        "memory may be on nodes 0-1, planned 1",
        "25.0% of its memory",
    ):
        assert part in "; ".join(found.problems)


@given(
    masks=st.lists(st.sets(st.integers(0, 7), min_size=1), min_size=1, max_size=3),
    kib=st.dictionaries(st.integers(0, 1), st.integers(1, 10**9), min_size=1),
)
def test_locality_is_a_share(masks: list[set[int]], kib: dict[int, int]) -> None:
    """Between none and all; all exactly where every mask is on the node of all memory."""
    cpus = {vcpu: str(CpuSet(frozenset(mask))) for vcpu, mask in enumerate(masks)}
    ratio = ratios(unpinned("free", vcpus=3), seen(cpus, kib))[1]
    assert ratio is not None
    assert 0 <= ratio <= 1
    nodes = {cpu // 4 for mask in masks for cpu in mask} | set(kib)
    assert (ratio == 1) == (len(nodes) == 1)
