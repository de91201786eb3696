"""A QEMU process as the kernel of its host sees it: masks of its threads, nodes of its pages.

libvirt starts QEMU with `debug-threads=on`, so a vCPU's thread is called "CPU <n>/KVM" or
"CPU <n>/TCG". `Cpus_allowed_list` and `Mems_allowed_list` are what cgroup and affinity leave together.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from probe.cpuset import CpuSet, NodeSet
from probe.errors import SourceError, SourceMalformedError
from probe.sources.ssh import SshTarget
from scheduler.executors.port import (
    CellMemory,
    ExecutorError,
    HostUnreachableError,
    Observation,
    OutcomeUnknownError,
)
from scheduler.observers.kernel_files import MAX_LINES, QemuFiles, read_qemu_files
from scheduler.observers.numa_maps import parse_mappings
from scheduler.observers.qemu_memory import Ram, ram_of_cells

_VCPU_THREAD = re.compile(r"CPU (\d{1,5})/(?:KVM|TCG)", re.ASCII)
_EFFECTIVE = {2: "cpuset.mems.effective", 1: "cpuset.effective_mems"}
"""Version of the cgroup to the file that tells which nodes are in force (kernel, cgroup-v2.rst; cpusets.rst)."""


@dataclass(frozen=True, slots=True)
class KvmObserver:
    """Looks at the QEMU processes of one host; `ssh` None is this machine."""

    ssh: SshTarget | None = None

    def look(self, uuids: Collection[str]) -> Mapping[str, Observation | ExecutorError]:
        """One look at all of these guests; one that has no process there is left out.

        A guest whose files cannot be understood has an `OutcomeUnknownError` for an observation.

        Raises:
            HostUnreachableError: the host does not let us in, or is too slow.
            OutcomeUnknownError: what it sent is not what was asked for.
        """
        if not uuids:
            return {}
        try:
            found = read_qemu_files(self.ssh, uuids)
        except SourceMalformedError as error:
            raise OutcomeUnknownError(error.message, advice=error.advice) from error
        except SourceError as error:
            where = "this machine" if self.ssh is None else f"ssh://{self.ssh}"
            raise HostUnreachableError(
                f"{where}: expected the kernel's files of its guests, got: {getattr(error, 'why', error)}.",
                advice=error.advice,
            ) from error
        return {uuid: _observed(processes) for uuid, processes in found.items() if processes}


def _observed(processes: tuple[QemuFiles, ...]) -> Observation | ExecutorError:
    first, *others = processes
    if others:
        where = ", ".join(process.origin for process in others)
        return OutcomeUnknownError(f"{first.origin}: expected one process with uuid {first.uuid}, got also {where}.")
    try:
        return observe_process(first)
    except SourceMalformedError as error:
        return OutcomeUnknownError(error.message)


@dataclass(frozen=True, slots=True)
class _CpusetGroup:
    """The cpuset of a process: version of its cgroup, and the nodes that are in force there."""

    version: int
    nodes: NodeSet


@dataclass(frozen=True, slots=True)
class _Thread:
    name: str
    cpus: CpuSet
    nodes: NodeSet


def observe_process(process: QemuFiles) -> Observation:
    """Where the process's threads may run, and where its guest memory is, as far as it may be read.

    Raises:
        SourceMalformedError: a file is not as a kernel writes it.
    """
    threads = tuple(_threads(process))
    group = _cpuset_group(process)
    allowed = NodeSet.union(thread.nodes for thread in threads)
    if group is not None and group.nodes:
        allowed &= group.nodes
    cells = _cells(process)
    seen = None if cells is None else tuple(_cell_memory(ram, allowed) for ram in cells)
    version = "no cpuset cgroup" if group is None else f"cgroup v{group.version}"
    return Observation(
        vcpu_cpus=_vcpu_cpus(threads),
        emulator_cpus=CpuSet.union(t.cpus for t in threads if not _VCPU_THREAD.fullmatch(t.name)),
        memory_nodes_allowed=None if seen is None else frozenset().union(*(cell.nodes_allowed for cell in seen)),
        resident_kib=None if seen is None else _summed(cell.resident_kib for cell in seen),
        cells=seen,
        how=f"{version} and /proc{', without its memory' if seen is None else ''}",
    )


def _threads(process: QemuFiles) -> Iterator[_Thread]:
    """Threads that ended while they were read have no masks, and are left out."""
    for name, lines in process.lines.items():
        if not name.startswith("task/"):
            continue
        status = {key: value for key, colon, value in (line.partition(":\t") for line in lines) if colon}
        if not status.keys() >= {"Name", "Cpus_allowed_list", "Mems_allowed_list"}:
            continue
        try:
            cpus, nodes = CpuSet.parse(status["Cpus_allowed_list"]), NodeSet.parse(status["Mems_allowed_list"])
        except ValueError as error:
            raise SourceMalformedError(f"{process.origin}/{name}", "lists of CPUs and nodes", error) from error
        yield _Thread(status["Name"], cpus, nodes)


def _vcpu_cpus(threads: Iterable[_Thread]) -> dict[int, CpuSet]:
    found: dict[int, CpuSet] = {}
    for thread in threads:
        if match := _VCPU_THREAD.fullmatch(thread.name):
            found[int(match[1])] = found.get(int(match[1]), CpuSet()) | thread.cpus
    return dict(sorted(found.items()))


def _cpuset_group(process: QemuFiles) -> _CpusetGroup | None:
    """The cpuset of the process, which its emulator threads are in; None where none could be read."""
    for line in process.lines.get("cgroup", []):
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        version = 1 if "cpuset" in controllers.split(",") else 2 if not controllers else None
        nodes = process.text(_EFFECTIVE[version]) if version is not None else None
        if version is None or nodes is None:
            continue
        try:
            return _CpusetGroup(version, NodeSet.parse(nodes))
        except ValueError as error:
            raise SourceMalformedError(f"{process.origin}: cgroup {path}", "a list of nodes", error) from error
    return None


def _cells(process: QemuFiles) -> tuple[Ram, ...] | None:
    """None where the mappings may not be read, are too many, or cannot be told apart."""
    maps, numa_maps = process.text("maps"), process.text("numa_maps")
    if maps is None or numa_maps is None:
        return None
    if MAX_LINES in (len(process.lines["maps"]), len(process.lines["numa_maps"])):
        return None
    return ram_of_cells(process.arguments, parse_mappings(maps, numa_maps, origin=process.origin))


def _cell_memory(ram: Ram, by_cpuset: NodeSet) -> CellMemory:
    """What the mappings' policies and the cpuset leave together, and where their pages are."""
    pages = [mapping.pages for mapping in ram]
    return CellMemory(
        nodes_allowed=NodeSet.union(
            by_cpuset & p.bound_nodes if p.bound_nodes is not None else by_cpuset for p in pages
        ).ids,
        resident_kib=_summed(p.resident_kib for p in pages),
        page_kib=frozenset(p.page_kib for p in pages if p.page_kib is not None),
    )


def _summed(shares: Iterable[Mapping[int, int]]) -> dict[int, int]:
    total: Counter[int] = Counter()
    for share in shares:
        total.update(share)
    return dict(sorted(total.items()))
