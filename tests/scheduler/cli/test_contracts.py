"""The JSON that scripts rely on: every key of the README's contracts, with its type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from probe.sources.registry import read_source
from tests.scheduler.cli.conftest import DEMO, Run

TEXT, NUMBER, MAYBE = str, int, (int, type(None))
PROBE = {
    "schema": int, "hostname": str, "sources": [str], "taken_at": str,
    "nodes": [{
        "id": int, "cpus": str, "memory_total_kib": MAYBE, "memory_free_kib": MAYBE, "memory_available_kib": MAYBE,
        "memory_declared_kib": int, "memory_resident_kib": MAYBE,
        "hugepages": [{"size_kib": int, "total": int, "free": MAYBE}], "distances": (dict, type(None)),
    }],
    "packages": [{"id": int, "cpus": str}],
    "dies": [{"id": int, "package": MAYBE, "cpus": str}],
    "l3": [{"cpus": str, "size_kib": MAYBE}],
    "cores": [{"cpus": str, "node": MAYBE, "package": MAYBE}],
    "online_cpus": str, "usable_cpus": str, "offline_cpus": str, "isolated_cpus": str,
    "devices": [{"address": str, "node": MAYBE, "class": (str, type(None))}],
    "occupants": [{
        "guest": str, "uuid": (str, type(None)), "state": str, "vcpus": int, "declared_cpus": (str, type(None)),
        "effective_cpus": (str, type(None)), "memory": [{"node": MAYBE, "kib": int, "page_kib": int}],
        "claim": (str, type(None)),
    }],
    "disagreements": [{"what": str, "readings": dict}],
}  # fmt: skip
PLACED = {
    "guest": str, "host": str,
    "cells": [{
        "cell": int, "vcpus": str, "cpus": (str, type(None)), "cpu_nodes": (str, type(None)), "pins": dict,
        "memory": [{"node": MAYBE, "kib": int, "page_kib": int}], "memory_mode": str,
    }],
    "emulator_cpus": (str, type(None)), "emulator": (str, type(None)), "smt": str, "booked_cpus": str, "devices": list,
}  # fmt: skip
REJECTED = {"guest": str, "rejected": {"reason": str, "detail": str, "fits_if": str}}
PLAN = {
    "schema": int, "policy": str, "seed": int, "status": str, "wall_s": (int, float),
    "objective": [{"tier": int, "name": str, "value": int, "bound": MAYBE, "gap": (int, float, type(None))}],
    "decisions": list,
}  # fmt: skip


def holds(value: Any, shape: Any, where: str = "$") -> None:
    """Every key of `shape` is there, and of its type; more keys may be."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        for key, inner in shape.items():
            assert key in value, f"{where}.{key} is missing"
            holds(value[key], inner, f"{where}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for i, each in enumerate(value):
            holds(each, shape[0], f"{where}[{i}]")
    else:
        assert isinstance(value, shape), f"{where}: {value!r}"


SOURCES = [
    "sysfs:",
    str(DEMO / "h1.json"),
    "synthetic:package:2 node:2 l3:2 core:4 pu:2 memory:64GiB distance:10,12,21",
]


@pytest.mark.parametrize("source", SOURCES)
def test_probe_keeps_its_contract(run: Run, source: str) -> None:
    """On this machine, on a snapshot and on a made-up host."""
    ran = run("probe", "--host", source, "--output", "json")
    assert (0, 1) == (ran.status, ran.json["schema"])
    holds(ran.json, PROBE)


def test_probe_shows_guests(run: Run, demo: Path) -> None:
    """What a node has promised is the sum of what is declared there."""
    run("plan", "fleet.yaml", "-o", "plan.json")
    run("apply", "plan.json")
    seen = run("probe", "--host", "h1", "--output", "json").json
    holds(seen, PROBE)
    assert {"web-1", "db-1", "analytics"} == {occupant["guest"] for occupant in seen["occupants"]}
    for node in seen["nodes"]:
        shares = [m["kib"] for o in seen["occupants"] for m in o["memory"] if m["node"] == node["id"]]
        assert sum(shares) == node["memory_declared_kib"]
    assert all(occupant["claim"] for occupant in seen["occupants"])


def test_plan_keeps_its_contract(run: Run, demo: Path) -> None:
    """Placements and a rejection; ids are the host's own."""
    ran = run("plan", "fleet.yaml", "--output", "json")
    assert ran.status == 3
    holds(ran.json, PLAN)
    for decision in ran.json["decisions"]:
        holds(decision, REJECTED if "rejected" in decision else PLACED)
    (db,) = (d for d in ran.json["decisions"] if d["guest"] == "db-1")
    (cell,) = db["cells"]
    host = read_source(f"sim:{demo / db['host']}.sim")
    assert {"0", "1"} == set(cell["pins"])
    assert {str(host.topology.node(cell["memory"][0]["node"]).cpus)} == {cell["cpus"]}


@pytest.mark.parametrize(
    "words",
    [("policies",), ("doctor",), ("status",), ("probe", "--host", "sim:h1.sim"), ("plan", "fleet.yaml")],
    ids=lambda words: words[0],
)
def test_yaml_says_what_json_says(run: Run, demo: Path, words: tuple[str, ...]) -> None:
    """And each has its schema."""
    as_json, as_yaml = (run(*words, "--output", output) for output in ("json", "yaml"))
    told = yaml.safe_load(as_yaml.out)
    for key in ("wall_s", "taken_at", "hosts"):
        as_json.json.pop(key, None), told.pop(key, None)
    assert told["schema"] == 1
    assert set(told) == set(as_json.json) - {"wall_s", "taken_at", "hosts"}


@pytest.mark.data
@pytest.mark.parametrize("host", ["h1", "h2"])
def test_the_demos_hosts_are_the_labs(data: Path, host: str) -> None:
    """The snapshots that are shipped say what the lab's recording says today."""
    recorded = read_source(f"sysfs:{data}/recorded/kvm/{host}/sysfs-node-cpu.tar.gz")
    shipped = read_source(str(DEMO / f"{host}.json"))
    assert recorded.topology == shipped.topology
    assert [(m.free_kib, m.reclaimable_kib, m.hugepages) for m in recorded.memory] == [
        (m.free_kib, m.reclaimable_kib, m.hugepages) for m in shipped.memory
    ]
