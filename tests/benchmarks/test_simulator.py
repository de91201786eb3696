"""Scenarios replayed: every guest is counted once, nothing unsound is taken, and nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.events import Event
from benchmarks.metrics import METRICS, metric_of
from benchmarks.rows import Row, row_from_json
from benchmarks.simulator.checked import broken_by
from benchmarks.simulator.deciders import decider_of
from benchmarks.simulator.deciding import audit_host
from benchmarks.simulator.options import Options
from benchmarks.simulator.playing import Run
from benchmarks.simulator.run import measure_row
from policies.check import violations
from policies.compose import make_placement
from policies.fleet import Fleet
from policies.homes import homes
from policies.online.fleet import OnlineFleet
from policies.plan import Answer, Placement
from policies.policy import Effort
from policies.request import CpuPolicy, Group, GroupRule, GuestRequest, Membership
from probe.errors import BadInputError
from tests.benchmarks.plays import FLAVOURS, ask, hosts, streamed, told
from tests.policies.hosts import host_of

EVERY = (
    "place-one",
    "best-fit",
    "unpinned",
    "random",
    "solver",
    "libxl",
    "numad",
    "xenopsd",
    "kubelet-closest",
    "ovirt",
)
QUICK = Options(sample_every=7)


def without_times(row: Row) -> Row:
    kept = {name: value for name, value in row.metrics.items() if not metric_of(name).is_time}
    return replace(row, metrics=kept)


@pytest.mark.parametrize("policy", EVERY)
def test_a_row_is_the_same_twice_and_counts_every_guest(policy: str) -> None:
    scenario = streamed(hosts(3), 250, here=45)
    row = measure_row(scenario, policy, 3, QUICK)
    assert without_times(row) == without_times(measure_row(scenario, policy, 3, QUICK))
    arrived = sum(len(event.arrivals) for event in scenario.play(3).events())
    assert row.metrics["placed"] + row.metrics["refused"] + row.metrics["broken"] == arrived
    assert {name.partition("[")[0] for name in row.metrics} <= set(METRICS)
    assert sum(row.distances.values()) == row.metrics["placed"]
    assert len({len(column) for column in row.series.values()}) == 1
    assert row_from_json(row.to_json(), origin="here") == row


@pytest.mark.parametrize("policy", EVERY)
def test_all_who_are_there_together_break_no_rule_at_any_time(policy: str) -> None:
    """Counted anew from the empty hosts, by the checker, which shares no code with the books."""
    run = Run(streamed(hosts(2), 200, here=40), policy, 5, QUICK)
    for event in run.play.events():
        run.step(event)
        assert [audit_host(run.world, index) for index in range(2)] == ["", ""]


@pytest.mark.parametrize("policy", EVERY)
def test_when_all_have_gone_the_fleet_is_as_before(policy: str) -> None:
    fleet = hosts(2)
    events = list(streamed(fleet, 120, here=40).play(1).events())
    gone = [Event(at_s=1e6, departures=tuple(guest.name for event in events for guest in event.arrivals))]
    run = Run(told(fleet, *events, *gone, flavours=FLAVOURS), policy, 1, QUICK)
    for event in run.play.events():
        run.step(event)
    assert run.world.left().hosts == fleet.hosts
    assert len(run.world) == 0


def test_the_row_of_the_online_book_is_what_direct_calls_give() -> None:
    scenario = streamed(hosts(3), 400, here=50)
    online = OnlineFleet(scenario.fleet, flavours=FLAVOURS)
    placed: dict[str, Placement] = {}
    for event in scenario.play(2).events():
        for guest in event.departures:
            if guest in placed and online.book.is_taken(guest):
                online.give_back(placed[guest])
        for request in event.arrivals:
            decision = online.place_one(request, now_s=event.at_s)
            if isinstance(decision, Placement):
                placed[request.name] = decision
    run = Run(scenario, "place-one", 2, QUICK)
    for event in run.play.events():
        run.step(event)
    assert run.row().metrics["placed"] == len(placed)
    assert [p for there in run.world.guests_on for p in there.values()] == sorted(
        online.book.taken.values(), key=lambda p: (p.host, list(online.book.taken).index(p.guest))
    )


@pytest.mark.parametrize("policy", ["first-fit", "best-fit", "solver", "place-one"])
def test_ours_are_nowhere_farther_than_unpinned(policy: str) -> None:
    """Of guests that both place: on no more nodes, no farther, and no less local."""
    guests = [ask(f"g{number}", 1 + number % 3, 4) for number in range(12)]
    scenario = told(hosts(2), *(Event(at_s=float(i), arrivals=(guest,)) for i, guest in enumerate(guests)))
    ours, bare = (measure_row(scenario, name, 1, QUICK).metrics for name in (policy, "unpinned"))
    assert ours["placed"] == bare["placed"] == 12
    assert ours["mean_nodes"] <= bare["mean_nodes"]
    assert ours["mean_distance"] <= bare["mean_distance"]
    assert ours["local_ratio"] >= bare["local_ratio"]


def test_figures_of_guests_do_not_depend_on_the_samples() -> None:
    scenario = streamed(hosts(3), 300, here=50)
    often, seldom = (
        without_times(measure_row(scenario, "place-one", 1, Options(sample_every=every))).metrics for every in (1, 100)
    )
    sampled = {"empty_hosts", "stranded_cpus", "stranded_gib", "sample_every"}
    assert {k: v for k, v in often.items() if k not in sampled} == {k: v for k, v in seldom.items() if k not in sampled}


def crowded(requests: Sequence[GuestRequest], fleet: Fleet, effort: Effort, /) -> Answer:
    """Wrong on purpose: everybody on node 0 of the first host, as if nobody else were there."""
    host = fleet.hosts[0]
    return Answer(decisions=tuple(make_placement(request, host, homes(host)[:1]) for request in requests))


def test_what_breaks_a_rule_is_counted_and_not_taken(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text("from tests.benchmarks.test_simulator import crowded\n")
    events = [Event(at_s=0.0, arrivals=tuple(ask(f"g{i}", 2, 1, cpus=CpuPolicy.DEDICATED) for i in range(4)))]
    run = Run(told(Fleet.of([host_of("h", cpus=4)]), *events), f"{file}:crowded", 1, QUICK)
    for event in run.play.events():
        run.step(event)
    row = run.row()
    assert (row.metrics["placed"], row.metrics["broken"], row.metrics["refused"]) == (1, 3, 0)
    assert len(run.world) == 1


def test_a_rule_in_a_file_of_ten_lines_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from policies.one_by_one import one_by_one\n"
        "from policies.places import all_ways, placed\n"
        "def last(request, book):\n"
        "    for host in reversed(book.fleet.hosts):\n"
        "        for way in all_ways(request, book, host):\n"
        "            if (placement := placed(request, book, host, way)) is not None:\n"
        "                return placement\n"
        "mine = one_by_one(last)\n"
    )
    run = Run(told(hosts(3), Event(at_s=0.0, arrivals=(ask("g"),))), f"{file}:mine", 1, QUICK)
    for event in run.play.events():
        run.step(event)
    assert [len(guests) for guests in run.world.guests_on] == [0, 0, 1]


def test_a_policy_of_the_user_that_fails_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def mine(requests, fleet, effort):\n    return 1 / 0\n")
    with pytest.raises(BadInputError, match=r"mine.py:mine failed at event 1: ZeroDivisionError"):
        measure_row(told(hosts(1), Event(at_s=0.0, arrivals=(ask("g"),))), f"{file}:mine", 1, QUICK)


def test_xenopsd_takes_equally_near_nodes_in_turn_over_events() -> None:
    """As it does since it started; asked with one guest at a time and nothing else, it would take the first again."""
    events = [Event(at_s=float(i), arrivals=(ask(f"g{i}", 4),)) for i in range(4)]
    run = Run(told(hosts(1), *events), "xenopsd", 1, QUICK)
    for event in run.play.events():
        run.step(event)
    assert [sorted(p.memory_nodes) for p in run.world.guests_on[0].values()] == [[0], [1], [2], [3]]


def test_members_of_a_group_keep_to_it_over_events() -> None:
    """Who came before is a resident for those who come later, whoever is asked."""
    apart = (Membership(group=Group(name="db", rule=GroupRule.ANTI_AFFINITY)),)
    events = [Event(at_s=float(i), arrivals=(ask(f"g{i}", groups=apart),)) for i in range(4)]
    for policy in ("place-one", "first-fit", "solver"):
        row = measure_row(told(hosts(3), *events), policy, 1, QUICK)
        assert (row.metrics["placed"], row.metrics["refused[group]"]) == (3, 1), policy


def test_of_an_all_or_nothing_group_with_a_broken_member_none_is_taken() -> None:
    whole = (Membership(group=Group(name="all", rule=GroupRule.ALL_OR_NOTHING)),)
    fleet = Fleet.of([host_of("h", cpus=2)])
    requests = [
        ask("a", 2, cpus=CpuPolicy.DEDICATED, groups=whole),
        ask("b", 2, cpus=CpuPolicy.DEDICATED, groups=whole),
    ]
    answer = crowded(requests, fleet, Effort())
    assert violations(answer.decisions, requests, fleet)
    assert set(broken_by(answer.decisions, requests, fleet)) == {"a", "b"}


def test_the_checker_and_the_broken_agree_on_sound_answers() -> None:
    """What it finds nothing in has nobody broken; without the broken it finds nothing."""
    fleet = hosts(2)
    requests = [ask(f"g{i}", 1 + i % 4, 2, cpus=CpuPolicy.DEDICATED if i % 2 else CpuPolicy.SHARED) for i in range(30)]
    for name in ("best-fit", "xenopsd", "nova-spread"):
        decider = decider_of(name, fleet, (), 1, QUICK)
        decided = decider.decide(requests, 0.0, look=True)
        there = {p.guest: p for guests in decider.world.guests_on for p in guests.values()}
        assert set(there) == {p.guest for p in decided.placed}
        assert not [audit_host(decider.world, i) for i in range(2) if audit_host(decider.world, i)]


@pytest.mark.parametrize("policy", EVERY)
def test_who_does_not_know_what_comes_places_no_more_than_who_does(policy: str) -> None:
    """On a crowded fleet; each host takes 64 vCPUs."""
    row = measure_row(streamed(hosts(2), 200, here=90), policy, 2, QUICK)
    assert 0 <= row.metrics["regret"] <= 1


def test_regret_of_one_batch_is_against_what_the_solver_proves() -> None:
    """Four pCPUs; the three small guests would fit without the large one that came first."""
    guests = (ask("large", 3, cpus=CpuPolicy.DEDICATED), *(ask(f"s{i}", 1, cpus=CpuPolicy.DEDICATED) for i in range(3)))
    scenario = told(Fleet.of([host_of("h", cpus=3, nodes=1)]), Event(at_s=0.0, arrivals=guests))
    first, best = (measure_row(scenario, policy, 1, QUICK).metrics for policy in ("first-fit", "solver"))
    assert (first["placed"], first["regret"]) == (1, pytest.approx(2 / 3))
    assert (best["placed"], best["regret"], best["gap"]) == (3, 0, 0)
    assert "regret" not in measure_row(scenario, "solver", 1, replace(QUICK, regret=False)).metrics
