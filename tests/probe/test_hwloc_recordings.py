"""hwloc XML of versions 1, 2 and 3: read, and in agreement with what else is known of the same hosts."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from probe.cpuset import CpuSet, NodeId
from probe.errors import SourceError
from probe.sources.registry import read_source
from tests.conftest import DATA

pytestmark = pytest.mark.data

FOLDERS = ("hwloc/xml", "hwloc/x86-xml", "hwloc/linux", "hwloc/x86+linux", "derived/hwloc-2.9.0-xml")
MORE = ("flux-sched-hwloc-v1", "hwloc-xml-parser", "prrte")
FILES = sorted(
    path for folder in (*FOLDERS, *MORE) for path in (DATA / folder).glob("*.xml") if "<topology" in path.read_text()
) + sorted((DATA / "recorded/kvm").glob("*/lstopo.xml"))


def pus(element: ET.Element) -> CpuSet:
    """The PUs below an object: what its own mask must say too."""
    return CpuSet.of(*(int(each.get("os_index", "")) for each in element.iter("object") if each.get("type") == "PU"))


def size_kib(element: ET.Element, name: str) -> int | None:
    return int(element.get(name, "")) // 1024 or None if element.get(name) else None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_hwloc_file_is_read(path: Path) -> None:
    """CPUs, nodes, memory, pages (the first are base pages), packages, dies, cores, L3: the PUs below each object."""
    root = ET.parse(path).getroot()
    objects = list(root.iter("object"))

    def below(*types: str) -> list[str]:
        return sorted(str(pus(each)) for each in objects if each.get("type") in types)

    snapshot = read_source(f"hwloc:{path}")
    topology = snapshot.topology
    assert pus(root) == topology.online_cpus
    assert below("Package", "Socket") == sorted(str(package.cpus) for package in topology.packages)
    assert below("Die") == sorted(str(die.cpus) for die in topology.dies)
    assert set(below("Core")) <= {str(core.cpus) for core in topology.cores}
    assert {(pus(each), size_kib(each, "cache_size")) for each in objects if is_l3(each) and pus(each)} == {
        (domain.cpus, domain.size_kib) for domain in topology.l3
    }
    nodes = {int(each.get("os_index", "")): each for each in objects if each.get("type") in ("NUMANode", "Node")}
    assert sorted(nodes or {0: root}) == sorted(topology.node_ids)
    for node, element in nodes.items():
        assert size_kib(element, "local_memory") == (topology.node(node).memory_total_kib or None)
        pages = [(size_kib(page, "size"), int(page.get("count", ""))) for page in element.findall("page_type")]
        pools = snapshot.memory_of(NodeId(node)).hugepages
        assert pages[1:] == [(pool.size_kib, pool.total) for pool in pools]


def is_l3(element: ET.Element) -> bool:
    return element.get("type") == "L3Cache" or (element.get("type"), element.get("depth")) == ("Cache", "3")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_latency_matrix_is_read(path: Path) -> None:
    """Version 1: relative to a base, in the file's order of nodes. Versions 2 and 3: by the kernel's ids."""
    root = ET.parse(path).getroot()
    topology = read_source(f"hwloc:{path}").topology
    order = [int(each.get("os_index", "")) for each in root.iter("object") if each.get("type") in ("NUMANode", "Node")]
    told: dict[int, dict[int, int]] = {}
    for table in root.iter("distances"):
        base = float(table.get("latency_base", ""))
        values = [round(base * float(each.get("value", ""))) for each in table.iter("latency")]
        told = matrix(order, values)
    for table in root.iter("distances2"):
        if (table.get("type"), table.get("name")) in (("NUMANode", "NUMALatency"), ("NUMANode", None)):
            names, numbers = (
                [int(word) for each in table.iter(tag) for word in (each.text or "").split()]
                for tag in ("indexes", "u64values")
            )
            told = matrix(names, numbers)
    assert told == {int(node.node_id): dict(node.distances) for node in topology.nodes if node.distances}


def matrix(names: list[int], values: list[int]) -> dict[int, dict[int, int]]:
    rows = zip(*[iter(values)] * len(names), strict=True)
    return {row: dict(zip(names, numbers, strict=True)) for row, numbers in zip(names, rows, strict=True)}


@pytest.mark.data
def test_version_1_counts_nodes_in_its_own_order(data: Path, tmp_path: Path) -> None:
    """A real host whose nodes stand as 0, 2, 1, 3: its second row is node 2's."""
    text = (data / "flux-sched-hwloc-v1/chimera.xml").read_text()
    (tmp_path / "x.xml").write_text(text.replace('value="1.600000"', 'value="3.100000"', 1))
    topology = read_source(f"hwloc:{tmp_path}/x.xml").topology
    assert (topology.distance(0, 2), topology.distance(0, 1), topology.distance(2, 0)) == (31, 16, 16)


TABLE = """<topology version="2.0"><object type="Machine" cpuset="0x3">
  <object type="Package" cpuset="0x3"><object type="NUMANode" os_index="0" cpuset="0x1"/>
    <object type="NUMANode" os_index="1" cpuset="0x2"/><object type="NUMANode" os_index="7" cpuset="0x0"/>
    <object type="PU" os_index="0" cpuset="0x1"/><object type="PU" os_index="1" cpuset="0x2"/></object></object>
  <distances2 type="NUMANode" nbobjs="2" {attributes} indexing="os"><indexes length="4">0 1 </indexes>
    <u64values length="12">10 21 22 10 </u64values></distances2></topology>"""


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ('kind="5" name="NUMALatency"', {0: {0: 10, 1: 21}, 1: {0: 22, 1: 10}, 7: None}),
        ('kind="5"', {0: {0: 10, 1: 21}, 1: {0: 22, 1: 10}, 7: None}),
        ('kind="9"', {0: None, 1: None, 7: None}),
        ('kind="10" name="NUMABandwidth"', {0: None, 1: None, 7: None}),
    ],
)
def test_a_matrix_may_name_some_nodes_and_hwloc_2_0_gave_it_no_name(
    tmp_path: Path, attributes: str, expected: dict[int, dict[int, int] | None]
) -> None:
    """The memory of a GPU has no latency in it; a bandwidth (kind 8) is none."""
    (tmp_path / "x.xml").write_text(TABLE.format(attributes=attributes))
    nodes = read_source(f"hwloc:{tmp_path}/x.xml").topology.nodes
    assert {int(n.node_id): n.distances and dict(n.distances) for n in nodes} == expected


@pytest.mark.data
def test_of_two_devices_at_one_address_the_first_counts(data: Path) -> None:
    """A file of hwloc's tests, put together by hand."""
    devices = read_source(f"hwloc:{data}/hwloc/xml/32em64t-2n8c2t-pci-wholeio.xml").topology.devices
    assert [d.class_code for d in devices if d.address == "0000:04:00.0"] == ["0x0107"]
    assert sorted(devices, key=lambda device: device.address) == list(devices)


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
