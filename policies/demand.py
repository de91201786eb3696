"""What a placement takes from the nodes of its host, as numbers and pCPUs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from policies.capacity import HostCapacity
from policies.errors import DoesNotFitError
from policies.plan import PlacedCell, Placement
from probe.cpuset import CpuSet


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDemand:
    """What one node gives.

    Attributes:
        cpus: pCPUs that become the guest's own.
        shared_vcpus: number of shared vCPUs that float here.
        memory_kib: page size to KiB, the overhead included.
    """

    cpus: frozenset[int]
    shared_vcpus: int
    memory_kib: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a host gives: node by node, and from nowhere in particular (unpinned)."""

    nodes: Mapping[int, NodeDemand]
    loose_vcpus: int
    loose_memory_kib: Mapping[int, int]


def demand_of(placement: Placement, host: HostCapacity) -> Demand:
    """Add up what the placement takes.

    Raises:
        DoesNotFitError: it names a node that the host has not, or a pCPU that is on no node or
            for nobody, or pins one shared vCPU to pCPUs of several nodes.
    """
    node_of_cpu = _nodes_of_cpus(placement, host)
    cpus: dict[int, set[int]] = defaultdict(set)
    shared: Counter[int] = Counter()
    for cell in placement.cells:
        for vcpu, node_id in _nodes_of_vcpus(placement, cell, node_of_cpu).items():
            if vcpu in placement.dedicated_vcpus:
                _own_one(placement, vcpu, cell.pins[vcpu].ids, cpus[node_id])
            else:
                shared[node_id] += 1
    for cpu in sorted(placement.booked_cpus):
        if cpu not in node_of_cpu or cpu in cpus[node_of_cpu[cpu]]:
            raise DoesNotFitError(f"guest {placement.guest}: pCPU {cpu} cannot be booked beside its vCPUs.")
        cpus[node_of_cpu[cpu]].add(cpu)
    memory = memory_taken(placement)
    loose = memory.pop(None, Counter())
    if stray := {*memory} - {n.node_id for n in host.nodes}:
        raise DoesNotFitError(f"guest {placement.guest}: host {host.name} has no node {min(stray, key=str)}.")
    return Demand(
        nodes={
            n: NodeDemand(cpus=frozenset(cpus[n]), shared_vcpus=shared[n], memory_kib=dict(memory.get(n, {})))
            for n in sorted({*cpus, *shared, *(m for m in memory if m is not None)})
        },
        loose_vcpus=sum(len(c.vcpus) for c in placement.cells if c.cpus is None),
        loose_memory_kib=dict(loose),
    )


def _nodes_of_cpus(placement: Placement, host: HostCapacity) -> dict[int, int]:
    """The node of each pCPU for guests, on nodes that have one of the guest's."""
    pinned = CpuSet.union(pin for cell in placement.cells for pin in cell.pins.values())
    owned = ((node.node_id, node.free_cpus, node.shared_cpus) for node in host.nodes)
    near = (o for o in owned if not (o[1].isdisjoint(pinned) and o[2].isdisjoint(pinned)))
    return {cpu: node_id for node_id, free, shared in near for cpu in (free | shared).ids}


def _own_one(placement: Placement, vcpu: int, pin: frozenset[int], owned: set[int]) -> None:
    if len(pin) != 1 or pin & owned:
        raise DoesNotFitError(f"guest {placement.guest}: vCPU {vcpu} has no pCPU of its own.")
    owned |= pin


def memory_taken(placement: Placement) -> dict[int | None, Counter[int]]:
    """Node to page size to KiB, the overhead included; None is no node in particular."""
    memory: dict[int | None, Counter[int]] = defaultdict(Counter)
    for cell in placement.cells:
        for share in cell.memory:
            memory[share.node_id][share.page_kib] += share.kib
    if placement.overhead_kib:
        memory[placement.cells[0].memory[0].node_id][4] += placement.overhead_kib
    return memory


def _nodes_of_vcpus(placement: Placement, cell: PlacedCell, node_of_cpu: Mapping[int, int]) -> dict[int, int]:
    if cell.cpus is None:
        return {}
    nodes: dict[int, int] = {}
    looked: tuple[CpuSet, int] | None = None
    for vcpu, pin in cell.pins.items():
        if looked is None or pin is not looked[0]:  # what floats together has one and the same pin
            looked = pin, _node_of_pin(placement, vcpu, pin, node_of_cpu)
        nodes[vcpu] = looked[1]
    return nodes


def _node_of_pin(placement: Placement, vcpu: int, pin: CpuSet, node_of_cpu: Mapping[int, int]) -> int:
    found = {node_of_cpu.get(cpu) for cpu in pin.ids}
    only = next(iter(found), None)
    if None in found:
        gone = CpuSet(frozenset(cpu for cpu in pin.ids if cpu not in node_of_cpu))
        raise DoesNotFitError(f"guest {placement.guest}: vCPU {vcpu} has pCPUs {gone}, which are no guest's there.")
    if len(found) != 1 or only is None:
        raise DoesNotFitError(f"guest {placement.guest}: vCPU {vcpu} has pCPUs {pin}, not of one node.")
    return only
