"""The CPUs that a cgroup or cpuset leaves the process that read, or recorded, a Linux host.

The kernel's own answer is `Cpus_allowed_list` in `/proc/self/status` (2.6.24 and newer). Recordings
seldom have that file; then the cpuset's own files are read. Sources: kernel
Documentation/admin-guide/cgroup-v1/cpusets.rst and cgroup-v2.rst.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from probe.cpuset import CpuSet
from probe.sources.filetree import join
from probe.sources.linux_files import HostFiles

_ALLOWED = re.compile(r"^Cpus_allowed_list:\s*(\S+)", re.MULTILINE)
_FILES = {
    "cpuset": ("effective_cpus", "cpus"),
    "cgroup": ("cpuset.effective_cpus", "cpuset.cpus", "cpus"),
    "cgroup2": ("cpuset.cpus.effective", "cpuset.cpus"),
}
"""Type of a mounted file system to the files that tell a cpuset's CPUs, what is in force first."""


def read_usable(files: HostFiles, online: CpuSet) -> CpuSet:
    """The online CPUs that are left; all of them where nothing is told, or what is told is empty."""
    allowed = _of_process(files) or _of_cpuset(files)
    return online if allowed is None else (allowed & online) or online


def _of_process(files: HostFiles) -> CpuSet | None:
    match = _ALLOWED.search(files.text("proc/self/status") or "")
    try:
        return CpuSet.parse(match[1]) if match else None
    except ValueError:
        return None


def _of_cpuset(files: HostFiles) -> CpuSet | None:
    """From the innermost folder of the process's cpuset that tells any CPUs.

    A group above the process's cgroup namespace is told as `/..`; then the root of the mount decides.
    """
    for kind, mounted, group in _mounts(files):
        folders = [] if ".." in group.split("/") else [part for part in group.split("/") if part]
        for depth in range(len(folders), -1, -1):
            for name in _FILES[kind]:
                told = files.cpus(join(mounted.strip("/"), *folders[:depth], name))
                if told:
                    return told
    return None


def _mounts(files: HostFiles) -> Iterator[tuple[str, str, str]]:
    """Type, place and the process's group of each mounted file system that may hold its cpuset."""
    group = files.text("proc/self/cpuset") or _unified_group(files)
    for line in (files.text("proc/mounts") or "").splitlines():
        fields = line.split()
        known = len(fields) >= 4 and fields[2] in _FILES
        if group and known and (fields[2] != "cgroup" or "cpuset" in fields[3].split(",")):
            yield fields[2], fields[1], group


def _unified_group(files: HostFiles) -> str:
    """The path in `0::/path` of `/proc/self/cgroup`."""
    for line in (files.text("proc/self/cgroup") or "").splitlines():
        if line.startswith("0::"):
            return line[3:]
    return ""
