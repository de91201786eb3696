"""The CPUs that a cgroup or cpuset leaves: recorded by real kernels, and made up in every form they write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from probe.cpuset import CpuSet
from probe.limits import DEFAULT_LIMITS
from probe.safe_xml import HWLOC_DOCTYPES, parse_xml
from probe.sources.filetree import DirectoryTree, MemoryTree
from probe.sources.linux_cpusets import read_usable
from probe.sources.linux_files import HostFiles
from probe.sources.registry import read_source
from tests.probe.test_sysfs_recordings import HWLOC, dump_of

V1 = {"proc/mounts": "cgroup /cg/cpuset cgroup rw,relatime,cpuset 0 0\n", "proc/self/cpuset": "/a/b\n"}
V2 = {"proc/mounts": "cgroup2 /cg cgroup2 rw,nosuid 0 0\n", "proc/self/cgroup": "1:name=x:/y\n0::/a/b\n"}
OLD = {"proc/mounts": "none /dev/cpuset cpuset rw 0 0\n", "proc/self/cpuset": "/a\n"}


def usable(files: dict[str, str]) -> str:
    """What is left of CPUs 0-15."""
    tree = MemoryTree("made up", {path: text.encode() for path, text in files.items()}, {})
    return str(read_usable(HostFiles(tree), CpuSet.parse("0-15")))


@pytest.mark.data
@pytest.mark.parametrize("reading", HWLOC, ids=lambda path: path.name)
def test_hwloc_allows_the_same_cpus(reading: Path) -> None:
    """`allowed_cpuset` of hwloc 2.9 on the same files; some of the recorded processes were in a cpuset."""
    machine = parse_xml(reading.read_bytes(), origin=reading.name, allow_doctype=HWLOC_DOCTYPES).find("object")
    assert machine is not None
    assert CpuSet.parse_mask(machine.get("allowed_cpuset", "")) == read_source(dump_of(reading)).usable_cpus


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (V1 | {"cg/cpuset/a/b/cpuset.cpus": "2-3\n"}, "2-3"),
        (V1 | {"cg/cpuset/a/b/cpuset.cpus": "2-3\n", "cg/cpuset/a/b/cpuset.effective_cpus": "3\n"}, "3"),
        (V1 | {"cg/cpuset/a/b/cpuset.cpus": "\n", "cg/cpuset/a/cpuset.cpus": "4-30\n"}, "4-15"),
        (V1 | {"cg/cpuset/a/b/cpus": "5"}, "5"),
        (V2 | {"cg/a/b/cpuset.cpus.effective": "6-7\n", "cg/a/b/cpuset.cpus": "6-9\n"}, "6-7"),
        (V2 | {"cg/a/cpuset.cpus.effective": "8\n"}, "8"),
        (V2 | {"cg/cpuset.cpus.effective": "9\n"}, "9"),
        (OLD | {"dev/cpuset/a/cpus": "0-1\n"}, "0-1"),
        (V1 | {"proc/self/cpuset": "/../..\n", "cpuset.cpus": "1", "cg/cpuset/cpuset.cpus": "2"}, "2"),
        (V1 | {"cg/cpuset/a/b/cpuset.cpus": "2", "proc/self/status": "Cpus_allowed_list:\t0-3,8\n"}, "0-3,8"),
        (V1 | {"cg/cpuset/a/b/cpuset.cpus": "2", "proc/self/status": "Name:\tcat\n"}, "2"),
        (V1 | {"proc/mounts": "cgroup /cg/cpuset cgroup rw,memory 0 0\n", "cg/cpuset/a/b/cpuset.cpus": "2"}, "0-15"),
        (V1, "0-15"),
        ({}, "0-15"),
        ({"proc/self/status": "Cpus_allowed_list:\t100-200\n"}, "0-15"),
    ],
)  # fmt: skip
def test_each_kernels_files_are_known(files: dict[str, str], expected: str) -> None:
    """cgroup v1, v2 and the older cpuset file system; what is in force before what was asked for."""
    assert expected == usable(files)


def test_this_process_is_read_by_the_kernels_own_word() -> None:
    """A process that may run on one CPU only sees that one as usable, on whatever cgroup version runs here."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert CpuSet.of(min(before)) == read_source("sysfs:").usable_cpus
    finally:
        os.sched_setaffinity(0, before)


@pytest.fixture
def own_cpuset() -> Iterator[int]:
    """This process in a real cpuset with one CPU; the test is skipped, and says so, where it may not make one."""
    before = os.sched_getaffinity(0)
    cpu, root = min(before), Path("/sys/fs/cgroup/cpuset")
    group = root / f"numaplace-test-{os.getpid()}"
    if not (root / "cpuset.cpus").is_file() or not os.access(root, os.W_OK):
        pytest.skip("no cgroup v1 cpuset that this user may divide")
    here = root / Path("/proc/self/cpuset").read_text().strip("/\n")
    group.mkdir()
    try:
        (group / "cpuset.cpus").write_text(str(cpu))
        (group / "cpuset.mems").write_text("0")
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield cpu
    finally:
        (here / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()
        os.sched_setaffinity(0, before)


def test_a_real_cpuset_is_read_with_and_without_the_process_status(own_cpuset: int) -> None:
    """The kernel's word and the cpuset's own files say the same of a cpuset that was made just now."""
    live = HostFiles(DirectoryTree(root=Path("/"), limits=DEFAULT_LIMITS))
    online = live.cpus("sys/devices/system/cpu/online")
    assert online is not None
    told = {path: live.text(path) or "" for path in ("proc/mounts", "proc/self/cpuset")}
    folder = f"sys/fs/cgroup/cpuset{told['proc/self/cpuset']}"
    told |= {f"{folder}/{name}": live.text(f"{folder}/{name}") or "" for name in live.names(folder)}
    assert str(own_cpuset) == usable(told)
    assert CpuSet.of(own_cpuset) == read_usable(live, online)
