"""What a domain XML declares, against what the lab's hypervisors made of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from probe.cpuset import CpuSet, NodeSet
from probe.errors import NumaplaceError, SourceMalformedError
from probe.mark import NUMAPLACE_XMLNS
from probe.snapshot import Hypervisor, OccupantMemory
from probe.sources.libvirt_domain import DeclaredDomain, parse_domain
from tests.conftest import DATA
from tests.probe.mutations import mutated

MIB = 1024


def domain(inner: str = "", *, memory: str = "<memory unit='MiB'>512</memory>", kind: str = "kvm") -> DeclaredDomain:
    text = f"<domain type='{kind}'><name>g</name>{memory}<vcpu>4</vcpu>{inner}</domain>"
    return parse_domain(text, origin="g.xml")


def shares(declared: DeclaredDomain) -> list[tuple[int | None, int, int]]:
    return [(m.node_id, m.kib // MIB, m.page_kib) for m in declared.memory]


@pytest.mark.parametrize(
    ("unit", "kib"),
    [
        ("", 3000), (" unit='b'", 3), (" unit='bytes'", 3), (" unit='KB'", 2930), (" unit='k'", 3000),
        (" unit='KiB'", 3000), (" unit='MB'", 2929688), (" unit='M'", 3072000), (" unit='MiB'", 3072000),
        (" unit='GiB'", 3145728000), (" unit='g'", 3145728000), (" unit='TiB'", 3221225472000),
    ],
)  # fmt: skip
def test_sizes_have_libvirts_units_and_round_up(unit: str, kib: int) -> None:
    """`KB` is 1000 bytes, `k` and `KiB` 1024, and no unit means KiB."""
    assert domain(memory=f"<memory{unit}>3000</memory>").memory_kib == kib


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("", [(None, 512, 4)]),
        ("<numatune><memory mode='strict' nodeset='2'/></numatune>", [(2, 512, 4)]),
        ("<numatune><memory mode='restrictive' nodeset='1'/></numatune>", [(1, 512, 4)]),
        ("<numatune><memory mode='preferred' nodeset='4'/></numatune>", [(4, 512, 4)]),
        ("<numatune><memory nodeset='4'/></numatune>", [(4, 512, 4)]),
        ("<numatune><memory placement='auto'/></numatune>", [(None, 512, 4)]),
        ("<numatune><memory mode='interleave' nodeset='0-3'/></numatune>", [(n, 128, 4) for n in range(4)]),
        ("<memoryBacking><hugepages/></memoryBacking>", [(None, 512, 2048)]),
        (
            "<memoryBacking><hugepages><page size='1' unit='GiB'/></hugepages></memoryBacking>",
            [(None, 512, 1048576)],
        ),
    ],
)
def test_a_binding_becomes_shares(inner: str, expected: list[tuple[int | None, int, int]]) -> None:
    """One node: there. Interleaved: evenly. Unbound or left to numad: nowhere in particular."""
    assert shares(domain(inner)) == expected


def test_memory_bound_among_several_nodes_names_them() -> None:
    """`strict` over 0-1 is on no single node, and on no other node."""
    declared = domain("<numatune><memory mode='strict' nodeset='0-1'/></numatune>")
    assert declared.memory == (OccupantMemory(node_id=None, kib=512 * MIB, nodes=NodeSet.of(0, 1)),)


CELLS = (
    "<cpu><numa><cell id='0' cpus='0-1' memory='300' unit='MiB'/><cell id='1' cpus='2-3' memory='212' unit='MiB'/>"
    "</numa></cpu>"
)


def test_guest_cells_are_bound_each_by_its_memnode_and_else_by_the_whole() -> None:
    """Cell 1 has a memnode, cell 0 follows `<memory>`; pages go by the cells of their nodeset."""
    declared = domain(
        "<numatune><memory mode='strict' nodeset='0'/><memnode cellid='1' mode='strict' nodeset='3'/></numatune>"
        "<memoryBacking><hugepages><page size='2048' nodeset='1'/></hugepages></memoryBacking>" + CELLS
    )
    assert shares(declared) == [(0, 300, 4), (3, 212, 2048)]


def test_a_page_size_without_nodeset_is_for_the_other_cells() -> None:
    """libvirt: a page with a nodeset is for its cells, one without for all others."""
    pages = "<page size='1048576' nodeset='0'/><page size='2048'/>"
    declared = domain(f"<memoryBacking><hugepages>{pages}</hugepages></memoryBacking>{CELLS}")
    assert [m.page_kib for m in declared.memory] == [1048576, 2048]


def test_modules_are_memory_and_files_are_not() -> None:
    """A DIMM is bound by its source or its guest cell; an nvdimm is a file; virtio-mem by request."""
    declared = domain(
        "<numatune><memnode cellid='1' mode='strict' nodeset='3'/></numatune>" + CELLS + "<devices>"
        "<memory model='dimm'><target><size unit='MiB'>64</size><node>1</node></target></memory>"
        "<memory model='dimm'><source><nodemask>2</nodemask><pagesize unit='KiB'>2048</pagesize></source>"
        "<target><size unit='MiB'>32</size><node>1</node></target></memory>"
        "<memory model='virtio-mem'><target><size unit='MiB'>512</size><requested unit='MiB'>16</requested>"
        "<node>0</node></target></memory>"
        "<memory model='nvdimm'><target><size unit='MiB'>128</size></target></memory></devices>"
        "<maxMemory slots='4' unit='GiB'>8</maxMemory>"
    )
    assert shares(declared) == [(None, 300, 4), (3, 212, 4), (3, 64, 4), (2, 32, 2048), (None, 16, 4)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<vcpu cpuset='0-3,^2'>2</vcpu>", "0-1,3"),
        ("<vcpu>2</vcpu>", None),
        ("<vcpu placement='auto' cpuset='4-5'>2</vcpu>", None),
        ("<vcpu>2</vcpu><cputune><vcpupin vcpu='0' cpuset='4'/></cputune>", None),
        ("<vcpu cpuset='6'>2</vcpu><cputune><vcpupin vcpu='0' cpuset='4'/></cputune>", "4,6"),
        ("<vcpu cpuset='6'>1</vcpu><cputune><vcpupin vcpu='0' cpuset='4'/></cputune>", "4"),
        ("<vcpu>1</vcpu><cputune><vcpupin vcpu='0' cpuset='4'/><vcpupin vcpu='7' cpuset='9'/></cputune>", "4"),
        ("", None),
    ],
)
def test_declared_cpus_are_what_every_vcpu_may_use(text: str, expected: str | None) -> None:
    """A pin goes before the cpuset; a vCPU without either may run anywhere, so the guest may."""
    declared = parse_domain(f"<domain type='kvm'><name>g</name>{text}</domain>", origin="g.xml")
    assert declared.declared_cpus == (None if expected is None else CpuSet.parse(expected))


def test_on_xen_declared_memory_has_no_node() -> None:
    """The driver ignores `<numatune>` (lab/xen/NOTES.md)."""
    inner = "<numatune><memory mode='strict' nodeset='3'/></numatune>"
    assert shares(domain(inner, kind="xen")) == [(None, 512, 4)]
    assert domain(kind="xen").hypervisor is Hypervisor.XEN


def test_our_mark_is_read_by_namespace_not_by_prefix() -> None:
    """Another prefix is fine, another namespace is somebody else's."""
    mark = f"<metadata><x:guest xmlns:x='{NUMAPLACE_XMLNS}' ledger='l1' claim='c1'/></metadata>"
    assert (domain(mark).ledger, domain(mark).claim) == ("l1", "c1")
    other = mark.replace(NUMAPLACE_XMLNS, "https://example.org/")
    assert (domain(other).ledger, domain(other).claim) == (None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<network/>", "a <domain> document"),
        ("<domain/>", "a <domain> with a <name>"),
        ("<domain><name>g</name><vcpu>many</vcpu></domain>", "<vcpu> as a number"),
        ("<domain><name>g</name><vcpu>99999999</vcpu></domain>", "<vcpu> as a number up to"),
        ("<domain><name>g</name><vcpu cpuset='a'>1</vcpu></domain>", "as a list like"),
        ("<domain><name>g</name><memory unit='furlong'>1</memory></domain>", "in a unit that libvirt knows"),
        ("<domain><name>g</name><memory>-1</memory></domain>", "<memory> as a number"),
        ("<domain><name>g</name><memory unit='EiB'>9999999</memory></domain>", "of at most"),
    ],
)
def test_malformed_domains_name_what_is_wrong(text: str, expected: str) -> None:
    """Origin, expectation and value."""
    with pytest.raises(SourceMalformedError, match=re.escape(expected)) as error:
        parse_domain(text, origin="g.xml")
    assert str(error.value).startswith("g.xml: expected ")


def recordings(*patterns: str) -> list[Path]:
    """What is in the data folder at collection; without it, the `data` fixture says so once."""
    found = [path for pattern in patterns for path in sorted(DATA.glob(pattern)) if path.stat().st_size]
    return found or [DATA / "absent"]


def name_of(path: Path) -> str:
    return "/".join(path.parts[-2:])


@pytest.mark.data
@pytest.mark.parametrize("path", recordings("recorded/kvm/*/dom/*.live.xml"), ids=name_of)
def test_recorded_kvm_domains_declare_what_was_effective(data: Path, path: Path) -> None:
    """Live XML and config agree, the declared CPUs are the tasks' and the node is the pages'."""
    live = parse_domain(path.read_bytes(), origin=path.name)
    config = parse_domain(path.with_name(path.name.replace(".live", "")).read_bytes(), origin=path.name)
    assert (live.vcpus, live.memory_kib) == (config.vcpus, config.memory_kib)
    assert live.memory == config.memory
    report = path.with_name(path.name.replace(".live.xml", ".txt")).read_text()
    tasks = [CpuSet.parse(c) for c in re.findall(r"^task \d+ CPU \d+/TCG: cpus=(\S+)", report, re.M)]
    if live.declared_cpus is not None and tasks and not path.name.startswith("repin"):
        assert live.declared_cpus == CpuSet.union(tasks)
    maps = path.with_name(path.name.replace(".live.xml", ".numa_maps"))
    for share in live.memory:
        assert share.node_id is None or _ram_on(maps.read_text(), share) > (
            LITTLE_TOUCHED.get(path.name.partition(".")[0], 0.5) * share.kib
        )


LITTLE_TOUCHED = {"strict1-hugeprobe": 0.05, "linux-vnuma": 0.02}
"""Guests that had used only this part of their memory when they were looked at."""


def _ram_on(numa_maps: str, share: OccupantMemory) -> int:
    """KiB that the mapping with the most pages on the share's node has there."""
    lines = [line for line in numa_maps.splitlines() if f"kernelpagesize_kB={share.page_kib}" in line]
    pages = [int(n) for line in lines for n in re.findall(rf"\bN{share.node_id}=(\d+)", line)]
    return max(pages, default=0) * share.page_kib


@pytest.mark.data
@pytest.mark.parametrize(
    "path",
    recordings("libvirt/qemuxmlconfdata/*.xml", "libvirt/libxlxml2domconfigdata/*.xml", "libvirt/x*configdata/*.xml"),
    ids=name_of,
)
def test_libvirts_own_domains_are_read(data: Path, path: Path) -> None:
    """Each of libvirt's test documents is read; the one it calls malformed too is named."""
    text = path.read_bytes()
    if not re.search(rb"<domain\b", text):
        return
    declared = parse_domain(text, origin=path.name)
    assert declared.vcpus >= 1
    memory = re.search(r"<memory unit='KiB'>(\d+)</memory>", text.decode())
    modules = b"<memory model=" in text
    if memory and not modules and b"memory=" not in text:
        assert declared.memory_kib == int(memory[1])


@pytest.mark.data
@pytest.mark.parametrize(
    "path", recordings("recorded/xen/libvirt/cfg-*.xml", "recorded/xen/libvirt/lv-dumpxml-*.txt"), ids=name_of
)
def test_recorded_xen_definitions_bind_no_memory(data: Path, path: Path) -> None:
    """Whatever they say about nodes, the driver did not heed it."""
    declared = parse_domain(path.read_bytes(), origin=path.name)
    assert {m.node_id for m in declared.memory} == {None}


@pytest.mark.data
def test_vcpus_and_memory_of_libvirts_domains_are_what_qemu_was_told(data: Path) -> None:
    """`.args` beside a domain has `-smp N` or `maxcpus=N`, and `-m size=Nk`: all of them agree."""
    agreed = 0
    for path in sorted((data / "libvirt/qemuxmlconfdata").glob("*.args")):
        document = path.with_name(path.name.partition(".")[0] + ".xml")
        args = path.read_text().replace("\\\n", " ")
        declared = parse_domain(document.read_bytes(), origin=document.name)
        smp = re.search(r"-smp (\d+)(?:,maxcpus=(\d+))?", args)
        size = re.search(r"-m size=(\d+)k", args)
        assert smp is not None, path
        assert int(smp[2] or smp[1]) == declared.vcpus, path
        if size and b"<memory model=" not in document.read_bytes():
            assert abs(int(size[1]) - declared.memory_kib) < MIB, path  # QEMU gets whole MiB
        agreed += 1
    assert agreed >= 25


@pytest.mark.data
@pytest.mark.parametrize("told", recordings("libvirt/libxlxml2domconfigdata/*.json"), ids=name_of)
def test_vcpus_and_memory_of_libvirts_domains_are_what_libxl_was_told(data: Path, told: Path) -> None:
    """`max_vcpus` and `max_memkb` of the `.json` beside a domain."""
    build = json.loads(told.read_text())["b_info"]
    declared = parse_domain(told.with_suffix(".xml").read_bytes(), origin=told.name)
    assert (declared.vcpus, declared.memory_kib) == (build["max_vcpus"], build["max_memkb"])


SEED_DOCUMENT = (
    f"<domain type='kvm'><name>g</name><uuid>u</uuid><metadata><n:guest xmlns:n='{NUMAPLACE_XMLNS}' claim='c'/>"
    "</metadata><memory unit='MiB'>512</memory><vcpu cpuset='0-3,^2'>4</vcpu><cputune>"
    "<vcpupin vcpu='0' cpuset='4'/><emulatorpin cpuset='4-5'/></cputune><numatune><memory mode='interleave' "
    "nodeset='0-3'/><memnode cellid='0' nodeset='1'/></numatune><memoryBacking><hugepages><page size='2' unit='M' "
    f"nodeset='0'/></hugepages></memoryBacking>{CELLS}<devices><memory model='dimm'><target><size>9</size><node>1"
    "</node></target></memory></devices></domain>"
)


@given(mutated(SEED_DOCUMENT))
def test_mutated_domains_are_read_or_refused_by_our_errors_only(text: str) -> None:
    """No KeyError, no MemoryError, no endless set: only NumaplaceError."""
    try:
        declared = parse_domain(text, origin="m.xml")
    except NumaplaceError:
        return
    assert all(share.kib >= 0 for share in declared.memory)
    assert declared.declared_cpus is None or isinstance(declared.declared_cpus, CpuSet)


@given(st.integers(1, 2**40), st.sets(st.integers(0, 63), min_size=2), st.sampled_from([4, 2048, 1048576]))
def test_interleaving_loses_no_memory(kib: int, nodes: set[int], page_kib: int) -> None:
    """The shares sum to the whole, and differ by at most a page and what is no whole page."""
    nodeset = NodeSet(frozenset(nodes))
    pages = f"<memoryBacking><hugepages><page size='{page_kib}'/></hugepages></memoryBacking>" if page_kib > 4 else ""
    declared = domain(
        f"<numatune><memory mode='interleave' nodeset='{nodeset}'/></numatune>{pages}",
        memory=f"<memory>{kib}</memory>",
    )
    assert declared.memory_kib == kib
    told = [m.kib for m in declared.memory]
    assert max(told) - min(told) < 2 * page_kib or len(told) < len(nodes)
