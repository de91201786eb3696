"""The tables beside the objects of an hwloc XML: distances, memory attributes, CPU kinds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.errors import SourceMalformedError
from probe.topology import MemoryAccess, NumaNode

_FIGURES = {
    "Bandwidth": ("read_bandwidth_mib_s", "write_bandwidth_mib_s"),
    "ReadBandwidth": ("read_bandwidth_mib_s",),
    "WriteBandwidth": ("write_bandwidth_mib_s",),
    "Latency": ("read_latency_ns", "write_latency_ns"),
    "ReadLatency": ("read_latency_ns",),
    "WriteLatency": ("write_latency_ns",),
}
"""hwloc's memory attributes (MiB/s, ns) as the kernel's HMAT figures."""

_CORE_TYPES = {"IntelAtom": 0, "IntelCore": 1}


def read_distances(root: Element, origin: str, nodes: Sequence[int]) -> dict[int, dict[NodeId, int]]:
    """SLIT distances between NUMA nodes (`nodes`, in the file's order); empty where the file has none.

    Version 1 counts nodes in its own order, version 2 names them, and not always all.
    """
    for table in root.iter("distances2"):
        if table.get("type") == "NUMANode" and _is_latency(table):
            names = _numbers(table, "indexes", origin)
            rows = _rows(_numbers(table, "u64values", origin), names, origin)
            if table.get("indexing", "os") == "os" and set(names) <= set(nodes):
                return rows
    for table in root.iter("distances"):
        latencies = [latency.get("value", "") for latency in table.findall("latency")]
        if len(latencies) == len(nodes) ** 2 and len(nodes) > 1:
            return _rows(_scaled(latencies, table, origin), nodes, origin)
    return {}


def read_access(root: Element, origin: str, nodes: Sequence[NumaNode]) -> Iterator[MemoryAccess]:
    """Bandwidths and latencies that the memory attributes tell, one per initiator and target."""
    targets = {
        each.get("gp_index"): NodeId(int(each.get("os_index", "0")))
        for each in root.iter("object")
        if each.get("type") == "NUMANode" and each.get("os_index", "").isdecimal()
    }
    found: dict[tuple[NodeId, NodeSet], dict[str, int]] = {}
    for attribute in root.iter("memattr"):
        for value in attribute.findall("memattr_value"):
            target = targets.get(value.get("target_obj_gp_index"))
            near = _cpus(value.get("initiator_cpuset"), origin)
            initiators = NodeSet(frozenset(n.node_id for n in nodes if not n.cpus.isdisjoint(near)))
            number = value.get("value", "")
            if target is None or not initiators or not (number.isascii() and number.isdecimal()):
                continue
            for figure in _FIGURES.get(attribute.get("name", ""), ()):
                found.setdefault((target, initiators), {})[figure] = int(number[:18])
    for (target, initiators), figures in found.items():
        yield MemoryAccess(target=target, initiators=initiators, access_class=0, **figures)


def read_efficiency(root: Element, origin: str) -> dict[int, int]:
    """CPU to the rank of its kind, where the file ranks them or names Intel's core types."""
    found: dict[int, int] = {}
    for kind in root.iter("cpukind"):
        text = kind.get("forced_efficiency", "-1")
        core_type = next((i.get("value", "") for i in kind.findall("info") if i.get("name") == "CoreType"), "")
        rank = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else _CORE_TYPES.get(core_type)
        if rank is not None:
            found.update(dict.fromkeys(_cpus(kind.get("cpuset"), origin).ids, rank))
    return found


def _is_latency(table: Element) -> bool:
    """Whether it is the SLIT; 2.0 gave tables no name, only bits (`HWLOC_DISTANCES_KIND_MEANS_LATENCY` is 4)."""
    kind = table.get("kind", "")
    is_latency = not kind.isdecimal() or bool(int(kind[:9]) & 4)
    return table.get("name") == "NUMALatency" or (table.get("name") is None and is_latency)


def _numbers(table: Element, tag: str, origin: str) -> list[int]:
    words = " ".join(each.text or "" for each in table.findall(tag)).split()
    if not all(word.isascii() and word.isdecimal() and len(word) < 20 for word in words):
        raise SourceMalformedError(f"{origin}: {tag}", "numbers", " ".join(words))
    return [int(word) for word in words]


def _rows(values: Sequence[int], names: Sequence[int], origin: str) -> dict[int, dict[NodeId, int]]:
    count = len(names)
    if len(values) != count * count:
        raise SourceMalformedError(f"{origin}: distances", f"{count * count} values", len(values))
    return {row: {NodeId(other): values[i * count + j] for j, other in enumerate(names)} for i, row in enumerate(names)}


def _scaled(latencies: Sequence[str], table: Element, origin: str) -> list[int]:
    """Version 1 writes each latency divided by `latency_base`."""
    try:
        base = float(table.get("latency_base", "1"))
        return [round(float(text) * base) for text in latencies]
    except (ValueError, OverflowError) as error:
        raise SourceMalformedError(f"{origin}: distances", "numbers", " ".join(latencies)) from error


def _cpus(mask: str | None, origin: str) -> CpuSet:
    try:
        return CpuSet.parse_mask(mask or "0x0")
    except ValueError as error:
        raise SourceMalformedError(origin, "a mask", mask) from error
