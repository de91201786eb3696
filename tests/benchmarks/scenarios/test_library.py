"""The scenarios that come with numaplace: each loads, plays, and says of what it is."""

from __future__ import annotations

from itertools import islice

import pytest

from benchmarks.events import Play
from benchmarks.scenarios import load_scenario, scenario_names, small_scenarios
from benchmarks.scenarios.data import DataMissingError, data_folder

OF_DATA = {"alibaba", "alibaba-small", "bitbrains", "diurnal-100-hosts", "huawei", "huawei-small", "recorded-hosts"}
OF_DATA |= {"roadef-a1_1"}


def check_first_events(play: Play, count: int = 50) -> None:
    """Time runs forwards, names do not repeat, and hosts that a guest must live on are there."""
    events = list(islice(play.events(), count))
    assert sorted(event.at_s for event in events) == [event.at_s for event in events]
    came = [guest for event in events for guest in event.arrivals]
    assert len(came) == len({guest.name for guest in came}) > 0
    assert len(play.fleet) > 0
    assert 0 < len(play.flavours) <= 12
    hosts = {host.name for host in play.fleet}
    assert all(guest.hosts <= hosts for guest in came if guest.hosts is not None)


@pytest.mark.parametrize("name", sorted(set(scenario_names()) - OF_DATA))
def test_a_made_up_scenario_plays_without_the_data_folder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first guests are valid requests: their constructor checks that."""
    monkeypatch.setenv("NUMAPLACE_DATA", "/nowhere")
    scenario = load_scenario(name)
    assert scenario.title
    assert 64 == len(scenario.digest)
    check_first_events(scenario.play(1))


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(OF_DATA))
def test_a_scenario_of_the_data_folder_plays(name: str, data: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the folder it plays, without it says where the data sets are had."""
    monkeypatch.setenv("NUMAPLACE_DATA", str(data))
    scenario = load_scenario(name)
    check_first_events(scenario.play(1))
    assert 64 == len(scenario.digest)


@pytest.mark.parametrize("name", sorted(OF_DATA))
def test_without_the_data_folder_it_says_where_data_is_had(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the scenario itself can be loaded all the same, so that it can be listed."""
    monkeypatch.setenv("NUMAPLACE_DATA", "/nowhere")
    scenario = load_scenario(name)
    for ask in (lambda: scenario.digest, lambda: scenario.play(1)):
        with pytest.raises(DataMissingError, match=r"(?s)/nowhere.*NUMAPLACE_DATA"):
            ask()
    assert not data_folder().is_dir()


@pytest.mark.data
def test_there_are_enough_small_ones(data: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """At least six for `make bench`, three of them from the data folder: left out where it is not here."""
    monkeypatch.setenv("NUMAPLACE_DATA", "/nowhere")
    made_up, missing = small_scenarios()
    assert (5, {*missing}) == (len(made_up), {*missing} & OF_DATA)
    monkeypatch.setenv("NUMAPLACE_DATA", str(data))
    here, none = small_scenarios()
    assert (8, ()) == (len(here), none)
    assert {*made_up} | {*missing} == {*here}
