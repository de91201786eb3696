"""The benchmark of arriving guests: its fleets are what they say, and its rows add up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import online
from benchmarks.command import bench
from benchmarks.online import CPUS_OF_NODE, KINDS, fleet_of, loads, measure_online
from policies.online.fleet import OnlineFleet
from policies.request import HostName
from probe.errors import BadInputError


def test_the_fleet_is_at_seventy_percent_and_repeats() -> None:
    cpus, gib = loads(500, 8, hostile=False)
    assert np.mean(cpus) / CPUS_OF_NODE == pytest.approx(0.7, abs=0.02)
    assert (cpus, gib) == loads(500, 8, hostile=False)
    fleet = fleet_of(cpus, gib)
    assert fleet.free_cpus.sum() == 500 * 8 * CPUS_OF_NODE - np.sum(cpus)


def test_hostile_hosts_have_seven_nodes_for_a_cell() -> None:
    fleet = fleet_of(*loads(20, 16, hostile=True))
    cells, vcpus, _ = KINDS[-1].sizes[0]
    assert cells == 8
    assert {int((fleet.free_cpus[list(fleet.rows(HostName(f"h{i}")))] >= vcpus).sum()) for i in range(20)} == {7}


def test_a_row_counts_who_found_a_place() -> None:
    rows = [measure_online(kind, 40, 60, nova=None, most_nova_hosts=1) for kind in KINDS]
    assert 0 < rows[0]["placed"] <= rows[0]["guests"] == 60
    assert rows[-1]["placed"] == 0
    assert all(row["median_ms"] <= row["p99_ms"] for row in rows)


def test_every_refusal_is_worked_out_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is remembered, because hosts change before each."""
    worked_out: list[str] = []
    lacks = OnlineFleet._lacks
    monkeypatch.setattr(OnlineFleet, "_lacks", lambda self, r: (worked_out.append(r.name), lacks(self, r))[1])
    measure_online(KINDS[-1], 5, 12, nova=None, most_nova_hosts=1)
    assert len(worked_out) == 12


def test_what_a_row_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online, "MOST_MS", -1)
    monkeypatch.setattr(online, "_nova_ms", lambda *_: 0.001)
    row = measure_online(KINDS[0], 5, 5, nova=Path("python"), most_nova_hosts=1)
    assert row["missed"] == ["p99 over -1 ms", "less than 1000 times as fast"]
    monkeypatch.setattr(online, "_nova_ms", lambda *_: None)
    stopped = measure_online(KINDS[0], 10, 5, nova=Path("python"), most_nova_hosts=5)
    assert (stopped["nova_stopped"], stopped["nova_median_ms"]) == (True, 200_000)


def test_a_python_without_nova_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no module >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(BadInputError, match="no module") as error:
        measure_online(KINDS[0], 10, 10, nova=python, most_nova_hosts=1)
    assert "make nova" in str(error.value.advice)


def test_the_document_has_a_row_per_kind() -> None:
    result = CliRunner().invoke(bench, ["online", "--hosts", "30", "--guests", "20", "--output", "json"])
    assert [row["case"] for row in json.loads(result.stdout)["rows"]] == [kind.name for kind in KINDS]
    assert [f"{kind.name} …" for kind in KINDS] == result.stderr.splitlines()
    table = CliRunner().invoke(bench, ["online", "--hosts", "30", "--guests", "20"]).stdout
    assert "VERDICT" in table
