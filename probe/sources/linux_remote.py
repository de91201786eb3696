"""Another Linux host over ssh: `sysfs+ssh://[USER@]HOST[:PORT]`. Nothing is installed there.

One connection runs one fixed command: `find` names the few files that the readers know, `grep`
prints each line with its file. Busybox has both. What comes back is untrusted and becomes a tree
in memory, which is then read like any recording.
"""

from __future__ import annotations

import re
from datetime import datetime

from probe.errors import SourceMalformedError
from probe.limits import ReadLimits
from probe.snapshot import HostSnapshot
from probe.sources.commands import run_command
from probe.sources.filetree import MemoryTree
from probe.sources.linux_files import LIVE, SYSTEM, HostFiles
from probe.sources.linux_sysfs import snapshot_of
from probe.sources.ssh import parse_ssh_target, ssh_argv

CPU_FILES = (
    "online", "present", "isolated", "nohz_full", "physical_package_id", "die_id", "core_cpus_list",
    "cluster_cpus_list", "book_siblings_list", "drawer_siblings_list", "thread_siblings", "thread_siblings_list",
    "level", "size", "shared_cpu_map", "shared_cpu_list",
)  # fmt: skip
"""Without the masks that every kernel tells as a list too: with 4,096 CPUs each is a KiB, for each CPU."""

NODE_FILES = (
    "online", "cpulist", "cpumap", "meminfo", "distance", "nr_hugepages", "free_hugepages", "surplus_hugepages",
    "read_bandwidth", "write_bandwidth", "read_latency", "write_latency", "size", "line_size",
)  # fmt: skip
OTHER_FILES = (
    "proc/meminfo", "proc/self/status", "proc/sys/kernel/hostname", "sys/kernel/mm/hugepages/*/*_hugepages",
    "sys/bus/pci/devices/*/numa_node", "sys/bus/pci/devices/*/class", "sys/devices/virtual/memory_tiering/*/nodelist",
)  # fmt: skip

_LINKS, _END = "numaplace-links", "numaplace-end"


def _find(folder: str, names: tuple[str, ...]) -> str:
    wanted = " -o ".join(f"-name {name}" for name in names)
    return rf"find {folder} -maxdepth 4 -type f \( {wanted} \) -exec grep -H ^ {{}} +"


REMOTE_COMMAND = (
    "exec 2>/dev/null; cd /; "
    f"{_find(f'{SYSTEM}/cpu', CPU_FILES)}; {_find(f'{SYSTEM}/node', NODE_FILES)}; "
    f"grep -H ^ {' '.join(OTHER_FILES)}; "
    f"echo {_LINKS}; find {SYSTEM}/node -maxdepth 4 -type l \\( -name cpu\\* -o -name node\\* \\); echo {_END}"
)
"""All that is ever run there; fixed words, without a single quote."""

_NAMES = sorted({*CPU_FILES, *NODE_FILES, *(path.rpartition("/")[2].lstrip("*_") for path in OTHER_FILES)})
_LINE = re.compile(rf"(?P<path>(?:sys|proc)/[\w./:+-]*?(?:{'|'.join(_NAMES)})):(?P<line>.*)", re.ASCII)
_LINK = re.compile(rf"{SYSTEM}/node/[\w./-]+", re.ASCII)


def read_sysfs_ssh(rest: str, *, limits: ReadLimits, now: datetime, spec: str) -> HostSnapshot:
    """Read the host that `spec` names.

    Raises:
        BadInputError: not `sysfs+ssh://[USER@]HOST[:PORT]`.
        SourceUnreadableError: no ssh, no login there, too slow.
        SourceMalformedError: it sent something else, or only a part.
    """
    target = parse_ssh_target(rest, spec=spec)
    output = run_command(ssh_argv(target, REMOTE_COMMAND), limits=limits)
    return snapshot_of(HostFiles(parse_tree(output, origin=spec), LIVE), now=now, spec=spec)


def parse_tree(output: str, *, origin: str) -> MemoryTree:
    """The files and the names of the links that `REMOTE_COMMAND` printed.

    Raises:
        SourceMalformedError: a line is of another form, the end is missing, or there is no CPU.
    """
    printed, cut, rest = output.replace("\r\n", "\n").partition(f"{_LINKS}\n")
    links = rest.split("\n")
    if not cut or links[-2:] != [_END, ""]:
        raise SourceMalformedError(
            origin, "the files of a Linux host, to their end", output[-80:], advice="Maybe the connection broke off."
        )
    files: dict[str, list[str]] = {}
    for line in printed.splitlines():
        match = _LINE.fullmatch(line)
        if match is None or ".." in match["path"]:
            advice = "Maybe the login there prints something: ~/.bashrc must be silent without a terminal."
            raise SourceMalformedError(origin, "FILE:LINE of a file below /sys or /proc", line, advice=advice)
        files.setdefault(match["path"], []).append(match["line"])
    for link in links[:-2]:
        if not _LINK.fullmatch(link) or ".." in link:
            raise SourceMalformedError(origin, "the name of a link below /sys", link)
    if not any(path.startswith(f"{SYSTEM}/cpu/") for path in files):
        raise SourceMalformedError(origin, "a Linux host with /sys mounted", "no CPU", advice="Maybe it is not Linux.")
    texts = {path: "\n".join(lines).encode() for path, lines in files.items()}
    return MemoryTree(origin, texts, dict.fromkeys(links[:-2], "/"))
