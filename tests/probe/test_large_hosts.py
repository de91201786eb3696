"""A host of 1,024 nodes and 4,096 CPUs passes the default limits, through every kind of source."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from probe.graph import topology_from_graph, topology_to_graph
from probe.limits import DEFAULT_LIMITS
from probe.snapshot import HostSnapshot
from probe.snapshot_json import snapshot_from_json, snapshot_to_json
from probe.sources.linux_files import LIVE, HostFiles
from probe.sources.linux_remote import parse_tree
from probe.sources.linux_sysfs import snapshot_of
from probe.sources.registry import read_source
from tests.probe.trees import host_files, write_tree
from tests.sshd import sent_from

NODES, EACH = 1024, 4
GIB_KIB = 1024**2


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return host_files(nodes=NODES, cpus_per_node=EACH)


@pytest.fixture(scope="module")
def tree(files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("large"), files)


@pytest.fixture(scope="module")
def host(tree: Path) -> HostSnapshot:
    return read_source(f"sysfs:{tree}")


def is_large(snapshot: HostSnapshot) -> bool:
    topology = snapshot.topology
    assert (len(topology.nodes), len(topology.online_cpus)) == (NODES, NODES * EACH)
    assert {len(node.cpus) for node in topology.nodes} == {EACH}
    assert str(topology.nodes[-1].cpus) == "4092-4095"
    assert topology.distance(0, 1023) == 20
    return True


def test_through_a_sysfs_folder(host: HostSnapshot) -> None:
    """Cores, packages and caches too."""
    assert is_large(host)
    assert (len(host.topology.cores), len(host.topology.packages), len(host.topology.l3)) == (4096, 1024, 1024)
    assert {memory.total_kib for memory in host.memory} == {GIB_KIB}


def test_through_the_command_that_runs_over_ssh(tree: Path, host: HostSnapshot) -> None:
    """What it prints leaves room for the masks that a kernel has beside its lists."""
    sent = sent_from(tree)
    assert len(sent) < DEFAULT_LIMITS.file_bytes / 4
    files = HostFiles(parse_tree(sent, origin="large"), LIVE)
    assert snapshot_of(files, now=host.taken_at, spec=host.sources[0]) == host


def test_through_an_archive(files: dict[str, str], host: HostSnapshot, tmp_path: Path) -> None:
    """Over 20,000 members."""
    path = tmp_path / "large.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"large/{name}")
            member.size = len(text) + 1
            archive.addfile(member, io.BytesIO(f"{text}\n".encode()))
    assert read_source(f"sysfs:{path}").topology == host.topology


def test_through_hwloc(host: HostSnapshot, tmp_path: Path) -> None:
    """A mask of 4,096 bits for each object."""
    lines = ["<topology version='2.0'><object type='Machine' os_index='0'>"]
    for node in range(NODES):
        cpus = range(node * EACH, (node + 1) * EACH)
        mask = mask_of(cpus)
        lines.append(f"<object type='Package' os_index='{node}' cpuset='{mask}'>")
        lines.append(f"<object type='NUMANode' os_index='{node}' cpuset='{mask}' local_memory='{GIB_KIB * 1024}'/>")
        lines.append(f"<object type='L3Cache' cpuset='{mask}' cache_size='{16384 * 1024}' depth='3'>")
        for cpu in cpus:
            pu = f"<object type='PU' os_index='{cpu}' cpuset='{mask_of([cpu])}'/>"
            lines.append(f"<object type='Core' os_index='{cpu}' cpuset='{mask_of([cpu])}'>{pu}</object>")
        lines.append("</object></object>")
    path = tmp_path / "large.xml"
    path.write_text("".join([*lines, "</object></topology>"]))
    topology = read_source(f"hwloc:{path}").topology
    assert [node.cpus for node in topology.nodes] == [node.cpus for node in host.topology.nodes]
    assert (topology.cores, topology.l3) == (host.topology.cores, host.topology.l3)


def mask_of(cpus: range | list[int]) -> str:
    """hwloc's: 32 bits a word, highest first."""
    digits = f"{sum(1 << cpu for cpu in cpus):x}"
    words = [digits[max(0, end - 8) : end] for end in range(len(digits), 0, -8)]
    return ",".join(f"0x{word:0>8}" for word in reversed(words))


def test_through_capabilities_and_numactl(tmp_path: Path) -> None:
    """With a full matrix of a million distances."""
    distances = "".join(f"<sibling id='{n}' value='20'/>" for n in range(NODES))
    cells = []
    for node in range(NODES):
        cpus = "".join(
            f"<cpu id='{cpu}' socket_id='{node}' core_id='{cpu}' siblings='{cpu}'/>"
            for cpu in range(node * EACH, (node + 1) * EACH)
        )
        own = distances.replace(f"id='{node}' value='20'", f"id='{node}' value='10'")
        cells.append(
            f"<cell id='{node}'><memory unit='KiB'>{GIB_KIB}</memory>"
            f"<distances>{own}</distances><cpus num='{EACH}'>{cpus}</cpus></cell>"
        )
    inner = f"<topology><cells num='{NODES}'>{''.join(cells)}</cells></topology>"
    (tmp_path / "caps.xml").write_text(f"<capabilities><host>{inner}</host></capabilities>")
    assert is_large(read_source(f"capabilities:{tmp_path}/caps.xml"))
    rows = [f"{i:4}: " + " ".join("10" if i == j else "20" for j in range(NODES)) for i in range(NODES)]
    lines = [f"available: {NODES} nodes (0-{NODES - 1})"]
    for node in range(NODES):
        cpus = " ".join(str(node * EACH + i) for i in range(EACH))
        lines += [f"node {node} cpus: {cpus}", f"node {node} size: 1024 MB", f"node {node} free: 512 MB"]
    header = "node  " + " ".join(map(str, range(NODES)))
    (tmp_path / "numactl").write_text("\n".join([*lines, "node distances:", header, *rows]) + "\n")
    assert is_large(read_source(f"numactl:{tmp_path}/numactl"))


def test_json_and_graph_give_it_back(host: HostSnapshot) -> None:
    """Round trips at this size."""
    assert snapshot_from_json(snapshot_to_json(host), origin="large") == host
    assert topology_from_graph(topology_to_graph(host.topology)) == host.topology
