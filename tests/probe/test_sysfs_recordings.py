"""Every recorded Linux host is read, and says what lscpu and hwloc say of it."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from pathlib import Path

import pytest

from probe.cpuset import CpuSet
from probe.errors import BadInputError, SourceMalformedError
from probe.sources.registry import read_source
from probe.units import parse_size_kib
from tests.conftest import DATA
from tests.probe.agreement import shortfalls

pytestmark = pytest.mark.data

NO_HOST = {"linux-resctrl-cmt.tar.gz", "linux-resctrl-fake-feature.tar.gz"}
"""libvirt's fixtures of resctrl alone: no CPU and no node in them."""

LSCPU_QUIRKS = {
    "hwloc~linux~40intel64-4n10c+pci-conflicts": "socket",  # takes cpu3 alone, though all core_siblings hold it
    "hwloc~linux~nvidia-dgx-gb10": "core",  # merges cores of several clusters that share a core_id
}
"""What lscpu 2.38.1 reads otherwise than the kernel's sibling sets (and hwloc) say."""

HWLOC_QUIRKS = {
    "hwloc~linux~16amd64-8n2c-cpusets": {"disallowed"},  # hwloc leaves out what the cpuset withholds
    "hwloc~linux~40intel64-4n10c+pci-conflicts": {"packages", "L3 domains", "L3 sizes in KiB"},
    "hwloc~linux~64amd64-4s2n4ca2co": {"cores"},
    "hwloc~x86+linux~64amd64-4p2n4ca2co": {"cores"},
}
"""What hwloc 2.9 reads otherwise; test_hwloc_expectations.py has the reasons."""

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
    """Whatever hwloc 2.9 read from the same files: the hardware, memory, pages, devices, figures, the name."""
    ours, theirs = read_source(dump_of(reading)), read_source(f"hwloc:{reading}")
    assert ours.usable_cpus == theirs.usable_cpus
    skipped = HWLOC_QUIRKS.get(reading.name.partition("__")[0].removesuffix(".xml"), set())
    if skipped != {"disallowed"}:
        assert [what for what in shortfalls(ours, theirs) if what not in skipped] == []


LSCPU_TEXTS = sorted((DATA / "util-linux/expected").glob("lscpu-*"))
LSCPU_TEXT_QUIRKS = {"lscpu-s390-nested-virt": {"L3"}}
"""Its L3 comes from /proc/cpuinfo; the dump has no cache folders."""
LEVELS = ("Drawer(s)", "Book(s)", "Book(s) per drawer", "Socket(s)", "Socket(s) per book")


def cpus_of(text: str) -> CpuSet:
    """A list as lscpu prints it: "0-62:2" is every second."""
    ids: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition(":")
        first, _, last = span.partition("-")
        ids |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return CpuSet(frozenset(ids))


@pytest.mark.parametrize("reading", LSCPU_TEXTS, ids=lambda path: path.name)
def test_util_linux_expects_the_same(reading: Path) -> None:
    """The summary of `lscpu` in util-linux's own tests: CPUs, threads, cores, packages, nodes, L3."""
    snapshot = read_source(f"sysfs:{DATA}/util-linux/dumps/{reading.name.removeprefix('lscpu-')}.tar.gz")
    topology, skipped = snapshot.topology, LSCPU_TEXT_QUIRKS.get(reading.name, set())
    told = dict(re.findall(r"^([^:#\n]+):\s+(.*)$", reading.read_text(), re.MULTILINE))
    count = {key: int(value) for key, value in told.items() if value.isdecimal()}
    assert cpus_of(told["On-line CPU(s) list"]) == topology.online_cpus
    assert count["Thread(s) per core"] == max(len(core.cpus) for core in topology.cores)
    levels = [key for key in LEVELS if key in count]
    assert math.prod(count[key] for key in levels) == len(topology.packages)
    assert count["Core(s) per socket"] * len(topology.packages) == len(topology.cores)
    numbers = re.findall(r"^NUMA node(\d+) CPU", "\n".join(told), re.MULTILINE)
    nodes = {int(number): cpus_of(told[f"NUMA node{number} CPU(s)"]) for number in numbers}
    if nodes:
        assert nodes == {int(node.node_id): node.cpus for node in topology.nodes}
    if "L3 cache" in told and "L3" not in skipped:
        size, unit, instances = re.findall(r"([\d.]+) (\w+) \((\d+) instances?\)", told["L3 cache"])[0]
        assert int(instances) == len(topology.l3)
        assert parse_size_kib(size + unit) == sum(domain.size_kib or 0 for domain in topology.l3)
