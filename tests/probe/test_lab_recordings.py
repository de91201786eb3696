"""The lab's three hosts (our own recordings): what each tool said of one host at one time agrees.

h1 was booted twice: numactl, hwloc and `virsh nodememstats` saw the first boot, the others the second, with huge pages
on node 3 and 32 MiB moved from one of two nodes to the other by the kernel's own data.
"""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest

from probe.compare import disagreements
from probe.cpuset import CpuSet
from probe.errors import SourceMalformedError
from probe.snapshot import HostSnapshot
from probe.sources.registry import read_source
from probe.sources.xen_domains import parse_xl_vcpu_list

pytestmark = pytest.mark.data

FIRST_BOOT = ("numactl:kvm/h1/numactl-H.txt", "hwloc:kvm/h1/lstopo.xml")
SECOND_BOOT = ("sysfs:kvm/h1/sysfs-node-cpu.tar.gz", "capabilities:kvm/h1/capabilities.xml")
H2 = ("sysfs:kvm/h2/sysfs-node-cpu.tar.gz", "capabilities:kvm/h2/capabilities.xml")
XEN = ("xl:xen/xl/xl-info-n.txt", "capabilities:xen/libvirt/virsh-capabilities.txt")
MOVED = {"node 2 memory total", "node 3 memory total", "node 2 memory free", "node 3 memory free"}


def read(data: Path, spec: str) -> HostSnapshot:
    scheme, _, path = spec.partition(":")
    return read_source(f"{scheme}:{data}/recorded/{path}")


def per_node(data: Path, path: str, pattern: str) -> list[int]:
    """The numbers that a recorded text gives, node by node."""
    return [int(number) for number in re.findall(pattern, (data / "recorded" / path).read_text(), re.MULTILINE)]


def one_number(data: Path, path: str, pattern: str) -> int:
    (number,) = per_node(data, path, pattern)
    return number


@pytest.mark.parametrize(
    ("first", "second"), [pair for boot in (FIRST_BOOT, SECOND_BOOT, H2, XEN) for pair in combinations(boot, 2)]
)
def test_two_tools_on_one_host_at_one_time_agree(data: Path, first: str, second: str) -> None:
    """Nodes, CPUs, packages, cores, L3, distances, memory and pages: nothing is told differently."""
    mine, theirs = read(data, first), read(data, second)
    assert list(disagreements(mine, theirs)) == []
    for node in mine.topology.nodes:
        assert len(node.distances or ()) == len(theirs.topology.node(node.node_id).distances or ()) > 3


@pytest.mark.parametrize("first", FIRST_BOOT)
@pytest.mark.parametrize("second", SECOND_BOOT)
def test_two_boots_differ_in_memory_alone(data: Path, first: str, second: str) -> None:
    """The hardware is the same."""
    listed = {each.what for each in disagreements(read(data, first), read(data, second))}
    assert listed - {"node 3 pages of 2048 KiB"} <= MOVED
    assert listed


@pytest.mark.parametrize("host", ["h1", "h2"])
def test_free_memory_and_pages_are_what_virsh_showed(data: Path, host: str) -> None:
    """`virsh freecell` and `freepages`, a moment after the files were copied: within 1 %, pools exactly."""
    memory = read(data, f"sysfs:kvm/{host}/sysfs-node-cpu.tar.gz").memory
    free = per_node(data, f"kvm/{host}/freecell.txt", r"^ +\d+: +(\d+) KiB")
    pages = per_node(data, f"kvm/{host}/freepages.txt", r"^4KiB: (\d+)")
    assert [m.free_kib for m in memory] == pytest.approx(free, rel=0.01)
    assert [4 * count for count in pages] == pytest.approx(free, rel=0.01)
    for size_kib in (2048, 1048576):
        free_pages = [pool.free for m in memory for pool in m.hugepages if pool.size_kib == size_kib]
        assert free_pages == per_node(data, f"kvm/{host}/freepages.txt", rf"^{size_kib}KiB: (\d+)")
    assert {pool.total for m in memory for pool in m.hugepages if pool.size_kib == 2048} == {
        0,
        {"h1": 256, "h2": 128}[host],
    }


def test_totals_are_what_virsh_showed(data: Path) -> None:
    """`virsh nodememstats N` of h1's first boot against hwloc; `nodeinfo` has the sum of the nodes."""
    totals = [node.memory_total_kib for node in read(data, FIRST_BOOT[1]).topology.nodes]
    assert totals == per_node(data, "kvm/h1/nodememstats.txt", r"^total +: +(\d+) KiB")
    for host in ("h1", "h2"):
        nodes = read(data, f"sysfs:kvm/{host}/sysfs-node-cpu.tar.gz").topology.nodes
        told = one_number(data, f"kvm/{host}/nodeinfo.txt", r"^Memory size: +(\d+) KiB")
        assert sum(node.memory_total_kib or 0 for node in nodes) == told


def test_cpus_and_packages_are_what_lscpu_showed(data: Path) -> None:
    """Without its L3: it counts one for each CPU of an emulated AMD, the kernel and hwloc one for each package."""
    topology = read(data, SECOND_BOOT[0]).topology
    text = (data / "recorded/kvm/h1/lscpu.txt").read_text()
    nodes = re.findall(r"^NUMA node(\d+) CPU\(s\): *(\S*)$", text, re.MULTILINE)
    assert {int(node): CpuSet.parse(cpus) for node, cpus in nodes} == {int(n.node_id): n.cpus for n in topology.nodes}
    assert len(topology.packages) == one_number(data, "kvm/h1/lscpu.txt", r"^Socket\(s\): +(\d+)")
    assert str(topology.online_cpus) == "0-7"
    assert "CPU map:        yyyyyyyy" in (data / "recorded/kvm/h1/nodecpumap.txt").read_text()


def test_lstopo_drew_what_its_xml_tells(data: Path) -> None:
    """The text of `lstopo` and its XML: nodes with their MiB."""
    drawn = re.findall(r"NUMANode L#\d+ \(P#(\d+) (\d+)MB\)", (data / "recorded/kvm/h1/lstopo.txt").read_text())
    nodes = read(data, FIRST_BOOT[1]).topology.nodes
    assert {int(node): int(mib) for node, mib in drawn} == {
        int(node.node_id): round((node.memory_total_kib or 0) / 1024) for node in nodes
    }


def test_libvirt_on_xen_showed_what_xl_tells(data: Path) -> None:
    """Free memory per node to the MiB, cells, CPUs; its "memory size" is `total_memory`, not the spans' sum."""
    host = read(data, XEN[0])
    free = per_node(data, "xen/libvirt/virsh-freecell.txt", r"^ +\d+: +(\d+) KiB")
    assert [(m.free_kib or 0) // 1024 for m in host.memory] == [kib // 1024 for kib in free]
    nodeinfo = "xen/libvirt/virsh-nodeinfo.txt"
    assert len(host.topology.nodes) == one_number(data, nodeinfo, r"^NUMA cell\(s\): +(\d+)")
    assert len(host.topology.online_cpus) == one_number(data, nodeinfo, r"^CPU\(s\): +(\d+)")
    total_mib = one_number(data, "xen/xl/xl-info-n.txt", r"^total_memory +: (\d+)")
    assert one_number(data, nodeinfo, r"^Memory size: +(\d+) KiB") // 1024 == total_mib


@pytest.mark.parametrize("domain_id", [1, 2])
def test_libvirt_showed_the_affinity_that_xl_shows(data: Path, domain_id: int) -> None:
    """`virsh vcpuinfo` is `virDomainGetVcpus`: what holds. Domain 1 has `<vcpu cpuset='6-7'>` and may run anywhere."""
    folder = data / "recorded/xen/libvirt"
    told = re.findall(r"CPU Affinity: +([y-]+)", (folder / f"lv-vcpuinfo-l{domain_id}.txt").read_text())
    table = parse_xl_vcpu_list((folder / "lv-xl-vcpu-list.txt").read_text(), origin="x")
    hard = [vcpu.hard for vcpu in table if vcpu.domain_id == domain_id]
    shown = [CpuSet.of(*(cpu for cpu, may in enumerate(row) if may == "y")) for row in told]
    assert shown == [CpuSet.parse("0-7") if cpus is None else cpus for cpus in hard]


def test_xl_info_without_n_is_refused_with_advice(data: Path) -> None:
    """It has no tables."""
    with pytest.raises(SourceMalformedError) as error:
        read(data, "xl:xen/xl/xl-info.txt")
    assert "xl info -n" in error.value.advice
