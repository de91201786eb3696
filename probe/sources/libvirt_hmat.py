"""What libvirt passes on of the HMAT: memory-side caches and interconnects (capabilities XML).

The same figures as `/sys/devices/system/node/node<N>/access0/initiators` (libvirt,
src/conf/capabilities.c; kernel, admin-guide/mm/numaperf): bandwidth in KiB/s there (the kernel's
MiB/s × 1024), latency in ns. The kernel has one set of figures per target, which libvirt repeats for
each of its initiators; they are brought together again here.
"""

from __future__ import annotations

from collections import defaultdict
from xml.etree.ElementTree import Element

from probe.cpuset import NodeId, NodeSet
from probe.sources.libvirt_xml import attribute_id, number, size_kib
from probe.topology import MemoryAccess, MemorySideCache

_Figures = dict[tuple[str, str], int]
"""(("latency" or "bandwidth"), ("read" or "write")) to its value in ns or MiB/s."""


def memory_side_caches(cell: Element, origin: str) -> tuple[MemorySideCache, ...]:
    """The caches in front of a cell's memory, by level."""
    caches = []
    for cache in cell.iterfind("cache"):
        size, line = cache.find("size"), cache.find("line")
        caches.append(
            MemorySideCache(
                level=attribute_id(cache, "level", origin=origin),
                size_kib=None if size is None else _value_kib(size, origin),
                line_size_bytes=None
                if line is None
                else number(line.get("value"), origin=origin, what="<line value=…>", largest=2**20),
            )
        )
    return tuple(sorted(caches, key=lambda cache: cache.level))


def memory_access(root: Element, known: set[NodeId], origin: str) -> tuple[MemoryAccess, ...]:
    """Latency and bandwidth from initiators to targets among the `known` nodes.

    Rows about a memory-side cache (`cache=…`) are left out: they are not about the memory.
    """
    links: dict[tuple[NodeId, NodeId], _Figures] = defaultdict(dict)
    for kind in ("latency", "bandwidth"):
        for row in root.iterfind(f"host/topology/interconnects/{kind}"):
            if row.get("cache") is not None:
                continue
            link = (
                NodeId(attribute_id(row, "target", origin=origin)),
                NodeId(attribute_id(row, "initiator", origin=origin)),
            )
            # "access" stands for read and write that are alike (ACPI 6.2, 5.2.27.4).
            ways = ("read", "write") if row.get("type") == "access" else (row.get("type", ""),)
            if set(link) <= known:
                links[link].update({(kind, way): _figure(kind, row, origin) for way in ways})
    return tuple(sorted(_merged(links), key=lambda a: (a.target, min(a.initiators))))


def _merged(links: dict[tuple[NodeId, NodeId], _Figures]) -> list[MemoryAccess]:
    alike: dict[tuple[NodeId, frozenset[tuple[tuple[str, str], int]]], set[int]] = defaultdict(set)
    for (target, initiator), figures in links.items():
        alike[target, frozenset(figures.items())].add(initiator)
    return [
        MemoryAccess(
            target=target,
            initiators=NodeSet(frozenset(initiators)),
            access_class=0,
            read_bandwidth_mib_s=(told := dict(figures)).get(("bandwidth", "read")),
            write_bandwidth_mib_s=told.get(("bandwidth", "write")),
            read_latency_ns=told.get(("latency", "read")),
            write_latency_ns=told.get(("latency", "write")),
        )
        for (target, figures), initiators in alike.items()
    ]


def _figure(kind: str, row: Element, origin: str) -> int:
    if kind == "latency":
        return number(row.get("value"), origin=origin, what="<latency value=…>")
    return size_kib(row.get("value"), row.get("unit"), origin=origin, what="<bandwidth value=…>") // 1024


def _value_kib(element: Element, origin: str) -> int:
    return size_kib(element.get("value"), element.get("unit"), origin=origin, what=f"<{element.tag} value=…>")
