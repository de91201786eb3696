"""The scenarios that come with numaplace: each loads, plays, and says of what it is."""

from __future__ import annotations

from itertools import islice

import pytest

from benchmarks.scenarios import load_scenario, scenario_names
from benchmarks.scenarios.data import DataMissingError, data_folder
from policies.registry import BUILTIN
from policies.request import GuestRequest

OF_DATA = {"alibaba", "alibaba-small", "bitbrains", "diurnal-100-hosts", "huawei", "huawei-small", "recorded-hosts"}
OF_DATA |= {"roadef-a1_1"}


def first_events(name: str, count: int = 50) -> list[GuestRequest]:
    """Everybody who comes first; that time runs forwards and names do not repeat is checked."""
    play = load_scenario(name).play(1)
    events = list(islice(play.events(), count))
    assert sorted(event.at_s for event in events) == [event.at_s for event in events]
    came = [guest for event in events for guest in event.arrivals]
    assert len(came) == len({guest.name for guest in came}) > 0
    assert len(play.fleet) > 0
    assert 0 < len(play.flavours) <= 12
    return came


@pytest.mark.parametrize("name", sorted(set(scenario_names()) - OF_DATA))
def test_a_made_up_scenario_plays_without_the_data_folder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first guests are valid requests (their constructor checks that), and at least one has a place alone."""
    monkeypatch.setenv("NUMAPLACE_DATA", "/nowhere")
    scenario = load_scenario(name)
    assert scenario.title
    assert 64 == len(scenario.digest)
    came = first_events(name)
    fleet = scenario.play(1).fleet
    some = [guest for guest in came if guest.hosts is None or guest.hosts <= {host.name for host in fleet}]
    assert len(some) == len(came)


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(OF_DATA))
def test_a_scenario_of_the_data_folder_plays(name: str, data: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the folder it plays, without it says where the data sets are had."""
    monkeypatch.setenv("NUMAPLACE_DATA", str(data))
    first_events(name)
    assert 64 == len(load_scenario(name).digest)


@pytest.mark.parametrize("name", sorted(OF_DATA))
def test_without_the_data_folder_it_says_where_data_is_had(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the scenario itself can be loaded all the same, so that it can be listed."""
    monkeypatch.setenv("NUMAPLACE_DATA", "/nowhere")
    scenario = load_scenario(name)
    for ask in (lambda: scenario.digest, lambda: scenario.play(1)):
        with pytest.raises(DataMissingError, match=r"(?s)/nowhere.*NUMAPLACE_DATA"):
            ask()
    assert not data_folder().is_dir()


def test_there_are_enough_small_ones() -> None:
    """At least six for `make bench`, three of them from the data folder."""
    assert {"steady-small", "batch-mixed", "traps", "huawei-small", "alibaba-small", "bitbrains"} <= {*scenario_names()}


@pytest.mark.parametrize("policy", [name for name in BUILTIN if name.startswith(("libxl", "kubelet", "nova", "numad"))])
def test_the_traps_catch_others(policy: str) -> None:
    """What each peer answers breaks a rule somewhere, or refuses a guest that the solver places."""
    from policies.check import violations
    from policies.plan import Placement
    from policies.policy import Effort
    from policies.registry import load_policy

    play = load_scenario("traps").play(1)
    (event,) = play.events()
    effort = Effort(time_limit_s=None, deterministic_limit=2.0)
    theirs, ours = (load_policy(name)(event.arrivals, play.fleet, effort).decisions for name in (policy, "solver"))
    assert not violations(ours, event.arrivals, play.fleet)
    placed = [{d.guest for d in decisions if isinstance(d, Placement)} for decisions in (theirs, ours)]
    assert violations(theirs, event.arrivals, play.fleet) or placed[1] - placed[0]
