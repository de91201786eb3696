"""Which nodes are near a PCI device of a host."""

from __future__ import annotations

from collections.abc import Iterable

from policies.asked import NearDevice, Nearness
from policies.capacity import HostCapacity
from probe.cpuset import CpuSet, NodeId, NodeSet


def near_nodes(device: NearDevice, host: HostCapacity) -> NodeSet | None:
    """The nodes that are as near the device as is asked; None where the host has no such device, or does not tell.

    A host without packages that are known is one package. On a host of one node all is near.
    """
    node_id = _node_of(device, host)
    if node_id is None:
        return None
    if device.near is Nearness.NODE:
        return NodeSet.of(node_id)
    if not host.topology.packages:
        return host.topology.node_ids
    own = host.topology.node(node_id).cpus
    sockets = CpuSet.union(p.cpus for p in host.topology.packages if not p.cpus.isdisjoint(own))
    return host.topology.nodes_of_cpus(sockets) | NodeSet.of(node_id)


def is_near(device: NearDevice, host: HostCapacity, cpu_nodes: Iterable[int]) -> bool:
    """Whether a guest with vCPUs on these nodes is near the device."""
    near = near_nodes(device, host)
    return near is not None and not near.ids.isdisjoint(cpu_nodes)


def wishes_missed(devices: Iterable[NearDevice], host: HostCapacity, cpu_nodes: Iterable[int]) -> int:
    """How many of the devices that a guest should be near it is not near."""
    nodes = frozenset(cpu_nodes)
    return sum(not device.must and not is_near(device, host, nodes) for device in devices)


def why_unknown(device: NearDevice, host: HostCapacity) -> str:
    """Why nothing can be said to be near the device, as a sentence without a full stop; "" where it can."""
    if near_nodes(device, host) is not None:
        return ""
    if any(each.address == device.address for each in host.topology.devices):
        return f"no source tells which node of {host.name} device {device.address} is attached to"
    return f"{host.name} has no device {device.address}"


def _node_of(device: NearDevice, host: HostCapacity) -> NodeId | None:
    for each in host.topology.devices:
        if each.address == device.address and (each.node_id is None or each.node_id in host.topology.node_ids):
            alone = host.topology.nodes[0].node_id if len(host.topology.nodes) == 1 else None
            return alone if each.node_id is None else each.node_id
    return None
