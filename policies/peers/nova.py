"""OpenStack Nova: the NUMA fit of its compute hosts, and its default weighers for the host.

Source: nova, `nova/virt/hardware.py` (`numa_fit_instance_to_host`, `_numa_fit_instance_cell`) and
`doc/source/admin/cpu-topologies.rst`; `nova/scheduler/weights/{ram,cpu}.py`. Facts kept:

* A guest has the cells that it asks for ("auto" is one); each needs a host node of its own.
* Where the guest has fewer cells than the host has nodes, the nodes are sorted by free memory, then
  (a stable sort, so this one counts more) by free dedicated pCPUs or used shared ones: the emptiest
  first, or, with `packing_host_numa_cells_allocation_strategy`, the fullest. No distance, no L3.
* Then, more than by both, by the PCI devices that a node offers: those with most first for a guest that asks for
  devices, those with fewest first for any other, whatever the strategy ("always spread").
* Then all permutations of the nodes, in this order; the first that fits is taken.
* No guest cell has more vCPUs than its node has pCPUs. The hypervisor's own memory is not counted.
* Of the hosts that fit, the one with the largest sum of free memory and free vCPUs, each scaled to
  0 … 1 over these hosts. Both weighers spread, whatever the strategy for nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from policies.asked import own_vcpus
from policies.homes import has_own_pcpus, refusal
from policies.peers.peer import Bound, Choice, Choose, Offer, Refused, peer
from policies.peers.seen import SeenHost
from policies.plan import Reason
from policies.policy import Policy
from policies.request import GuestRequest, GuestShare
from probe.cpuset import NodeId
from probe.topology import PciDevice


def _choose_by(*, pack: bool) -> Choose:
    def choose(request: GuestRequest, host: SeenHost) -> Choice:
        cells = request.shares(request.cells if isinstance(request.cells, int) else 1)
        if refused := refusal(request, host.capacity):
            return Refused(reason=refused[0], detail=refused[1])
        nodes = host.nodes if len(host.nodes) == len(cells) else _sorted(request, host, pack=pack)
        found = _first_permutation(request, host, nodes, cells)
        if found is None:
            return Refused(reason=Reason.CONTENTION, detail="no permutation of its nodes holds the guest's cells")
        vcpus = tuple((node, cell.vcpus) for node, cell in zip(found, cells, strict=True))
        memory = tuple((node, cell.memory_kib) for node, cell in zip(found, cells, strict=True))
        return Bound(vcpus=vcpus, memory_kib=memory)

    return choose


def _sorted(request: GuestRequest, host: SeenHost, *, pack: bool) -> list[NodeId]:
    """Python's own stable sort with `reverse`, which keeps the order of equals, as nova uses it."""
    nodes = sorted(host.nodes, key=lambda node: host.free_kib[4][node], reverse=not pack)
    if has_own_pcpus(request):
        nodes = sorted(nodes, key=lambda node: len(host.free_cpus[node]), reverse=not pack)
    else:
        nodes = sorted(nodes, key=lambda node: host.vcpus[node], reverse=pack)
    devices = Counter(d.node_id for d in host.capacity.topology.devices if _is_offered(d))
    return sorted(nodes, key=lambda node: devices[node], reverse=bool(request.devices))


def _is_offered(device: PciDevice) -> bool:
    """Whether it would stand in `[pci] device_spec`: network, display, accelerator (PCI classes 0x02, 0x03, 0x12)."""
    return (device.class_code or "")[:4] in ("0x02", "0x03", "0x12")


def _first_permutation(
    request: GuestRequest, host: SeenHost, nodes: Sequence[NodeId], cells: Sequence[GuestShare]
) -> tuple[NodeId, ...] | None:
    """The first of `itertools.permutations` that fits, without walking those that begin alike."""
    needs = [*_needs(request, cells)]

    def extended(chosen: tuple[NodeId, ...]) -> tuple[NodeId, ...] | None:
        if len(chosen) == len(cells):
            return chosen
        for node in nodes:
            if node not in chosen and _cell_fits(request, host, node, needs[len(chosen)]):
                found = extended((*chosen, node))
                if found is not None:
                    return found
        return None

    able = [sum(_cell_fits(request, host, node, cell) for node in nodes) for cell in needs]
    return None if any(count <= i for i, count in enumerate(able)) else extended(())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Need:
    """What a guest cell wants of its node: vCPUs that own a pCPU, vCPUs that float, memory."""

    own: int
    floating: int
    memory_kib: int


def _needs(request: GuestRequest, cells: Sequence[GuestShare]) -> Iterator[_Need]:
    owners, first = own_vcpus(request).ids, 0
    for cell in cells:
        own = len(owners.intersection(range(first, first + cell.vcpus)))
        yield _Need(own=own, floating=cell.vcpus - own, memory_kib=cell.memory_kib)
        first += cell.vcpus


def _cell_fits(request: GuestRequest, host: SeenHost, node: NodeId, cell: _Need) -> bool:
    if cell.memory_kib > host.free_kib.get(request.page_kib, {}).get(node, 0):
        return False
    if cell.own > len(host.free_cpus[node]):
        return False
    lost = cell.own - len(host.free_cpus[node] - host.shared_cpus(node))
    shared = len(host.shared_cpus(node)) - max(0, lost)
    vcpus = host.vcpus[node] + cell.floating
    return not cell.floating or (cell.floating <= shared and vcpus <= host.capacity.overcommit * shared)


def _weighed(choose: Choose) -> Offer:
    def offer(request: GuestRequest, hosts: Sequence[SeenHost]) -> Iterable[SeenHost]:
        fitting = [host for host in hosts if isinstance(choose(request, host), Bound)]
        memory = _scaled([host.total_free_kib(4) for host in fitting])
        vcpus = _scaled([host.vcpu_room() for host in fitting])
        order = sorted(range(len(fitting)), key=lambda i: -(memory[i] + vcpus[i]))
        return [fitting[i] for i in order] or hosts

    return offer


def _scaled(weights: Sequence[int]) -> list[float]:
    """`nova.weights.normalize`: the least is 0, the most 1; all alike are 0."""
    low, high = min(weights, default=0), max(weights, default=0)
    return [(weight - low) / (high - low) if high > low else 0.0 for weight in weights]


def _nova(*, pack: bool) -> Policy:
    choose = _choose_by(pack=pack)
    return peer(choose, offer=_weighed(choose))


nova_pack = _nova(pack=True)
"""With `packing_host_numa_cells_allocation_strategy = True`."""
nova_spread = _nova(pack=False)
"""With nova's own default, False since Zed."""
