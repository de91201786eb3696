"""What newer kernels tell in sysfs and no recording has all of; and that what is absent is None or empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.errors import SourceMalformedError
from probe.snapshot import HostSnapshot, HugepagePool
from probe.sources.registry import read_source
from probe.topology import CpuGroup, MemoryAccess, MemorySideCache, MemoryTier, PciDevice
from tests.conftest import DATA
from tests.probe.lstopo import parse_console
from tests.probe.trees import SYSTEM, host_files, write_tree

CPU, NODE = f"{SYSTEM}/cpu", f"{SYSTEM}/node"


def host(tmp_path: Path, changes: dict[str, str], *, without: str = "\0") -> HostSnapshot:
    """Two nodes of four CPUs, with some files changed or left out."""
    files = {path: text for path, text in host_files(nodes=2, cpus_per_node=4).items() if without not in path}
    return read_source(f"sysfs:{write_tree(tmp_path, files | changes)}")


def test_cpus_that_are_off_isolated_or_tickless(tmp_path: Path) -> None:
    """Offline ones are on no node and no core; the other two are states of online ones."""
    snapshot = host(
        tmp_path,
        {f"{CPU}/online": "0-5", f"{CPU}/present": "0-7", f"{CPU}/isolated": "2-3", f"{CPU}/nohz_full": "3"},
    )
    topology = snapshot.topology
    assert (str(topology.online_cpus), str(topology.offline_cpus)) == ("0-5", "6-7")
    assert (str(topology.isolated_cpus), str(topology.nohz_full_cpus)) == ("2-3", "3")
    assert [str(node.cpus) for node in topology.nodes] == ["0-3", "4-5"]
    assert len(topology.cores) == 6


def test_siblings_dies_and_clusters(tmp_path: Path) -> None:
    """Two threads a core; two dies in package 0; clusters of four."""
    changes = {}
    for cpu in range(8):
        topology = f"{CPU}/cpu{cpu}/topology"
        changes[f"{topology}/core_cpus_list"] = f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}"
        changes[f"{topology}/die_id"] = str(cpu // 2 % 2) if cpu < 4 else "0"
        changes[f"{topology}/cluster_cpus_list"] = f"{cpu // 4 * 4}-{cpu // 4 * 4 + 3}"
    topology = host(tmp_path, changes).topology
    assert [str(core.cpus) for core in topology.cores] == ["0-1", "2-3", "4-5", "6-7"]
    assert {(die.package_id, die.die_id, str(die.cpus)) for die in topology.dies} == {
        (0, 0, "0-1"), (0, 1, "2-3"), (1, 0, "4-7"),
    }  # fmt: skip
    assert topology.groups == tuple(
        CpuGroup(kind="cluster", group_id=i, cpus=CpuSet.parse(cpus)) for i, cpus in enumerate(("0-3", "4-7"))
    )


def test_huge_pages_of_each_size_and_node(tmp_path: Path) -> None:
    """Total, free and surplus."""
    changes = {}
    for size, counts in ((2048, (8, 5, 1)), (1048576, (2, 2, 0))):
        folder = f"{NODE}/node1/hugepages/hugepages-{size}kB"
        for name, count in zip(("nr", "free", "surplus"), counts, strict=True):
            changes[f"{folder}/{name}_hugepages"] = str(count)
    memory = host(tmp_path, changes).memory
    assert memory[0].hugepages == ()
    assert memory[1].hugepages == (
        HugepagePool(size_kib=2048, total=8, free=5, surplus=1),
        HugepagePool(size_kib=1048576, total=2, free=2, surplus=0),
    )


def test_what_the_kernel_gives_back_without_swapping(tmp_path: Path) -> None:
    """Page cache less what is shared, dirty or being written, and reclaimable slab."""
    lines = {
        "MemTotal": 1000, "MemFree": 100, "FilePages": 500, "Shmem": 40, "Dirty": 30, "Writeback": 20,
        "SReclaimable": 7, "Active(file)": 400,
    }  # fmt: skip
    meminfo = "\n".join(f"Node 0 {key}: {kib} kB" for key, kib in lines.items())
    memory = host(tmp_path, {f"{NODE}/node0/meminfo": meminfo}).memory[0]
    assert (memory.total_kib, memory.free_kib, memory.reclaimable_kib) == (1000, 100, 417)
    assert memory.available_kib == 517


def test_hmat_side_caches_tiers_and_devices(tmp_path: Path) -> None:
    """Figures for each class of initiators; 0 is not told; a device of node -1 is of none."""
    access = f"{NODE}/node1/access0/initiators"
    snapshot = host(
        tmp_path,
        {
            f"{access}/read_bandwidth": "102400",
            f"{access}/write_bandwidth": "0",
            f"{access}/read_latency": "90",
            f"{access}/node0": "",
            f"{NODE}/node1/memory_side_cache/index1/size": str(4 * 1024**2),
            f"{NODE}/node1/memory_side_cache/index1/line_size": "64",
            "sys/devices/virtual/memory_tiering/memory_tier4/nodelist": "0",
            "sys/devices/virtual/memory_tiering/memory_tier22/nodelist": "1",
            "sys/bus/pci/devices/0000:3b:00.0/numa_node": "1",
            "sys/bus/pci/devices/0000:3b:00.0/class": "0x020000",
            "sys/bus/pci/devices/0000:00:1f.0/numa_node": "-1",
        },
    )
    topology = snapshot.topology
    assert topology.memory_access == (
        MemoryAccess(
            target=NodeId(1),
            initiators=NodeSet.of(0),
            access_class=0,
            read_bandwidth_mib_s=102400,
            read_latency_ns=90,
        ),
    )
    assert topology.nodes[1].memory_side_caches == (MemorySideCache(level=1, size_kib=4096, line_size_bytes=64),)
    assert topology.memory_tiers == (
        MemoryTier(tier_id=4, nodes=NodeSet.of(0)),
        MemoryTier(tier_id=22, nodes=NodeSet.of(1)),
    )
    assert topology.devices == (
        PciDevice(address="0000:00:1f.0", node_id=None),
        PciDevice(address="0000:3b:00.0", node_id=NodeId(1), class_code="0x020000"),
    )


@pytest.mark.parametrize("absent", ["meminfo", "distance", "cache", "physical_package_id", "siblings", "/node/"])
def test_what_is_absent_is_none_or_empty(tmp_path: Path, absent: str) -> None:
    """Never a guess, never a crash; a machine without nodes is one node."""
    snapshot = host(tmp_path, {}, without=absent)
    topology = snapshot.topology
    assert topology.online_cpus == CpuSet.parse("0-7")
    assert CpuSet.union(node.cpus for node in topology.nodes) == CpuSet.parse("0-7")
    if absent in ("meminfo", "/node/"):
        assert {(m.total_kib, m.free_kib, m.reclaimable_kib) for m in snapshot.memory} == {(None, None, None)}
    if absent in ("distance", "/node/"):
        assert {node.distances for node in topology.nodes} == {None}
    assert (topology.l3 == ()) == (absent == "cache")
    assert (topology.packages == ()) == (absent == "physical_package_id")
    assert len(topology.cores) == 8
    assert len(topology.nodes) == (1 if absent == "/node/" else 2)


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        (f"{NODE}/node0/distance", "10", "2 numbers"),
        (f"{NODE}/node0/distance", "10 far", "2 numbers"),
        (f"{NODE}/node0/cpulist", "0-x", "a list like 0-3,8"),
        (f"{NODE}/node0/meminfo", "no memory", "a 'MemTotal' line"),
        (f"{CPU}/cpu0/topology/physical_package_id", "one", "a number"),
        (f"{CPU}/online", "7-0", "a list like 0-3,8"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, path: str, text: str, says: str) -> None:
    """The file, what was expected, what was found."""
    with pytest.raises(SourceMalformedError, match=says) as error:
        host(tmp_path, {path: text})
    assert path in error.value.message
    assert text in error.value.message


@pytest.mark.data
def test_hmat_of_a_recording_is_what_hwloc_printed() -> None:
    """Read bandwidth from the nearest CPUs, of each node, in MiB/s."""
    folder = DATA / "hwloc/linux"
    topology = read_source(f"sysfs:{folder}/fakeheteromemtiers.tar.bz2").topology
    text = (folder / "fakeheteromemtiers.console").read_text()
    order = [node.os_index for node in parse_console(text).all("NUMANode")]
    part = text.partition("name `ReadBandwidth'")[2].partition("Memory attribute")[0]
    printed = {
        order[int(line.split("L#")[1].split()[0])]: int(line.split(" = ")[1].split()[0])
        for line in part.splitlines()
        if " = " in line
    }
    ours = {int(a.target): a.read_bandwidth_mib_s for a in topology.memory_access if a.access_class == 1}
    assert ours == printed
