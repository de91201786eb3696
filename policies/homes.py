"""Where the cells of a guest may live on a host, into how many parts it may be split, and how."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from policies.asked import EmulatorPolicy, SmtPolicy
from policies.capacity import HostCapacity
from policies.cores import threads_per_core
from policies.near import is_near, why_unknown
from policies.plan import Reason
from policies.request import AskedMemoryMode, CpuPolicy, GuestRequest, GuestShare
from policies.same import Same
from probe.cpuset import NodeId
from probe.snapshot import Hypervisor
from probe.topology import UNREACHABLE_DISTANCE, HostTopology

MOST_FAR_HOMES = 1024
"""Of a host: as many as 16 CPU-less nodes beside each of 64 nodes with pCPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A node whose pCPUs a guest cell uses, and the node of its memory: the same one, ordinarily.

    Several homes may share a CPU node, or a memory node. No guest has two homes on one CPU node.
    """

    cpu_node: NodeId
    memory_node: NodeId


def homes(host: HostCapacity) -> tuple[Home, ...]:
    """The home that each CPU node of a host has by itself, in node order.

    A node with pCPUs and memory is one. A memory-less node takes its memory from the nearest node
    that has some, by distance, then id; that one may be CPU-less. Xen has no such homes: its
    memory follows the affinity, and goes anywhere when that node has none.
    """
    return _homes(Same(host.topology), host.hypervisor is Hypervisor.XEN)


def homes_for(request: GuestRequest, host: HostCapacity) -> tuple[Home, ...]:
    """Every home that the guest may have on a host: `homes`, and with `far_memory` after each the far ones.

    A far home has the memory of a CPU-less node with a path from and to its CPU node (SLIT below 255), nearest first;
    where these are more than `MOST_FAR_HOMES` on the host, each CPU node has its nearest ones only.
    """
    return far_homes(host) if request.far_memory else homes(host)


def far_homes(host: HostCapacity) -> tuple[Home, ...]:
    """The homes of guests whose memory may be far; `homes` where the host has no CPU-less node with memory."""
    near = homes(host)
    return near if host.hypervisor is Hypervisor.XEN else _far_homes(Same(host.topology), near)


def cpu_nodes_of(request: GuestRequest, host: HostCapacity) -> list[NodeId]:
    """The CPU node of each of `homes_for`."""
    return [home.cpu_node for home in homes_for(request, host)]


@lru_cache(maxsize=10_000)
def _far_homes(topology: Same[HostTopology], near: tuple[Home, ...]) -> tuple[Home, ...]:
    slit = topology.value.distance
    without_cpus = [n.node_id for n in topology.value.nodes if n.memory_total_kib != 0 and not n.cpus]
    most = max(1, MOST_FAR_HOMES // max(1, len(near)))
    found = list[Home]()
    for home in near:
        node = home.cpu_node
        reached = [m for m in without_cpus if max(slit(node, m), slit(m, node)) < UNREACHABLE_DISTANCE]
        reached.sort(key=lambda m: (slit(node, m), m))
        far = (Home(cpu_node=node, memory_node=m) for m in reached if m != home.memory_node)
        found += [home, *itertools.islice(far, most)]
    return tuple(found)


@lru_cache(maxsize=10_000)
def _homes(topology: Same[HostTopology], is_xen: bool) -> tuple[Home, ...]:
    with_memory = [n.node_id for n in topology.value.nodes if n.memory_total_kib != 0]
    found = []
    for node in topology.value.nodes:
        if not node.cpus:
            continue
        if node.node_id in with_memory:
            found.append(Home(cpu_node=node.node_id, memory_node=node.node_id))
        elif with_memory and not is_xen:
            nearest = min(with_memory, key=lambda m: (topology.value.distance(node.node_id, m), m))
            found.append(Home(cpu_node=node.node_id, memory_node=nearest))
    return tuple(found)


def refusal(request: GuestRequest, host: HostCapacity) -> tuple[Reason, str] | None:
    """Why the guest cannot live on this host, however empty it is; None when it could.

    The text is a sentence without a full stop. Sizes are not looked at.
    """
    if request.hosts is not None and host.name not in request.hosts:
        return Reason.HOST, f"{host.name} is not one of its hosts"
    if host.cordoned:
        return Reason.HOST, f"{host.name} is cordoned"
    if not host.schedulable:
        return Reason.HOST, f"{host.name} takes no new guests"
    of_xen = _refusal_of_xen(request, host.name) if host.hypervisor is Hypervisor.XEN else None
    unknown = (why_unknown(device, host) for device in request.devices if device.must)
    of_devices = next(((Reason.DEVICE, why) for why in unknown if why), None)
    return of_xen or _refusal_of_cpus(request, host) or of_devices


def _refusal_of_cpus(request: GuestRequest, host: HostCapacity) -> tuple[Reason, str] | None:
    if request.emulator is EmulatorPolicy.HOUSEKEEPING and not host.housekeeping_cpus:
        return Reason.PCPUS, f"{host.name} has no housekeeping pCPUs for its emulator threads"
    threads = threads_per_core(host.topology) if request.smt is not SmtPolicy.PREFER else 2
    if threads == 0:
        return Reason.UNSUPPORTED, f"no source tells the cores of {host.name}"
    if threads == 1 and request.smt is SmtPolicy.REQUIRE:
        return Reason.UNSUPPORTED, f"{host.name} has no SMT: one thread per core"
    return None


def _refusal_of_xen(request: GuestRequest, host: str) -> tuple[Reason, str] | None:
    if request.cells not in (1, "auto"):
        return Reason.UNSUPPORTED, f"{host} is Xen, where guest NUMA cells are not proven to work"
    if request.page_kib != 4:
        return Reason.UNSUPPORTED, f"{host} is Xen, which has no huge-page pools"
    if request.memory_mode is not AskedMemoryMode.AUTO:
        return Reason.UNSUPPORTED, f"{host} is Xen, where memory follows the affinity in no mode"
    if request.far_memory:
        return Reason.UNSUPPORTED, f"{host} is Xen, where memory follows the affinity, to no node without pCPUs"
    if request.emulator is not EmulatorPolicy.AUTO:
        return Reason.UNSUPPORTED, f"{host} is Xen, where no guest's emulator threads are bound"
    return None


def part_counts(request: GuestRequest, host: HostCapacity) -> range:
    """Over how many host nodes the guest may be split here, ascending; empty where it cannot.

    A number of cells is exactly so many nodes, or as many at most where they may be stacked.
    Each part has a vCPU and memory.
    """
    most = min(len(homes(host)), request.vcpus, request.node_limit or request.vcpus)
    if request.stack_cells and isinstance(request.cells, int):
        has_memory = min(cell.memory_kib for cell in request.shares(request.cells)) > 0
        most = min(most, request.cells) if has_memory else 0
    while most > 1 and min(s.memory_kib for s in split(request, host, most)) < 1:
        most -= 1
    least = request.cells if isinstance(request.cells, int) and not request.stack_cells else 1
    return range(least, most + 1)


def has_cells(request: GuestRequest, host: HostCapacity) -> bool:
    """Whether each part becomes a guest cell of its own; else one cell spans all parts."""
    return request.cells != 1 and host.hypervisor is not Hypervisor.XEN


def split(request: GuestRequest, host: HostCapacity, parts: int) -> tuple[GuestShare, ...]:
    """What each of `parts` host nodes gives, without the overhead; the larger shares come first.

    With guest cells: vCPUs evenly, memory in proportion. One cell that spans nodes: both evenly,
    because interleaved memory (and Xen's round over the affinity's nodes) knows no proportion.
    """
    if parts == 1 or has_cells(request, host):
        return request.shares(parts)
    pages, spare_pages = divmod(request.memory_kib // request.page_kib, parts)
    vcpus, spare_vcpus = divmod(request.vcpus, parts)
    return tuple(
        GuestShare(vcpus=vcpus + (i < spare_vcpus), memory_kib=(pages + (i < spare_pages)) * request.page_kib)
        for i in range(parts)
    )


def has_own_pcpus(request: GuestRequest) -> bool:
    """Whether any of its vCPUs owns a pCPU."""
    return request.cpus is not CpuPolicy.SHARED


def has_shared_pcpus(request: GuestRequest) -> bool:
    """Whether any of its vCPUs floats."""
    return request.cpus is not CpuPolicy.DEDICATED


def cores_of(request: GuestRequest, host: HostCapacity, own: int) -> int:
    """Whole cores that so many vCPUs with an own pCPU take on one node; 0 where any pCPUs do."""
    if request.smt is SmtPolicy.ISOLATE:
        return own
    return -(-own // threads_per_core(host.topology)) if request.smt is SmtPolicy.REQUIRE else 0


def pcpus_of_part(request: GuestRequest, host: HostCapacity, own: int, *, is_first: bool) -> int:
    """pCPUs that become the guest's where so many of its vCPUs on one node own one; its first cell is on the first."""
    cores = cores_of(request, host, own)
    of_emulator = int(is_first and request.emulator is EmulatorPolicy.OWN)
    return (cores * threads_per_core(host.topology) if cores else own) + of_emulator


def is_complete(request: GuestRequest, host: HostCapacity, way: Sequence[Home]) -> bool:
    """Whether these homes together have what one of them at least must have."""
    if not is_bound_to_places(request):
        return True
    nodes = {home.cpu_node for home in way}
    kept = host.topology.nodes_of_cpus(host.housekeeping_cpus)
    if request.emulator is EmulatorPolicy.HOUSEKEEPING and kept.ids.isdisjoint(nodes):
        return False
    return all(is_near(device, host, nodes) for device in request.devices if device.must)


def is_bound_to_places(request: GuestRequest) -> bool:
    """Whether one of its homes must have something that not all have: `is_complete` tells."""
    return request.emulator is EmulatorPolicy.HOUSEKEEPING or any(device.must for device in request.devices)
