"""`numaplace bench list`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from benchmarks.command import bench
from benchmarks.scenarios import load_scenario, scenario_names
from benchmarks.scenarios.outline import outline_of
from benchmarks.scenarios.shapes import SHAPES
from benchmarks.scenarios.traces import TRACES
from tests.benchmarks.scenarios.written import HOSTS, scenario, stream


def listed(*arguments: str) -> str:
    ended = CliRunner().invoke(bench, ["list", *arguments])
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def test_every_scenario_is_listed_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the data folder too; the table and the document say the same."""
    monkeypatch.setenv("NUMAPLACE_DATA", "/nowhere")
    monkeypatch.setenv("COLUMNS", "250")
    document = json.loads(listed("--output", "json"))
    assert list(scenario_names()) == [row["name"] for row in document["scenarios"]]
    lines = listed().splitlines()[1:]
    for row, line in zip(document["scenarios"], lines, strict=True):
        assert line.startswith(row["name"])
        assert ("missing" in line.split()) == (not row["is_there"])
        assert row["is_there"] == (not row["origins"])


def test_one_is_shown_with_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown can be saved and changed."""
    scenario = load_scenario("bursts")
    shown = listed("bursts")
    assert scenario.text.strip() in shown
    assert scenario.digest in shown
    assert scenario.digest == json.loads(listed("bursts", "--output", "json"))["digest"]
    monkeypatch.setenv("NUMAPLACE_DATA", "/nowhere")
    assert "NUMAPLACE_DATA" in listed("alibaba-small")


def test_a_file_of_the_user_is_shown_and_errors_are_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"title": "mine", "hosts": HOSTS, "guests": stream()}), encoding="utf-8")
    assert "4, of 8 nodes together" in listed(str(path))
    assert CliRunner().invoke(bench, ["list", "x", "--hosts"]).exit_code == 2
    path.write_text("title: x\nhosts: [{shap: snc4}]\n", encoding="utf-8")
    assert "--schema" in str(CliRunner().invoke(bench, ["list", str(path)]).exception)


def test_named_hosts_and_the_schema_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMAPLACE_DATA", "/nowhere")
    assert list(SHAPES) == [host["name"] for host in json.loads(listed("--hosts", "--output", "json"))["hosts"]]
    assert "hosts" in json.loads(listed("--schema"))["properties"]


@pytest.mark.data
def test_an_outline_is_what_is_played(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts and nodes of every scenario, and what is said of traces."""
    monkeypatch.setenv("NUMAPLACE_DATA", str(data))
    for name in sorted(set(scenario_names()) - {"batch-4000-hosts", "steady-1000-hosts", "diurnal-100-hosts"}):
        loaded = load_scenario(name)
        fleet = loaded.play(1).fleet
        outline = outline_of(loaded)
        assert (name, len(fleet), len(fleet.node_ids)) == (name, outline.hosts, outline.nodes)
        assert outline.is_there
    for name in ("roadef2012/a1_5", "roadef2012/a2_2", "bitbrains-small"):
        hosts = [{"trace": name}] if TRACES[name].hosts else HOSTS
        play = scenario({"trace": {"name": name}}, hosts).play(1)
        guests = sum(len(event.arrivals) for event in play.events())
        assert TRACES[name].guests == guests
        assert TRACES[name].hosts in (0, len(play.fleet))
