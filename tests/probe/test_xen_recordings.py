"""Every recorded output of xl: the lab's Xen, Ganeti's, mailing lists, and what hwloc's trees became."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from probe.cpuset import CpuSet
from probe.errors import SourceMalformedError
from probe.sources.xen_domains import (
    parse_xl_cpupool_cpus,
    parse_xl_cpupool_list,
    parse_xl_list,
    parse_xl_vcpu_list,
)
from probe.sources.xen_info import numa_rows, parse_xl_info
from probe.sources.xen_xl import XlTexts, parse_xl
from probe.topology import HostTopology
from tests.conftest import DATA
from tests.probe.test_xen_xl import MIB, NOW, xl


def texts_of(folder: Path, prefix: str, *, pools: str = "xl-") -> XlTexts:
    return XlTexts(
        info=(folder / f"{prefix}info-n.txt").read_text(),
        domains=(folder / f"{prefix}list-n.txt").read_text(),
        vcpus=(folder / f"{prefix}vcpu-list.txt").read_text(),
        pools=(folder / f"{pools}cpupool-list.txt").read_text(),
        pool_cpus=(folder / f"{pools}cpupool-list-c.txt").read_text(),
    )


def pages(debug_u: str) -> dict[int, dict[int, int]]:
    """domain to node to pages, of `xl debug-keys u`: the only word on where memory is."""
    result: dict[int, dict[int, int]] = {}
    domain = -1
    for line in debug_u.splitlines():
        if match := re.search(r"Domain (\d+) \(total", line):
            domain = int(match[1])
            result[domain] = {}
        elif match := re.search(r"^\(XEN\)\s+Node (\d+): (\d+)", line):
            result[domain][int(match[1])] = int(match[2])
    return result


@pytest.mark.data
def test_the_recorded_host_is_what_its_qemu_command_line_made(data: Path) -> None:
    """4 nodes of 2 CPUs, the distance matrix, and `total_memory`, more than no span tells."""
    host = parse_xl(texts_of(data / "recorded/xen/xl", "run-xl-"), origin="xl", now=NOW, spec="xl:")
    assert [str(n.cpus) for n in host.topology.nodes] == ["0-1", "2-3", "4-5", "6-7"]
    assert [list((n.distances or {}).values()) for n in host.topology.nodes] == [
        [10, 16, 21, 21],
        [16, 10, 21, 21],
        [21, 21, 10, 16],
        [21, 21, 16, 10],
    ]
    assert host.hostname == "xenlab"
    assert [(p.name, str(p.cpus)) for p in host.cpupools] == [("Pool-0", "0-7")]
    assert len(host.occupants) == 8


@pytest.mark.data
@pytest.mark.parametrize(
    ("domains", "vcpus", "debug", "pools", "named"),
    [
        ("xl/run-xl-list-n", "xl/run-xl-vcpu-list", "xl/run-debug-u", "xl/xl-cpupool-list-c", 5),
        ("libvirt/lv-xl-list-n", "libvirt/lv-xl-vcpu-list", "libvirt/lv-debug-u", "xl/xl-cpupool-list-c", 3),
        ("pools/pools-list-c", "pools/pools-vcpu-list", "pools/pools-debug-u", "pools/pools-c", 2),
        ("pools/pools2-list-n", "pools/pools2-vcpu-list", "pools/pools2-debug-u", "pools/pools-c", 1),
    ],
)
def test_memory_is_where_we_say_wherever_we_say_it(
    data: Path, domains: str, vcpus: str, debug: str, pools: str, named: int
) -> None:
    """Against the pages of each node: a named node holds at least 99 % of them, named nodes all.

    A guest that moved to another pool runs on all nodes, and nothing tells where its pages stayed.
    """
    folder = data / "recorded/xen"

    def text(name: str) -> str:
        return (folder / f"{name}.txt").read_text()

    host = xl(text("xl/xl-info-n"), text(domains), text(vcpus), pool_cpus=text(pools))
    where = pages(text(debug))
    ids = {d.name: d.domain_id for d in parse_xl_list(text(domains), origin="x")}
    for occupant in host.occupants:
        (share,) = occupant.memory
        on = where[ids[occupant.guest]]
        assert abs(sum(on.values()) * 4 - share.kib) <= 128, occupant.guest
        if share.node_id is not None:
            assert on[share.node_id] >= 0.99 * sum(on.values()), occupant.guest
        elif share.nodes is not None:
            assert sum(on[n] for n in share.nodes) == sum(on.values()), occupant.guest
    assert named == sum(occupant.memory[0].node_id is not None for occupant in host.occupants)


@pytest.mark.data
def test_a_guest_in_a_pool_runs_and_has_its_memory_there(data: Path) -> None:
    """`all` in Pool-node2 is 4-5; after `cpupool-migrate` the CPUs moved, and no page with them."""
    folder = data / "recorded/xen/pools"
    info = (data / "recorded/xen/xl/xl-info-n.txt").read_text()
    names = ("pools-list-c", "pools-vcpu-list", "pools", "pools-c")
    host = xl(info, *((folder / f"{name}.txt").read_text() for name in names))
    guest = next(o for o in host.occupants if o.guest == "p1-pool-n2")
    assert (str(guest.effective_cpus), guest.memory[0].node_id) == ("4-5", 2)
    assert [p.domains for p in host.cpupools] == [1, 0, 0, 0]


def found(*patterns: str) -> list[Path]:
    return [p for pattern in patterns for p in sorted(DATA.glob(pattern))] or [DATA / "absent"]


def name_of(path: Path) -> str:
    return "/".join(path.parts[-2:])


@pytest.mark.data
@pytest.mark.parametrize("path", found("recorded/xen/*/*list*.txt", "ganeti/xen-xl-list-*.txt"), ids=name_of)
def test_every_recorded_list_is_read_in_full(data: Path, path: Path) -> None:
    """Each line below the heading is one domain, vCPU or pool; JSON (`xl list -l`) is refused."""
    text = path.read_text()
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or lines[0].startswith(("[", "(")):
        with pytest.raises(SourceMalformedError):
            parse_xl_list(text, origin="x")
    elif "Domain count" in lines[0]:
        assert len(parse_xl_cpupool_list(text, origin="x")) == len(lines) - 1
    elif "CPU list" in lines[0]:
        assert len(parse_xl_cpupool_cpus(text, origin="x")) == len(lines) - 1
    elif "VCPU " in lines[0]:
        assert len(parse_xl_vcpu_list(text, origin="x")) == len(lines) - 1
    elif lines[0].startswith("Name"):
        assert len(parse_xl_list(text, origin="x")) == len(lines) - 1


@pytest.mark.data
@pytest.mark.parametrize("path", found("recorded/xen/*/*info-n.txt"), ids=name_of)
def test_every_recorded_info_has_its_cpus_and_free_memory(data: Path, path: Path) -> None:
    """The counts are those of nr_cpus and nr_nodes, the free memory sums to about free_memory."""
    check_counts(path)


@pytest.mark.data
@pytest.mark.parametrize("path", found("derived/xl-info-n/*.txt"), ids=lambda p: p.name[:40])
def test_derived_infos_agree_with_hwloc_on_the_same_tree(data: Path, path: Path) -> None:
    """CPUs, nodes with their CPUs, and cores are those that hwloc 2.9 reads from the tree."""
    topology = check_counts(path)
    document = data / "derived/hwloc-2.9.0-xml" / path.name.replace(".xl-info-n.txt", ".xml")
    nodes, cores, cpus = hwloc(document)
    if "cpusets" in path.name:  # hwloc shows what a cgroup left it; Xen knows no cgroups
        assert cpus <= topology.online_cpus
        return
    assert cpus == topology.online_cpus
    # hwloc writes the near CPUs at a memory-only node, which has none of its own.
    assert {n: cpus for n, cpus in nodes.items() if topology.node(n).cpus} == {
        n.node_id: n.cpus for n in topology.nodes if n.cpus
    }
    assert nodes.keys() == topology.node_ids.ids
    assert cores == [str(c.cpus) for c in topology.cores]


def check_counts(path: Path) -> HostTopology:
    text = path.read_text()
    info = parse_xl_info(text, origin=path.name)

    def told(key: str) -> int:
        return int(re.search(rf"^{key}\s*: (\d+)", text, re.M)[1])  # type: ignore[index]

    assert len(info.topology.online_cpus) == told("nr_cpus")
    assert len(info.topology.nodes) == told("nr_nodes")
    assert max(info.topology.online_cpus) <= told("max_cpu_id")
    free_mib = sum(info.free_kib.values()) // MIB
    assert abs(free_mib - told("free_memory")) <= 2 * told("nr_nodes")
    return info.topology


def hwloc(path: Path) -> tuple[dict[int, CpuSet], list[str], CpuSet]:
    """Nodes, cores and CPUs of a hwloc XML, read by hand: an independent word."""
    root = ET.fromstring(path.read_bytes())
    kinds: dict[str, list[ET.Element]] = {}
    for element in root.iter("object"):
        kinds.setdefault(element.get("type", ""), []).append(element)
    cpus = [CpuSet.parse_mask(e.get("cpuset", "")) for e in kinds["PU"]]
    cores = sorted((CpuSet.parse_mask(e.get("cpuset", "")) for e in kinds["Core"]), key=min)
    nodes = {int(e.get("os_index", "")): CpuSet.parse_mask(e.get("cpuset", "")) for e in kinds["NUMANode"]}
    return nodes, [str(c) for c in cores], CpuSet.union(cpus)


@pytest.mark.data
def test_samples_from_mailing_lists_are_read_or_named(data: Path) -> None:
    """Ganeti's Xen 4.0 is a host; the others hold parts of `xl info -n` only, and say what lacks."""
    old = parse_xl_info((data / "ganeti/xen-xl-info-4.0.1.txt").read_text(), origin="x")
    assert [(str(n.cpus), old.free_kib[n.node_id]) for n in old.topology.nodes] == [("0-3", 8004 * MIB)]
    fragment = (data / "xen-samples/xl-info-n-2node-numainfo-fragment.txt").read_text()
    rows = numa_rows(fragment, origin="x")
    assert [(r.free_kib, r.distances) for r in rows] == [
        (60672 * MIB, (10, 21)),
        (60958 * MIB, (21, 10)),
    ]
    for path in sorted((data / "xen-samples").glob("*.txt")):
        with pytest.raises(SourceMalformedError, match="cpu_topology"):
            parse_xl_info(path.read_text(), origin=path.name)
