"""The fleets of the benchmarks are what they say, and the benchmark of batches reports what it finds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import batches
from benchmarks.as_requests import fleet_of, requests_of
from benchmarks.batches import measure
from benchmarks.command import bench
from benchmarks.fleets import different_states, huawei, random_fleet
from policies.check import violations
from policies.policy import Effort
from policies.request import GroupRule
from policies.solver.solve import solver
from probe.errors import BadInputError


@pytest.mark.data
def test_the_recorded_batches_are_read_whole(data: Path) -> None:
    """The counts of MANIFEST.md."""
    supply, batch = huawei(data, ["C1"])
    assert (supply.hosts, len(batch.flavour_of), len(np.unique(supply.domains["rack"]))) == (1710, 4998, 100)
    rules = [group.rule for group in batch.groups]
    assert [rules.count(rule) for rule in GroupRule] == [74, 50, 216, 0]
    both = huawei(data, ["C1", "C2"], by_vcpu=True)[1]
    assert len(both.flavour_of) == 9996
    assert max(member for group in both.groups for member in group.members) > 4998
    assert batch.flavours[-1].weight == 0
    assert sum(share.vcpus for share in batch.flavours[-1].forms[0].shares) == 64


def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="not there"):
        huawei(tmp_path, ["C1"])


def test_a_random_fleet_repeats_and_overflows() -> None:
    (supply, batch), (again, same) = random_fleet(500), random_fleet(500)
    assert (supply.cpus == again.cpus).all()
    assert (batch.flavour_of == same.flavour_of).all()
    vcpus = [sum(share.vcpus for share in flavour.forms[0].shares) for flavour in batch.flavours]
    assert np.array(vcpus)[batch.flavour_of].sum() == pytest.approx(1.1 * supply.cpus.sum(), rel=0.05)
    assert different_states(supply) > 0.5 * 500 * 0.5
    assert set(np.diff(supply.first_row).tolist()) == {1, 2, 4, 8}
    assert all(group.rule is GroupRule.ANTI_AFFINITY for group in batch.groups)


def test_a_row_says_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    case = batches.Case(make=lambda: random_fleet(30), most_gap=-1, most_mib=1)
    monkeypatch.setattr(batches, "CASES", {"tiny": case})
    row = measure("tiny")
    assert row["broken_rules"] == []
    assert row["placed"] <= row["bound"] <= row["guests"]
    assert row["missed"] == ["gap over -100.0%", "over 1 MiB"]


def test_measured_rows_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def measured(name: str, _where: object) -> dict[str, object]:
        asked.append(name)
        return {**measure("tiny"), "case": name}

    monkeypatch.setattr(batches, "CASES", {name: batches.Case(make=lambda: random_fleet(5)) for name in ("tiny", "b")})
    monkeypatch.setattr(batches, "measure_apart", measured)
    arguments = ["batches", "tiny", "--results", str(tmp_path / "rows.json"), "--output", "json"]
    assert CliRunner().invoke(bench, arguments).exit_code == 0
    ended = CliRunner().invoke(bench, [*arguments, "b"])
    assert asked == ["tiny", "b"]
    assert [row["case"] for row in json.loads(ended.stdout)["rows"]] == ["tiny", "b"]
    assert "no case is called 'c'" in CliRunner().invoke(bench, ["batches", "c"]).output


def test_a_batch_of_arrays_is_asked_as_requests_too() -> None:
    """As many pCPUs, as much memory, the same guests in the same groups; and the policy answers it."""
    supply, batch = random_fleet(30, demand=0.5)
    fleet, requests = fleet_of(supply), requests_of(batch)
    assert supply.cpus.tolist() == fleet.free_cpus.tolist()
    assert all((fleet.memory_kib[page] == kib).all() for page, kib in supply.memory_kib.items())
    assert [sum(len(group.members) for group in batch.groups)] == [sum(len(r.groups) for r in requests)]
    answer = solver(requests, fleet, Effort(time_limit_s=None, deterministic_limit=0.1))
    assert violations(answer.decisions, requests, fleet) == ()
