"""One plan for two KVM hosts and a Xen host, through remote URIs; hosts and daemons that go away meanwhile."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.lab.command import Command
from tests.lab.guests import KERNEL, KVM
from tests.lab.lab import Lab, LabHost
from tests.lab.where import kvm_guest, wait_until_touched, xen_pages

HOSTS = ("h1", "h2", "xen")
SMALL = {"vcpus": 1, "memory": "128MiB"}


@pytest.fixture
def command(lab: Lab, tmp_path: Path) -> Command:
    """`numaplace` in a folder of its own; `fresh` gives it hosts."""
    command = Command(lab, tmp_path)
    command.write("guest.xml", KVM)
    return command


def fresh(command: Command, *names: str) -> None:
    """These hosts as they were saved, and a hosts.yaml with them."""
    command.lab.restart(*names)
    write_hosts(command, *names)


def write_hosts(command: Command, *names: str) -> None:
    command.hosts(**{name: {"reserve": "64MiB", "overcommit": 2} for name in names})


def on(*hosts: str) -> dict[str, object]:
    """A guest for these hosts; those of Xen take the built-in template."""
    template = {} if "xen" in hosts else {"template": "guest.xml"}
    return {**SMALL, **template, "hosts": list(hosts), "vars": {"kernel": KERNEL}}


def states(result: Any) -> dict[str, str]:
    return {guest["guest"]: guest["state"] for guest in result.json["guests"]}


def check_placed(lab: Lab, decisions: list[dict[str, Any]]) -> None:
    """Every page of each guest is on its planned node."""
    kvm_hosts = {d["host"] for d in decisions} - {"xen"}
    for name in kvm_hosts:
        wait_until_touched(lab.hosts[name], [d["guest"] for d in decisions if d["host"] == name])
    pages = xen_pages(lab.hosts["xen"]) if "xen" in lab.hosts else {}
    for decision in decisions:
        guest, node = decision["guest"], decision["cells"][0]["memory"][0]["node"]
        if decision["host"] == "xen":
            seen = {where for where, count in pages[guest].items() if count}
        else:
            seen = set(kvm_guest(lab.hosts[decision["host"]], guest, cell_mib=[128]).kib)
        assert seen == {node}, decision


def test_one_plan_reaches_kvm_and_xen_hosts_together(lab: Lab, command: Command) -> None:
    """Two guests for each host; each is on its node."""
    fresh(command, *HOSTS)
    command.fleet(
        {"name": "a", "count": 2, **on("h1")},
        {"name": "b", "count": 2, **on("h2")},
        {"name": "c", "count": 2, **on("xen")},
    )
    plan = command.plan()
    applied = command.apply()
    assert (applied.status, set(states(applied).values())) == (0, {"active"}), applied.complaint
    check_placed(lab, plan["decisions"])
    assert command.apply().status == 0  # again: nothing to do
    status = command.run("status", "--output", "json")
    assert (status.status, [g["problems"] for g in status.json["guests"]]) == (0, [[]] * 6)


def test_a_host_that_is_switched_off_holds_up_nobody(lab: Lab, command: Command) -> None:
    """The others' guests are done; when it is back, the same command completes the fleet."""
    fresh(command, *HOSTS)
    command.fleet({"name": "a", "count": 2, **on("h1")}, {"name": "b", **on("h2")}, {"name": "c", **on("xen")})
    plan = command.plan()
    lab.stop("h2")
    applied = command.apply()
    assert applied.status == 6
    assert {n: s for n, s in states(applied).items() if n != "b"} == dict.fromkeys(("a-1", "a-2", "c"), "active")
    assert "h2" in applied.out + applied.complaint
    lab.start("h2")
    write_hosts(command, *HOSTS)  # it listens elsewhere now
    again = command.apply()
    assert (again.status, set(states(again).values())) == (0, {"active"}), again.complaint
    check_placed(lab, plan["decisions"])


def test_a_libvirtd_that_is_killed_meanwhile_harms_no_other_host(lab: Lab, command: Command) -> None:
    """What was not surely done is unknown, until a later apply has looked."""
    fresh(command, "h1", "h2")
    command.fleet({"name": "a", "count": 3, **on("h1")}, {"name": "b", **on("h2")})
    plan = command.plan()
    killer = Thread(target=kill_libvirtd_with_a_guest, args=(lab.hosts["h1"],))
    killer.start()
    applied = command.apply()
    killer.join()
    told = states(applied)
    assert applied.status in (6, 8), applied.out
    assert told.pop("b") == "active"
    assert set(told.values()) != {"active"}
    restart_libvirtd(lab.hosts["h1"])
    again = command.apply()
    assert (again.status, set(states(again).values())) == (0, {"active"}), again.complaint
    check_placed(lab, plan["decisions"])
    assert lab.hosts["h1"].run("virsh -q list --name").split() == ["a-1", "a-2", "a-3"]


def kill_libvirtd_with_a_guest(host: LabHost) -> None:
    """Wait for the first guest of a host, then kill its daemon."""
    while not host.run("virsh -q list --name").strip():
        time.sleep(0.2)
    host.run("pkill -9 libvirtd")


def restart_libvirtd(host: LabHost) -> None:
    host.run("libvirtd -d -l -p /run/libvirtd.pid")
    while not host.is_ready():
        time.sleep(0.5)
