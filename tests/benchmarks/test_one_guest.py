"""The benchmark of single guests: its questions are what they say, and its rows add up."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import one_guest
from benchmarks.command import bench
from benchmarks.one_guest import CASES, Case, measure_one_guest, measure_refusals, questions, slits

SMALL = Case(cells=2, nodes=8)


@pytest.mark.parametrize("nodes", [8, 16, 64])
def test_the_machines_are_three_and_differ(nodes: int) -> None:
    """The first two are symmetric; each node is 10 from itself and farther from all others."""
    found = [np.array(slit) for slit in slits(nodes, np.random.default_rng(1))]
    assert [slit.shape for slit in found] == [(nodes, nodes)] * 3
    assert [bool((slit == slit.T).all()) for slit in found] == [True, True, False]
    assert all((np.diag(slit) == 10).all() and (slit + 99 * np.eye(nodes) > 10).all() for slit in found)


def test_half_of_the_nodes_are_partly_full_and_questions_repeat() -> None:
    """Even and uneven cells in turn."""
    asked = list(questions(SMALL, 60))
    full = np.concatenate([fleet.free_cpus < one_guest.CPUS_OF_NODE for _, fleet in asked])
    assert full.mean() == pytest.approx(0.5, abs=0.1)
    assert {bool(request.cell_sizes) for request, _ in asked} == {True, False}
    again = list(questions(SMALL, 60))
    assert [request for request, _ in asked] == [request for request, _ in again]
    assert [fleet.hosts for _, fleet in asked] == [fleet.hosts for _, fleet in again]


def test_a_row_counts_what_is_placed_and_proven() -> None:
    row = measure_one_guest(SMALL, 12)
    assert 0 < row["placed"] <= row["guests"] == row["proven"] == 12
    assert row["largest_gap"] == 0
    assert row["exact_median_ms"] <= row["exact_p99_ms"]


def test_a_search_that_is_stopped_has_a_gap_and_its_proof_is_measured_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_guest, "STOPPED_S", 0.0)
    row = measure_one_guest(Case(cells=8, nodes=16, proof=False), 6)
    assert row["largest_gap"] > 0
    assert row["proven"] < 6
    assert row["greedy_limit_ms"] is None
    assert not any("proven" in missed for missed in row["missed"])


def test_refusals_name_the_cells_and_the_nodes() -> None:
    row = measure_refusals(4)
    assert (row["placed"], row["proven"]) == (0, 4)
    assert "cells 0-7 want 8 nodes, and only nodes " in row["reason"]
    assert not any("refused" in missed for missed in row["missed"])


def test_what_a_row_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_guest, "EXACT_MS", -1)
    monkeypatch.setattr(one_guest, "GREEDY_MS", -2)
    monkeypatch.setattr(one_guest, "REFUSED_MS", -3)
    monkeypatch.setattr(one_guest, "_gap", lambda _: 0.5)
    missed = measure_one_guest(SMALL, 3)["missed"]
    assert missed == ["exact median over -1 ms", "best-fit median over -2 ms", "not all proven"]
    assert measure_refusals(2)["missed"] == ["exact median over -3 ms", "best-fit median over -3 ms"]


def test_a_refusal_without_the_reason_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.shortfall._crowd", lambda *_: [])
    assert "not refused with the cells and the nodes" in measure_refusals(1)["missed"]


def test_the_document_has_a_row_per_case_and_the_table_the_reason() -> None:
    result = CliRunner().invoke(bench, ["one-guest", "--guests", "1", "--output", "json"])
    names = [row["case"] for row in json.loads(result.stdout)["rows"]]
    assert names == [*(case.name for case in CASES), "8 cells, 7 of 16 nodes hold one"]
    table = CliRunner().invoke(bench, ["one-guest", "--guests", "1"]).stdout
    assert "VERDICT" in table
    assert "cells 0-7 want 8 nodes" in table
