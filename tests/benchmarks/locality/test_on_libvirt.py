"""`numaplace bench locality` on a real libvirtd with QEMU: what it creates runs, is seen by the kernel, and is gone."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scheduler.executors.libvirt import LibvirtExecutor
from tests.benchmarks.locality.test_command import GUEST
from tests.libvirtd import PREFIX
from tests.scheduler.cli.conftest import Run

pytestmark = pytest.mark.libvirt

WORDS = (
    "bench",
    "locality",
    "--fleet",
    "fleet.yaml",
    "--prefix",
    PREFIX,
    "--fill",
    "idle",
    "--yes",
    "--output",
    "json",
)


@pytest.fixture
def two_guests(libvirtd: str, run: Run, tmp_path: Path) -> Run:
    """The command, beside files for two small guests whose memory QEMU fills."""
    source = "sources: ['qemu:///system', 'sysfs:']"
    (tmp_path / "hosts.yaml").write_text(f"schema: 1\nhosts:\n  here: {{{source}, reserve: 64MiB, overcommit: 4}}\n")
    guest = "{name: g, count: 2, vcpus: 1, memory: 64MiB, template: guest.xml}"
    (tmp_path / "fleet.yaml").write_text(f"schema: 1\nguests:\n  - {guest}\n")
    (tmp_path / "guest.xml").write_text(GUEST)
    return run


def domains() -> list[str]:
    listed = subprocess.run(["virsh", "-q", "list", "--all", "--name"], capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split() if name.startswith(PREFIX)]


def test_the_kernel_counts_their_pages(two_guests: Run) -> None:
    """On a machine of one node all is local; without numad libvirt refuses what is left to it, and says so."""
    done = two_guests(*WORDS)
    assert done.status == 0, done.err
    metrics: dict[str, dict[str, Any]] = {row["policy"]: row["metrics"] for row in done.json["rows"]}
    assert ["default", "auto", "solver"] == list(metrics)
    for way in ("default", "solver"):
        assert metrics[way]["placed"] == 2, done.out
        assert metrics[way]["resident_ratio"] > 0.99
        assert metrics[way]["local_ratio"] <= 1.0
    assert metrics["solver"]["local_ratio"] == 1.0
    notes = {guest["note"] for guest in done.json["guests"] if guest["policy"] == "auto" and not guest["runs"]}
    assert all("numad" in note for note in notes)
    assert [] == domains()


def test_interrupted_nothing_is_left(two_guests: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real signal while the second guest is started: the first runs by then."""
    start, calls = LibvirtExecutor.start_paused, []

    def interrupted(executor: LibvirtExecutor, uuid: str) -> None:
        start(executor, uuid)
        calls.append(domains())
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(LibvirtExecutor, "start_paused", interrupted)
    assert 130 == two_guests(*WORDS).status
    assert [1, 2] == [len(names) for names in calls]
    assert [] == domains()
