"""Where pages fall: pure arithmetic on the free KiB of each node's pools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from probe.cpuset import NodeSet
from scheduler.sim.errors import SimError
from scheduler.sim.wanted import WantedCell

Pools = dict[tuple[int, int], int]
"""(node id, page size in KiB) to free KiB."""


class OutOfMemoryError(SimError):
    """The kernel kills the guest: its policy allows no node that has a page left."""


def touch(cell: WantedCell, kib: int, page_kib: int, pools: Pools, near: NodeSet) -> dict[int, int]:
    """Take `kib` for a KVM guest's cell; node id to KiB. `near`: nodes of the CPUs that touch it.

    Raises:
        OutOfMemoryError: `strict` and `restrictive` never spill (measured: an OOM kill although
            other nodes have room); the others spill until the host is full.
    """
    nodes = {node for node, page in pools if page == page_kib}
    if cell.mode in ("strict", "restrictive"):
        return _fill(kib, page_kib, pools, sorted(cell.nodes.ids & nodes))
    if cell.mode == "interleave":
        return spread(kib, page_kib, pools, sorted(cell.nodes.ids & nodes))
    first = cell.nodes if cell.mode == "preferred" else near
    others = sorted(nodes - first.ids, key=lambda node: (-pools[node, page_kib], node))
    return _fill(kib, page_kib, pools, [*sorted(first.ids & nodes), *others])


def spread(kib: int, page_kib: int, pools: Pools, nodes: list[int]) -> dict[int, int]:
    """Take evenly over the nodes; what one of them lacks comes from the others."""
    taken: dict[int, int] = {}
    left = kib
    while left > 0:
        open_nodes = [node for node in nodes if pools[node, page_kib] >= page_kib]
        if not open_nodes:
            _give_back(taken, page_kib, pools)
            raise OutOfMemoryError(1, "out of memory on every node that the policy allows")
        pages = max(1, left // page_kib // len(open_nodes))
        for node in open_nodes:
            part = min(pages * page_kib, pools[node, page_kib] // page_kib * page_kib, left)
            taken[node] = taken.get(node, 0) + part
            pools[node, page_kib] -= part
            left -= part
    return taken


def place_at_creation(kib: int, pools: Pools, nodes: NodeSet) -> dict[int, int]:
    """Xen: all pages at once, evenly over the affinity's nodes; what they lack spills silently.

    Raises:
        SimError: the whole host has not got so much.
    """
    free = {node: pools[node, 4] for node, page in pools if page == 4}
    if sum(free.values()) < kib:
        raise SimError(1, "libxenlight failed to create new domain: Out of memory")
    near = [node for node in sorted(nodes.ids) if node in free]
    here = min(kib, sum(free[node] for node in near) // 4 * 4)
    taken = spread(here, 4, pools, near) if here else {}
    others = sorted(set(free) - set(near), key=lambda node: (-pools[node, 4], node))
    for node, part in _fill(kib - here, 4, pools, others).items():
        taken[node] = taken.get(node, 0) + part
    return taken


def moved(cell: dict[int, int], nodes: NodeSet, page_kib: int, pools: Pools) -> dict[int, int]:
    """The pages of a cell after the kernel moved them to `nodes`; what has no room there stays."""
    for node in sorted(cell.keys() - nodes.ids):
        for target in sorted(nodes.ids):
            part = min(cell[node], pools.get((target, page_kib), 0) // page_kib * page_kib)
            pools[node, page_kib] += part
            pools[target, page_kib] = pools.get((target, page_kib), 0) - part
            cell[node] -= part
            cell[target] = cell.get(target, 0) + part
    return {node: kib for node, kib in cell.items() if kib}


def automatic_node(pools: Mapping[tuple[int, int], int], vcpus: Mapping[int, int]) -> NodeSet:
    """The node with the fewest guest vCPUs, then the most free memory, then the lowest id.

    libxl's order (`numa_cmpf` in tools/libs/light/libxl_dom.c); it explains every choice in
    recorded/xen, where dom0 counts for nothing.
    """
    nodes = [node for node, page in pools if page == 4]
    return NodeSet.of(min(nodes, key=lambda node: (vcpus.get(node, 0), -pools[node, 4], node)))


def _fill(kib: int, page_kib: int, pools: Pools, nodes: Iterable[int]) -> dict[int, int]:
    """Take from one node after the other."""
    taken: dict[int, int] = {}
    left = kib
    for node in nodes:
        part = min(left, pools[node, page_kib] // page_kib * page_kib)
        if part:
            taken[node] = part
            pools[node, page_kib] -= part
            left -= part
    if left > 0:
        _give_back(taken, page_kib, pools)
        raise OutOfMemoryError(1, "out of memory on every node that the policy allows")
    return taken


def _give_back(taken: Mapping[int, int], page_kib: int, pools: Pools) -> None:
    for node, kib in taken.items():
        pools[node, page_kib] += kib
