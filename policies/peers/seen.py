"""A host as a peer sees it: what is free on its nodes now, in plain sums.

Memory that a node has not got is taken from the others, the fullest of free memory first, as kernel
and hypervisor do when nothing is bound strictly. So nothing here is ever negative.
"""

from __future__ import annotations

from collections import Counter

from policies.capacity import HostCapacity
from policies.demand import memory_taken
from policies.homes import has_own_pcpus, refusal
from policies.plan import Placement
from policies.request import GuestRequest
from probe.cpuset import CpuSet, NodeId


class SeenHost:
    """What one host has left while a batch is being placed.

    Attributes:
        capacity: the host before the batch.
        nodes: ids of all its nodes, ascending.
        cpus: node to the pCPUs that guests may use there.
        free_cpus: node to those of them that may still be dedicated.
        free_kib: page size to node to what is free;
        allocatable_kib: what was free before the batch.
        vcpus: node to the vCPUs that run there, each counted on one node.
        runnable: node to the vCPUs that may run there, each counted on every such node.
        guests: node to the guests of the batch that are bound to it;
        groups: node to the set of nodes that the last of these is bound to.
    """

    def __init__(self, capacity: HostCapacity) -> None:
        self.capacity = capacity
        self.nodes = sorted(node.node_id for node in capacity.nodes)
        self.cpus = {n.node_id: n.free_cpus | n.shared_cpus for n in capacity.nodes}
        self.free_cpus = {n.node_id: n.free_cpus for n in capacity.nodes}
        pages = {4, *(page for n in capacity.nodes for page in n.memory_kib)}
        self.free_kib = {page: {n.node_id: n.memory_kib.get(page, 0) for n in capacity.nodes} for page in pages}
        self.allocatable_kib = {page: dict(by_node) for page, by_node in self.free_kib.items()}
        self.vcpus: Counter[NodeId] = Counter({n.node_id: n.shared_vcpus for n in capacity.nodes})
        self.runnable: Counter[NodeId] = Counter(self.vcpus)
        self.guests: Counter[NodeId] = Counter()
        self.groups: dict[NodeId, frozenset[NodeId]] = {}
        for node in capacity.nodes:
            owned = len(capacity.topology.node(node.node_id).cpus & capacity.dedicated_cpus)
            self.runnable[node.node_id] += owned

    def total_free_kib(self, page_kib: int) -> int:
        return sum(self.free_kib.get(page_kib, {}).values())

    def total_kib(self, node: NodeId) -> int:
        """All memory of a node, or what was free at first where the source does not tell."""
        told = self.capacity.topology.node(node).memory_total_kib
        return sum(self.capacity.node(node).memory_kib.values()) if told is None else told

    def shared_cpus(self, node: NodeId) -> CpuSet:
        """The shared pCPUs of a node that no guest of the batch owns."""
        before = self.capacity.node(node)
        return before.shared_cpus - (before.free_cpus - self.free_cpus[node])

    def vcpu_room(self) -> int:
        """Shared vCPUs that the whole host still takes, by its overcommit ratio."""
        shared = sum(len(self.shared_cpus(node)) for node in self.nodes)
        return int(self.capacity.overcommit * shared) - self.vcpus.total()

    def holds_in_sum(self, request: GuestRequest) -> bool:
        """What any layer above would look at: all nodes together hold the guest, and the host takes it."""
        if refusal(request, self.capacity) is not None:
            return False
        need = Counter({request.page_kib: request.memory_kib})
        need[4] += request.overhead_kib
        cpus = sum(map(len, self.free_cpus.values())) if has_own_pcpus(request) else self.vcpu_room()
        return cpus >= request.vcpus and all(self.total_free_kib(page) >= kib for page, kib in need.items())

    def take(self, placement: Placement) -> None:
        """Count a guest of the batch in."""
        for node, by_page in memory_taken(placement).items():
            for page, kib in by_page.items():
                self._take_memory(None if node is None else NodeId(node), page, kib)
        for cell in placement.cells:
            nodes = self.nodes if cell.cpu_nodes is None else sorted(cell.cpu_nodes)
            for node in nodes:
                self.runnable[NodeId(node)] += len(cell.vcpus)
        if placement.cpus is None:
            self._spread_evenly(sum(len(cell.vcpus) for cell in placement.cells))
            return
        bound = frozenset(NodeId(node) for node in placement.memory_nodes)
        self.guests.update(bound)
        self.groups.update(dict.fromkeys(bound, bound))
        for cell in placement.cells:
            for vcpu, pin in cell.pins.items():
                node = next(n for n in self.nodes if not self.cpus[n].isdisjoint(pin))
                if vcpu in placement.dedicated_vcpus:
                    self.free_cpus[node] = self.free_cpus[node] - pin
                else:
                    self.vcpus[node] += 1

    def _take_memory(self, node: NodeId | None, page_kib: int, kib: int) -> None:
        free = self.free_kib[page_kib]
        others = sorted((n for n in free if n != node), key=lambda n: (-free[n], n))
        for where in [*([] if node is None else [node]), *others]:
            taken = min(kib, free[where])
            free[where] -= taken
            kib -= taken

    def _spread_evenly(self, vcpus: int) -> None:
        for i in range(vcpus):
            self.vcpus[self.nodes[i % len(self.nodes)]] += 1
