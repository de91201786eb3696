"""One fleet on a real Xen host, created by libxl's own placement and by us, measured by `numaplace bench locality`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab.command import Command
from tests.lab.guests import KERNEL
from tests.lab.lab import Lab
from tests.lab.test_xen_fleet import FLEET as XEN_FLEET

HOSTS = ("xen",)
FLEET = tuple(guest for guest in XEN_FLEET if guest["name"] not in ("two-cells", "too-big"))
GUESTS = 5
FILLS = {"libvirt": "1=700MiB,2=1100MiB", "xl": "idle"}
"""Node to what is left available there, for each way to the host: both scenarios with both would take twice as long."""


@pytest.mark.parametrize("through", ["libvirt", "xl"])
def test_no_way_is_more_local_than_ours(lab: Lab, tmp_path: Path, through: str) -> None:
    """By Xen's own page counts; where libxl chose a node, its soft affinity counts as if it were always kept."""
    command = Command(lab, tmp_path)
    by_libvirt, by_xl = command.sources("xen")
    sources = [by_libvirt, by_xl] if through == "libvirt" else [by_xl]
    command.hosts(xen={"sources": sources, "reserve": "64MiB", "overcommit": 2})
    command.fleet(*FLEET, vars={"kernel": KERNEL})
    words = ("bench", "locality", "--fleet", "fleet.yaml", "--fill", FILLS[through], "--yes", "--output", "json")
    answer = command.run(*words, timeout_s=850)
    assert answer.status == 0, answer.complaint
    for guest in answer.json["guests"]:
        print(guest)
    metrics: dict[str, dict[str, Any]] = {row["policy"]: row["metrics"] for row in answer.json["rows"]}
    print(through, FILLS[through], metrics)
    assert ["auto", "solver"] == list(metrics)
    assert (GUESTS, GUESTS, 1.0) == tuple(metrics["solver"][name] for name in ("placed", "wholly_local", "local_ratio"))
    assert metrics["auto"]["local_ratio"] <= 1.0
    assert len(lab.hosts["xen"].run("xl list").splitlines()) == 2  # the heading and dom0
