"""Guests that come and go, made by a seed."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from itertools import islice

import pytest

from benchmarks.events import Event, Play
from benchmarks.scenarios import load_scenario
from policies.request import GuestName, GuestRequest
from tests.benchmarks.scenarios.written import FLAVOURS, scenario, stream
from tests.conftest import ROOT


def events_of(play: Play) -> list[Event]:
    return list(play.events())


def come_and_gone(events: Iterable[Event]) -> tuple[list[GuestRequest], list[GuestName]]:
    """Everybody who came and everybody who went, in order; that nobody goes who is not there is checked."""
    came: list[GuestRequest] = []
    gone: list[GuestName] = []
    here: set[str] = set()
    for event in events:
        assert set(event.departures) <= here
        here -= set(event.departures)
        gone += event.departures
        came += event.arrivals
        here |= {guest.name for guest in event.arrivals}
    return came, gone


KINDS = {
    "poisson": stream(),
    "bursty by day": stream(arrivals={"burstiness": 4.0, "hours": [1.0] * 12 + [3.0] * 12}),
    "lognormal": stream(lifetime={"distribution": "lognormal", "mean": "2h", "sigma": 1.5}),
    "fixed": stream(lifetime={"distribution": "fixed", "mean": "2h"}),
    "groups": stream(groups={"share": 40, "members": 3}),
    "empty": stream(start="empty"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_only_guests_that_came_go_and_time_runs_forwards(kind: str) -> None:
    """Names never repeat, and there are as many events as asked for."""
    play = scenario(KINDS[kind]).play(1)
    events = events_of(play)
    came, gone = come_and_gone(events)
    assert 300 == len(events) == play.count
    assert sorted(event.at_s for event in events) == [event.at_s for event in events]
    assert len(came) == len({guest.name for guest in came})
    assert gone
    assert len(gone) == len(set(gone))


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_decides(kind: str) -> None:
    """The same seed gives the same events however often they are read, and another seed others."""
    of = scenario(KINDS[kind])
    play = of.play(1)
    assert events_of(play) == events_of(play) == events_of(of.play(1))
    assert events_of(play) != events_of(of.play(2))


def test_a_longer_stream_begins_like_a_shorter_one() -> None:
    """So that what is tried with few events tells of many."""
    short, long = (events_of(scenario(stream(events=count)).play(1)) for count in (300, 600))
    assert short == long[:300]


def test_another_process_plays_the_same() -> None:
    """Nothing depends on how this process hashes."""
    code = (
        "import hashlib; from benchmarks.scenarios import load_scenario; s = load_scenario('steady-small'); "
        "print(s.digest, hashlib.sha256(repr(list(s.play(3).events())).encode()).hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
        ).stdout
        for seed in ("1", "2")
    }
    assert 1 == len(said)
    assert load_scenario("steady-small").digest in said.pop()


def test_guests_follow_the_weights() -> None:
    """Within three standard deviations, groups or not."""
    for keys in ({}, {"groups": {"share": 50, "members": 4}}):
        came, _ = come_and_gone(events_of(scenario(stream(events=8000, **keys)).play(1)))
        count = Counter(guest.vcpus for guest in came)
        for flavour in FLAVOURS:
            share = float(str(flavour["weight"])) / 10
            deviation = (share * (1 - share) / len(came)) ** 0.5 * (2 if keys else 1)
            assert abs(count[int(str(flavour["vcpus"]))] / len(came) - share) < 3 * deviation


@pytest.mark.parametrize("kind", ["poisson", "lognormal", "fixed", "groups", "bursty by day"])
def test_the_wanted_load_is_there(kind: str) -> None:
    """Over a long time the mean of what is wanted is the load, of the fuller of pCPUs and memory."""
    keys = {**KINDS[kind]["stream"], "events": 40_000, "lifetime": {**KINDS[kind]["stream"]["lifetime"], "sigma": 1.0}}
    play = scenario({"stream": keys}).play(1)
    room = int(play.fleet.shared_room.sum())
    memory = int(play.fleet.memory_kib[4].sum())
    sizes: dict[str, GuestRequest] = {}
    vcpus = kib = 0
    weighted = [0.0, 0.0]
    last = 0.0
    for event in play.events():
        for n, amount in enumerate((vcpus / room, kib / memory)):
            weighted[n] += amount * (event.at_s - last)
        last = event.at_s
        for guest in event.arrivals:
            sizes[guest.name] = guest
        for sign, guests in ((1, event.arrivals), (-1, [sizes.pop(name) for name in event.departures])):
            vcpus += sign * sum(guest.vcpus for guest in guests)
            kib += sign * sum(guest.memory_kib + guest.overhead_kib for guest in guests)
    assert 0.8 == pytest.approx(max(weighted) / last, rel=0.04)


def test_the_load_is_there_at_once_or_not() -> None:
    """`loaded` begins with everybody who is there, at time 0; `empty` with the first who comes."""
    loaded, empty = (events_of(scenario(stream(start=start)).play(1)) for start in ("loaded", "empty"))
    assert sum(event.at_s == 0 for event in loaded) > 10
    assert empty[0].at_s > 0


@pytest.mark.parametrize(
    ("lifetime", "rest_h"),
    [
        ({"distribution": "fixed", "mean": "2h"}, 1.0),
        ({"distribution": "exponential", "mean": "2h"}, 2.0),
        ({"distribution": "lognormal", "mean": "2h", "sigma": 0.8}, math.exp(0.8**2)),
    ],
)
def test_who_is_there_when_it_begins_has_a_part_of_a_life_left(lifetime: dict[str, object], rest_h: float) -> None:
    """Their mean rest is E[L²] ÷ 2 E[L] (renewal theory), so that the load neither sinks nor swells afterwards."""
    hosts = [{"count": 60, "shape": "two-socket"}]
    there: set[str] = set()
    rests = []
    for event in scenario(stream(events=25_000, lifetime=lifetime), hosts).play(1).events():
        there |= {guest.name for guest in event.arrivals if event.at_s == 0}
        rests += [event.at_s for name in event.departures if name in there]
    assert len(rests) > 0.95 * len(there) > 1000
    assert rest_h == pytest.approx(sum(rests) / len(rests) / 3600, rel=0.1)


def test_groups_come_together() -> None:
    """A group is one event, of one flavour; the share of guests in groups is as told."""
    events = events_of(scenario(stream(events=6000, groups={"share": 40, "members": 3})).play(1))
    groups = [event.arrivals for event in events if len(event.arrivals) > 1]
    for guests in groups:
        assert 3 == len(guests)
        assert 1 == len({(guest.vcpus, guest.groups) for guest in guests})
    assert len({guests[0].groups[0].group.name for guests in groups}) == len(groups)
    came, _ = come_and_gone(events)
    assert 0.4 == pytest.approx(3 * len(groups) / len(came), abs=0.04)


def test_hours_and_bursts_shape_the_arrivals() -> None:
    """Nobody comes in an hour of weight 0, and bursts make the times between arrivals differ more."""
    hours = [0.0] * 12 + [1.0] * 12
    events = events_of(scenario(stream(events=3000, start="empty", arrivals={"hours": hours})).play(1))
    assert {int(event.at_s // 3600 % 24) for event in events if event.arrivals} <= set(range(12, 24))

    def spread(burstiness: float) -> float:
        play = scenario(stream(events=4000, start="empty", arrivals={"burstiness": burstiness})).play(1)
        at = [event.at_s for event in play.events() if event.arrivals]
        steps = [b - a for a, b in zip(at, islice(at, 1, None), strict=False)]
        mean = sum(steps) / len(steps)
        return (sum((step - mean) ** 2 for step in steps) / len(steps)) ** 0.5 / mean

    assert spread(0.3) < 0.5
    assert 1 == pytest.approx(spread(1.0), abs=0.15)
    assert spread(5.0) > 3


def test_lifetimes_are_told_where_asked_for() -> None:
    """As whole seconds, at least one."""
    came, _ = come_and_gone(events_of(scenario(stream(told=True)).play(1)))
    assert all((guest.lifetime_s or 0) >= 1 for guest in came)
    assert {None} == {guest.lifetime_s for guest in come_and_gone(events_of(scenario(stream()).play(1)))[0]}
