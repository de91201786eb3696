"""The ten traps of TRAPS.md, each met while reading a real machine."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pytest

from policies.host_rules import HostRules
from policies.promise import host_capacity
from policies.request import HostName
from probe.cpuset import CpuSet
from probe.snapshot import HostSnapshot
from probe.sources.registry import read_source
from probe.topology import UNREACHABLE_DISTANCE
from tests.probe.trees import SYSTEM, host_files, write_tree


def cpus_of(snapshot: HostSnapshot) -> list[str]:
    return [str(node.cpus) for node in snapshot.topology.nodes]


def test_trap_1_lists_that_end_with_a_nul_byte(tmp_path: Path) -> None:
    """An ARM dump: `cpulist` and `cpumap` end with a newline and a NUL."""
    files: dict[str, str | bytes] = dict(host_files(nodes=2, cpus_per_node=2))
    for node, (cpus, mask) in enumerate((("0-1", "3"), ("2-3", "c"))):
        files[f"{SYSTEM}/node/node{node}/cpulist"] = f"{cpus}\n\0".encode()
        files[f"{SYSTEM}/node/node{node}/cpumap"] = f"{mask}\n\0".encode()
    assert cpus_of(read_source(f"sysfs:{write_tree(tmp_path, files)}")) == ["0-1", "2-3"]


@pytest.mark.data
def test_trap_1_as_the_lab_recorded_it(data: Path) -> None:
    """Both lab hosts were recorded with such bytes."""
    host = read_source(f"sysfs:{data}/recorded/kvm/h1/sysfs-node-cpu.tar.gz")
    assert cpus_of(host) == ["0-1", "2-3", "4-5", "6-7", ""]


@pytest.mark.data
def test_trap_2_old_kernels_have_links_alone_or_no_nodes_at_all(data: Path) -> None:
    """64 nodes that only link to their CPUs; CPUs without an `online` file; no `node` folder: one node."""
    itanium = read_source(f"sysfs:{data}/hwloc/linux/256ia64-64n2s2c.tar.bz2").topology
    assert (len(itanium.nodes), {len(node.cpus) for node in itanium.nodes}) == (64, {4})
    assert len(itanium.online_cpus) == 256
    arm = read_source(f"sysfs:{data}/hwloc/linux/2arm-2c.tar.bz2").topology
    assert [(node.node_id, str(node.cpus)) for node in arm.nodes] == [(0, "0-1")]


@pytest.mark.data
def test_trap_2_as_recorded_links_alone_and_no_list_of_online_cpus(data: Path) -> None:
    """64 CPUs by links on libvirt's test8; each CPU's own `online`; without nodes `/proc/meminfo` is the node's."""
    links = data / "libvirt/virhostcpudata/linux-test8.tar.gz"
    with tarfile.open(links) as tar:
        named = [re.fullmatch(r"linux-test8/node/node(\d+)/cpu(\d+)", name) for name in tar.getnames()]
    told = {(int(m[1]), int(m[2])) for m in named if m}
    assert len(told) == 64
    assert told == {(int(n.node_id), cpu) for n in read_source(f"sysfs:{links}").topology.nodes for cpu in n.cpus}
    offlines = read_source(f"sysfs:{data}/hwloc/linux/16em64t-4s2c2t-offlines.tar.bz2").topology
    assert (str(offlines.online_cpus), str(offlines.offline_cpus)) == ("0-1,3-4,6-12,15", "2,5,13-14")
    archive = data / "hwloc/linux/2i386-2c-nohugepage.tar.bz2"
    with tarfile.open(archive) as tar:
        meminfo = tar.extractfile("2i386-2c-nohugepage/proc/meminfo")
        total = re.search(rb"MemTotal:\s+(\d+) kB", meminfo.read() if meminfo else b"")
    (node,) = read_source(f"sysfs:{archive}").topology.nodes
    assert total is not None
    assert (str(node.cpus), node.memory_total_kib) == ("0-1", int(total[1]))


def test_trap_2_only_links_to_cpus(tmp_path: Path) -> None:
    """`node1/cpu2` is a link; there is neither list nor mask."""
    files = {k: v for k, v in host_files(nodes=2, cpus_per_node=2).items() if not k.endswith(("cpulist", "/online"))}
    root = write_tree(tmp_path, files)
    for cpu in range(4):
        (root / f"{SYSTEM}/node/node{cpu // 2}/cpu{cpu}").symlink_to(f"../../cpu/cpu{cpu}")
    assert cpus_of(read_source(f"sysfs:{root}")) == ["0-1", "2-3"]


def test_trap_3_nodes_that_all_list_the_same_cpus(tmp_path: Path) -> None:
    """Told as it stands, and no CPU is promised twice: each node gives its even share."""
    files = host_files(nodes=1, cpus_per_node=16)
    for node in range(8):
        meminfo = f"Node {node} MemTotal: 1048576 kB\nNode {node} MemFree: 1048576 kB"
        files |= {
            f"{SYSTEM}/node/node{node}/{name}": text for name, text in (("cpulist", "0-15"), ("meminfo", meminfo))
        }
        files[f"{SYSTEM}/node/node{node}/distance"] = " ".join("10" if other == node else "20" for other in range(8))
    files[f"{SYSTEM}/node/online"] = "0-7"
    snapshot = read_source(f"sysfs:{write_tree(tmp_path, files)}")
    assert cpus_of(snapshot) == ["0-15"] * 8
    capacity = host_capacity(HostName("h"), snapshot, HostRules())
    assert [len(node.free_cpus) for node in capacity.nodes] == [2] * 8
    assert CpuSet.union(node.free_cpus for node in capacity.nodes) == CpuSet.parse("0-15")


@pytest.mark.data
def test_trap_4_nodes_without_meminfo_or_distance(data: Path) -> None:
    """Not told is None; `cpumap` is missing too, and `cpulist` is enough."""
    topology = read_source(f"sysfs:{data}/libvirt/vircaps2xmldata/linux-basic.tar.gz").topology
    assert {node.memory_total_kib for node in topology.nodes} == {None}
    assert {node.distances for node in topology.nodes} == {None}
    assert len(topology.nodes) == 4
    assert all(node.cpus for node in topology.nodes)


@pytest.mark.data
def test_trap_4_a_mask_without_a_list(data: Path) -> None:
    """Three nodes of util-linux's X7550, by `cpumap` alone."""
    topology = read_source(f"sysfs:{data}/util-linux/dumps/x86_64-64cpu.tar.gz").topology
    assert [(int(node.node_id), len(node.cpus)) for node in topology.nodes] == [(0, 32), (2, 16), (3, 16)]


@pytest.mark.data
def test_trap_5_a_distance_of_zero_to_itself(data: Path) -> None:
    """It is told as it stands, and counts as 10."""
    topology = read_source(f"sysfs:{data}/hwloc/linux/8ia64-2s2c2t.tar.bz2").topology
    (node,) = topology.nodes
    assert dict(node.distances or {}) == {0: 0}
    assert topology.distance(0, 0) == 10


def test_trap_6_xens_memory_is_a_span_and_its_distances_may_be_no_path(tmp_path: Path) -> None:
    """Free memory is told, the total is not; 2^32-1 and 0xFF are "no path"."""
    (tmp_path / "info").write_text(
        "host : x\nnr_cpus : 1\nmax_cpu_id : 0\nnr_nodes : 2\nfree_memory : 60672\n"
        "cpu_topology           :\ncpu:    core    socket     node\n  0:       0        0        0\n"
        "numa_info              :\nnode:    memsize    memfree    distances\n"
        "   0:     67584      60672      10,255\n   1:     65536      60958      4294967295,10\n"
    )
    snapshot = read_source(f"xl:{tmp_path}/info")
    assert [(m.total_kib, m.free_kib) for m in snapshot.memory] == [(None, 60672 * 1024), (None, 60958 * 1024)]
    assert [list((n.distances or {}).values()) for n in snapshot.topology.nodes] == [
        [10, UNREACHABLE_DISTANCE],
        [UNREACHABLE_DISTANCE, 10],
    ]


@pytest.mark.data
def test_trap_6_as_the_lab_recorded_it(data: Path) -> None:
    """Node 1 of the lab's Xen "has" 3072 MiB of 2048: neither `xl` nor libvirt gives a total."""
    recorded = data / "recorded/xen/pools/m2-info-n.txt"
    assert "   1:      3072          5 " in recorded.read_text()
    host = read_source(f"xl:{recorded}")
    assert {node.memory_total_kib for node in host.topology.nodes} == {None}
    assert [(m.total_kib, (m.free_kib or 0) // 1024) for m in host.memory] == [
        (None, 1114), (None, 5), (None, 2043), (None, 1975),
    ]  # fmt: skip
    libvirt = read_source(f"capabilities:{data}/recorded/xen/libvirt/virsh-capabilities.txt").topology
    assert {node.memory_total_kib for node in libvirt.nodes} == {None}


def test_trap_7_xens_cpu_ids_have_holes(tmp_path: Path) -> None:
    """`smt=0`: 56 CPUs, highest id 111; ids are never counted."""
    rows = "".join(f"{cpu:3}:  {cpu // 2}   {cpu // 56}   {cpu // 56}\n" for cpu in range(0, 112, 2))
    (tmp_path / "info").write_text(
        f"host : x\nnr_cpus : 56\nmax_cpu_id : 111\nnr_nodes : 2\nfree_memory : 2\n"
        f"cpu_topology :\ncpu:    core    socket     node\n{rows}"
        "numa_info :\nnode:    memsize    memfree    distances\n   0:  1024   1   10,21\n   1:  1024   1   21,10\n"
    )
    topology = read_source(f"xl:{tmp_path}/info").topology
    assert topology.online_cpus.ids == frozenset(range(0, 112, 2))
    assert [len(node.cpus) for node in topology.nodes] == [28, 28]


@pytest.mark.data
def test_trap_8_the_hosts_sockets_are_per_node_and_nodeinfo_lies(data: Path) -> None:
    """POWER: `sockets='1'` and four in the cells. The lab's host with a memory-only node has five cells."""
    power = read_source(f"capabilities:{data}/vdsm/caps_libvirt_ibm_S822L.out").topology
    assert (len(power.packages), len(power.cores), len(power.nodes)) == (4, 20, 4)
    lab = read_source(f"capabilities:{data}/recorded/kvm/h1/capabilities.xml").topology
    assert len(lab.nodes) == 5
    assert "NUMA cell(s):        1" in (data / "recorded/kvm/h1/nodeinfo.txt").read_text()


@pytest.mark.data
@pytest.mark.parametrize("name", ["basic", "caches", "resctrl", "resctrl-mba_MBps", "resctrl-skx"])
def test_trap_9_libvirts_expectations_have_mocked_memory(data: Path, name: str) -> None:
    """CPUs, cores, caches and their sizes are its tree's; memory is 1 GiB times the cell, distances are absent."""
    folder = data / "libvirt/vircaps2xmldata"
    tree = read_source(f"sysfs:{folder}/linux-{name}.tar.gz").topology
    expected = read_source(f"capabilities:{folder}/vircaps-x86_64-{name}.xml").topology
    assert [node.cpus for node in tree.nodes] == [node.cpus for node in expected.nodes]
    assert (tree.cores, tree.l3) == (expected.cores, expected.l3)
    assert {node.distances for node in expected.nodes} == {None}
    mocked = [(cell + 1) * 1024**2 for cell in range(len(expected.nodes))]
    assert [node.memory_total_kib for node in expected.nodes] == mocked
    assert [node.memory_total_kib for node in tree.nodes] != mocked


def test_trap_10_numactl_without_or_with_an_empty_cpus_line(tmp_path: Path) -> None:
    """2008 had no "cpus" line; a node without CPUs has an empty one today."""
    for line in ("", "node 0 cpus:\n"):
        (tmp_path / "n").write_text(f"available: 1 nodes (0-0)\n{line}node 0 size: 100 MB\nnode 0 free: 50 MB\n")
        snapshot = read_source(f"numactl:{tmp_path}/n")
        assert cpus_of(snapshot) == [""]
        assert snapshot.topology.nodes[0].memory_total_kib == 100 * 1024


@pytest.mark.data
def test_trap_10_as_recorded(data: Path) -> None:
    """An Itanium of 2008 tells sizes and distances alone; the lab's memory-only node has an empty line."""
    old = read_source(f"numactl:{data}/numactl-samples/hp-ia64-5node-small-dma-node-old-numactl.txt")
    assert cpus_of(old) == [""] * 5
    sizes = [15792, 16320, 16320, 16318, 511]
    assert [node.memory_total_kib for node in old.topology.nodes] == [size * 1024 for size in sizes]
    assert old.topology.distance(0, 4) == 14
    new = read_source(f"numactl:{data}/recorded/kvm/h1/numactl-H.txt")
    assert cpus_of(new) == ["0-1", "2-3", "4-5", "6-7", ""]
