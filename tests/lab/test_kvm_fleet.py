"""A fleet on a real KVM host with four nodes, a memory-only node, and huge pages on one node only."""

from __future__ import annotations

from typing import Any

import pytest

from probe.cpuset import CpuSet
from tests.lab.command import Command
from tests.lab.guests import KVM
from tests.lab.lab import Lab
from tests.lab.where import kvm_guest, wait_until_touched

HOSTS = ("h1",)
FLEET: tuple[dict[str, Any], ...] = (
    {"name": "web", "count": 4, "vcpus": 1, "memory": "192MiB"},
    {"name": "two-cells", "vcpus": 2, "memory": "384MiB", "cells": 2},
    {"name": "huge", "vcpus": 1, "memory": "256MiB", "page_size": "2MiB"},
    {"name": "own-cpu", "vcpus": 1, "memory": "256MiB", "cpus": "dedicated"},
    {"name": "small", "vcpus": 2, "memory": "128MiB"},
    {"name": "too-big", "vcpus": 1, "memory": "2GiB"},
)
"""Nine guests; a node of 1.5 GiB cannot hold the last."""


@pytest.fixture(scope="module")
def command(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The fleet, planned and applied."""
    command = Command(lab, tmp_path_factory.mktemp("kvm"))
    command.write("guest.xml", KVM)
    command.hosts(h1={"reserve": "64MiB", "overcommit": 2})
    command.fleet(*FLEET, template="guest.xml")
    return command


@pytest.fixture(scope="module")
def placed(command: Command) -> dict[str, Any]:
    """Each decision of the plan by its guest, after `plan` and `apply`."""
    plan = command.plan()
    applied = command.apply()
    assert applied.status == 3, applied.complaint  # one has no place
    assert {d["guest"] for d in plan["decisions"] if "rejected" in d} == {"too-big"}
    states = {guest["guest"]: guest["state"] for guest in applied.json["guests"]}
    assert set(states.values()) == {"active"}
    wait_until_touched(command.lab.hosts["h1"], sorted(states))
    return {d["guest"]: d for d in plan["decisions"] if "rejected" not in d}


def test_every_page_and_every_thread_is_where_the_plan_says(lab: Lab, placed: dict[str, Any]) -> None:
    """All guest memory is touched; QEMU's other threads too stay on their CPUs."""
    assert len(placed) == 8
    for name, decision in placed.items():
        cells = decision["cells"]
        planned_kib = [sum(m["kib"] for m in cell["memory"]) for cell in cells]
        seen = kvm_guest(lab.hosts["h1"], name, cell_mib=[kib // 1024 for kib in planned_kib])
        nodes = {m["node"] for cell in cells for m in cell["memory"]}
        print(f"{name}: {seen.kib} KiB, planned on {sorted(nodes)}")
        assert set(seen.kib) == nodes
        assert 0.95 * sum(planned_kib) < sum(seen.kib.values()) <= 1.02 * sum(planned_kib)
        pins = {int(vcpu): cpus for cell in cells for vcpu, cpus in cell["pins"].items()}
        assert seen.vcpus == [CpuSet.parse(pins[vcpu]) for vcpu in sorted(pins)]
        assert seen.others == {CpuSet.parse(decision["emulator_cpus"])}


def test_each_guest_cell_is_on_a_node_of_its_own(lab: Lab, placed: dict[str, Any]) -> None:
    """Two mappings, each wholly on the node of its cell."""
    cells = placed["two-cells"]["cells"]
    seen = kvm_guest(lab.hosts["h1"], "two-cells", cell_mib=[192, 192])
    assert sorted(tuple(mapping) for mapping in seen.ram_kib) == sorted((cell["memory"][0]["node"],) for cell in cells)


def test_huge_pages_come_from_the_only_node_that_has_them(lab: Lab, placed: dict[str, Any]) -> None:
    """128 of node 3's 256 pages are used."""
    assert [m["node"] for m in placed["huge"]["cells"][0]["memory"]] == [3]
    free = lab.hosts["h1"].run("cat /sys/devices/system/node/node3/hugepages/hugepages-2048kB/free_hugepages")
    assert int(free) == 128
