"""A QEMU process as the kernel of its host sees it: masks of its threads, nodes of its pages.

Read below a `/proc` that is a parameter. What is read: `task/*/comm` (libvirt starts QEMU with
`debug-threads=on`, so a vCPU's thread is called "CPU <n>/KVM" or "CPU <n>/TCG"), `status`
(`Cpus_allowed_list`, `Mems_allowed_list`: what the cgroup and the affinity leave together),
`maps` and `numa_maps` (kernel, Documentation/filesystems/proc.rst).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from probe.cpuset import CpuSet, NodeSet
from scheduler.executors.port import Observation

_VCPU_THREAD = re.compile(r"CPU (\d+)/(?:KVM|TCG)")
_PAGES_ON_NODE = re.compile(r"N(\d+)=(\d+)")
_PAGE_SIZE = re.compile(r"kernelpagesize_kB=(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryMapping:
    """One mapping of a process.

    Attributes:
        bound_nodes: nodes that its policy allows ("bind", "interleave"); None where it allows all
            ("default") or only prefers ("prefer").
        resident_kib: node id to KiB that are there.
    """

    size_kib: int
    bound_nodes: NodeSet | None
    resident_kib: Mapping[int, int]


def find_qemu(uuid: str, *, proc: Path = Path("/proc")) -> int | None:
    """Process id of the QEMU that runs the domain with this uuid; None where there is none.

    libvirt passes `-uuid UUID` (seen in recorded/kvm/*/dom/*.cmdline).
    """
    for cmdline in proc.glob("[0-9]*/cmdline"):
        try:
            arguments = cmdline.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"-uuid" in arguments and uuid.encode() in arguments:
            return int(cmdline.parent.name)
    return None


def observe_process(pid: int, *, cells: int = 1, proc: Path = Path("/proc")) -> Observation | None:
    """Where the process's threads may run, and where its guest memory is; None when it has gone.

    `cells` is the number of guest cells: QEMU keeps one RAM mapping for each, and they are its
    largest (recorded/kvm/h1/dom/vnuma.numa_maps).
    """
    root = proc / str(pid)
    try:
        threads = [_thread(task) for task in sorted((root / "task").iterdir())]
        mappings = parse_mappings((root / "maps").read_text(), (root / "numa_maps").read_text())
    except OSError:
        return None
    ram = sorted(mappings, key=lambda mapping: mapping.size_kib, reverse=True)[:cells]
    others = [cpus for name, cpus, _ in threads if not _VCPU_THREAD.fullmatch(name)]
    return Observation(
        vcpu_cpus={int(m[1]): cpus for name, cpus, _ in threads if (m := _VCPU_THREAD.fullmatch(name))},
        emulator_cpus=CpuSet.union(others),
        memory_nodes_allowed=_allowed_nodes(ram, NodeSet.union(nodes for _, _, nodes in threads)).ids,
        resident_kib=_summed(ram),
        how="cgroup and /proc",
    )


def parse_mappings(maps: str, numa_maps: str) -> tuple[MemoryMapping, ...]:
    """Join the text of `maps` (sizes) with that of `numa_maps` (policies, pages per node)."""
    sizes = {}
    for line in maps.splitlines():
        first, _, last = line.partition(" ")[0].partition("-")
        sizes[int(first, 16)] = (int(last, 16) - int(first, 16)) // 1024
    found = []
    for line in numa_maps.splitlines():
        address, _, rest = line.partition(" ")
        page = _PAGE_SIZE.search(rest)
        kib = int(page[1]) if page else 4
        found.append(
            MemoryMapping(
                size_kib=sizes.get(int(address, 16), 0),
                bound_nodes=_bound_nodes(rest.partition(" ")[0]),
                resident_kib={int(m[1]): int(m[2]) * kib for m in _PAGES_ON_NODE.finditer(rest)},
            )
        )
    return tuple(found)


def _bound_nodes(policy: str) -> NodeSet | None:
    """ "bind:2" and "interleave:0-3" allow these nodes only; "prefer:4" and "default" allow all.

    Flags may stand between ("bind=static:2"; kernel, mpol_to_str in mm/mempolicy.c).
    """
    mode, colon, nodes = policy.partition(":")
    if not colon or mode.partition("=")[0] not in ("bind", "interleave", "weighted interleave"):
        return None
    return NodeSet.parse(nodes)


def _thread(task: Path) -> tuple[str, CpuSet, NodeSet]:
    status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
    name = (task / "comm").read_text().rstrip("\n")
    return (
        name,
        CpuSet.parse(status["Cpus_allowed_list"]),
        NodeSet.parse(status.get("Mems_allowed_list", "0")),
    )


def _allowed_nodes(ram: list[MemoryMapping], by_cpuset: NodeSet) -> NodeSet:
    """What the mappings' policies and the cpuset leave together."""
    return NodeSet.union(by_cpuset & m.bound_nodes if m.bound_nodes is not None else by_cpuset for m in ram)


def _summed(ram: list[MemoryMapping]) -> dict[int, int]:
    total: dict[int, int] = {}
    for mapping in ram:
        for node, kib in mapping.resident_kib.items():
            total[node] = total.get(node, 0) + kib
    return total
