"""Guests that come and go one by one: each to the best place there is, no rule broken, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from policies.asked import SmtPolicy
from policies.check import violations
from policies.compose import settle_shared
from policies.errors import NotTakenError
from policies.fleet import Fleet
from policies.online import scores
from policies.online.fleet import OnlineFleet
from policies.open_fleet import OpenFleet
from policies.places import all_ways, placed
from policies.plan import Placement, Reason, Rejection
from policies.request import CpuPolicy, Group, GroupRule, GuestName, GuestRequest, GuestShare, HostName, Membership
from policies.tiers import objective_of
from tests.policies.hosts import GIB_KIB, host_of, topology_of
from tests.policies.l3_batches import l3_batches
from tests.policies.strategies import batches, fleets
from tests.policies.tight import tight_batches

CHECKED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def ask(name: str, vcpus: int = 1, gib: int = 1, **more: object) -> GuestRequest:
    base = GuestRequest(name=GuestName(name), vcpus=vcpus, memory_kib=gib * GIB_KIB, cpus=CpuPolicy.DEDICATED)
    return replace(base, **more)  # type: ignore[arg-type]


def places(request: GuestRequest, book: OpenFleet) -> Iterator[Placement]:
    """Every place that really fits now, the slow way."""
    for host in book.fleet:
        for way in all_ways(request, book, host):
            if (placement := placed(request, book, host, way)) is not None:
                yield placement


def span(placement: Placement, request: GuestRequest, fleet: Fleet) -> list[int]:
    return [tier.value for tier in objective_of([placement], [request], fleet)[1:3]]


@given(requests=batches(), fleet=fleets())
@CHECKED
def test_a_guest_gets_the_nearest_place_exactly_where_there_is_one(
    requests: tuple[GuestRequest, ...], fleet: Fleet
) -> None:
    online = OnlineFleet(fleet, flavours=requests[:2])
    for request in requests:
        there = list(places(request, online.book))
        decision = online.place_one(request)
        assert isinstance(decision, Placement) == bool(there)
        if isinstance(decision, Placement):
            assert span(decision, request, fleet) == min(span(place, request, fleet) for place in there)


@given(batch=st.one_of(tight_batches(), tight_batches(), l3_batches()))
@settings(CHECKED, max_examples=150)
def test_a_place_is_the_best_of_all_by_nodes_distance_and_wishes(
    batch: tuple[tuple[GuestRequest, ...], Fleet],
) -> None:
    """Beside those who came before: soft groups of every level and rule, and devices."""
    requests, fleet = batch
    online, came = OnlineFleet(fleet), list[GuestRequest]()
    for request in requests:

        def tiers(place: Placement, request: GuestRequest = request) -> list[int]:
            decisions, asked = [*online.book.taken.values(), place], [*came, request]
            return [tier.value for tier in objective_of(decisions, asked, fleet)[1:4]]

        there = [tiers(place) for place in places(request, online.book)]
        decision = online.place_one(request)
        assert isinstance(decision, Placement) == bool(there)
        if isinstance(decision, Placement):
            online.give_back(decision)
            assert tiers(decision) == min(there)
            online.take(decision)
            came.append(request)


@given(batch=tight_batches(), gone=st.sets(st.integers(0, 8)))
@CHECKED
def test_no_rule_is_broken_whoever_comes_and_goes(
    batch: tuple[tuple[GuestRequest, ...], Fleet], gone: set[int]
) -> None:
    requests, fleet = batch
    online = OnlineFleet(fleet)
    for number, request in enumerate(requests):
        decision = online.place_one(request)
        if number in gone and isinstance(decision, Placement):
            online.give_back(decision)
    decisions = {placement.guest: placement for placement in online.placements()}
    stay = tuple(request for request in requests if request.name in decisions)
    assert violations([decisions[request.name] for request in stay], stay, fleet) == ()


@given(requests=batches(), fleet=fleets())
@CHECKED
def test_what_all_give_back_is_there_again_and_scores_are_those_of_a_new_book(
    requests: tuple[GuestRequest, ...], fleet: Fleet
) -> None:
    online = OnlineFleet(fleet, flavours=requests)
    placements = [online.place_one(request) for request in requests]
    for decision in placements:
        if isinstance(decision, Placement):
            online.give_back(decision)
    for page, kib in fleet.memory_kib.items():
        assert np.array_equal(online.book.memory_kib[page], kib)
    assert np.array_equal(online.book.free_cpus, fleet.free_cpus)
    for request in requests:
        assert online.place_one(request) == OnlineFleet(fleet, flavours=requests).place_one(request)
        if request.name in {placement.guest for placement in online.placements()}:
            online.give_back(online.placements()[-1])


def room(book: OpenFleet, flavour: GuestRequest) -> int:
    """How many guests of a flavour of one node fit, all dedicated."""
    return int(np.minimum(book.free_cpus // flavour.vcpus, book.memory_kib[4] // flavour.memory_kib).sum())


@given(
    sizes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6)), max_size=8),
    flavours=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6)), min_size=1, max_size=3, unique=True),
)
@CHECKED
def test_a_place_destroys_as_few_reference_guests_as_any(
    sizes: list[tuple[int, int]], flavours: list[tuple[int, int]]
) -> None:
    known = [ask(f"f{i}", *size) for i, size in enumerate(flavours)]
    online = OnlineFleet(Fleet.of([host_of("h1", memory_gib=9), host_of("h2", cpus=6, memory_gib=7)]), flavours=known)

    def destroyed(placement: Placement) -> int:
        before = sum(room(online.book, flavour) for flavour in known)
        online.book.take(placement)
        after = sum(room(online.book, flavour) for flavour in known)
        online.book.give_back(placement)
        return before - after

    for i, size in enumerate(sizes):
        request = ask(f"g{i}", *size)
        least = min((destroyed(place) for place in places(request, online.book)), default=0)
        before = sum(room(online.book, flavour) for flavour in known)
        if isinstance(online.place_one(request), Placement):
            assert before - sum(room(online.book, flavour) for flavour in known) == least


def test_a_known_flavour_counts_as_on_a_host_that_takes_it() -> None:
    """Nobody tells the cores of the first host, so a flavour on whole cores is none there."""
    told, untold = host_of("h2", topology=topology_of(cpus=4, nodes=1, smt=2)), host_of("h1")
    untold = replace(untold, topology=replace(untold.topology, cores=()))
    flavours = [ask("f", 3, smt=smt) for smt in (SmtPolicy.REQUIRE, SmtPolicy.ISOLATE)]
    with np.errstate(all="raise"):
        online = OnlineFleet(Fleet.of([untold, told]), flavours=flavours)
        decision = online.place_one(flavours[0])
    assert isinstance(decision, Placement)
    assert decision.host == "h2"


def test_a_guest_goes_where_others_stay_longer_anyway() -> None:
    fleet = Fleet.of([host_of("h1", nodes=1), host_of("h2", nodes=1)])
    online = OnlineFleet(fleet)
    long = online.place_one(ask("long", lifetime_s=1000, hosts=frozenset({HostName("h2")})))
    short = online.place_one(ask("short", lifetime_s=10), now_s=5)
    assert isinstance(long, Placement)
    assert isinstance(short, Placement)
    assert short.host == "h2"
    online.give_back(long)
    late = online.place_one(ask("late", lifetime_s=2000, hosts=frozenset({HostName("h1")})), now_s=6)
    assert isinstance(late, Placement)
    next_one = online.place_one(ask("next", lifetime_s=500), now_s=7)
    assert isinstance(next_one, Placement)
    assert next_one.host == "h1"


def test_many_cells_on_many_nodes_are_found_without_enumerating_them() -> None:
    online = OnlineFleet(Fleet.of([host_of("h1", nodes=4), host_of("h2", nodes=32)]))
    decision = online.place_one(ask("wide", 8, 8, cells=8))
    assert isinstance(decision, Placement)
    assert (decision.host, len(decision.cells)) == ("h2", 8)


def test_a_guest_of_more_cells_than_seven_bits_count() -> None:
    """On 200 nodes, and not where there are fewer."""
    fleet = Fleet.of([host_of("small", nodes=199, cpus=1), host_of("h", nodes=200, cpus=1)])
    decision = OnlineFleet(fleet).place_one(ask("wide", 200, 200, cells=200))
    assert isinstance(decision, Placement)
    assert (decision.host, len(decision.memory_nodes)) == ("h", 200)


def test_a_large_cell_behind_small_ones_needs_one_node_only() -> None:
    """Of nine cells the last is large, and one node of ten holds it."""
    sizes = tuple(GuestShare(vcpus=1, memory_kib=GIB_KIB) for _ in range(8))
    large = GuestShare(vcpus=4, memory_kib=4 * GIB_KIB)
    wide = ask("wide", 12, 12, cells=9, cell_sizes=(*sizes, large))
    fleet = Fleet.of([host_of("h1", nodes=10)])
    online = OnlineFleet(fleet)
    for node in range(9):
        assert isinstance(online.place_one(ask(f"g{node}", 3)), Placement)
    decision = online.place_one(wide)
    assert isinstance(decision, Placement)
    assert violations([decision], [wide], fleet) == ()


def test_groups_bind_and_a_refusal_says_so() -> None:
    apart = Membership(group=Group(name="apart", rule=GroupRule.ANTI_AFFINITY, level="host"))
    near = Membership(group=Group(name="near", rule=GroupRule.AFFINITY, level="rack"))
    hosts = [replace(host_of(f"h{i}"), domains={"rack": f"r{i // 2}"}) for i in range(4)]
    online = OnlineFleet(Fleet.of(hosts))
    first = online.place_one(ask("n0", hosts=frozenset({HostName("h3")}), groups=(near,)))
    second = online.place_one(ask("n1", 4, groups=(near,)))
    assert isinstance(first, Placement)
    assert isinstance(second, Placement)
    assert second.host in ("h2", "h3")
    assert (
        len({d.host for i in range(4) if isinstance(d := online.place_one(ask(f"a{i}", groups=(apart,))), Placement)})
        == 4
    )
    refused = online.place_one(ask("a4", groups=(apart,)))
    assert isinstance(refused, Rejection)
    assert (refused.reason, refused.detail) == (Reason.GROUP, "fits, but for the members of its groups")


def test_a_heavy_wish_counts_more_than_two_light_ones() -> None:
    """On h1 two groups apart have a member, on h2 one of weight 3; on h3 there is no room."""
    wishes = [
        Membership(group=Group(name=name, rule=GroupRule.ANTI_AFFINITY, hard=False, weight=weight))
        for name, weight in (("a", 1), ("b", 1), ("c", 3))
    ]
    online = OnlineFleet(Fleet.of([host_of("h1"), host_of("h2"), host_of("h3", cpus=1)]))
    for name, host, groups in (("x", "h1", wishes[:2]), ("y", "h2", wishes[2:])):
        online.place_one(ask(name, hosts=frozenset({HostName(host)}), groups=tuple(groups)))
    decision = online.place_one(ask("g", 2, groups=tuple(wishes)))
    assert isinstance(decision, Placement)
    assert decision.host == "h1"


def of_crew(name: str, *crews: str, **more: object) -> GuestRequest:
    groups = tuple(Membership(group=Group(name=crew, rule=GroupRule.ALL_OR_NOTHING)) for crew in crews)
    return ask(name, groups=groups, **more)


def test_one_of_an_all_or_nothing_group_that_comes_alone_is_all_of_it() -> None:
    assert isinstance(OnlineFleet(Fleet.of([host_of("h1")])).place_one(of_crew("c", "crew")), Placement)


def test_guests_whom_groups_bind_to_each_other_have_places_all_or_none() -> None:
    """The third is in both groups, so four are one crew, whose fourth fits no node; those by themselves stay."""
    online = OnlineFleet(Fleet.of([host_of("h1", nodes=4, cpus=2)]))
    crew = [of_crew("a", "x", vcpus=2), of_crew("b", "y", vcpus=2), of_crew("c", "x", "y", vcpus=2)]
    alone = [ask("alone", 1), ask("other", 1)]
    free = online.book.free_cpus.copy()
    decisions = online.place_together([*crew, alone[0], of_crew("d", "y", vcpus=3), alone[1]])
    assert [decision.guest for decision in decisions] == ["a", "b", "c", "alone", "d", "other"]
    assert [isinstance(decision, Placement) for decision in decisions] == [False, False, False, True, False, True]
    assert {p.guest for p in online.placements()} == {"alone", "other"}
    told = {str(d.guest): (d.reason, d.detail) for d in decisions if isinstance(d, Rejection)}
    assert told["d"][0] is Reason.PCPUS
    why = f"groups x, y are all or nothing, and d has no place: {told['d'][1]}"
    assert told["c"] == (Reason.GROUP, why)
    for decision in decisions:
        if isinstance(decision, Placement):
            online.give_back(decision)
    assert np.array_equal(online.book.free_cpus, free)
    assert all(isinstance(decision, Placement) for decision in online.place_together(crew))


def test_a_crew_that_does_not_fit_in_its_order_comes_the_largest_first() -> None:
    """The small one would take the only node of four pCPUs, as it leaves the least there."""
    online = OnlineFleet(Fleet.of([host_of("h1", nodes=1, memory_gib=2), host_of("h2", nodes=1, cpus=2, memory_gib=8)]))
    crew = [of_crew("small", "x"), of_crew("large", "x", vcpus=4, memory_kib=2 * GIB_KIB)]
    decisions = online.place_together(crew)
    assert [d.host for d in decisions if isinstance(d, Placement)] == ["h2", "h1"]


@given(batch=tight_batches())
@CHECKED
def test_of_guests_who_come_together_whole_groups_are_placed_and_nothing_else_is_left_taken(
    batch: tuple[tuple[GuestRequest, ...], Fleet],
) -> None:
    requests, fleet = batch
    online = OnlineFleet(fleet)
    decisions = online.place_together(requests)
    assert violations(settle_shared(decisions, fleet), requests, fleet) == ()
    assert {d.guest for d in decisions if isinstance(d, Placement)} == set(online.book.taken)


def test_nothing_is_taken_for_guests_of_whom_one_is_there_already() -> None:
    online = OnlineFleet(Fleet.of([host_of("h1")]))
    online.place_one(ask("there"))
    for names in (["new", "there"], ["twice", "twice"]):
        with pytest.raises(NotTakenError):
            online.place_together([ask(name) for name in names])
    assert [placement.guest for placement in online.placements()] == ["there"]


@pytest.mark.parametrize(
    ("request_of", "reason", "detail"),
    [
        (ask("big", 5), Reason.PCPUS, "node 0 of h1 lacks 1 free pCPU"),
        (ask("fat", 1, 65), Reason.MEMORY, "node 0 of h1 lacks 1GiB"),
        (ask("huge", 1, 1, page_kib=GIB_KIB), Reason.HUGEPAGES, "node 0 of h1 lacks 1GiB in 1GiB pages"),
        (ask("else", hosts=frozenset({HostName("h9")})), Reason.HOST, "h1 is not one of its hosts"),
    ],
)
def test_a_refusal_tells_what_lacks_where(request_of: GuestRequest, reason: Reason, detail: str) -> None:
    decision = OnlineFleet(Fleet.of([host_of("h1")])).place_one(request_of)
    assert isinstance(decision, Rejection)
    assert (decision.reason, decision.detail) == (reason, detail)


def test_a_fleet_without_hosts_and_a_guest_that_is_there_already() -> None:
    assert isinstance(OnlineFleet(Fleet.of([])).place_one(ask("g")), Rejection)
    online = OnlineFleet(Fleet.of([host_of("h1")]))
    online.place_one(ask("g"))
    for again in (ask("g"), ask("g", 99)):
        with pytest.raises(NotTakenError):
            online.place_one(again)


def test_only_hosts_that_changed_are_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    online = OnlineFleet(Fleet.of([host_of(f"h{i}") for i in range(50)]), flavours=[ask("f"), ask("other", 2)])
    looked: list[int] = []
    update = scores.ClassScores.update
    monkeypatch.setattr(
        scores.ClassScores, "update", lambda self, n, at: (looked.append(len(at)), update(self, n, at))[1]
    )
    for i in range(5):
        online.place_one(ask(f"g{i}", 1 + i % 2))
    assert sum(looked) <= 5 + 4


def test_shared_guests_are_within_overcommit_and_off_owned_pcpus() -> None:
    fleet = Fleet.of([host_of("h1", nodes=1, cpus=4, overcommit=Fraction(2), topology=topology_of(nodes=1))])
    online = OnlineFleet(fleet)
    requests = [ask("s0", 2, cpus=CpuPolicy.SHARED), ask("d0", 2), ask("s1", 2, cpus=CpuPolicy.SHARED)]
    for request in requests:
        assert isinstance(online.place_one(request), Placement)
    assert violations(online.placements(), requests, fleet) == ()
    assert isinstance(online.place_one(ask("s2", 1, cpus=CpuPolicy.SHARED)), Rejection)
