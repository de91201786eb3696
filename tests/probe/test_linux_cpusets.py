"""The CPUs that a cgroup or cpuset leaves: recorded by real kernels, and made up in every form they write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from probe.cpuset import CpuSet
from probe.limits import DEFAULT_LIMITS
from probe.safe_xml import HWLOC_DOCTYPES, parse_xml
from probe.sources.filetree import DirectoryTree, FileTree, MemoryTree
from probe.sources.linux_cpusets import read_usable
from probe.sources.linux_files import HostFiles
from probe.sources.registry import read_source
from tests.probe.test_sysfs_recordings import HWLOC, dump_of

V1 = {"proc/mounts": "cgroup /cg/cpuset cgroup rw,relatime,cpuset 0 0\n", "proc/self/cpuset": "/a/b\n"}
V2 = {"proc/mounts": "cgroup2 /cg cgroup2 rw,nosuid 0 0\n", "proc/self/cgroup": "1:name=x:/y\n0::/a/b\n"}
OLD = {"proc/mounts": "none /dev/cpuset cpuset rw 0 0\n", "proc/self/cpuset": "/a\n"}


class WithoutStatus:
    """A tree that has no `/proc/self/status`, like most recordings."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree
        self.origin, self.list_dir, self.exists, self.folders = tree.origin, tree.list_dir, tree.exists, tree.folders

    def read_text(self, path: str) -> str | None:
        return None if path == "proc/self/status" else self._tree.read_text(path)


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
def own_cpuset() -> Iterator[CpuSet | None]:
    """The one CPU of a real cpuset that this process is put into; None where this user may not make one."""
    before, root = os.sched_getaffinity(0), Path("/sys/fs/cgroup/cpuset")
    group = root / f"numaplace-test-{os.getpid()}"
    if not (root / "cpuset.cpus").is_file() or not os.access(root, os.W_OK):
        yield None
        return
    here = root / Path("/proc/self/cpuset").read_text().strip("/\n")
    group.mkdir()
    try:
        (group / "cpuset.cpus").write_text(str(min(before)))
        (group / "cpuset.mems").write_text("0")
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield CpuSet.of(min(before))
    finally:
        (here / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()
        os.sched_setaffinity(0, before)


def test_a_cpusets_own_files_allow_what_the_process_status_does(own_cpuset: CpuSet | None) -> None:
    """In a cpuset made just now (cgroup v1), else in the one that the tests run in; affinity may leave less."""
    live = HostFiles(DirectoryTree(root=Path("/"), limits=DEFAULT_LIMITS))
    online = live.cpus("sys/devices/system/cpu/online")
    assert online is not None
    status = read_usable(live, online)
    files = read_usable(HostFiles(WithoutStatus(live.tree)), online)
    assert status <= files
    if own_cpuset is not None:
        assert status == files == own_cpuset
