"""Hosts of scenarios: named shapes, what is kept back, what is loaded, where they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.scenarios.file import HostsEntry
from benchmarks.scenarios.hosts import fleet_of, read_shape
from benchmarks.scenarios.shapes import GIB_KIB, SHAPES, resized, snapshot_of_shape
from policies.fleet import Fleet
from probe.errors import BadInputError


def fleet(*entries: dict[str, Any], seed: int = 1) -> Fleet:
    return fleet_of([HostsEntry.model_validate(entry) for entry in entries], Path(), seed)


SIZES = {  # nodes, pCPUs, threads per core, distances that node 0 has to others
    "one-node": (1, 64, 2, set()),
    "two-socket-small": (2, 32, 2, {21}),
    "two-socket": (2, 128, 2, {21}),
    "snc4": (8, 224, 2, {12, 21}),
    "nps4": (8, 256, 2, {12, 32}),
    "eight-node": (8, 384, 2, {21, 31}),
    "cxl": (4, 128, 2, {21, 14, 24}),
    "sixty-four-node": (64, 1024, 2, {12, 16, 22, 32}),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_what_its_title_says(name: str) -> None:
    """Nodes, pCPUs, threads, and a symmetric table of distances."""
    topology = snapshot_of_shape(name).topology
    ids = [node.node_id for node in topology.nodes]
    nodes, cpus, threads, far = SIZES[name]
    assert (nodes, cpus) == (len(topology.nodes), len(topology.online_cpus))
    assert {threads} == {len(core.cpus) for core in topology.cores}
    assert far == {topology.distance(0, other) for other in ids if other != 0}
    assert all(topology.distance(a, b) == topology.distance(b, a) for a in ids for b in ids)


def test_nps4_has_two_l3_domains_in_a_node_and_cxl_memory_has_no_cpus() -> None:
    nps4, cxl = (snapshot_of_shape(name).topology for name in ("nps4", "cxl"))
    assert 16 == len(nps4.l3)
    assert [64, 64, 0, 0] == [len(node.cpus) for node in cxl.nodes]
    assert [256, 256, 128, 128] == [(node.memory_total_kib or 0) // GIB_KIB for node in cxl.nodes]


@pytest.mark.parametrize("cpus", [1, 7, 82, 96, 104])
@pytest.mark.parametrize("name", sorted(set(SHAPES) - {"cxl"}))
def test_a_shape_can_be_resized(name: str, cpus: int) -> None:
    """Never more than asked for, but a pCPU a node; the distances stay."""
    made, shape = resized(name, cpus, 1024 * GIB_KIB).topology, snapshot_of_shape(name).topology
    nodes = len(shape.nodes)
    assert max(nodes, cpus // nodes * nodes) == len(made.online_cpus)
    assert 1024 * GIB_KIB // nodes == made.nodes[0].memory_total_kib
    assert [node.distances for node in shape.nodes] == [node.distances for node in made.nodes]


def test_hosts_are_counted_through_and_stand_in_racks() -> None:
    """Names never repeat, and racks are equally large."""
    made = fleet(
        {"count": 4, "shape": "two-socket-small", "racks": 2},
        {"count": 3, "shape": "snc4", "name": "s", "fault_domains": {"power": 3}},
    )
    assert ["h0", "h1", "h2", "h3", "s4", "s5", "s6"] == [host.name for host in made]
    assert ["rack1", "rack1", "rack2", "rack2"] == [host.domains["rack"] for host in made.hosts[:4]]
    assert ["power1", "power2", "power3"] == [host.domains["power"] for host in made.hosts[4:]]


def test_what_is_kept_back_is_not_there() -> None:
    """Reserve of each node, another of one, housekeeping pCPUs, overcommit."""
    (host,) = fleet(
        {
            "shape": "two-socket-small",
            "reserve": "1GiB",
            "node_reserve": {1: "4GiB"},
            "cpus": {"housekeeping": "0-1"},
            "overcommit": 1.5,
        }
    ).hosts
    assert [63, 60] == [node.memory_kib[4] // GIB_KIB for node in host.nodes]
    assert [14, 16] == [len(node.free_cpus) for node in host.nodes]
    assert host.overcommit == 1.5


def test_load_is_taken_by_the_seed_core_by_core() -> None:
    """About so much is gone, at most one core of a node is cut in two, and another seed takes other parts."""
    entry = {"count": 60, "shape": "two-socket", "load": 40}
    loaded, again, other, empty = (
        fleet(entry),
        fleet(entry),
        fleet(entry, seed=2),
        fleet({"count": 60, "shape": "two-socket"}),
    )
    assert loaded == again
    assert loaded != other
    assert 0.6 == pytest.approx(int(loaded.free_cpus.sum()) / int(empty.free_cpus.sum()), abs=0.06)
    assert 0.6 == pytest.approx(int(loaded.memory_kib[4].sum()) / int(empty.memory_kib[4].sum()), abs=0.06)
    topology = loaded.hosts[0].topology
    for host in loaded:
        for node in host.nodes:
            cut = [c for c in topology.cores if c.node_id == node.node_id and len(c.cpus & node.free_cpus) == 1]
            assert len(cut) <= 1
            assert node.free_cpus == node.shared_cpus


def test_devices_and_memory_are_where_the_entry_says() -> None:
    (host,) = fleet(
        {"shape": "two-socket-small", "reserve": 0, "node_memory": ["6GiB", "2GiB"], "devices": {"0000:3b:00.0": 1}}
    ).hosts
    assert [6, 2] == [node.memory_kib[4] // GIB_KIB for node in host.nodes]
    assert [("0000:3b:00.0", 1)] == [(device.address, device.node_id) for device in host.topology.devices]


@pytest.mark.parametrize(
    "shape", ["tow-socket", "qemu:///system", "xl+ssh://host", "sysfs+ssh://host", "sysfs:", "test:///default", ""]
)
def test_a_shape_that_is_none_or_reaches_another_machine_is_refused(shape: str) -> None:
    with pytest.raises(BadInputError, match="expected one of one-node"):
        read_shape(shape, Path())


@pytest.mark.parametrize(
    "more",
    [
        {"node_memory": ["1GiB"] * 3},
        {"devices": {"0000:00:00.0": 7}},
        {"node_reserve": {9: "1GiB"}},
        {"cpus": {"shared": "99"}},
    ],
)
def test_what_a_host_does_not_have_is_an_error(more: dict[str, Any]) -> None:
    with pytest.raises(BadInputError):
        fleet({"shape": "two-socket-small", **more})
