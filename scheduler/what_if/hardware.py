"""Memory that is added: to a node, or as a node of its own without pCPUs (CXL). Everybody stays where they are."""

from __future__ import annotations

from dataclasses import replace

from policies.homes import homes
from probe.cpuset import CpuSet, NodeId
from probe.snapshot import NodeMemory
from probe.topology import LOCAL_DISTANCE, HostTopology, NumaNode
from scheduler.planning import HostView
from scheduler.what_if.change import AddCxl, AddMemory, ChangeInvalidError
from scheduler.what_if.supposed import Supposed


def with_more_memory(supposed: Supposed, change: AddMemory) -> Supposed:
    """The node with more memory in 4 KiB pages, all of it free.

    Raises:
        ChangeInvalidError: there is no such node, or no source tells how much it has.
    """
    view = supposed.view(change.host, change)
    memory = supposed.node_of(view, change.node, change)
    node = view.snapshot.topology.node(change.node)
    if (memory.free_kib, memory.total_kib, node.memory_total_kib) == (None, None, None):
        raise ChangeInvalidError(
            f"--what-if {change}: no source tells how much memory node {change.node} of {change.host} has.",
            advice="Maybe add the hypervisor's own source to the host.",
        )
    more = replace(memory, total_kib=_sum(memory.total_kib, change.kib), free_kib=_sum(memory.free_kib, change.kib))
    larger = replace(node, memory_total_kib=_sum(node.memory_total_kib, change.kib))
    snapshot = replace(
        view.snapshot,
        topology=replace(
            view.snapshot.topology, nodes=tuple(larger if n is node else n for n in view.snapshot.topology.nodes)
        ),
        memory=tuple(more if each is memory else each for each in view.snapshot.memory),
    )
    return supposed.with_view(replace(view, snapshot=snapshot))


def with_cxl(supposed: Supposed, change: AddCxl) -> Supposed:
    """The host with one node more that has memory and no pCPUs, equally far from all others.

    Raises:
        ChangeInvalidError: there is no such host.
    """
    view = supposed.view(change.host, change)
    topology = view.snapshot.topology
    new = NodeId(max(topology.node_ids, default=-1) + 1)
    snapshot = replace(
        view.snapshot,
        topology=replace(topology, nodes=_nodes_with(topology, new, change)),
        memory=(
            *view.snapshot.memory,
            NodeMemory(node_id=new, total_kib=change.kib, free_kib=change.kib, reclaimable_kib=0, source=str(change)),
        ),
    )
    return _noted(supposed.with_view(replace(view, snapshot=snapshot)), replace(view, snapshot=snapshot), new)


def _nodes_with(topology: HostTopology, new: NodeId, change: AddCxl) -> tuple[NumaNode, ...]:
    """The nodes as they are, and the new one; a distance that was not told stays so."""
    far = {node.node_id: change.distance for node in topology.nodes}
    added = NumaNode(node_id=new, cpus=CpuSet(), memory_total_kib=change.kib, distances={**far, new: LOCAL_DISTANCE})
    known = (replace(n, distances={**(n.distances or {}), new: change.distance}) for n in topology.nodes)
    return (*known, added)


def _noted(supposed: Supposed, view: HostView, new: NodeId) -> Supposed:
    """Say whose memory can be on the new node, where that is not everybody's."""
    if any(home.memory_node == new for home in homes(view.capacity)):
        return supposed
    note = (
        f"Node {new} of {view.config.name} has no pCPUs: "
        "only guests that ask for `far_memory: true` may have their memory there."
    )
    return replace(supposed, notes=(*supposed.notes, note))


def _sum(kib: int | None, more: int) -> int | None:
    """What is not told stays so."""
    return None if kib is None else kib + more
