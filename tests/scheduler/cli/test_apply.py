"""`numaplace apply` where the world has changed since the plan: what it prints, and how it ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from scheduler.executors.port import DomainDefinition
from scheduler.executors.sim import SimExecutor
from scheduler.ledger import Ledger
from scheduler.sim.hypervisor import SimHypervisor
from tests.scheduler.cli.conftest import Run
from tests.scheduler.sim.hosts import domain_xml, numatune, started

HOSTS = "schema: 1\nhosts:\n" + "".join(f"  {name}: {{sources: ['sim:{name}.sim']}}\n" for name in ("h1", "h2"))
FLEET = "schema: 1\nguests:\n  - {name: db, vcpus: 1, memory: 2GiB}\n  - {name: web, vcpus: 1, memory: 100MiB}\n"


def fill(host: str, mib: int = 2600) -> None:
    sim = SimHypervisor(Path(f"{host}.sim"))
    uuid = started(sim, domain_xml("theirs", inner=numatune("strict", "0"), mib=mib))
    sim.resume(uuid)
    sim.touch(uuid, mib * 1024)
    sim.close()


@pytest.fixture
def planned(run: Run, tmp_path: Path) -> Path:
    """Two guests planned on h1; by now somebody else has its only node."""
    for host in ("h1", "h2"):
        run("sim", "create", f"{host}.sim", "--from", "synthetic:node:1 core:4 memory:4GiB", "--name", host)
    (tmp_path / "hosts.yaml").write_text(HOSTS)
    (tmp_path / "fleet.yaml").write_text(FLEET)
    assert run("plan", "fleet.yaml", "--policy", "first-fit", "-o", "plan.json").status == 0
    fill("h1")
    return tmp_path


def test_it_says_from_where_to_where_and_why(run: Run, planned: Path) -> None:
    """In the table and in JSON, also for a host that the plan itself did not use."""
    done = run("apply", "plan.json")
    assert 0 == done.status, done.out
    assert "db: moved from h1 node 0 to h2 node 0, because guest db: node 0 of h1 has " in done.out
    again = run("apply", "plan.json", "--output", "json")
    assert (0, ["h2", "h1"]) == (again.status, [guest["host"] for guest in again.json["guests"]])
    assert [[], []] == [guest["moves"] for guest in again.json["guests"]]


def test_json_has_each_move(run: Run, planned: Path) -> None:
    """The keys of a move."""
    (db, web) = run("apply", "plan.json", "--output", "json").json["guests"]
    (move,) = db["moves"]
    assert ("h1", "0", "h2", "0") == (move["from_host"], move["from_nodes"], move["to_host"], move["to_nodes"])
    assert "left in pages of 4KiB, 2112MiB are needed" in move["why"]
    assert [] == web["moves"]


def test_retries_bound_it(run: Run, planned: Path) -> None:
    """None: exit status 5. No place elsewhere: 3, with the amounts. The other guest is created either way."""
    done = run("apply", "plan.json", "--retries", "0", "--output", "json")
    assert (5, ["failed", "active"]) == (done.status, [guest["state"] for guest in done.json["guests"]])
    fill("h2")
    refused = run("apply", "plan.json", "--output", "json")
    assert (3, ["failed", "active"]) == (refused.status, [guest["state"] for guest in refused.json["guests"]])
    assert "No place is left (memory): node 0 of h" in refused.json["guests"][0]["note"], refused.json


NVME = """\
<domain type='kvm'><name>{name}</name><devices>
  <disk type='nvme'><source type='pci'><address domain='0' bus='1' slot='0' function='0'/></source></disk>
</devices></domain>
"""


def test_it_does_not_move_to_where_its_disk_is_anothers(run: Run, tmp_path: Path) -> None:
    """On two hosts this address is two disks. On one host the two guests would write the same."""
    for host in ("h1", "h2"):
        run("sim", "create", f"{host}.sim", "--from", "synthetic:node:1 core:4 memory:4GiB", "--name", host)
    (tmp_path / "hosts.yaml").write_text(HOSTS)
    (tmp_path / "nvme.xml").write_text(NVME)
    guest = "{{name: {0}, vcpus: 1, memory: {1}, hosts: [{2}], template: nvme.xml}}"
    guests = [guest.format("db", "2GiB", "h1, h2"), guest.format("web", "128MiB", "h2")]
    (tmp_path / "fleet.yaml").write_text("schema: 1\nguests:\n" + "".join(f"  - {each}\n" for each in guests))
    assert run("plan", "fleet.yaml", "--policy", "first-fit", "-o", "plan.json").status == 0
    fill("h1")
    (db, web) = run("apply", "plan.json", "--output", "json").json["guests"]
    assert (5, "failed", []) == (db["exit_status"], db["state"], db["moves"])
    assert "share the writable disk" in db["note"]
    assert (0, "active") == (web["exit_status"], web["state"])


def test_ctrl_c_stops_after_the_current_step(run: Run, planned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real signal, while a domain is defined: exit status 130, nobody holds a claim, apply goes on."""
    define, once = SimExecutor.define, threading.Lock()

    def interrupted(executor: SimExecutor, definition: DomainDefinition) -> None:
        if once.acquire(blocking=False):  # a second one would end this process
            os.kill(os.getpid(), signal.SIGINT)
        while signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:
            time.sleep(0.01)
        define(executor, definition)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(SimExecutor, "define", interrupted)
        done = run("apply", "plan.json", "--output", "json")
    assert 130 == done.status, done.out
    assert before is signal.getsignal(signal.SIGINT)
    ledger = Ledger(planned / "ledger.sqlite")
    found = {(claim.lease_s, claim.step) for claim in ledger.claims()}
    assert (0, "define") in found
    assert found <= {(0, "reserve"), (0, "look"), (0, "define")}
    assert any("interrupted, defined" in guest["note"] for guest in done.json["guests"])
    assert 0 == run("apply", "plan.json").status


def test_apply_and_status_say_which_guarantee_a_guests_memory_has(run: Run, demo: Path) -> None:
    """Key `memory_guarantee`, column MEMORY; the same in both."""
    run("plan", "fleet.yaml", "-o", "plan.json")
    applied = run("apply", "plan.json", "--output", "json").json["guests"]
    told = {guest["guest"]: guest["memory_guarantee"] for guest in applied}
    assert ("huge pages reserved", "accounted only") == (told["cache"], told["web-1"])
    seen = run("status", "--output", "json").json["guests"]
    assert told == {guest["guest"]: guest["memory_guarantee"] for guest in seen}
    for command in (("status",), ("apply", "plan.json")):
        assert "huge pages" in run(*command).out
