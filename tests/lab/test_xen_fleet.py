"""A fleet on a real Xen host, through libvirt and xl: every page on the planned node by the hypervisor's own count."""

from __future__ import annotations

from typing import Any

import pytest

from probe import read_source
from probe.cpuset import CpuSet
from tests.lab.command import Command
from tests.lab.guests import KERNEL
from tests.lab.lab import Lab, LabHost
from tests.lab.where import xen_pages

HOSTS = ("xen",)
FLEET: tuple[dict[str, Any], ...] = (
    {"name": "web", "count": 3, "vcpus": 1, "memory": "192MiB"},
    {"name": "db", "vcpus": 2, "memory": "1GiB"},
    {"name": "own-cpu", "vcpus": 1, "memory": "256MiB", "cpus": "dedicated"},
    {"name": "two-cells", "vcpus": 2, "memory": "256MiB", "cells": 2},
    {"name": "too-big", "vcpus": 1, "memory": "4GiB"},
)
"""Seven guests; Xen has no guest cells, and no node for the last."""


@pytest.fixture(scope="module", params=["libvirt", "xl"])
def command(lab: Lab, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Command:
    """The fleet for a host as it was saved; the first of its sources is what guests are created through."""
    lab.restart("xen")
    command = Command(lab, tmp_path_factory.mktemp("xen"))
    by_libvirt, by_xl = command.sources("xen")
    first = [by_libvirt, by_xl] if request.param == "libvirt" else [by_xl]
    command.hosts(xen={"sources": first, "reserve": "64MiB", "overcommit": 2})
    command.fleet(*FLEET, vars={"kernel": KERNEL})
    return command


@pytest.fixture(scope="module")
def placed(command: Command) -> dict[str, Any]:
    """Each decision of the plan by its guest, after `plan` and `apply`."""
    plan = command.plan()
    applied = command.apply()
    assert applied.status == 3, applied.complaint
    refused = {d["guest"]: d["rejected"]["reason"] for d in plan["decisions"] if "rejected" in d}
    assert set(refused) == {"two-cells", "too-big"}
    assert {guest["state"] for guest in applied.json["guests"]} == {"active"}
    return {d["guest"]: d for d in plan["decisions"] if "rejected" not in d}


def test_every_page_is_on_the_planned_node_by_xens_own_count(lab: Lab, placed: dict[str, Any]) -> None:
    """And no page is anywhere else."""
    pages = xen_pages(lab.hosts["xen"])
    assert len(placed) == 5
    for name, decision in placed.items():
        (memory,) = decision["cells"][0]["memory"]
        on = {node: count for node, count in pages[name].items() if count}
        print(f"{name}: {on} pages, planned {memory['kib'] // 4} on node {memory['node']}")
        assert set(on) == {memory["node"]}
        assert on[memory["node"]] >= memory["kib"] // 4


def test_the_hypervisor_pins_each_vcpu_where_the_plan_says(command: Command, placed: dict[str, Any]) -> None:
    """Hard affinities, as each source of the host reads them (libvirt does not see what xl created)."""
    for source in command.json("hosts.yaml")["hosts"]["xen"]["sources"]:
        seen = {o.guest: o.effective_cpus for o in read_source(source).occupants}
        for name, decision in placed.items():
            pins = decision["cells"][0]["pins"].values()
            assert seen[name] == CpuSet.union(map(CpuSet.parse, pins))


def test_status_agrees_with_the_hypervisor(command: Command, placed: dict[str, Any]) -> None:
    """All active and bound, by Xen's own page counts too where they are asked for."""
    answer = command.run("status", "--memory", "--output", "json")
    assert answer.status == 0, answer.out
    guests = {guest["guest"]: guest for guest in answer.json["guests"]}
    assert set(guests) == set(placed)
    assert {(g["state"], g["binding_ok"]) for g in guests.values()} == {("active", True)}
    assert {g["on_plan_ratio"] for g in guests.values()} == {1.0}
    count_dumps = "xl dmesg | grep -c 'Memory location of each domain' || true"
    dumps = command.lab.hosts["xen"].run(count_dumps)
    assert {g["on_plan_ratio"] for g in command.run("status", "--output", "json").json["guests"]} == {None}
    assert dumps == command.lab.hosts["xen"].run(count_dumps)


def created(host: LabHost, name: str, *lines: str) -> dict[int, int]:
    """Pages per node of a paused domain that xl made from these lines; it is gone afterwards."""
    text = "\n".join([f'name="{name}"', 'type="pvh"', f'kernel="{KERNEL}"', "vcpus=2", "memory=128", *lines])
    host.put(f"{text}\n", f"/tmp/{name}.cfg")
    host.run(f"xl create -p /tmp/{name}.cfg")
    pages = {node: count for node, count in xen_pages(host)[name].items() if count}
    host.run(f"xl destroy {name}")
    return pages


def test_the_traps_of_xen_are_real(lab: Lab, placed: dict[str, Any]) -> None:
    """What looks right puts memory elsewhere. The fleet leaves node 2 the emptiest: xl's own choice."""
    host = lab.hosts["xen"]
    assert 2 not in {m["node"] for decision in placed.values() for m in decision["cells"][0]["memory"]}
    assert set(created(host, "listed", 'cpus=["6-7","6-7"]')) == {3}
    assert set(created(host, "string", 'cpus="6-7"')) == {2}
    spilled = created(host, "spilled", 'cpus=["2-3","2-3"]', "memory=2200", "maxmem=2200")
    assert set(spilled) > {1}
    host.put(
        "<domain type='xen'><name>ignored</name><memory unit='MiB'>128</memory><vcpu cpuset='6-7'>2</vcpu>"
        "<numatune><memory mode='strict' nodeset='3'/></numatune>"
        f"<os><type machine='xenpvh'>xenpvh</type><kernel>{KERNEL}</kernel></os></domain>",
        "/tmp/ignored.xml",
    )
    host.run("virsh -c xen:///system create /tmp/ignored.xml --paused")
    ignored = {node for node, count in xen_pages(host)["ignored"].items() if count}
    host.run("virsh -c xen:///system destroy ignored")
    assert ignored == {2}


def test_applied_again_and_destroyed(lab: Lab, command: Command, placed: dict[str, Any]) -> None:
    """A second apply does nothing; destroyed guests are gone, their definitions too. The last test of its fleet."""
    before = lab.hosts["xen"].run("xl list")
    assert command.apply().status == 3
    assert [row.split()[:2] for row in before.splitlines()] == [
        row.split()[:2] for row in lab.hosts["xen"].run("xl list").splitlines()
    ]
    assert command.run("destroy", *placed).status == 0
    assert len(lab.hosts["xen"].run("xl list").splitlines()) == 2  # the heading and dom0
    assert lab.hosts["xen"].run("virsh -q -c xen:///system list --all --name").split() == ["Domain-0"]
    assert lab.hosts["xen"].run("ls -A /var/lib/numaplace/xl 2>/dev/null || true") == ""
