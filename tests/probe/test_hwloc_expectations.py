"""hwloc's own tests as ours: each recorded tree or file says what `lstopo` printed of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from probe.cpuset import CpuSet
from probe.snapshot import HostSnapshot
from probe.sources.registry import read_source
from tests.conftest import DATA
from tests.probe.agreement import shortfalls
from tests.probe.lstopo import Object, parse_console

pytestmark = pytest.mark.data

TESTS = sorted(path for folder in ("linux", "x86+linux", "xml") for path in (DATA / "hwloc" / folder).glob("*.test"))

BULLDOZER = "the kernel lists both cores of a compute unit as thread siblings; hwloc parts them by their core_id"
CONFLICTS = "siblings of cpu2 and cpu3 contradict; hwloc drops a package and an L3 that the kernel tells"
ODD: Mapping[str, tuple[set[str], str]] = {
    "16amd64-8n2c-cpusets-disallowed.test": ({"PU"}, "asked to show what the cpuset withholds"),
    "16em64t-4s2c2t-merge.test": ({"L3Cache"}, "asked to merge caches away"),
    "16em64t-4s2c2t-nocaches.test": ({"L3Cache"}, "asked to leave caches out"),
    "16em64t-4s2c2t.console.test": ({"L3Cache", "Core"}, "its short form writes several objects on a line"),
    "40intel64-4n10c+pci-conflicts.test": ({"Package", "L3Cache"}, CONFLICTS),
    "64amd64-4s2n4ca2co.test": ({"Core"}, BULLDOZER),
    "64amd64-4p2n4ca2co.test": ({"cores"}, BULLDOZER),
    "40intel64-2g2n4c+pcilocality.test": ({"0000:43:00.0"}, "its env moves the bus"),
    "fakepcilocalities.test": ({"0000:80:14.0"}, "its env moves the bus"),
}
"""Test to what is not compared there, and why."""


def keys_of(test: Path) -> dict[str, str]:
    return dict(re.findall(r"^(\w+):\s*(.*)$", test.read_text(), re.MULTILINE))


def snapshot_of(test: Path) -> HostSnapshot:
    source = test.parent / keys_of(test)["source"]
    return read_source(f"{'hwloc' if source.suffix == '.xml' else 'sysfs'}:{source}")


def odd(test: Path) -> set[str]:
    return ODD.get(test.name, (set(), ""))[0]


CONSOLES = [test for test in TESTS if keys_of(test)["target"].endswith(".console")]
XMLS = [test for test in TESTS if keys_of(test)["target"].endswith(".xml")]


@pytest.mark.parametrize("test", CONSOLES, ids=lambda path: path.name)
def test_lstopo_printed_the_same(test: Path) -> None:
    """CPUs that may be used, packages, cores, L3 caches with sizes, nodes with CPUs and memory."""
    snapshot = snapshot_of(test)
    printed = parse_console((test.parent / keys_of(test)["target"]).read_text())
    topology, pus = snapshot.topology, printed.pus
    assert pus == (topology.online_cpus if "PU" in odd(test) else snapshot.usable_cpus).ids
    parts: Mapping[str, list[CpuSet]] = {
        "Package": [package.cpus for package in topology.packages],
        "Core": [core.cpus for core in topology.cores],
        "L3Cache": [domain.cpus for domain in topology.l3],
    }
    for kind, ours in parts.items():
        if kind not in odd(test):
            assert sets(cpus.ids & pus for cpus in ours) == sets(each.pus for each in printed.all(kind)), kind
    for cache in printed.all("L3Cache"):
        (size,) = {domain.size_kib for domain in topology.l3 if domain.cpus.ids & cache.pus}
        assert is_about(size, cache, "size")
    for theirs in printed.all("NUMANode"):
        node = topology.node(theirs.os_index or 0)
        assert not node.cpus or node.cpus.ids & pus == theirs.near_pus  # a memory-only node has none with us
        assert node.memory_total_kib is None or is_about(node.memory_total_kib, theirs, "local")


@pytest.mark.parametrize("test", XMLS, ids=lambda path: path.name)
def test_lstopo_wrote_the_same(test: Path) -> None:
    """Everything that hwloc's file tells: the hardware, memory, pages, each PCI device with class and node."""
    ours, theirs = snapshot_of(test), read_source(f"hwloc:{test.parent / keys_of(test)['target']}")
    assert ours.usable_cpus == theirs.usable_cpus
    if "cpusets" in test.name:  # hwloc leaves the other CPUs and nodes out
        return
    assert [what for what in shortfalls(ours, theirs) if what not in odd(test)] == []


def sets(cpus: Iterable[frozenset[int]]) -> set[frozenset[int]]:
    return {each for each in cpus if each}


def is_about(kib: int | None, told: Object, key: str) -> bool:
    """Equal to what was printed, which is rounded to its unit; true where nothing was printed."""
    if kib is None or key not in told.sizes:
        return True
    value, unit = told.sizes[key]
    return abs(value - kib) <= unit
