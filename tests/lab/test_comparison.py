"""One fleet on a real host, created by the hypervisor's default, by its automatic placement, and by us.

All is measured by `numaplace bench locality`, as anybody measures hosts: the lab only gives it its hosts and a fleet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.lab.command import Command
from tests.lab.guests import KVM
from tests.lab.lab import Lab
from tests.lab.test_kvm_fleet import FLEET as KVM_FLEET

HOSTS = ("h1",)
FLEET = tuple(guest for guest in KVM_FLEET if guest["name"] != "too-big")
"""One guest with two cells, one in huge pages, one with a pCPU of its own; all eight can be placed."""

RECORD = ROOT / "benchmarks/lab.jsonl"
"""The rows of the README's table, written anew with NUMAPLACE_RECORD=1 where it is not there."""

GUESTS = 8
FILLS: Mapping[str, str] = {"idle": "idle", "filled": "0=600MiB,1=900MiB,2=1150MiB"}
"""Node to what somebody else leaves available there."""


@pytest.mark.parametrize("scenario", FILLS)
def test_no_way_is_more_local_than_ours(lab: Lab, tmp_path: Path, scenario: str) -> None:
    """Every guest created and wholly local, on idle nodes and where they are filled to different levels."""
    command = Command(lab, tmp_path)
    command.write("guest.xml", KVM)
    command.hosts(h1={"reserve": "64MiB", "overcommit": 3})  # a guest that fills a node counts as a vCPU there
    command.fleet(*FLEET, template="guest.xml")
    words = ("bench", "locality", "--fleet", "fleet.yaml", "--fill", FILLS[scenario], "--yes", "--output", "json")
    answer = command.run(*words, timeout_s=850)
    assert answer.status == 0, answer.complaint
    rows = {row["policy"]: row for row in answer.json["rows"]}
    if os.environ.get("NUMAPLACE_RECORD"):
        with RECORD.open("a") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in answer.json["rows"])
    for policy, row in rows.items():
        print(scenario, policy, row["metrics"])
    for guest in answer.json["guests"]:
        print(guest)
    assert {f"locality {scenario}"} == {row["scenario"] for row in rows.values()}
    metrics: dict[str, dict[str, Any]] = {policy: row["metrics"] for policy, row in rows.items()}
    ours = metrics["solver"]
    assert (GUESTS, GUESTS) == (ours["placed"], ours["wholly_local"])
    assert ours["local_ratio"] == 1.0
    assert ours["resident_ratio"] > 0.8
    assert metrics["default"]["local_ratio"] < ours["local_ratio"]
    assert metrics["auto"]["local_ratio"] <= ours["local_ratio"]
    assert lab.hosts["h1"].run("virsh -q list --all --name").split() == []
