"""Hard rules on what was asked: each guest gets the shape it wants, on a host it may live on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from policies.check_case import Case, Placed
from policies.plan import Placement
from probe.cpuset import CpuSet, NodeId


def each_request_has_one_decision(case: Case) -> Iterator[str]:
    """*Hard.* As many decisions as requests, in request order."""
    asked = [request.name for request in case.requests]
    decided = [decision.guest for decision in case.decisions]
    if asked != decided:
        odd = sorted(set(asked) ^ set(decided)) or "the order, or a guest twice"
        yield f"{len(asked)} requests and {len(decided)} decisions do not match: {odd}"


def the_host_exists(case: Case) -> Iterator[str]:
    """*Hard.*"""
    for decision in case.decisions:
        if isinstance(decision, Placement) and decision.host not in case.hosts:
            yield f"{decision.guest}: there is no host {decision.host}"


def the_host_takes_guests(case: Case) -> Iterator[str]:
    """*Hard.* A cordoned host gets none."""
    for p in case.placed:
        if not p.host.schedulable:
            yield f"{p.request.name}: {p.host.name} takes no new guests"


def the_host_is_allowed(case: Case) -> Iterator[str]:
    """*Hard.* `hosts` of the request."""
    for p in case.placed:
        if p.request.hosts is not None and p.host.name not in p.request.hosts:
            yield f"{p.request.name}: {p.host.name} is not one of its hosts"


def every_vcpu_is_in_one_cell(case: Case) -> Iterator[str]:
    """*Hard.* vCPUs 0 … n−1, each once; no cell without one."""
    for p in case.placed:
        found = sorted(vcpu for cell in p.cells for vcpu in cell.vcpus.ids)
        if found != list(range(p.request.vcpus)) or not all(cell.vcpus for cell in p.cells):
            yield f"{p.request.name}: has {p.request.vcpus} vCPUs, its cells have {found}"


def cells_are_numbered_from_zero(case: Case) -> Iterator[str]:
    """*Hard.* Guest cells are 0, 1, … in this order."""
    for p in case.placed:
        if [cell.cell for cell in p.cells] != list(range(len(p.cells))):
            yield f"{p.request.name}: cells are {[cell.cell for cell in p.cells]}"


def a_guest_is_bound_wholly_or_not_at_all(case: Case) -> Iterator[str]:
    """*Hard.* Unpinned means: one cell, no pins, no nodes for pCPUs, emulator or memory."""
    for p in case.placed:
        bound = [
            x is not None for cell in p.cells for x in (cell.cpus, cell.cpu_nodes, *(m.node_id for m in cell.memory))
        ]
        bound += [p.placement.emulator_cpus is not None, *(bool(cell.pins) for cell in p.cells)]
        if len(set(bound)) != 1 or (not p.pinned and len(p.cells) != 1):
            yield f"{p.request.name}: is bound in part only"


def cells_are_as_many_as_asked(case: Case) -> Iterator[str]:
    """*Hard.* A number is that many; "auto" is as many as host nodes; on Xen and unpinned, one."""
    for p in case.placed:
        asked = p.request.cells
        if asked == "auto":
            asked = 1 if p.on_xen or not p.pinned else len(p.cpu_nodes)
        elif not p.pinned:
            asked = 1
        if not p.on_xen and len(p.cells) != asked:
            yield f"{p.request.name}: wants {asked} cells, has {len(p.cells)}"


def xen_guests_have_one_cell(case: Case) -> Iterator[str]:
    """*Hard.* `vnuma=` failed on PV and PVH (design.md), so it is not planned."""
    for p in case.placed:
        if p.on_xen and (len(p.cells) != 1 or p.request.cells not in (1, "auto")):
            yield f"{p.request.name}: {p.host.name} is Xen, where a guest has one cell"


def guest_cells_are_split_evenly(case: Case) -> Iterator[str]:
    """*Hard.* vCPUs differ by one at most; memory is in proportion, to the MiB or page per cell."""
    for p in case.placed:
        if len(p.cells) < 2 or p.request.cell_sizes:
            continue
        counts = [len(cell.vcpus) for cell in p.cells]
        slack_kib = max(1024, *(m.page_kib for cell in p.cells for m in cell.memory)) * len(p.cells)
        for cell in p.cells:
            fair_kib = p.request.memory_kib * len(cell.vcpus) // p.request.vcpus
            has_kib = sum(m.kib for m in cell.memory)
            if max(counts) - min(counts) > 1 or abs(has_kib - fair_kib) > slack_kib:
                yield f"{p.request.name}: cell {cell.cell} has {len(cell.vcpus)} vCPUs and {has_kib} KiB"


def guest_cells_have_the_sizes_asked(case: Case) -> Iterator[str]:
    """*Hard.* vCPUs and memory of each cell, where the request names them."""
    for p in case.placed:
        asked = [(size.vcpus, size.memory_kib) for size in p.request.cell_sizes]
        found = [(len(cell.vcpus), sum(m.kib for m in cell.memory)) for cell in p.cells]
        if asked and p.pinned and found != asked:
            yield f"{p.request.name}: its cells have (vCPUs, KiB) {found}, asked are {asked}"


def each_cell_has_a_node_of_its_own(case: Case) -> Iterator[str]:
    """*Hard.* The cells of a guest with several lie on one node each, all different unless they may be stacked."""
    for p in case.placed:
        nodes = [sorted((cell.cpu_nodes or ()), key=int) for cell in p.cells]
        apart = all(len(of_cell) == 1 for of_cell in nodes) if p.request.stack_cells else _all_different(nodes)
        if p.pinned and len(nodes) > 1 and not apart:
            yield f"{p.request.name}: its cells are on nodes {nodes}"


def the_guest_spans_no_more_nodes_than_allowed(case: Case) -> Iterator[str]:
    """*Hard.* Neither its pCPUs nor its memory; bound to nothing it may use every node, where it asks for a limit."""
    for p in case.placed:
        limit = p.request.max_nodes
        if limit is None and p.request.cells != "auto" and p.pinned:
            limit = p.request.cells
        spanned = max(len(p.cpu_nodes), len(p.memory_nodes)) if p.pinned else len(_anywhere(p))
        if limit is not None and spanned > limit:
            yield f"{p.request.name}: spans {spanned} nodes, and {limit} are allowed"


def _anywhere(p: Placed) -> list[int]:
    """Where an unbound guest may be: the nodes of its host with pCPUs or memory, CPU-less ones (CXL, HBM) too."""
    return [node.node_id for node in p.host.topology.nodes if node.cpus or node.memory_total_kib != 0]


def the_guest_is_no_wider_than_allowed(case: Case) -> Iterator[str]:
    """*Hard.* `max_distance`: from any node of its pCPUs or memory to any other, either way; unbound it may use all."""
    for p in case.placed:
        limit = p.request.max_distance
        if limit is None:
            continue
        touched = p.cpu_nodes.ids | p.memory_nodes if p.pinned else set(_anywhere(p))
        for a, b in itertools.permutations(sorted(touched), 2):
            distance = p.host.topology.distance(NodeId(a), NodeId(b))
            if distance > limit:
                yield f"{p.request.name}: node {b} is {distance} from node {a}, and {limit} is allowed"


def the_guest_is_near_its_devices(case: Case) -> Iterator[str]:
    """*Hard.* A node of its vCPUs is the node of each device that it must be near, or is of the same package."""
    for p in case.placed:
        if p.placement.devices != p.request.devices:
            yield f"{p.request.name}: its placement does not name the devices that it asks for"
        mine = CpuSet.union(n.cpus for n in p.host.topology.nodes if n.node_id in p.cpu_nodes)
        for device in (d for d in p.request.devices if d.must):
            nodes = [d.node_id for d in p.host.topology.devices if d.address == device.address]
            if len(p.host.topology.nodes) == 1 and nodes:
                nodes = [p.host.topology.nodes[0].node_id]
            there = CpuSet.union(n.cpus for n in p.host.topology.nodes if n.node_id in nodes)
            if device.near == "package" and nodes and None not in nodes:
                sockets = [s.cpus for s in p.host.topology.packages if not s.cpus.isdisjoint(there)]
                there |= CpuSet.union(sockets) if p.host.topology.packages else p.host.topology.online_cpus
            if there.isdisjoint(mine):
                yield f"{p.request.name}: vCPUs on nodes {p.cpu_nodes}, and device {device} is elsewhere"


def overhead_is_as_asked(case: Case) -> Iterator[str]:
    """*Hard.* Else the books would not see it."""
    for p in case.placed:
        if p.placement.overhead_kib != p.request.overhead_kib:
            yield f"{p.request.name}: overhead {p.placement.overhead_kib} KiB, not {p.request.overhead_kib} KiB"


def _all_different(nodes: list[list[int]]) -> bool:
    flat = [n for of_cell in nodes for n in of_cell]
    return all(len(of_cell) == 1 for of_cell in nodes) and len(set(flat)) == len(flat)
