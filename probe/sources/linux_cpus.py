"""CPUs, cores, packages and caches of a Linux host, from `/sys/devices/system/cpu`.

Sources: kernel Documentation/admin-guide/cputopology.rst and Documentation/ABI/stable/sysfs-devices-system-cpu.
Siblings are taken from the kernel's sets, never from equal ids: core ids repeat between packages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from probe.cpuset import CpuSet, NodeId
from probe.sources.linux_files import SYSTEM, HostFiles
from probe.topology import Core, CpuGroup, Die, L3Domain, NumaNode, Package

_CPU = f"{SYSTEM}/cpu"
_CACHE_SIZE = re.compile(r"(?P<number>\d{1,9})(?P<unit>[KMG])", re.ASCII)
_UNITS_KIB = {"K": 1, "M": 1024, "G": 1024**2}


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuStates:
    """Which CPUs there are, and in which state."""

    online: CpuSet
    offline: CpuSet
    isolated: CpuSet
    nohz_full: CpuSet


def read_states(files: HostFiles) -> CpuStates:
    """Online and offline CPUs. An old kernel has no `online` list: a CPU's own file decides."""
    present = CpuSet(frozenset(files.ids(_CPU, "cpu")))
    listed = files.cpus(f"{_CPU}/online")
    if listed is None:
        off = frozenset(cpu for cpu in present if files.text(f"{_CPU}/cpu{cpu}/online") == "0")
        listed = present - CpuSet(off)
    return CpuStates(
        online=listed & present if present else listed,
        offline=(files.cpus(f"{_CPU}/present") or present) - listed,
        isolated=files.cpus(f"{_CPU}/isolated") or CpuSet(),
        nohz_full=files.cpus(f"{_CPU}/nohz_full") or CpuSet(),
    )


def read_packages(files: HostFiles, online: CpuSet) -> tuple[Package, ...]:
    """Packages by their id. Where the kernel tells none (s390: -1), its sibling sets, numbered in order."""
    ids = _by_number(files, online, "physical_package_id")
    if not ids:
        ids = dict(enumerate(_sibling_sets(files, online, ("package_cpus", "core_siblings"))))
    return tuple(Package(package_id=number, cpus=cpus) for number, cpus in sorted(ids.items()))


def read_dies(files: HostFiles, packages: Iterable[Package]) -> tuple[Die, ...]:
    """Dies of each package; empty where the kernel tells none (before 5.2)."""
    dies = []
    for package in packages:
        for number, cpus in sorted(_by_number(files, package.cpus, "die_id").items()):
            dies.append(Die(die_id=number, package_id=package.package_id, cpus=cpus))
    return tuple(dies)


def read_groups(files: HostFiles, online: CpuSet) -> tuple[CpuGroup, ...]:
    """Clusters, books and drawers, where the kernel tells them (`/sys/.../topology/<kind>_*`)."""
    groups = []
    for kind, stems in (("cluster", ("cluster_cpus",)), ("book", ("book_siblings",)), ("drawer", ("drawer_siblings",))):
        sets = _sibling_sets(files, online, stems)
        groups += [CpuGroup(kind=kind, group_id=i, cpus=cpus) for i, cpus in enumerate(sets)]
    return tuple(groups)


def read_cores(
    files: HostFiles, online: CpuSet, nodes: Iterable[NumaNode], packages: Iterable[Package]
) -> tuple[Core, ...]:
    """Cores by their thread siblings; a CPU without any is a core of its own."""
    sets = _sibling_sets(files, online, ("core_cpus", "thread_siblings"))
    loose = online - CpuSet.union(sets)
    every = sorted([*sets, *(CpuSet.of(cpu) for cpu in loose)], key=lambda cpus: min(cpus.ids))
    node_of = {cpu: node.node_id for node in reversed(list(nodes)) for cpu in node.cpus}
    package_of = {cpu: package.package_id for package in packages for cpu in package.cpus}
    return tuple(
        Core(cpus=cpus, node_id=_node(node_of, min(cpus.ids)), package_id=package_of.get(min(cpus.ids)))
        for cpus in every
    )


def read_l3(files: HostFiles, cores: Sequence[Core]) -> tuple[L3Domain, ...]:
    """L3 caches with the CPUs that share them and their size in KiB; a core shares all its caches."""
    found: dict[CpuSet, int | None] = {}
    online = CpuSet.union(core.cpus for core in cores)
    core_of = {cpu: core.cpus for core in cores for cpu in core.cpus}
    for cpu in online:
        folder = f"{_CPU}/cpu{cpu}/cache"
        for index in files.ids(folder, "index"):
            path = f"{folder}/index{index}"
            if files.number(f"{path}/level") == 3:
                cpus = (files.cpus_of(f"{path}/shared_cpu_map", holding=cpu) or core_of[cpu]) & online
                found.setdefault(cpus, _cache_kib(files.text(f"{path}/size")))
    return tuple(L3Domain(cpus=c, size_kib=s) for c, s in sorted(found.items(), key=lambda item: min(item[0].ids)))


def _cache_kib(text: str | None) -> int | None:
    """`size` is written like "16384K" (kernel, drivers/base/cacheinfo.c), in recordings also "33M"; 0 is not told."""
    match = _CACHE_SIZE.fullmatch(text or "")
    return int(match["number"]) * _UNITS_KIB[match["unit"]] or None if match else None


def _by_number(files: HostFiles, cpus: CpuSet, name: str) -> dict[int, CpuSet]:
    found: dict[int, set[int]] = {}
    for cpu in cpus:
        number = files.number(f"{_CPU}/cpu{cpu}/topology/{name}")
        if number is not None and number >= 0:
            found.setdefault(number, set()).add(cpu)
    return {number: CpuSet(frozenset(ids)) for number, ids in found.items()}


def _sibling_sets(files: HostFiles, online: CpuSet, stems: tuple[str, ...]) -> list[CpuSet]:
    """The distinct sets that the CPUs name, each CPU in the first that holds it."""
    sets: list[CpuSet] = []
    seen: set[int] = set()
    for cpu in online:
        if cpu in seen:
            continue
        paths = [f"{_CPU}/cpu{cpu}/topology/{stem}" for stem in stems]
        told = files.cpus_of(*paths, holding=cpu)
        if told is not None:
            cpus = CpuSet((told & online).ids - seen)
            sets.append(cpus)
            seen |= cpus.ids
    return sets


def _node(node_of: Mapping[int, NodeId], cpu: int) -> NodeId | None:
    return node_of.get(cpu)
