"""A fleet on a real Xen host through libvirt: every page on the planned node by the hypervisor's own count."""

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


@pytest.fixture(scope="module")
def placed(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Each decision of the plan by its guest, after `plan` and `apply`."""
    command = Command(lab, tmp_path_factory.mktemp("xen"))
    command.hosts(xen={"reserve": "64MiB", "overcommit": 2})
    command.fleet(*FLEET, vars={"kernel": KERNEL})
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


def test_the_hypervisor_pins_each_vcpu_where_the_plan_says(lab: Lab, placed: dict[str, Any]) -> None:
    """Hard affinities, as `xl vcpu-list` tells them, and as the probe reads them through libvirt and xl."""
    host = lab.hosts["xen"]
    for source in (host.libvirt_uri, f"xl+ssh://{host.ssh}"):
        seen = {o.guest: o.effective_cpus for o in read_source(source).occupants}
        for name, decision in placed.items():
            pins = decision["cells"][0]["pins"].values()
            assert seen[name] == CpuSet.union(map(CpuSet.parse, pins))


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
