"""The nearest homes of one guest: equal to looking at all sets of homes, and bounded when stopped."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from policies.candidates import candidates, distance_of
from policies.capacity import HostCapacity
from policies.fleet import Fleet
from policies.homes import Home
from policies.nearest import on_host, search
from policies.nearest.on_host import nearest_way
from policies.nearest.question import FAR, Counts, Question
from policies.nearest.search import nearest
from policies.nearest.starts import starts
from policies.open_fleet import OpenFleet
from policies.places import counts_of_parts, nodes_of_homes, placed
from policies.request import GuestName, GuestRequest
from tests.policies.hosts import GIB_KIB, host_of, topology_of
from tests.policies.tight import tight_guests

distances = st.sampled_from([[11, 20], [11, 12, 20, FAR], [*range(11, 40)]])


@st.composite
def asked(draw: st.DrawFn) -> Question:
    """Up to eight points; some never together, some that cost alone, some of which are needed."""
    count, some = draw(st.integers(1, 8)), draw(distances)
    apart: Counts = np.zeros((count, count), dtype=np.int64)
    if draw(st.booleans()):
        some = some[:1]  # nothing tells the points apart but what they cost alone, and the needs
    for i, j in itertools.combinations(range(count), 2):
        apart[i, j] = apart[j, i] = draw(st.sampled_from(some))
    size = draw(st.integers(1, 5))
    masks = st.lists(st.booleans(), min_size=count, max_size=count).map(np.array)
    needs = draw(st.lists(st.tuples(masks, st.integers(1, size)), max_size=2))
    own = draw(st.lists(st.sampled_from([0, 0, 0, 5]), min_size=count, max_size=count))
    question = Question(size=size, apart=apart, own=np.array(own, dtype=np.int64), needs=tuple(needs))
    more = draw(st.sampled_from([None, None, 3, 5]))
    return question if more is None else replace(question, price=lambda points: priced(question, points, more))


def priced(question: Question, points: tuple[int, ...], more: int) -> int | None:
    """Now and then what it costs and something, or nothing at all."""
    extra = sum(points) % more
    return None if extra == 1 else cost(question, points) + extra


def cost(question: Question, points: tuple[int, ...]) -> int:
    pairs = sum(int(question.apart[i, j]) for i, j in itertools.combinations(points, 2))
    return pairs + sum(int(question.own[i]) for i in points)


def least(question: Question) -> int:
    """Of all sets."""
    found = FAR
    for points in itertools.combinations(range(len(question.own)), question.size):
        if cost(question, points) < FAR and all(sum(mask[list(points)]) >= n for mask, n in question.needs):
            real = cost(question, points) if question.price is None else question.price(points)
            found = min(found, FAR if real is None else real)
    return found


@given(question=asked(), at_once=st.sampled_from([1, 20, search.AT_ONCE]), started=st.booleans())
@settings(max_examples=600, deadline=None)
def test_the_cheapest_set_is_found_and_proven(question: Question, at_once: int, started: bool):
    """Whatever the points cost, alone or together, with a good start or none; and the set is one that costs so much."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "AT_ONCE", at_once)
        patch.setattr(search, "starts", starts if started else lambda _: [])
        found = nearest(question)
    assert (found.cost, found.bound) == (least(question), least(question))
    if found.points:
        assert len(set(found.points)) == question.size
        real = cost(question, found.points) if question.price is None else question.price(found.points)
        assert real == found.cost


@given(question=asked(), steps=st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_a_search_that_is_stopped_has_a_bound(question: Question, steps: int):
    """On the right side of the best, as what was found is on the other."""
    left = iter(range(steps))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "AT_ONCE", 1)
        found = nearest(question, enough=lambda _: next(left, None) is None)
    assert found.bound <= least(question) <= found.cost


@given(question=asked(), below=st.integers(1, 150))
@settings(max_examples=200, deadline=None)
def test_only_what_is_cheaper_than_asked_is_an_answer(question: Question, below: int):
    """And that there is nothing cheaper is proven."""
    found = nearest(question, below=below)
    assert bool(found.points) is (least(question) < below)
    assert found.cost == found.bound == min(below, least(question))


def best_by_enumeration(request: GuestRequest, host: HostCapacity, parts: int) -> int:
    """The distance of the nearest way that fits when all are tried; `FAR` where none does."""
    book = Fleet.of([host]).open()
    ways = (way for way in candidates(request, host, parts) if fits(request, host, book, way.homes))
    return min((way.distance for way in ways), default=FAR)


def fits(request: GuestRequest, host: HostCapacity, book: OpenFleet, homes: tuple[Home, ...]) -> bool:
    (way,) = [c for c in candidates(request, host, len(homes)) if c.homes == homes] or [None]
    conflict = book.groups.conflict(request.groups, host, nodes_of_homes(homes))
    return way is not None and not conflict and placed(request, book, host, way) is not None


@given(question=tight_guests())
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_nearest_way_is_as_near_as_any(question: tuple[GuestRequest, HostCapacity]):
    """Asymmetric and unreachable nodes, no memory, no pCPUs, largest distance, stacked cells, groups: all as tried."""
    request, host = question[0].by_pages()[0], question[1]
    for parts in counts_of_parts(request, host):
        best = best_by_enumeration(request, host, parts)
        book = Fleet.of([host]).open()
        found = nearest_way(request, book, host, parts)
        assert (found.distance, found.bound) == (best, best)
        assert bool(found.homes) is (best < FAR)
        if found.homes:
            assert distance_of(request, host, found.homes) == best
            assert fits(request, host, book, found.homes)


@given(question=tight_guests())
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_parts_of_many_kinds_are_seated_all_the_same(question: tuple[GuestRequest, HostCapacity]):
    """Also where not all that Hall asks for is told to the search, and sets are tried."""
    request, host = question[0].by_pages()[-1], question[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(on_host, "MOST_KINDS", 1)
        for parts in counts_of_parts(request, host):
            found = nearest_way(request, Fleet.of([host]).open(), host, parts)
            assert found.distance == found.bound == best_by_enumeration(request, host, parts)


def ask(vcpus: int, gib: int, **more: object) -> GuestRequest:
    base = GuestRequest(name=GuestName("g"), vcpus=vcpus, memory_kib=gib * GIB_KIB)
    return replace(base, **more)  # type: ignore[arg-type]


def test_one_cell_has_its_memory_on_as_many_nodes_as_it_spans_or_on_one():
    """Nodes 1 and 2 have theirs on node 0, and are far from each other; with node 3 it would be nearer, and uneven."""
    rows = {i: {j: 10 if i == j else 40 if {i, j} == {1, 2} else 20 for j in range(4)} for i in range(4)}
    host = host_of("h", topology=topology_of(nodes=4, memoryless=[1, 2], distances=rows))
    found = nearest_way(ask(6, 3, max_nodes=3), Fleet.of([host]).open(), host, 3)
    assert {home.cpu_node for home in found.homes} == {0, 1, 2}
    assert found.distance == found.bound == 80


def test_memory_that_several_homes_share_is_counted_together():
    """Each of the near nodes holds either cell, but the memory of both is on node 0, which holds one."""
    rows = {i: {j: 10 if i == j else 12 if i + j == 1 else 30 for j in range(3)} for i in range(3)}
    host = host_of("h", topology=topology_of(nodes=3, memoryless=[1], memory_gib=5, distances=rows))
    found = nearest_way(ask(4, 8, cells=2), Fleet.of([host]).open(), host, 2)
    assert {home.cpu_node for home in found.homes} == {0, 2}
    assert found.distance == found.bound == 30
