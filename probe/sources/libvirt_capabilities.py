"""What `virsh capabilities` (`virConnectGetCapabilities`) tells of a host's topology.

Only `<host><topology><cells>` and `<host><cache>` are read. `<cpu><topology sockets=…>` is per node
and contradicts the cells on POWER, and `nodeinfo` says one cell where one node has no CPUs
(TRAPS.md 8): neither is looked at. The format is libvirt's docs/formatcaps and
src/conf/capabilities.c.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from xml.etree.ElementTree import Element

from probe.cpuset import CpuId, CpuSet, NodeId
from probe.errors import SourceMalformedError
from probe.limits import DEFAULT_LIMITS, ReadLimits
from probe.safe_xml import parse_xml
from probe.snapshot import HostSnapshot, HugepagePool, Hypervisor, NodeMemory
from probe.sources.files import read_bytes_file
from probe.sources.libvirt_hmat import memory_access, memory_side_caches
from probe.sources.libvirt_xml import attribute_id, element_size_kib, id_set, number, optional_number, size_kib
from probe.topology import (
    UNREACHABLE_DISTANCE,
    Core,
    CpuGroup,
    Die,
    HostTopology,
    L3Domain,
    NumaNode,
    Package,
    TopologyInvalidError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCapabilities:
    """What a capabilities document tells. `memory` has totals and pools, nothing that is free."""

    topology: HostTopology
    memory: tuple[NodeMemory, ...]
    hypervisor: Hypervisor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cpu:
    """One `<cpu>`; ids are None where the driver tells none (test, Xen of RHEL 5)."""

    cpu_id: CpuId
    node_id: NodeId
    socket: int | None
    die: int | None
    cluster: int | None
    siblings: CpuSet


Key = TypeVar("Key", bound=Hashable)


def parse_capabilities(
    content: str | bytes, *, origin: str, limits: ReadLimits = DEFAULT_LIMITS, source: str = ""
) -> HostCapabilities:
    """Read a `<capabilities>` document. `source` is noted in each `NodeMemory`.

    Raises:
        SourceMalformedError: no such document, one without cells (bhyve and others publish no
            topology), or cells that contradict each other.
    """
    root = parse_xml(content, origin=origin, limits=limits)
    cells = _cells(root, origin)
    hypervisor = _hypervisor(root)
    totals = _totals(cells, hypervisor, origin)
    cpus = [cpu for cell in cells for cpu in _cpus(cell, origin)]
    try:
        topology = _topology(root, cells, cpus, totals, origin)
    except TopologyInvalidError as error:
        raise SourceMalformedError(origin, "cells that fit together", error.message) from error
    memory = (_memory(cell, totals[i], origin, source) for i, cell in enumerate(cells))
    return HostCapabilities(topology=topology, memory=tuple(memory), hypervisor=hypervisor)


def read_capabilities(rest: str, *, limits: ReadLimits, now: datetime, spec: str) -> HostSnapshot:
    """Read `capabilities:FILE`. The document names no host and no guests."""
    content = read_bytes_file(rest, limits=limits)
    told = parse_capabilities(content, origin=rest, limits=limits, source=spec)
    return HostSnapshot(
        hostname="",
        sources=(spec,),
        taken_at=now,
        topology=told.topology,
        memory=told.memory,
        usable_cpus=told.topology.online_cpus,
        hypervisor=told.hypervisor,
    )


def _cells(root: Element, origin: str) -> list[Element]:
    if root.tag != "capabilities":
        advice = "Maybe it is what `virsh domcapabilities` printed; `virsh capabilities` is needed."
        raise SourceMalformedError(origin, "a <capabilities> document", f"<{root.tag}>", advice=advice)
    cells = root.findall("host/topology/cells/cell")
    if not cells:
        advice = (
            "Maybe this driver publishes no topology (bhyve, test with a file): read that host by sysfs: or hwloc:."
        )
        raise SourceMalformedError(origin, "<host><topology> with at least one <cell>", "none", advice=advice)
    return sorted(cells, key=lambda cell: attribute_id(cell, "id", origin=origin))


def _hypervisor(root: Element) -> Hypervisor | None:
    """By the domain types that the host offers; other drivers (vz, hvf, test) make neither kind."""
    types = {domain.get("type") for domain in root.iterfind("guest/arch/domain")}
    if "xen" in types:
        return Hypervisor.XEN
    return Hypervisor.KVM if types & {"kvm", "qemu"} else None


def _totals(cells: Sequence[Element], hypervisor: Hypervisor | None, origin: str) -> list[int | None]:
    """Memory of each cell.

    libvirt leaves `<memory>` out of a cell that has none, and old versions leave it out everywhere:
    None unless some cell has one. On Xen it is the spanned range (TRAPS.md 6): None.
    """
    elements = [cell.find("memory") for cell in cells]
    if hypervisor is Hypervisor.XEN or not any(element is not None for element in elements):
        return [None] * len(cells)
    return [0 if element is None else element_size_kib(element, origin=origin) for element in elements]


def _cpus(cell: Element, origin: str) -> Iterable[_Cpu]:
    """The `<cpu>` elements of a cell; `<cpus num='0'/>` of a memory-only node has none."""
    node_id = NodeId(attribute_id(cell, "id", origin=origin))
    for cpu in cell.iterfind("cpus/cpu"):
        yield _Cpu(
            cpu_id=CpuId(attribute_id(cpu, "id", origin=origin)),
            node_id=node_id,
            socket=optional_number(cpu, "socket_id", origin=origin),
            die=optional_number(cpu, "die_id", origin=origin),
            cluster=optional_number(cpu, "cluster_id", origin=origin),
            siblings=id_set(CpuSet, cpu.get("siblings", ""), origin=origin, what="siblings"),
        )


def _topology(
    root: Element, cells: Sequence[Element], cpus: Sequence[_Cpu], totals: Sequence[int | None], origin: str
) -> HostTopology:
    online = CpuSet(frozenset(cpu.cpu_id for cpu in cpus))
    nodes = tuple(_node(cell, cpus, totals[i], origin) for i, cell in enumerate(cells))
    return HostTopology(
        nodes=nodes,
        online_cpus=online,
        packages=tuple(
            Package(package_id=socket, cpus=of)
            for socket, of in _grouped(cpus, lambda c: c.socket)
            if socket is not None
        ),
        dies=tuple(
            Die(die_id=die, package_id=socket, cpus=of)
            for (socket, die), of in _grouped(cpus, lambda c: (c.socket, c.die))
            if die is not None
        ),
        groups=_clusters(cpus),
        l3=_l3(root, online, origin),
        cores=_cores(cpus, online),
        memory_access=memory_access(root, {n.node_id for n in nodes}, origin),
    )


def _node(cell: Element, cpus: Sequence[_Cpu], total_kib: int | None, origin: str) -> NumaNode:
    node_id = NodeId(attribute_id(cell, "id", origin=origin))
    told = {
        NodeId(attribute_id(sibling, "id", origin=origin)): _distance(sibling, origin)
        for sibling in cell.iterfind("distances/sibling")
    }
    return NumaNode(
        node_id=node_id,
        cpus=CpuSet(frozenset(cpu.cpu_id for cpu in cpus if cpu.node_id == node_id)),
        memory_total_kib=total_kib,
        distances=told or None,
        memory_side_caches=memory_side_caches(cell, origin),
    )


def _distance(sibling: Element, origin: str) -> int:
    """Xen's 2^32-1 for a node without CPUs is "no path" too."""
    value = number(sibling.get("value"), origin=origin, what="<sibling value=…>", largest=2**32)
    return min(value, UNREACHABLE_DISTANCE)


def _grouped(cpus: Sequence[_Cpu], key: Callable[[_Cpu], Key]) -> list[tuple[Key, CpuSet]]:
    """The CPUs by key, sorted by their first CPU."""
    ids: dict[Key, set[int]] = defaultdict(set)
    for cpu in cpus:
        ids[key(cpu)].add(cpu.cpu_id)
    return sorted(((k, CpuSet(frozenset(v))) for k, v in ids.items()), key=lambda item: min(item[1]))


def _clusters(cpus: Sequence[_Cpu]) -> tuple[CpuGroup, ...]:
    """Clusters, where a die has more than one: libvirt writes cluster 0 where the kernel has none."""
    clusters = _grouped(cpus, lambda c: (c.socket, c.die, c.cluster))
    dies = _grouped(cpus, lambda c: (c.socket, c.die))
    if len(clusters) == len(dies):
        return ()
    return tuple(
        CpuGroup(kind="cluster", group_id=cluster, cpus=of) for (_, _, cluster), of in clusters if cluster is not None
    )


def _cores(cpus: Sequence[_Cpu], online: CpuSet) -> tuple[Core, ...]:
    """One core per set of siblings; none where the driver tells no siblings."""
    cores: dict[CpuSet, Core] = {}
    for cpu in cpus:
        siblings = cpu.siblings & online
        if cpu.cpu_id in siblings:
            cores.setdefault(siblings, Core(cpus=siblings, node_id=cpu.node_id, package_id=cpu.socket))
    return tuple(sorted(cores.values(), key=lambda core: min(core.cpus)))


def _l3(root: Element, online: CpuSet, origin: str) -> tuple[L3Domain, ...]:
    """Level 3 banks; libvirt lists some twice, with other ids and the same CPUs."""
    domains: dict[CpuSet, L3Domain] = {}
    for bank in root.iterfind("host/cache/bank[@level='3']"):
        cpus = id_set(CpuSet, bank.get("cpus", ""), origin=origin, what="<bank cpus=…>") & online
        if not cpus or bank.get("type") not in ("both", "data", None):
            continue
        size = bank.get("size")
        kib = None if size is None else size_kib(size, bank.get("unit"), origin=origin, what="<bank size=…>")
        domains.setdefault(cpus, L3Domain(cpus=cpus, size_kib=kib))
    return tuple(sorted(domains.values(), key=lambda domain: min(domain.cpus)))


def _memory(cell: Element, total_kib: int | None, origin: str, source: str) -> NodeMemory:
    """Pools are all page sizes but the smallest, which is the ordinary page (4, 16 or 64 KiB)."""
    counts = {
        size_kib(pages.get("size"), pages.get("unit"), origin=origin, what="<pages size=…>"): number(
            pages.text, origin=origin, what="<pages>"
        )
        for pages in cell.iterfind("pages")
    }
    sizes = sorted(counts)[1:]
    if 0 in counts:
        raise SourceMalformedError(origin, "pages of a size", "0")
    return NodeMemory(
        node_id=NodeId(attribute_id(cell, "id", origin=origin)),
        total_kib=total_kib,
        free_kib=None,
        hugepages=tuple(HugepagePool(size_kib=size, total=counts[size]) for size in sizes),
        source=source,
    )
