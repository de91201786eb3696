"""Hard rules on memory: all of it, in the right pages, where it is meant to be, and really there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from policies.check_case import Case, Placed
from policies.plan import MemoryMode, PlacedCell
from policies.request import PAGE_SIZES_KIB
from probe.topology import UNREACHABLE_DISTANCE, NumaNode


def memory_adds_up(case: Case) -> Iterator[str]:
    """*Hard.* The shares of all cells together are what was asked for."""
    for p in case.placed:
        found_kib = sum(m.kib for cell in p.cells for m in cell.memory)
        if found_kib != p.request.memory_kib:
            yield f"{p.request.name}: wants {p.request.memory_kib} KiB, its cells have {found_kib} KiB"


def memory_is_in_whole_pages_of_its_size(case: Case) -> Iterator[str]:
    """*Hard.* The page size that was asked for backs every share, in whole pages; any size, but one, where it may."""
    for p in case.placed:
        asked = _page_kib(p) if p.request.largest_pages else p.request.page_kib
        for m in (m for cell in p.cells for m in cell.memory):
            if m.page_kib != asked or m.page_kib not in PAGE_SIZES_KIB or m.kib % m.page_kib:
                yield f"{p.request.name}: {m.kib} KiB in pages of {m.page_kib} KiB, not {asked} KiB"


def every_cell_has_memory(case: Case) -> Iterator[str]:
    """*Hard.* And no share is empty or negative, or names a node twice."""
    for p in case.placed:
        for cell in p.cells:
            nodes = [m.node_id for m in cell.memory]
            if not nodes or min(m.kib for m in cell.memory) < 1 or len(set(nodes)) != len(nodes):
                yield f"{p.request.name}: cell {cell.cell} has shares {[(m.node_id, m.kib) for m in cell.memory]}"


def memory_is_on_nodes_of_the_host(case: Case) -> Iterator[str]:
    """*Hard.*"""
    for p in case.placed:
        if stray := p.memory_nodes - {n.node_id for n in p.host.nodes}:
            yield f"{p.request.name}: {p.host.name} has no nodes {sorted(stray)}"


def memory_is_local(case: Case) -> Iterator[str]:
    """*Hard.* On the nodes of the cell's pCPUs, with two exceptions.

    A memory-less node has its memory on the nearest node that has some, by SLIT distance. A guest that asks for
    `far_memory` may have it on any CPU-less node (CXL, HBM) with a path to and from one of the nodes.
    """
    for p in case.placed:
        for cell in p.cells if p.pinned else ():
            for m in cell.memory:
                if m.node_id is not None and not _is_near(p, cell, m.node_id):
                    yield f"{p.request.name}: memory on node {m.node_id}, pCPUs on {cell.cpu_nodes}"


def xen_memory_is_on_nodes_of_its_cpus(case: Case) -> Iterator[str]:
    """*Hard.* On Xen memory follows the affinity, and nothing else can bind it."""
    for p in case.placed:
        if p.on_xen and p.pinned and (stray := p.memory_nodes - p.cpu_nodes.ids):
            yield f"{p.request.name}: memory on nodes {sorted(stray)}, pCPUs on {p.cpu_nodes}"


def xen_has_no_huge_pages(case: Case) -> Iterator[str]:
    """*Hard.* Xen has no pools of them to promise."""
    for p in case.placed:
        if p.on_xen and (p.request.page_kib != 4 or _page_kib(p) != 4):
            yield f"{p.request.name}: wants, or has, pages other than 4 KiB on Xen"


def the_memory_mode_fits(case: Case) -> Iterator[str]:
    """*Hard.* As asked. Else Xen: affinity. Several nodes in a cell: interleave. Cells or huge pages: strict."""
    for p in case.placed:
        for cell in p.cells:
            fitting = _fitting_modes(p, cell)
            if cell.memory_mode not in fitting:
                yield f"{p.request.name}: mode {cell.memory_mode} of cell {cell.cell} is none of {sorted(fitting)}"


def memory_of_a_cell_is_even_over_its_nodes(case: Case) -> Iterator[str]:
    """*Hard.* Interleaving gives each node the same, to the page; Xen goes round its nodes too."""
    for p in case.placed:
        for cell in p.cells:
            shares = [m.kib for m in cell.memory]
            if len(shares) > 1 and max(shares) - min(shares) > _page_kib(p):
                yield f"{p.request.name}: cell {cell.cell} has {shares} KiB on its nodes"


def no_node_promises_more_memory_than_it_has(case: Case) -> Iterator[str]:
    """*Hard.* Per host, node and page size, with the overhead on the first cell's first memory node, also a far one."""
    wanted: Counter[tuple[str, int, int]] = Counter()
    for p in case.placed:
        for m in (m for cell in p.cells for m in cell.memory):
            if m.node_id is not None:
                wanted[p.host.name, m.node_id, m.page_kib] += m.kib
        first = _overhead_node(p)
        if first is not None:
            wanted[p.host.name, first, 4] += p.placement.overhead_kib
    nodes = {(str(h.name), int(n.node_id)): n.memory_kib for h in case.hosts.values() for n in h.nodes}
    for (name, node_id, page_kib), kib in sorted(wanted.items()):
        there_kib = nodes[name, node_id].get(page_kib, 0) if (name, node_id) in nodes else kib
        if kib > there_kib:
            yield f"node {node_id} of {name}: {kib} KiB of {there_kib} KiB in pages of {page_kib} KiB"


def no_host_promises_more_memory_than_it_has(case: Case) -> Iterator[str]:
    """*Hard.* All nodes together hold the bound guests and the unpinned ones."""
    wanted: Counter[tuple[str, int]] = Counter()
    loose: set[tuple[str, int]] = set()
    for p in case.placed:
        for m in (m for cell in p.cells for m in cell.memory):
            wanted[p.host.name, m.page_kib] += m.kib
        wanted[p.host.name, 4] += p.placement.overhead_kib
        if not p.pinned:
            loose |= {(p.host.name, _page_kib(p)), (p.host.name, 4)}
    for name, page_kib in sorted(loose):
        there_kib = sum(n.memory_kib.get(page_kib, 0) for n in case.hosts[name].nodes)
        if wanted[name, page_kib] > there_kib:
            yield f"{name}: {wanted[name, page_kib]} KiB of {there_kib} KiB in pages of {page_kib} KiB"


def _page_kib(p: Placed) -> int:
    """The size of the pages that it has."""
    return next((m.page_kib for cell in p.cells for m in cell.memory), 4)


def _overhead_node(p: Placed) -> int | None:
    first = next(iter(p.cells[0].memory), None) if p.cells else None
    return None if first is None else first.node_id


def _is_near(p: Placed, cell: PlacedCell, node_id: int) -> bool:
    nodes: dict[int, NumaNode] = {n.node_id: n for n in p.host.topology.nodes}
    near = {n for n in cell.cpu_nodes or () if n in nodes}
    if node_id in near or node_id not in nodes:
        return True
    slit = p.host.topology.distance
    both_ways = (max(slit(n, node_id), slit(node_id, n)) < UNREACHABLE_DISTANCE for n in near)
    if p.request.far_memory and not nodes[node_id].cpus and any(both_ways):
        return True
    with_memory = [n for n, node in nodes.items() if node.memory_total_kib != 0]
    for origin in near - set(with_memory):
        distances = {n: slit(origin, n) for n in with_memory}
        if distances.get(node_id) == min(distances.values(), default=-1):
            return True
    return False


def _fitting_modes(p: Placed, cell: PlacedCell) -> set[MemoryMode]:
    if p.request.memory_mode != "auto":
        return {MemoryMode(p.request.memory_mode.value)}
    if not p.pinned:
        return {MemoryMode.NONE}
    if p.on_xen:
        return {MemoryMode.AFFINITY}
    if len({m.node_id for m in cell.memory}) > 1:
        return {MemoryMode.INTERLEAVE}
    if len(p.cells) > 1 or _page_kib(p) != 4:
        return {MemoryMode.STRICT}
    return {MemoryMode.RESTRICTIVE, MemoryMode.STRICT}
