"""A plan file that somebody has edited, hosts that changed their mind, and what a dry run foretells."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scheduler.cli.conftest import Run

HOSTS = "hosts:\n  h1: {sources: ['sim:h1.sim']}\n  h2: {sources: ['sim:h2.sim']}\n"
FLEET = """\
guests:
  - {name: a, vcpus: 1, memory: 256MiB, hosts: [h1]}
  - {name: b, vcpus: 2, memory: 256MiB, cpus: dedicated, hosts: [h1]}
"""


@pytest.fixture
def plan(run: Run, tmp_path: Path) -> Path:
    """Two guests planned on h1; nothing is created."""
    for host in ("h1", "h2"):
        source = "synthetic:node:2 core:4 memory:4GiB"
        assert run("sim", "create", f"{host}.sim", "--from", source, "--name", host).status == 0
    (tmp_path / "hosts.yaml").write_text(HOSTS)
    (tmp_path / "fleet.yaml").write_text(FLEET)
    assert run("plan", "fleet.yaml", "-o", "plan.json").status == 0
    return tmp_path / "plan.json"


def a(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(d for d in document["decisions"] if d["guest"] == "a")
    return found


def b(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(d for d in document["decisions"] if d["guest"] == "b")
    return found


def on_bs_cpus(document: dict[str, Any]) -> None:
    cell, other = a(document)["cells"][0], b(document)["cells"][0]
    cell |= {"cpus": other["cpus"], "cpu_nodes": other["cpu_nodes"], "pins": {"0": other["cpus"]}}
    cell["memory"][0]["node"] = other["memory"][0]["node"]
    a(document)["emulator_cpus"] = other["cpus"]


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a pCPU that is not there": lambda d: a(d)["cells"][0].update(cpus="900"),
    "another size": lambda d: a(d)["cells"][0]["memory"][0].update(kib=1024),
    "memory of another node": lambda d: a(d)["cells"][0]["memory"][0].update(
        node=1 - a(d)["cells"][0]["memory"][0]["node"]
    ),
    "not dedicated": lambda d: b(d).update(dedicated=False),
    "another host": lambda d: a(d).update(host="h2"),
    "no overhead": lambda d: a(d).update(overhead_kib=0),
    "the emulator elsewhere": lambda d: a(d).update(emulator_cpus="7" if a(d)["cells"][0]["cpus"] == "0-3" else "0"),
    "no hosts": lambda d: d.update(hosts=[]),
    "two on dedicated pCPUs": on_bs_cpus,
}


@pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["apply", "dry-run"])
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_a_plan_that_breaks_a_rule_is_not_applied(
    run: Run, plan: Path, edit: Callable[[dict[str, Any]], object], words: tuple[str, ...]
) -> None:
    """Status 2 before anything is touched, of no guest."""
    document = json.loads(plan.read_text())
    edit(document)
    plan.write_text(json.dumps(document))
    refused = run("apply", "plan.json", *words)
    assert (2, True) == (refused.status, "plan" in refused.err), refused.err
    assert [] == run("status", "--output", "json").json["guests"]
    assert [] == run("sim", "list", "h1.sim", "--output", "json").json["domains"]


def test_a_host_that_takes_no_new_guests_takes_none(run: Run, plan: Path, tmp_path: Path) -> None:
    """Since the plan; a dry run says the same where nobody is planned again. Who is there stays."""
    assert run("apply", "plan.json").status == 0
    assert run("destroy", "b").status == 0
    (tmp_path / "hosts.yaml").write_text(HOSTS.replace("['sim:h1.sim']", "['sim:h1.sim'], schedulable: false"))
    for words in (("--dry-run",), ("--retries", "0")):
        refused = run("apply", "plan.json", *words, "--output", "json")
        rows = {row["guest"]: row for row in refused.json["guests"]}
        assert (5, "active", 0) == (refused.status, rows["a"]["state"], rows["a"]["exit_status"])
        assert "h1 takes no new guests" in rows["b"]["note"]


def test_a_dry_run_sees_what_is_cordoned_and_what_is_taken(run: Run, plan: Path) -> None:
    """As the real run would where nobody is planned again."""
    assert run("apply", "plan.json", "--dry-run").status == 0
    assert run("cordon", "h1").status == 0
    ways = (("--dry-run",), ("--retries", "0"))
    foretold, real = (run("apply", "plan.json", *words, "--output", "json") for words in ways)
    assert (5, 5) == (foretold.status, real.status)
    for row in (*foretold.json["guests"], *real.json["guests"]):
        assert "is cordoned" in row["note"]
    assert run("uncordon", "h1").status == 0
    assert run("apply", "plan.json").status == 0
    rows = run("apply", "plan.json", "--dry-run", "--output", "json").json["guests"]
    assert {"active"} == {row["state"] for row in rows}
