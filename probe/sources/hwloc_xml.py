"""What `lstopo FILE.xml` wrote: hwloc XML, versions 1, 2 and 3.

Source: hwloc 2.9 documentation, "Importing and exporting topologies from/to XML files", and the
files themselves. Version 1 has Socket and Node where 2 has Package and NUMANode, puts children
below NUMA nodes, and writes latencies relative to a base. hwloc gives a memory-only node the CPUs
that it is near to; here a CPU belongs to the smallest node that lists it, then the lowest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.etree.ElementTree import Element

from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.errors import SourceMalformedError
from probe.limits import ReadLimits
from probe.safe_xml import HWLOC_DOCTYPES, parse_xml
from probe.snapshot import HostSnapshot, HugepagePool, NodeMemory
from probe.sources.files import read_text_file
from probe.sources.hwloc_tables import read_access, read_distances, read_efficiency
from probe.topology import Core, CpuGroup, Die, HostTopology, L3Domain, NumaNode, Package, PciDevice

_NODE_TYPES = frozenset({"NUMANode", "Node"})
_PACKAGE_TYPES = frozenset({"Package", "Socket"})
_GROUP_KINDS = {"Cluster": "cluster", "Book": "book", "Drawer": "drawer"}
_PCI_CLASS = re.compile(r"([0-9a-fA-F]{4})\b")


@dataclass(frozen=True, slots=True)
class HwlocFile:
    """The objects of a file, with what each inherits from those around it."""

    root: Element
    origin: str

    @property
    def machine(self) -> Element:
        found = self.root.find("object")
        if self.root.tag != "topology" or found is None:
            raise SourceMalformedError(self.origin, "a <topology> with an <object>", f"<{self.root.tag}>")
        return found

    def objects(self, types: frozenset[str]) -> Iterator[Element]:
        return (each for each in self.root.iter("object") if each.get("type") in types)

    def number(self, element: Element, name: str) -> int | None:
        """A whole number of an attribute; None where it is absent."""
        text = element.get(name)
        if text is None:
            return None
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) < 20):
            raise SourceMalformedError(f"{self.origin}: {element.get('type')} {name}", "a number", text)
        return int(text)

    def cpus(self, element: Element, name: str = "cpuset") -> CpuSet:
        """A mask attribute as CPUs; empty where it is absent."""
        text = element.get(name) or "0x0"
        try:
            return CpuSet.parse_mask(text)
        except ValueError as error:
            raise SourceMalformedError(f"{self.origin}: {element.get('type')} {name}", "a mask", text) from error


def read_hwloc(rest: str, *, limits: ReadLimits, now: datetime, spec: str) -> HostSnapshot:
    """Read `hwloc:FILE.xml`. Raises `SourceUnreadableError`, `SourceMalformedError`."""
    text = read_text_file(Path(rest), limits=limits)
    root = parse_xml(text, origin=rest, limits=limits, allow_doctype=HWLOC_DOCTYPES)
    return snapshot_of(HwlocFile(root, rest), now=now, spec=spec)


def snapshot_of(file: HwlocFile, *, now: datetime, spec: str) -> HostSnapshot:
    """The host of a parsed file."""
    machine = file.machine
    online = CpuSet(
        frozenset(i for pu in file.objects(frozenset({"PU"})) if (i := file.number(pu, "os_index")) is not None)
    )
    nodes = _nodes(file, online)
    packages = tuple(
        Package(package_id=_id(file, each, i), cpus=file.cpus(each) & online)
        for i, each in enumerate(file.objects(_PACKAGE_TYPES))
    )
    topology = HostTopology(
        nodes=nodes,
        online_cpus=online,
        offline_cpus=(file.cpus(machine, "complete_cpuset") - online),
        packages=tuple(sorted(packages, key=lambda package: package.package_id)),
        dies=tuple(_dies(file, online)),
        groups=tuple(_groups(file, online)),
        l3=tuple(_l3(file, online)),
        cores=_cores(file, online, nodes, packages),
        devices=_devices(file, {node.node_id for node in nodes}),
        memory_access=tuple(read_access(file.root, file.origin, nodes)),
    )
    allowed = file.cpus(machine, "allowed_cpuset") & online if machine.get("allowed_cpuset") else online
    hostname = next((info.get("value", "") for info in file.root.iter("info") if info.get("name") == "HostName"), "")
    return HostSnapshot(
        hostname=hostname,
        sources=(spec,),
        taken_at=now,
        topology=topology,
        memory=tuple(_memory(file, node, spec) for node in nodes),
        usable_cpus=allowed or online,
    )


def _nodes(file: HwlocFile, online: CpuSet) -> tuple[NumaNode, ...]:
    """NUMA nodes by their id; without any the machine is one."""
    found = {_id(file, each, i): each for i, each in enumerate(file.objects(_NODE_TYPES))}
    if not found:
        total = _bytes_to_kib(file.number(file.machine, "local_memory"))
        return (NumaNode(node_id=NodeId(0), cpus=online, memory_total_kib=total),)
    near = {node: file.cpus(each) & online for node, each in found.items()}
    home: dict[int, int] = {}
    for node in sorted(near, key=lambda n: (len(near[n]), n), reverse=True):
        home.update(dict.fromkeys(near[node].ids, node))
    distances = read_distances(file.root, file.origin, list(found))
    return tuple(
        NumaNode(
            node_id=NodeId(node),
            cpus=CpuSet(frozenset(cpu for cpu, at in home.items() if at == node)),
            memory_total_kib=_bytes_to_kib(file.number(found[node], "local_memory")),
            distances=distances.get(node),
        )
        for node in sorted(found)
    )


def _memory(file: HwlocFile, node: NumaNode, spec: str) -> NodeMemory:
    """hwloc tells totals: nothing of what is free. The smallest pages are the base pages (4 or 64 KiB)."""
    objects = {_id(file, each, i): each for i, each in enumerate(file.objects(_NODE_TYPES))}
    element = objects.get(int(node.node_id), file.machine)
    pages = element.findall("page_type")
    told = {size: file.number(page, "count") for page in pages if (size := file.number(page, "size"))}
    pools = tuple(
        HugepagePool(size_kib=size // 1024, total=count)
        for size, count in sorted(told.items())
        if count is not None and size > min(told)
    )
    return NodeMemory(
        node_id=node.node_id, total_kib=node.memory_total_kib, free_kib=None, hugepages=pools, source=spec
    )


def _cores(
    file: HwlocFile, online: CpuSet, nodes: tuple[NumaNode, ...], packages: tuple[Package, ...]
) -> tuple[Core, ...]:
    """Core objects; a PU outside of any (no cores known) is a core of its own."""
    sets: list[CpuSet] = []
    seen: set[int] = set()
    for each in file.objects(frozenset({"Core"})):
        cpus = CpuSet((file.cpus(each) & online).ids - seen)
        seen |= cpus.ids
        sets += [cpus] if cpus else []
    sets += [CpuSet.of(cpu) for cpu in online if cpu not in seen]
    node_of = {cpu: node.node_id for node in nodes for cpu in node.cpus}
    package_of = {cpu: package.package_id for package in packages for cpu in package.cpus}
    efficiency = read_efficiency(file.root, file.origin)
    return tuple(
        Core(
            cpus=cpus,
            node_id=node_of.get(min(cpus.ids)),
            package_id=package_of.get(min(cpus.ids)),
            efficiency=efficiency.get(min(cpus.ids)),
        )
        for cpus in sorted(sets, key=lambda each: min(each.ids))
    )


def _l3(file: HwlocFile, online: CpuSet) -> Iterator[L3Domain]:
    for each in file.root.iter("object"):
        is_l3 = each.get("type") == "L3Cache" or (each.get("type") == "Cache" and each.get("depth") == "3")
        cpus = file.cpus(each) & online if is_l3 else CpuSet()
        if cpus:
            yield L3Domain(cpus=cpus, size_kib=_bytes_to_kib(file.number(each, "cache_size") or None))


def _dies(file: HwlocFile, online: CpuSet) -> Iterator[Die]:
    for package in file.objects(_PACKAGE_TYPES):
        for i, die in enumerate(each for each in package.iter("object") if each.get("type") == "Die"):
            package_id = file.number(package, "os_index")
            yield Die(die_id=_id(file, die, i), package_id=package_id, cpus=file.cpus(die) & online)


def _groups(file: HwlocFile, online: CpuSet) -> Iterator[CpuGroup]:
    counts: dict[str, int] = {}
    for each in file.objects(frozenset({"Group"})):
        kind = _GROUP_KINDS.get(each.get("subtype", ""))
        if kind is not None:
            counts[kind] = counts.get(kind, -1) + 1
            yield CpuGroup(kind=kind, group_id=counts[kind], cpus=file.cpus(each) & online)


def _devices(file: HwlocFile, nodes: set[NodeId]) -> tuple[PciDevice, ...]:
    """By address; of two at one address (a file that somebody edited) the first."""
    found: dict[str, PciDevice] = {}
    for device in _devices_below(file.machine, nodes, None):
        found.setdefault(device.address, device)
    return tuple(found[address] for address in sorted(found))


def _devices_below(element: Element, nodes: set[NodeId], home: NodeId | None) -> Iterator[PciDevice]:
    """PCI devices with the node of the object that they hang below, where that is a single one."""
    near = NodeSet.parse_mask(element.get("nodeset", "0x0")) if element.get("nodeset") else None
    if near is not None:
        home = NodeId(min(near.ids)) if len(near) == 1 and min(near.ids) in nodes else None
    if element.get("type") == "PCIDev" and element.get("pci_busid"):
        match = _PCI_CLASS.match(element.get("pci_type", ""))
        code = f"0x{match[1].lower()}" if match else None
        yield PciDevice(address=element.get("pci_busid", ""), node_id=home, class_code=code)
    for child in element.findall("object"):
        yield from _devices_below(child, nodes, home)


def _id(file: HwlocFile, element: Element, position: int) -> int:
    """The kernel's index; where the file has none (or -1), the object's position."""
    number = file.number(element, "os_index")
    return position if number is None or not 0 <= number < 2**31 else number


def _bytes_to_kib(number: int | None) -> int | None:
    return None if number is None else number // 1024
