"""repair, as people use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from probe.cpuset import NodeSet
from scheduler.sim.hypervisor import SimHypervisor
from tests.scheduler.cli.conftest import Run
from tests.scheduler.sim.hosts import domain_xml, pins, started

HOSTS = "schema: 1\nhosts:\n  h1: {sources: ['sim:h1.sim']}\n"
FLEET = "schema: 1\nguests:\n  - {name: web, count: 2, vcpus: 1, memory: 64MiB}\n"


@pytest.fixture
def fleet(run: Run, tmp_path: Path) -> Path:
    """Two guests on a made-up host; the memory of web-1 was let go to the other node."""
    made = run("sim", "create", "h1.sim", "--from", "synthetic:node:2 core:4 memory:4GiB", "--name", "h1")
    assert made.status == 0, made.err
    (tmp_path / "hosts.yaml").write_text(HOSTS)
    (tmp_path / "fleet.yaml").write_text(FLEET)
    assert run("plan", "fleet.yaml", "-o", "plan.json").status == 0
    assert run("apply", "plan.json").status == 0
    sim = SimHypervisor(tmp_path / "h1.sim")
    domain = next(domain for domain in sim.domains() if domain.wanted.name == "web-1")
    here = NodeSet(frozenset(domain.resident_kib))
    sim.set_nodes(domain.wanted.uuid, sim.base.topology.node_ids - here)
    sim.close()
    return tmp_path


def test_a_guest_goes_back(run: Run, fleet: Path) -> None:
    """status sees it, --dry-run tells it, repair mends it, and a second one finds nothing."""
    assert run("status").status == 4
    dry = run("repair", "--all", "--dry-run")
    assert (4, True) == (dry.status, "dry run: nothing was changed" in dry.out)
    done = run("repair", "--all", "--output", "json")
    assert (0, []) == (done.status, done.json["exit_statuses"])
    by_guest = {row["guest"]: row for row in done.json["guests"]}
    assert (0.0, 1.0) == tuple(by_guest["web-1"][when]["on_plan_ratio"] for when in ("before", "after"))
    assert by_guest["web-2"]["before"] == by_guest["web-2"]["after"]
    again = run("repair", "web-1")
    assert (0, True) == (again.status, "as planned" in again.out)
    assert run("status").status == 0


def test_a_stranger_on_a_dedicated_pcpu_is_told(run: Run, tmp_path: Path) -> None:
    """He came after ours; shut off, he runs nowhere. The guest itself is as planned."""
    assert run("sim", "create", "h1.sim", "--from", "synthetic:node:2 core:4 memory:4GiB", "--name", "h1").status == 0
    (tmp_path / "hosts.yaml").write_text(HOSTS)
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("memory: 64MiB", "memory: 64MiB, cpus: dedicated"))
    assert run("plan", "fleet.yaml", "-o", "plan.json").status == 0
    assert run("apply", "plan.json").status == 0
    sim = SimHypervisor(tmp_path / "h1.sim")
    own = next(domain for domain in sim.domains() if domain.wanted.name == "web-1").wanted.affinity[0]
    uuid = started(sim, domain_xml("theirs", inner=pins(str(own), str(own))))
    seen = run("status", "--output", "json")
    problems = {row["guest"]: row["problems"] for row in seen.json["guests"]}
    assert (4, {"web-1": [f"theirs may run on its pCPUs {own}"], "web-2": []}) == (seen.status, problems)
    sim.destroy(uuid)
    sim.close()
    assert run("status").status == 0


def test_it_wants_to_know_whom(run: Run, fleet: Path) -> None:
    """Guests, or --all; unknown ones are named."""
    assert run("repair").status == 2
    missing = run("repair", "nobody")
    assert (2, True) == (missing.status, "is not in the books" in missing.out)
    assert run("status").status == 4  # and nothing was changed
