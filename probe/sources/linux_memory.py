"""NUMA nodes and their memory, from `/sys/devices/system/node` and, without it, `/proc/meminfo`.

Sources: kernel Documentation/ABI/stable/sysfs-devices-node, Documentation/admin-guide/mm/numaperf.rst
(HMAT), Documentation/admin-guide/mm/hugetlbpage.rst. "kB" in these files is KiB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.errors import SourceMalformedError
from probe.snapshot import HugepagePool, NodeMemory
from probe.sources.linux_files import SYSTEM, HostFiles
from probe.topology import MemoryAccess, MemorySideCache, MemoryTier, NumaNode

_NODE = f"{SYSTEM}/node"
_TIERS = "sys/devices/virtual/memory_tiering"
_MEMINFO = re.compile(r"^(?:Node \d+ )?(?P<key>\w+(?:\(\w+\))?):\s+(?P<kib>\d{1,18})\b", re.MULTILINE)
_POOL = re.compile(r"hugepages-(\d{1,12})kB", re.ASCII)


def read_nodes(files: HostFiles, online: CpuSet) -> tuple[NumaNode, ...]:
    """Every online node; a machine without a `node` folder is one node with all CPUs."""
    ids = _node_ids(files)
    if not ids:
        memory = _meminfo(files, "proc/meminfo").get("MemTotal")
        return (NumaNode(node_id=NodeId(0), cpus=online, memory_total_kib=memory),)
    return tuple(
        NumaNode(
            node_id=NodeId(node),
            cpus=_cpus_of(files, node) & online,
            memory_total_kib=_meminfo(files, f"{_NODE}/node{node}/meminfo").get("MemTotal"),
            distances=_distances(files, node, ids),
            memory_side_caches=tuple(_side_caches(files, node)),
        )
        for node in ids
    )


def read_memory(files: HostFiles, nodes: tuple[NumaNode, ...], source: str) -> tuple[NodeMemory, ...]:
    """What is free on each node, and its huge pages."""
    flat = not _node_ids(files)
    found = []
    for node in nodes:
        values = _meminfo(files, "proc/meminfo" if flat else f"{_NODE}/node{node.node_id}/meminfo")
        pools = "sys/kernel/mm/hugepages" if flat else f"{_NODE}/node{node.node_id}/hugepages"
        found.append(
            NodeMemory(
                node_id=node.node_id,
                total_kib=values.get("MemTotal"),
                free_kib=values.get("MemFree"),
                reclaimable_kib=_reclaimable(values),
                hugepages=tuple(_pools(files, pools)),
                source=source,
            )
        )
    return tuple(found)


def read_access(files: HostFiles, nodes: tuple[NumaNode, ...]) -> tuple[MemoryAccess, ...]:
    """HMAT figures: `access0` for initiators of any kind, `access1` for CPUs."""
    known = {node.node_id for node in nodes}
    found = []
    for node in nodes:
        for access in files.ids(f"{_NODE}/node{node.node_id}", "access"):
            folder = f"{_NODE}/node{node.node_id}/access{access}/initiators"
            initiators = NodeSet(frozenset(files.ids(folder, "node")) & known)
            figures = {
                f"{way}_{what}_{unit}": files.number(f"{folder}/{way}_{what}") or None
                for way in ("read", "write")
                for what, unit in (("bandwidth", "mib_s"), ("latency", "ns"))
            }
            if initiators and any(figures.values()):
                found.append(MemoryAccess(target=node.node_id, initiators=initiators, access_class=access, **figures))
    return tuple(found)


def read_tiers(files: HostFiles) -> tuple[MemoryTier, ...]:
    """Memory tiers (kernel 6.1 and newer)."""
    tiers = []
    for tier in files.ids(_TIERS, "memory_tier"):
        nodes = files.nodes(f"{_TIERS}/memory_tier{tier}/nodelist")
        if nodes:
            tiers.append(MemoryTier(tier_id=tier, nodes=nodes))
    return tuple(tiers)


def _node_ids(files: HostFiles) -> list[int]:
    ids = files.ids(_NODE, "node")
    online = files.nodes(f"{_NODE}/online")
    return [node for node in ids if online is None or node in online]


def _cpus_of(files: HostFiles, node: int) -> CpuSet:
    """`cpulist`, else `cpumap`, else the links `cpu<N>` in the node's folder (old kernels)."""
    folder = f"{_NODE}/node{node}"
    return files.cpus_of(f"{folder}/cpumap") or CpuSet(frozenset(files.ids(folder, "cpu")))


def _distances(files: HostFiles, node: int, ids: list[int]) -> dict[NodeId, int] | None:
    """One number for each online node, in order (kernel, node_read_distance)."""
    path = f"{_NODE}/node{node}/distance"
    text = files.text(path)
    if not text:
        return None
    numbers = text.split()
    if len(numbers) != len(ids) or not all(n.isascii() and n.isdecimal() and len(n) < 6 for n in numbers):
        raise SourceMalformedError(files.origin(path), f"{len(ids)} numbers", text)
    return {NodeId(other): int(n) for other, n in zip(ids, numbers, strict=True)}


def _side_caches(files: HostFiles, node: int) -> Iterator[MemorySideCache]:
    folder = f"{_NODE}/node{node}/memory_side_cache"
    for level in files.ids(folder, "index"):
        size = files.number(f"{folder}/index{level}/size")
        line = files.number(f"{folder}/index{level}/line_size")
        yield MemorySideCache(level=level, size_kib=size // 1024 if size else None, line_size_bytes=line)


def _pools(files: HostFiles, folder: str) -> Iterator[HugepagePool]:
    sizes = sorted(int(m[1]) for name in files.names(folder) if (m := _POOL.fullmatch(name)) and int(m[1]))
    for size in sizes:
        path = f"{folder}/hugepages-{size}kB"
        total = files.number(f"{path}/nr_hugepages")
        if total is not None:
            yield HugepagePool(
                size_kib=size,
                total=total,
                free=files.number(f"{path}/free_hugepages"),
                surplus=files.number(f"{path}/surplus_hugepages"),
            )


def _reclaimable(values: dict[str, int]) -> int | None:
    """Page cache that is neither shared memory nor to be written first, and reclaimable slab."""
    pages = values.get("FilePages", values.get("Cached"))
    if pages is None:
        return None
    busy = sum(values.get(key, 0) for key in ("Shmem", "Dirty", "Writeback"))
    return max(0, pages - busy) + values.get("SReclaimable", 0)


def _meminfo(files: HostFiles, path: str) -> dict[str, int]:
    """Key to KiB; empty where there is no such file. Raises `SourceMalformedError` without MemTotal."""
    text = files.text(path)
    if not text:
        return {}
    values = {match["key"]: int(match["kib"]) for match in _MEMINFO.finditer(text)}
    if "MemTotal" not in values:
        raise SourceMalformedError(files.origin(path), "a 'MemTotal' line", text)
    return values
