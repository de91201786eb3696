"""hwloc XML of versions 1, 2 and 3: read, and in agreement with what else is known of the same hosts."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from probe.errors import SourceError
from probe.sources.registry import read_source
from tests.conftest import DATA

pytestmark = pytest.mark.data

FOLDERS = ("hwloc/xml", "hwloc/x86-xml", "hwloc/linux", "hwloc/x86+linux", "derived/hwloc-2.9.0-xml")
MORE = ("flux-sched-hwloc-v1", "hwloc-xml-parser", "prrte")
FILES = sorted(
    path for folder in (*FOLDERS, *MORE) for path in (DATA / folder).glob("*.xml") if "<topology" in path.read_text()
) + sorted((DATA / "recorded/kvm").glob("*/lstopo.xml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_hwloc_file_is_read(path: Path) -> None:
    """CPUs, nodes, packages and memory are those that the file's objects name."""
    root = ET.parse(path).getroot()
    types = [each.get("type") for each in root.iter("object")]
    snapshot = read_source(f"hwloc:{path}")
    topology = snapshot.topology
    indices = {each.get("os_index") for each in root.iter("object") if each.get("type") == "PU"}
    assert len(indices) == len(topology.online_cpus)
    assert max(1, types.count("NUMANode") + types.count("Node")) == len(topology.nodes)
    assert types.count("Package") + types.count("Socket") == len(topology.packages)
    told = {
        int(each.get("os_index", "0")): int(each.get("local_memory", "0")) // 1024
        for each in root.iter("object")
        if each.get("type") == "NUMANode" and each.get("local_memory")
    }
    for node, kib in told.items():
        assert kib == topology.node(node).memory_total_kib


def test_a_recorded_host_is_the_same_through_hwloc_and_sysfs() -> None:
    """The lab's h1: nodes, CPUs, distances, the memory-only node, through two sources."""
    folder = DATA / "recorded/kvm/h1"
    if not folder.is_dir():
        pytest.skip(f"data folder absent: {DATA}")
    hwloc = read_source(f"hwloc:{folder / 'lstopo.xml'}").topology
    sysfs = read_source(f"sysfs:{folder / 'sysfs-node-cpu.tar.gz'}").topology
    for mine, theirs in zip(hwloc.nodes, sysfs.nodes, strict=True):
        assert (theirs.node_id, theirs.cpus) == (mine.node_id, mine.cpus)  # memory differs: two boots
        assert dict(theirs.distances or {}) == dict(mine.distances or {})


@pytest.mark.parametrize(
    "text",
    [
        "<topology/>",
        "<a/>",
        "<topology><object type='Machine'><object type='PU' os_index='x'/></object></topology>",
        "<topology><object type='NUMANode' os_index='0' cpuset='zz'/></topology>",
        "not xml",
    ],
)
def test_what_is_no_hwloc_file_is_refused(tmp_path: Path, text: str) -> None:
    """A typed error that names the file."""
    path = tmp_path / "x.xml"
    path.write_text(text)
    with pytest.raises(SourceError, match=r"x\.xml"):
        read_source(f"hwloc:{path}")
