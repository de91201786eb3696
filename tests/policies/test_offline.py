"""Nobody places more than the bound for those who know what comes; where no guest need be cut it is exact."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random

from hypothesis import given, settings, strategies as st

from policies.fleet import Fleet
from policies.request import CpuPolicy, GuestName, GuestRequest
from policies.solver.offline import Stays, most_placed
from tests.policies.hosts import GIB_KIB, host_of

Stay = tuple[int, int, int, int]
"""vCPUs, GiB, first moment, last moment."""


def stays_of(told: Sequence[Stay], cpus: CpuPolicy = CpuPolicy.DEDICATED) -> list[Stays]:
    return [
        Stays(
            request=GuestRequest(name=GuestName("g"), vcpus=vcpus, memory_kib=gib * GIB_KIB, cpus=cpus),
            first=first,
            last=last,
            count=1,
        )
        for vcpus, gib, first, last in told
    ]


def best_of(told: Sequence[Stay], nodes: Sequence[tuple[int, int]]) -> int:
    """The most guests with a node each, by trying all: None is nowhere."""
    most = 0
    for homes in itertools.product([None, *range(len(nodes))], repeat=len(told)):
        moments = range(max((last for *_, last in told), default=0) + 1)
        if all(
            sum(s[kind] for s, at in zip(told, homes, strict=True) if at == node and s[2] <= t <= s[3]) <= room[kind]
            for t in moments
            for node, room in enumerate(nodes)
            for kind in (0, 1)
        ):
            most = max(most, sum(home is not None for home in homes))
    return most


def _told(seed: int, guests: int, most_vcpus: int) -> list[Stay]:
    rng = Random(seed)  # noqa: S311
    spans = [sorted((rng.randrange(4), rng.randrange(4))) for _ in range(guests)]
    return [(rng.randint(1, most_vcpus), rng.randint(1, 3), first, last) for first, last in spans]


@given(seed=st.integers(0, 2**32), guests=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_nobody_places_more(seed: int, guests: int) -> None:
    told = _told(seed, guests, most_vcpus=3)
    fleet = Fleet.of([host_of("h", cpus=3, nodes=2, memory_gib=4)])
    assert best_of(told, [(3, 4), (3, 4)]) <= most_placed(stays_of(told), fleet) <= guests


@given(seed=st.integers(0, 2**32), guests=st.integers(0, 6))
@settings(max_examples=40, deadline=None)
def test_of_guests_of_one_vcpu_on_one_node_it_is_exact(seed: int, guests: int) -> None:
    """Intervals of one kind: the linear program has whole solutions."""
    told = [(1, 1, first, last) for _, _, first, last in _told(seed, guests, 1)]
    assert most_placed(stays_of(told), Fleet.of([host_of("h", cpus=2, nodes=1)])) == best_of(told, [(2, 64)])


def test_shared_and_dedicated_guests_use_the_same_pcpus() -> None:
    fleet = Fleet.of([host_of("h", cpus=4, nodes=1)])
    both = [*stays_of([(1, 1, 0, 0)] * 4), *stays_of([(1, 1, 0, 0)] * 4, CpuPolicy.SHARED)]
    assert most_placed(both, fleet) == 4


def test_who_fits_no_host_is_not_counted() -> None:
    fleet = Fleet.of([host_of("a", cpus=2, nodes=1), host_of("b", cpus=2, nodes=1)])
    assert most_placed(stays_of([(4, 1, 0, 0), (1, 1, 0, 0), (1, 100, 0, 0)]), fleet) == 1
