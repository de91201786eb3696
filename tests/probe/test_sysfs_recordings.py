"""Every recorded Linux host is read, and says what lscpu and hwloc say of it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from probe.cpuset import CpuSet
from probe.errors import BadInputError, SourceMalformedError
from probe.snapshot import HostSnapshot
from probe.sources.registry import read_source
from tests.conftest import DATA

pytestmark = pytest.mark.data

NO_HOST = {"linux-resctrl-cmt.tar.gz", "linux-resctrl-fake-feature.tar.gz"}
"""libvirt's fixtures of resctrl alone: no CPU and no node in them."""

LSCPU_QUIRKS = {
    "hwloc~linux~40intel64-4n10c+pci-conflicts": "socket",  # takes cpu3 alone, though all core_siblings hold it
    "hwloc~linux~nvidia-dgx-gb10": "core",  # merges cores of several clusters that share a core_id
}
"""What lscpu 2.38.1 reads otherwise than the kernel's sibling sets (and hwloc) say."""

TREES = {
    "nri-plugins~pkg~cpuallocator~testdata~sysfs__sysfs__2-socket-4-node-40-core.xml": (
        "nri-plugins/cpuallocator-sysfs.tar.bz2#sysfs/2-socket-4-node-40-core"
    ),
    "nri-plugins~pkg~sysfs~test-data-sample1__sample1.xml": "nri-plugins/sample1.tar.xz",
    "nri-plugins~pkg~sysfs~test-data-sample2__sample2.xml": "nri-plugins/sample2.tar.xz",
    "nto~bare-metal-worker1.internal.sysinfo.xml": "node-tuning-operator/bare-metal-worker1.internal.sysinfo.tgz",
    "nto~sno-sno.sysinfo.xml": "node-tuning-operator/sno-sno.sysinfo.tgz",
}
"""Readings whose name does not tell the archive."""

FOLDERS = {
    "ghw~testdata~snapshots~": "ghw",
    "hwloc~linux~": "hwloc/linux",
    "hwloc~x86+linux~": "hwloc/x86+linux",
    "util-linux~tests~ts~lscpu~dumps~": "util-linux/dumps",
}
LSCPU = sorted((DATA / "derived/lscpu-2.38.1").glob("*.p.txt"))
HWLOC = sorted((DATA / "derived/hwloc-2.9.0-xml").glob("*.xml"))
ARCHIVES = sorted(
    path
    for folder in (
        "hwloc/linux",
        "hwloc/x86+linux",
        "util-linux/dumps",
        "nri-plugins",
        "ghw",
        "libvirt/vircaps2xmldata",
    )
    for path in (DATA / folder).glob("*.tar.*")
)


def dump_of(reading: Path) -> str:
    """The source that a reference reading was made from; its name is the path with ~ for /."""
    if reading.name in TREES:
        return f"sysfs:{DATA / TREES[reading.name]}"
    stem = reading.name.partition("__")[0].removesuffix(".xml")
    for prefix, folder in FOLDERS.items():
        if stem.startswith(prefix):
            (path,) = (DATA / folder).glob(f"{stem.removeprefix(prefix)}.tar.*")
            return f"sysfs:{path}"
    raise AssertionError(f"no recording for {reading.name}")


def partition(sets: list[CpuSet]) -> set[frozenset[int]]:
    return {cpus.ids for cpus in sets if cpus}


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.name)
def test_every_archive_is_read_or_says_which_tree(path: Path) -> None:
    """One host in it: a snapshot. Several: an error that lists them. Never anything else."""
    try:
        snapshot = read_source(f"sysfs:{path}")
    except SourceMalformedError:
        assert path.name in NO_HOST
        return
    except BadInputError as error:
        assert "expected one recorded host" in error.message
        snapshot = read_source(error.advice.removeprefix("Maybe "))
    assert snapshot.topology.online_cpus
    assert snapshot.topology.nodes


@pytest.mark.parametrize("reading", LSCPU, ids=lambda path: path.name)
def test_lscpu_says_the_same(reading: Path) -> None:
    """Nodes, cores, sockets and online CPUs, as `lscpu -p` counted them on the same files."""
    snapshot = read_source(dump_of(reading))
    quirk = LSCPU_QUIRKS.get(reading.name.partition("__")[0])
    groups: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    online = set()
    for line in reading.read_text().splitlines():
        if line.startswith(("#", ",")):
            continue  # two RISC-V readings name no CPU at all
        cpu, core, socket, node, state = line.split(",")
        if state != "N":  # "-" where the kernel has no `online` file
            online.add(int(cpu))
            for kind, value in (("core", core), ("socket", socket), ("node", node)):
                if value:
                    groups[kind][value].add(int(cpu))
    topology = snapshot.topology
    if not online:
        return
    assert online == topology.online_cpus.ids
    if quirk != "core":
        assert {frozenset(s) for s in groups["core"].values()} == partition([c.cpus for c in topology.cores])
    if topology.packages and quirk != "socket":
        assert {frozenset(s) for s in groups["socket"].values()} == partition([p.cpus for p in topology.packages])
    if groups["node"]:
        assert {int(n): frozenset(s) for n, s in groups["node"].items()} == {
            int(n.node_id): n.cpus.ids for n in topology.nodes if n.cpus
        }


@pytest.mark.parametrize("reading", HWLOC, ids=lambda path: path.name)
def test_hwloc_says_the_same(reading: Path) -> None:
    """NUMA nodes with their CPUs and memory, as `lstopo` of hwloc 2.9 read the same files."""
    compare(read_source(dump_of(reading)), reading)


def compare(snapshot: HostSnapshot, reading: Path) -> None:
    root = ET.parse(reading).getroot()
    allowed = CpuSet.parse_mask(root.find("object").get("allowed_cpuset", "0x0"))  # type: ignore[union-attr]
    nodes = {int(o.get("os_index", "0")): o for o in root.iter("object") if o.get("type") == "NUMANode"}
    for node in snapshot.topology.nodes:
        theirs = nodes.get(int(node.node_id))
        if theirs is None or not node.cpus:
            continue  # hwloc drops what a cpuset does not allow, and gives memory-only nodes the CPUs near them
        assert (node.cpus & allowed).ids == CpuSet.parse_mask(theirs.get("cpuset", "0x0")).ids & allowed.ids
        if node.memory_total_kib is not None and theirs.get("local_memory"):
            assert int(theirs.get("local_memory", "0")) == node.memory_total_kib * 1024
