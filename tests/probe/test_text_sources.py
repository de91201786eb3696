"""numactl's text, made-up hosts, and snapshot files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from probe.cpuset import CpuSet
from probe.errors import NumaplaceError, SourceMalformedError
from probe.snapshot_json import snapshot_to_json
from probe.sources.numactl import parse_numactl
from probe.sources.registry import read_source
from tests.conftest import DATA

TAKEN_AT = datetime(2026, 1, 1, tzinfo=UTC)

NUMACTL = sorted((DATA / "numactl-samples").glob("*.txt")) + sorted((DATA / "recorded/kvm").glob("*/numactl-H.txt"))


@pytest.mark.data
@pytest.mark.parametrize("path", NUMACTL, ids=lambda path: path.name)
def test_recorded_numactl_texts_are_read(path: Path) -> None:
    """As many nodes as the text announces, each with the CPUs and sizes that it tells."""
    text = path.read_text()
    snapshot = read_source(f"numactl:{path}")
    announced = [line for line in text.splitlines() if line.startswith("available:")]
    if announced:
        assert int(announced[0].split()[1]) == len(snapshot.topology.nodes)
    for node in snapshot.topology.nodes:
        line = next((x for x in text.splitlines() if x.startswith(f"node {node.node_id} cpus:")), None)
        if line is not None:
            assert {int(cpu) for cpu in line.partition(":")[2].split()} == node.cpus.ids
        size = next((x for x in text.splitlines() if x.startswith(f"node {node.node_id} size:")), None)
        if size is not None:
            assert int(size.split()[3]) * 1024 == node.memory_total_kib


@given(
    st.text(max_size=300)
    | st.lists(
        st.sampled_from(
            ["node 0 cpus: 1 2", "node 1 size: 3 MB", "node 0 size: x", "node distances:", "  0:  10 20", "\x00"]
        )
    ).map("\n".join)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    """Only our errors leave the reader."""
    try:
        parse_numactl(text, origin="t", now=TAKEN_AT, spec="numactl:t")
    except NumaplaceError:
        return


def test_a_synthetic_host_is_as_described() -> None:
    """2 packages of 2 nodes of 2 L3 domains of 4 cores of 2 siblings: 4 nodes, 64 CPUs."""
    host = read_source("synthetic:package:2 node:2 l3:2 core:4 pu:2 memory:64GiB distance:10,12,21")
    topology = host.topology
    assert (4, 64, 32, 8, 2) == tuple(
        len(x) for x in (topology.nodes, topology.online_cpus, topology.cores, topology.l3, topology.packages)
    )
    assert [10, 12, 21, 21] == list((topology.nodes[0].distances or {}).values())
    assert CpuSet.of(0, 1) == topology.cores[0].cpus


def test_a_synthetic_host_of_1024_nodes_and_4096_cpus_passes() -> None:
    """Hundreds of nodes simply work, through JSON too."""
    host = read_source("synthetic:node:1024 core:4 memory:4GiB")
    assert (1024, 4096) == (len(host.topology.nodes), len(host.topology.online_cpus))
    assert len(json.dumps(snapshot_to_json(host))) > 10**6


@pytest.mark.parametrize(
    "text",
    ["node:0", "core:2 node:2", "nodes:2", "memory:8", "node:99999999", "hugepages:2MiB=x", "package:9999 core:99"],
)
def test_a_bad_recipe_is_refused(text: str) -> None:
    """The bad word is named."""
    with pytest.raises(SourceMalformedError, match="synthetic"):
        read_source(f"synthetic:{text}")


def test_a_snapshot_file_is_a_source(tmp_path: Path) -> None:
    """What `probe -o` wrote is read back, by both spellings."""
    host = read_source("synthetic:node:2 core:2")
    path = tmp_path / "h.json"
    path.write_text(json.dumps(snapshot_to_json(host)))
    assert read_source(str(path)).topology == read_source(f"snapshot:{path}").topology == host.topology


@pytest.mark.parametrize("spec", ["nothing", "foo:bar", "", "sysfs", "qemu"])
def test_an_unknown_source_lists_the_known_ones(spec: str) -> None:
    """A typo is answered with what there is."""
    with pytest.raises(NumaplaceError, match="expected a source"):
        read_source(spec)
