"""Scenario files that people write: what is refused, and how it is told."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.scenarios import load_scenario
from benchmarks.scenarios.file import GuestsEntry
from benchmarks.scenarios.flavour_lists import LISTS
from benchmarks.scenarios.scenario import parse_scenario
from benchmarks.scenarios.traces import TRACES
from probe.errors import BadInputError
from scheduler.files.document import FileInvalidError
from tests.benchmarks.scenarios.test_stream import come_and_gone, events_of
from tests.benchmarks.scenarios.written import FLAVOURS, HOSTS, scenario, stream
from tests.conftest import ROOT

GUEST = {"vcpus": 1, "memory": "1GiB"}


def written(*events: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"written": {"events": list(events), **more}}


@pytest.mark.parametrize(
    ("guests", "told"),
    [
        ({}, "exactly one of stream, batch"),
        ({**stream(), "batch": {"flavours": FLAVOURS, "guests": 1}}, "exactly one"),
        (stream(flavours=[]), "exactly one of flavours, flavours_of"),
        (stream(load=0), "load"),
        (stream(lifetime={}), "exactly one of mean, like"),
        (stream(lifetime={"mean": "1h", "distribution": "recorded"}), "name it"),
        (stream(arrivals={"hours": [1.0]}), "24 weights"),
        (stream(arrivals={"hours": [0.0] * 24}), "24 weights"),
        (stream(flavours=[{**FLAVOURS[0], "weight": 0.0}]), "weight"),
        (stream(flavours=[{**FLAVOURS[0], "template": "x.xml"}]), "a flavour has no template"),
        (stream(flavours=[FLAVOURS[0], FLAVOURS[0]]), "two flavours are called 'small'"),
        (stream(flavours=[{**FLAVOURS[0], "cells": 9}]), "more cells than vCPUs"),
        (stream(flavours=[{"name": "x", "weight": 1.0}]), "at least 1 vCPU"),
        (stream(wieght=1), "wieght"),
        ({"batch": {"flavours": FLAVOURS}}, "exactly one of guests, demand"),
        ({"trace": {"name": "x", "guest": {"vcpus": 1}}}, "guest has no vcpus here"),
        ({"trace": {"name": "x", "guest": {"cells": [{"vcpus": 1, "memory": "1GiB"}] * 2}}}, "a number of cells here"),
        (written({"guests": [{"name": "a"}]}), "at least 1 vCPU"),
        (written({"guests": [{"name": "a", **GUEST}] * 2}), "two guests are called 'a'"),
        (written({"leave": ["a"]}), "nobody called 'a' is there"),
        (written({"guests": [{"name": "a", **GUEST}]}, {"leave": ["a", "a"]}), "somebody goes twice"),
        (written({"at": "2h"}, {"at": "1h"}), "before the event above"),
        (written({"guests": [{"name": "a", **GUEST, "groups": ["g"]}]}), "no group is called 'g'"),
        (written({"guests": [{"name": "a", **GUEST, "template": "x"}]}), "has no template"),
    ],
)
def test_a_file_that_says_nonsense_is_refused(guests: dict[str, Any], told: str) -> None:
    """The error names file and key, and most often the line."""
    with pytest.raises(FileInvalidError, match=r"test\.yaml") as caught:
        scenario(guests)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [{}],
        [{"shape": "snc4", "trace": "x"}],
        [{"shape": "snc4", "sample": 2}],
        [{"trace": "x", "racks": 2}],
        [{"shape": "snc4", "count": 10**9}],
        [{"shape": "snc4", "count": 150_000}] * 2,
        [{"shape": "snc4", "name": "../x"}],
        [{"shape": "snc4", "load": 100}],
    ],
)
def test_hosts_that_are_none_are_refused(hosts: list[dict[str, Any]]) -> None:
    text = yaml.safe_dump({"title": "t", "hosts": hosts, "guests": stream()})
    with pytest.raises(FileInvalidError):
        parse_scenario(text, origin=Path("x.yaml"), name="x")


HOSTILE = {
    "a tag": "!!python/object/apply:os.system [id]",
    "a billion laughs": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "\n".join(f"{b}: &{b} [{','.join(['*' + a] * 9)}]" for a, b in zip("abcdefg", "bcdefgh", strict=True)),
    "deep": "[" * 5000,
    "twice": "title: a\ntitle: b",
    "not a mapping": "- 1",
    "empty": "",
    "a control character": "title: \x07",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_a_typed_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(HOSTILE[name], encoding="utf-8")
    with pytest.raises(FileInvalidError):
        load_scenario(str(path))


def test_unknown_names_are_told_with_those_that_are_there() -> None:
    for name in ("steady", "/etc/passwd", "../traps"):
        with pytest.raises(BadInputError, match="steady-small"):
            load_scenario(name)
    with pytest.raises(FileInvalidError, match="cannot be read"):
        load_scenario("nothing.yaml")
    with pytest.raises(BadInputError, match="no trace is called 'x'"):
        scenario({"trace": {"name": "x"}}).play(1)


def test_a_file_of_the_user_is_played(tmp_path: Path) -> None:
    """YAML and JSON; files that it names are looked for beside it."""
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"title": "mine", "hosts": HOSTS, "guests": stream()}), encoding="utf-8")
    mine = load_scenario(str(path))
    assert (str(path), "mine") == (mine.name, mine.title)
    assert 300 == len(events_of(mine.play(1)))


def test_the_digest_is_of_what_is_played(tmp_path: Path) -> None:
    """Comments and titles do not matter; hosts, guests and the files that are read do."""
    base = scenario(stream())
    assert base.digest == scenario(stream(), title="another").digest
    assert base.digest != scenario(stream(load=81)).digest
    assert base.digest != scenario(stream(), [{"count": 5, "shape": "two-socket-small"}]).digest
    numactl = "available: 1 nodes (0)\nnode 0 cpus: 0 1\nnode 0 size: {} MB\nnode 0 free: 900 MB\n"
    digests = set()
    for size in (1000, 1001):
        (tmp_path / "host.txt").write_text(numactl.format(size), encoding="utf-8")
        text = yaml.safe_dump({"title": "t", "hosts": [{"shape": "numactl:host.txt"}], "guests": stream()})
        digests.add(parse_scenario(text, origin=tmp_path / "s.yaml", name="s").digest)
    assert 2 == len(digests)


def test_written_guests_come_and_go_as_written() -> None:
    """Groups, counts and defaults as in fleet files."""
    play = scenario(
        written(
            {"guests": [{"name": "a", "count": 2, "groups": ["apart"]}, {"name": "b", "vcpus": 4}]},
            {"at": "2h", "leave": ["a-1", "b"], "guests": [{"name": "c"}]},
            defaults={"vcpus": 2, "memory": "2GiB", "cpus": "dedicated"},
            groups={"apart": {"rule": "anti-affinity"}},
        )
    ).play(1)
    events = events_of(play)
    came, gone = come_and_gone(events)
    assert [("a-1", 2), ("a-2", 2), ("b", 4), ("c", 2)] == [(guest.name, guest.vcpus) for guest in came]
    assert (["a-1", "b"], [0, 7200]) == (gone, [event.at_s for event in events])
    assert ["apart"] == [member.group.name for member in came[0].groups]
    assert [2, 4] == sorted(flavour.vcpus for flavour in play.flavours)


def test_batches_share_the_guests_out() -> None:
    """As many as asked for, in as many events, an hour apart; demand is a part of what the hosts have."""
    play = scenario({"batch": {"flavours": FLAVOURS, "guests": 100, "batches": 3}}).play(1)
    events = events_of(play)
    assert [33, 33, 34] == [len(event.arrivals) for event in events]
    assert [0, 3600, 7200] == [event.at_s for event in events]
    assert 3 == play.count
    half = scenario({"batch": {"flavours": FLAVOURS, "demand": 50}}, [{"count": 40, "shape": "two-socket"}]).play(1)
    (event,) = half.events()
    wanted = sum(guest.vcpus for guest in event.arrivals) / int(half.fleet.shared_room.sum())
    assert 0.5 == pytest.approx(wanted, rel=0.05)


def test_room_is_told_of_the_flavours_that_the_file_names() -> None:
    """Else of the guests' own."""
    assert ["small", "medium", "large"] == [f.name for f in scenario(stream()).play(1).flavours]
    room = [{"name": "x", "vcpus": 1, "memory": "1GiB"}]
    assert ["x"] == [f.name for f in scenario(stream(), room=room).play(1).flavours]


def test_the_example_of_the_readme_is_played() -> None:
    """With every key that is written there, its notes aside."""
    text = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(title: .*?)```", text, re.DOTALL)
    play = parse_scenario(example, origin=Path("readme.yaml"), name="readme").play(1)
    assert 21 == len(play.fleet)
    came, gone = come_and_gone(islice(play.events(), 2000))
    assert {"small", "pinned", "wide"} >= {flavour.name for flavour in play.flavours}
    assert any(guest.groups for guest in came)
    assert gone


def test_the_readme_names_every_trace_and_kind_of_guests() -> None:
    text = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    assert [] == [name for name in TRACES if f"`{name}`" not in text and not name.startswith("roadef")]
    assert [] == [kind for kind in GuestsEntry.model_fields if f"| `{kind}` |" not in text]
    assert [] == [source for source in LISTS if f"`{source}`" not in text]


def test_hosts_without_memory_have_no_load(tmp_path: Path) -> None:
    """A recording that tells none is an error with advice, not a scenario without guests."""
    (tmp_path / "host.txt").write_text(
        "available: 1 nodes (0)\nnode 0 cpus: 0 1\nnode 0 size: 0 MB\n", encoding="utf-8"
    )
    text = yaml.safe_dump({"title": "t", "hosts": [{"shape": "numactl:host.txt"}], "guests": stream()})
    with pytest.raises(BadInputError, match=r"(?s)no memory.*node_memory"):
        parse_scenario(text, origin=tmp_path / "s.yaml", name="s").play(1)


def test_a_demand_beyond_all_measure_is_refused() -> None:
    huge = {"flavours": [{"name": "x", "vcpus": 1, "memory": "1MiB", "overhead": 0}], "demand": 1000}
    with pytest.raises(BadInputError, match="at most 1,000,000 come"):
        scenario({"batch": huge}, [{"count": 2000, "shape": "two-socket"}]).play(1)
