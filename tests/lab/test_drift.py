"""Guests of a real KVM host that drift: seen by status, mended by repair as far as they can be."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.command import Command
from tests.lab.guests import KVM
from tests.lab.lab import Lab
from tests.lab.where import kvm_guest, wait_until_touched

HOSTS = ("h1",)
FLEET: tuple[dict[str, Any], ...] = (
    {"name": "free", "vcpus": 1, "memory": "256MiB"},
    {"name": "huge", "vcpus": 1, "memory": "128MiB", "page_size": "2MiB"},
    {"name": "two-cells", "vcpus": 2, "memory": "256MiB", "cells": 2},
)


@pytest.fixture(scope="module")
def command(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The fleet, planned, applied and touched."""
    command = Command(lab, tmp_path_factory.mktemp("drift"))
    command.write("guest.xml", KVM)
    command.hosts(h1={"reserve": "64MiB", "overcommit": 2})
    command.fleet(*FLEET, template="guest.xml")
    command.plan()
    applied = command.apply()
    assert applied.status == 0, applied.out
    wait_until_touched(lab.hosts["h1"], [guest["name"] for guest in FLEET])
    return command


def standing(command: Command, name: str) -> dict[str, Any]:
    guests = command.run("status", "--output", "json").json["guests"]
    found: dict[str, Any] = next(guest for guest in guests if guest["guest"] == name)
    return found


def home(command: Command, name: str) -> int:
    """The first node that its memory is planned on."""
    return int(standing(command, name)["memory_nodes"][0])


def test_all_is_seen_as_planned_over_ssh(command: Command) -> None:
    """The kernel's own figures of every guest, by one look."""
    guests = command.run("status", "--output", "json").json["guests"]
    for guest in guests:
        print(guest["guest"], guest["on_plan_ratio"], guest["locality_ratio"], guest["resident_ratio"])
    assert {(g["binding_ok"], g["on_plan_ratio"], g["locality_ratio"]) for g in guests} == {(True, 1.0, 1.0)}
    assert min(g["resident_ratio"] for g in guests) > 0.8


def test_memory_and_threads_that_wandered_come_back(command: Command) -> None:
    """Another operator re-pins the guest and lets its memory follow; repair undoes it, measured from outside."""
    host = command.lab.hosts["h1"]
    node = home(command, "free")
    other = 1 if node != 1 else 2
    host.run(
        f"virsh -q vcpupin free 0 {2 * other}; virsh -q emulatorpin free {2 * other}; "
        f"virsh -q numatune free --nodeset {other} --live; sleep 5"
    )
    assert set(kvm_guest(host, "free", cell_mib=[256]).kib) == {other}
    drifted = standing(command, "free")
    assert (drifted["binding_ok"], drifted["on_plan_ratio"]) == (False, 0.0), drifted
    done = command.run("repair", "free", "--output", "json")
    assert done.status == 0, done.out
    (row,) = done.json["guests"]
    print("before", row["before"], "after", row["after"])
    assert (row["before"]["on_plan_ratio"], row["after"]["on_plan_ratio"]) == (0.0, 1.0)
    assert set(kvm_guest(host, "free", cell_mib=[256]).kib) == {node}
    assert standing(command, "free")["problems"] == []


@pytest.mark.parametrize("name", ["huge", "two-cells"])
def test_what_holds_as_it_was_made_stays(command: Command, name: str) -> None:
    """Threads go back; the strict memory never left, and libvirt refuses to move it."""
    host = command.lab.hosts["h1"]
    node = home(command, name)
    host.run(f"virsh -q vcpupin {name} 0 {(2 * node + 2) % 8}")
    assert standing(command, name)["binding_ok"] is False
    done = command.run("repair", name, "--output", "json")
    assert (done.status, done.json["guests"][0]["after"]["problems"]) == (0, []), done.out
    refused = host.run(f"virsh numatune {name} --nodeset {(node + 1) % 4} --live 2>&1 || true")
    assert "restrictive" in refused


def test_a_stranger_on_a_dedicated_pcpu_is_seen(command: Command) -> None:
    """Somebody starts a guest that may run anywhere."""
    host = command.lab.hosts["h1"]
    command.fleet(*FLEET, {"name": "own", "vcpus": 1, "memory": "64MiB", "cpus": "dedicated"}, template="guest.xml")
    command.plan()
    assert command.apply().status == 0
    host.put(KVM.replace("{name}", "theirs").replace("<os>", "<memory unit='MiB'>64</memory><os>", 1), "/tmp/t.xml")
    host.run("virsh -q create /tmp/t.xml")
    (told,) = standing(command, "own")["problems"]
    print(told)
    assert told.startswith("theirs may run on its pCPUs ")
    host.run("virsh -q destroy theirs")
    assert standing(command, "own")["problems"] == []


def test_what_others_did_is_seen(command: Command) -> None:
    """Destroyed by somebody else: not running, then lost once it is gone from the hypervisor; its place is kept."""
    host = command.lab.hosts["h1"]
    host.run("virsh -q destroy huge")
    assert command.run("status").status == 4
    assert standing(command, "huge")["domain"] == "shutoff"
    assert command.apply().status == 4
    host.run("virsh -q undefine huge")
    reconciled = command.run("status", "--reconcile", "--output", "json").json
    assert {"guest": "huge", "state": "lost"} in reconciled["reconciled"]
    assert command.run("destroy", "huge").status == 0
