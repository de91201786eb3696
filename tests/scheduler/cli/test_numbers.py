"""Numbers that are none, and guests that are named twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.scheduler.cli.conftest import Run

HOST = "synthetic:node:2 core:4 memory:4GiB"
FLEET = "schema: 1\nguests:\n  - {name: db, vcpus: 4, memory: 1GiB, cpus: dedicated}\n"


@pytest.mark.parametrize(
    "words",
    [
        *(("--deterministic", each) for each in ("nan", "inf", "0", "-1", "x", "1e400")),
        *(("--time-limit", each) for each in ("nan", "inf", "0", "-1", "x")),
        *(("--seed", each) for each in ("99999999999", "-1", "x")),
        ("--workers", "0"),
    ],
)
def test_an_option_that_is_no_such_number_is_a_usage_error(run: Run, tmp_path: Path, words: tuple[str, str]) -> None:
    """Status 2, the option's name, and what it takes; never a search without end."""
    (tmp_path / "fleet.yaml").write_text(FLEET)
    done = run("plan", "fleet.yaml", "--host", HOST, *words)
    assert (2, True) == (done.status, words[0] in done.err)


@pytest.mark.parametrize("overcommit", [".nan", ".inf", "-.inf", "1e400", "0", "-1", "1.0001", "9" * 400])
def test_an_overcommit_that_is_no_ratio_is_named(run: Run, tmp_path: Path, overcommit: str) -> None:
    """By file, line and key."""
    (tmp_path / "fleet.yaml").write_text(FLEET)
    (tmp_path / "hosts.yaml").write_text(f"hosts:\n  h1:\n    sources: ['{HOST}']\n    overcommit: {overcommit}\n")
    done = run("plan", "fleet.yaml")
    assert (2, True) == (done.status, "hosts.yaml:4: hosts.h1.overcommit" in done.err), done.err


def made(run: Run, tmp_path: Path) -> None:
    assert run("sim", "create", "h1.sim", "--from", HOST, "--name", "h1").status == 0
    (tmp_path / "hosts.yaml").write_text("hosts:\n  h1: {sources: ['sim:h1.sim']}\n")
    (tmp_path / "fleet.yaml").write_text(FLEET)


def test_a_guest_that_is_named_twice_is_destroyed_once(run: Run, tmp_path: Path) -> None:
    """And that is a success."""
    made(run, tmp_path)
    assert run("plan", "fleet.yaml", "-o", "plan.json").status == 0
    assert run("apply", "plan.json").status == 0
    done = run("destroy", "db", "db", "--output", "json")
    assert (0, ["db"]) == (done.status, [row["guest"] for row in done.json["guests"]])


def test_what_was_accepted_and_not_yet_reserved_is_planned_around(run: Run, tmp_path: Path) -> None:
    """An apply died right after it had accepted db: its pCPUs are not given to another in the next plan."""
    made(run, tmp_path)
    plan = run("plan", "fleet.yaml", "-o", "plan.json", "--output", "json").json
    died = subprocess.run(
        [sys.executable, "-m", "scheduler.cli.main", "apply", "plan.json"],
        env={**os.environ, "NUMAPLACE_CRASH": "accept:after", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert died.returncode == 137
    (tmp_path / "fleet.yaml").write_text(
        FLEET + "  - {name: more, count: 2, vcpus: 4, memory: 1GiB, cpus: dedicated}\n"
    )
    again = run("plan", "fleet.yaml", "--output", "json").json
    assert plan["decisions"][0]["cells"][0]["pins"] == again["decisions"][0]["cells"][0]["pins"]
    pins = [cell["cpus"] for d in again["decisions"] if "rejected" not in d for cell in d["cells"]]
    assert (2, 2) == (len(pins), len(set(pins)))
    assert [d["guest"] for d in again["decisions"] if "rejected" in d] == ["more-2"]
