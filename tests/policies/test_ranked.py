"""Ways that come best first, made one by one: the same as when all are made and sorted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from policies.candidates import Candidate
from policies.capacity import HostCapacity, Resident
from policies.fleet import Fleet
from policies.greedy import best_fit, worst_fit
from policies.nearest import ranked, table
from policies.open_fleet import OpenFleet
from policies.places import counts_of_parts, placed, ranked_ways, ways
from policies.plan import Placement
from policies.policy import Effort
from policies.request import CpuPolicy, Group, GroupRule, GuestName, GuestRequest, Membership
from policies.room import Room
from tests.policies.hosts import GIB_KIB, host_of
from tests.policies.tight import tight_guests


def score_of(request: GuestRequest, book: OpenFleet, host: HostCapacity, way: Candidate, sign: int) -> tuple[int, ...]:
    room = Room(book, host)
    memory_kib = sum(room.memory_kib(part, way.page_kib) for part in way.parts)
    pcpus = sum(room.vcpus(request, part) for part in way.parts)
    wishes = (way.missed,) if request.devices else ()
    return way.distance, *wishes, -way.page_kib, sign * memory_kib, sign * pcpus


@given(question=tight_guests(), sign=st.sampled_from([1, -1, 0]), at_once=st.sampled_from([1, 2, 500]))
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_they_are_the_ways_in_the_order_of_their_scores(
    question: tuple[GuestRequest, HostCapacity], sign: int, at_once: int
):
    """Every set of homes of which each holds its part, in each page size; and no other."""
    request, host = question
    book = Fleet.of([host]).open()
    for parts in counts_of_parts(request, host):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ranked, "_AT_ONCE", at_once)
            found = list(ranked_ways(request, book, host, parts, sign=sign))
        every = ways(request, book, host, parts)[0]
        assert [score for score, _ in found] == sorted(score_of(request, book, host, w, sign) for _, w in found)
        assert {(frozenset(w.homes), w.page_kib) for _, w in found} == {(frozenset(w.homes), w.page_kib) for w in every}
        assert {(w.homes, w.page_kib, w.distance) for _, w in found} <= {
            (w.homes, w.page_kib, w.distance) for w in every
        }


@given(question=tight_guests(), sign=st.sampled_from([1, -1]))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_where_sets_are_not_listed_some_near_ones_are_found(question: tuple[GuestRequest, HostCapacity], sign: int):
    """One at least wherever there is one, and all of them really are ways."""
    request, host = question
    book = Fleet.of([host]).open()
    for parts in counts_of_parts(request, host):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(table, "MOST_SETS", 0)
            found = list(ranked_ways(request, book, host, parts, sign=sign))
        every = {(frozenset(w.homes), w.page_kib, w.distance) for w in ways(request, book, host, parts)[0]}
        assert {(frozenset(w.homes), w.page_kib, w.distance) for _, w in found} <= every
        assert bool(found) is bool(every)
        fit = [way for _, way in found if placed(request, book, host, way) is not None]
        assert bool(fit) is any(placed(request, book, host, w) for w in ways(request, book, host, parts)[0])


def test_a_group_that_keeps_the_guest_from_the_host_leaves_no_way():
    """A member lives on one of its nodes, and the group has one on each host at most."""
    apart = (Membership(group=Group(name="apart", rule=GroupRule.ANTI_AFFINITY)),)
    host = replace(host_of("h"), residents=(Resident(groups=apart, nodes=None),))
    request = GuestRequest(name=GuestName("g"), vcpus=1, memory_kib=GIB_KIB, groups=apart)
    assert [] == list(ranked_ways(request, Fleet.of([host]).open(), host, 1))
    assert [{0}, {1}] == [
        {home.cpu_node for home in way.homes}
        for _, way in ranked_ways(replace(request, groups=()), Fleet.of([host]).open(), host, 1)
    ]


def test_best_fit_takes_the_fullest_and_worst_fit_the_emptiest_of_equally_near_nodes():
    """Two cells on eight equal nodes that differ in what is left."""
    host = host_of("h", cpus=4, nodes=8)
    left = tuple(replace(n, memory_kib={4: (64 - 5 * n.node_id) * GIB_KIB}) for n in host.nodes)
    fleet = Fleet.of([replace(host, nodes=left)])
    request = GuestRequest(name=GuestName("g"), vcpus=2, memory_kib=2 * GIB_KIB, cells=2, cpus=CpuPolicy.DEDICATED)
    for policy, nodes in ((best_fit, {6, 7}), (worst_fit, {0, 1})):
        (decision,) = policy([request], fleet, Effort()).decisions
        assert isinstance(decision, Placement)
        assert decision.memory_nodes.ids == nodes
