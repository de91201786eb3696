"""Every recorded `virsh capabilities`, and libvirt's own expectations of the hosts that it recorded."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from probe.compare import disagreements
from probe.cpuset import CpuSet
from probe.errors import SourceMalformedError
from probe.snapshot import Hypervisor
from probe.sources.registry import read_source
from probe.topology import MemorySideCache
from tests.conftest import DATA

pytestmark = pytest.mark.data

PLACES = (
    "libvirt/vircaps2xmldata/*.xml", "libvirt/capabilityschemadata/*.xml", "virt-manager/capabilities/*.xml",
    "vdsm/*caps*.out", "recorded/kvm/*/capabilities.xml", "recorded/kvm/*/domcapabilities.xml",
    "recorded/kvm/*-capabilities.xml", "recorded/xen/libvirt/virsh-*capabilities*.txt",
)  # fmt: skip
FILES = sorted(path for place in PLACES for path in DATA.glob(place))
HAVE_CELLS = [path for path in FILES if "<cell " in path.read_text()]
TREES = sorted((DATA / "libvirt/vircaps2xmldata").glob("vircaps-*.xml"))
HAS_NO_HOST = {"resctrl-cmt", "resctrl-fake-feature"}
"""Trees of resctrl alone: their expectations are of another tree (test_sysfs_recordings.py)."""


def sets(cpus: Iterable[CpuSet]) -> set[CpuSet]:
    return {each for each in cpus if each}


@pytest.mark.parametrize("path", HAVE_CELLS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_hosts_cells_are_read_as_they_stand(path: Path) -> None:
    """Nodes, CPUs, packages, cores, distances, pools and memory, as counted in the document itself."""
    root = ET.fromstring(path.read_text().strip())
    snapshot = read_source(f"capabilities:{path}")
    topology = snapshot.topology
    for cell in root.iterfind("host/topology/cells/cell"):
        node = topology.node(int(cell.get("id", "")))
        cpus = cell.findall("cpus/cpu")
        assert node.cpus == CpuSet.of(*(int(cpu.get("id", "")) for cpu in cpus))
        told = {int(s.get("id", "")): min(255, int(s.get("value", ""))) for s in cell.iterfind("distances/sibling")}
        assert dict(node.distances or {}) == told
        memory = cell.find("memory")
        if memory is not None and snapshot.hypervisor is not Hypervisor.XEN:
            assert memory.get("unit") in ("KiB", None)
            assert node.memory_total_kib == int(memory.text or "")
        pages = {int(p.get("size", "")): int(p.text or "") for p in cell.iterfind("pages")}
        pools = {pool.size_kib: pool.total for pool in snapshot.memory_of(node.node_id).hugepages}
        assert pools == {size: count for size, count in pages.items() if size > min(pages)}
    every = root.findall("host/topology/cells/cell/cpus/cpu")
    assert sets(core.cpus for core in topology.cores) == sets(CpuSet.parse(cpu.get("siblings", "")) for cpu in every)
    sockets = {cpu.get("socket_id") for cpu in every} - {None}
    assert {str(package.package_id) for package in topology.packages} == sockets
    dies = {(cpu.get("socket_id"), cpu.get("die_id")) for cpu in every if cpu.get("die_id")}
    assert {(str(die.package_id), str(die.die_id)) for die in topology.dies} == dies
    banks = root.findall("host/cache/bank[@level='3']")
    assert {d.cpus for d in topology.l3} == sets(CpuSet.parse(bank.get("cpus", "")) for bank in banks)
    assert len(topology.nodes) == len(root.findall("host/topology/cells/cell"))


@pytest.mark.parametrize("path", [p for p in FILES if p not in HAVE_CELLS], ids=lambda path: path.name)
def test_what_tells_of_no_host_is_refused(path: Path) -> None:
    """`virsh domcapabilities`, and drivers that publish no topology: an error that says so."""
    with pytest.raises(SourceMalformedError) as error:
        read_source(f"capabilities:{path}")
    assert ("domcapabilities" in error.value.advice) == ("<domainCapabilities" in path.read_text())
    assert error.value.advice


@pytest.mark.parametrize("expected", TREES, ids=lambda path: path.name)
def test_libvirt_expects_the_same_of_its_trees(expected: Path) -> None:
    """CPUs, packages, cores and L3 caches; memory and pages come from a mock (TRAPS.md 9)."""
    _, arch, name = expected.stem.split("-", 2)
    assert arch in ("x86_64", "aarch64")
    tree = expected.with_name(f"linux-{name}.tar.gz")
    if name in HAS_NO_HOST:
        with pytest.raises(SourceMalformedError):
            read_source(f"sysfs:{tree}")
        return
    ours, theirs = read_source(f"sysfs:{tree}"), read_source(f"capabilities:{expected}")
    listed = [d for d in disagreements(ours, theirs) if "memory" not in d.what and "pages" not in d.what]
    assert listed == []
    assert ours.topology.online_cpus == theirs.topology.online_cpus
    assert ours.topology.l3 == theirs.topology.l3
    with tarfile.open(tree) as tar:
        tells_dies = any(name.endswith("/die_id") for name in tar.getnames())
    assert set(ours.topology.dies) == (set(theirs.topology.dies) if tells_dies else set())  # libvirt: else one


def test_on_power_cells_count_and_not_the_hosts_sockets() -> None:
    """TRAPS.md 8: `<topology sockets='1' cores='160'>` and two sockets in the cells."""
    topology = read_source(f"capabilities:{DATA}/vdsm/caps_libvirt_ibm_S822L.out").topology
    assert ([len(node.cpus) for node in topology.nodes], len(topology.packages)) == ([5, 5, 5, 5], 4)
    assert [node.memory_total_kib for node in topology.nodes] == [67108864, 0, 67108864, 0]


HOST_CPUS = sorted((DATA / "libvirt/virhostcpudata").glob("*.expected"))


@pytest.mark.parametrize("expected", HOST_CPUS, ids=lambda path: path.name)
def test_libvirt_counts_the_same_cpus(expected: Path) -> None:
    """`virsh nodeinfo` of its trees: CPUs; and nodes × sockets × cores × threads where it could tell."""
    _, _, name = expected.stem.split("-", 2)
    topology = read_source(f"sysfs:{expected.parent}/linux-{name}.tar.gz").topology
    told = {key: value for key, _, value in (part.partition(": ") for part in expected.read_text().strip().split(", "))}
    nodes, sockets, cores, threads = (int(told[key]) for key in ("Nodes", "Sockets", "Cores", "Threads"))
    cpus = int(told["CPUs"].partition("/")[0])
    if name == "subcores1":  # it counts the threads that a split POWER core has offline
        assert len(topology.online_cpus | topology.offline_cpus) == cpus
        return
    assert len(topology.online_cpus) == cpus
    if (nodes, sockets, threads) == (1, 1, 1):  # also what it says where its sum does not come out
        return
    assert len(topology.nodes) == nodes
    assert len(topology.packages) == nodes * sockets
    assert len(topology.cores) == nodes * sockets * cores
    assert {len(core.cpus) for core in topology.cores} == {threads}


HMAT = """<capabilities><host><topology><cells num='2'>
  <cell id='0'><memory unit='KiB'>1048576</memory><cpus num='1'><cpu id='0' socket_id='0' siblings='0'/></cpus></cell>
  <cell id='1'><memory unit='KiB'>2097152</memory>
    <cache level='1' associativity='direct' policy='writeback'>
      <size value='10' unit='KiB'/><line value='64' unit='B'/></cache>
    <cpus num='0'/></cell></cells>
  <interconnects>
    <latency initiator='0' target='0' type='read' value='{latency}'/>
    <latency initiator='0' target='1' type='access' value='90'/>
    <latency initiator='0' target='1' cache='1' type='access' value='7'/>
    <bandwidth initiator='0' target='1' type='access' value='204800' unit='KiB'/>
  </interconnects></topology></host></capabilities>"""


def test_hmat_through_libvirt(tmp_path: Path) -> None:
    """Interconnects in the kernel's units, "access" for read and write; a cache's own rows are not memory's."""
    (tmp_path / "c.xml").write_text(HMAT.format(latency=5))
    topology = read_source(f"capabilities:{tmp_path}/c.xml").topology
    assert topology.nodes[1].memory_side_caches == (MemorySideCache(level=1, size_kib=10, line_size_bytes=64),)
    near, far = topology.memory_access
    assert (near.target, str(near.initiators), near.read_latency_ns, near.write_latency_ns) == (0, "0", 5, None)
    assert (far.read_latency_ns, far.write_latency_ns) == (90, 90)
    assert (far.read_bandwidth_mib_s, far.write_bandwidth_mib_s) == (200, 200)
    (tmp_path / "bad.xml").write_text(HMAT.format(latency="soon"))
    with pytest.raises(SourceMalformedError, match="<latency value=…> as a number"):
        read_source(f"capabilities:{tmp_path}/bad.xml")
