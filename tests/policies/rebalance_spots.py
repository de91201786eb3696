"""Where a guest can be on a host, pCPU by pCPU, written from the reference of fleet files alone."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from policies.capacity import HostCapacity, NodeCapacity
from policies.plan import Placement
from policies.request import CpuPolicy, GuestRequest
from probe.snapshot import Hypervisor

Cpus = frozenset[int]
MemoryPlace = tuple[int, int]
"""A node and a page size."""


@dataclass(frozen=True)
class Spot:
    """Where a guest is.

    Attributes:
        own: pCPUs that are its own, idle siblings and that of its emulator too.
        floating: per node how many vCPUs float there.
        runs: where they do.
        cells: of a guest of several cells the node of the memory of each.
        nodes: all that it touches, and of these those of its pCPUs.
    """

    host: int
    own: Cpus
    floating: tuple[tuple[int, int], ...]
    runs: Cpus
    memory: tuple[tuple[MemoryPlace, int], ...]
    cells: tuple[int, ...]
    nodes: Cpus
    cpu_nodes: Cpus
    distance: int

    @property
    def vcpus(self) -> Mapping[int, int]:
        return dict(self.floating)

    def beside(self, other: Spot) -> Spot:
        """Both at once: of what is in both, the larger."""
        memory, floating = Counter(dict(self.memory)), Counter(self.vcpus)
        return Spot(
            host=self.host,
            own=self.own | other.own,
            floating=tuple((floating | Counter(other.vcpus)).items()),
            runs=self.runs | other.runs,
            memory=tuple((memory | Counter(dict(other.memory))).items()),
            cells=(),
            nodes=self.nodes | other.nodes,
            cpu_nodes=self.cpu_nodes | other.cpu_nodes,
            distance=0,
        )


@dataclass(frozen=True)
class _Part:
    """What one node gives: vCPUs by number, memory, and which cells."""

    vcpus: range
    kib: int
    cells: int


def spots_of(request: GuestRequest, hosts: Sequence[HostCapacity]) -> list[Spot]:
    """All of them, on all hosts."""
    found: dict[Spot, None] = {}
    for index, host in enumerate(hosts):
        if (request.hosts is not None and host.name not in request.hosts) or _is_refused(request, host):
            continue
        on_xen = host.hypervisor is Hypervisor.XEN
        for page in (4, 2048, 1024**2) if request.largest_pages and not on_xen else (request.page_kib,):
            if not any(kib % page for kib in (request.memory_kib, *(c.memory_kib for c in request.cell_sizes))):
                for parts in _splits(request, page):
                    found |= dict.fromkeys(_on(request, index, host, parts, page))
    return list(found)


def _is_refused(request: GuestRequest, host: HostCapacity) -> bool:
    """Xen knows no guest cells, no huge pages, and binds no emulator threads."""
    plain = request.cells == 1 and request.page_kib == 4 and request.emulator == "auto"
    return host.hypervisor is Hypervisor.XEN and not plain


def _splits(request: GuestRequest, page: int) -> Iterator[list[_Part]]:
    if request.cells == 1:
        for k in range(1, min(request.max_nodes or 1, request.vcpus) + 1):
            yield _parts(_evenly(request.vcpus, k), [n * page for n in _evenly(request.memory_kib // page, k)], [1] * k)
        return
    assert isinstance(request.cells, int)
    vcpus, kib = _evenly(request.vcpus, request.cells), []
    if request.cell_sizes:
        vcpus, kib = [c.vcpus for c in request.cell_sizes], [c.memory_kib for c in request.cell_sizes]
    else:
        grain = max(page, 1024)
        kib = [request.memory_kib * n // request.vcpus // grain * grain for n in vcpus]
        kib[0] += request.memory_kib - sum(kib)
    most = min(request.cells, request.max_nodes or request.cells)
    for k in range(1 if request.stack_cells else request.cells, most + 1):
        dealt = _evenly(request.cells, k)
        ends = [*itertools.accumulate(dealt)]
        groups = [slice(end - n, end) for n, end in zip(dealt, ends, strict=True)]
        yield _parts([sum(vcpus[g]) for g in groups], [sum(kib[g]) for g in groups], dealt)


def _evenly(amount: int, parts: int) -> list[int]:
    return [amount // parts + (i < amount % parts) for i in range(parts)]


def _parts(vcpus: Sequence[int], kib: Sequence[int], cells: Sequence[int]) -> list[_Part]:
    ends = [*itertools.accumulate(vcpus)]
    return [_Part(range(e - n, e), k, c) for e, n, k, c in zip(ends, vcpus, kib, cells, strict=True)]


def _on(request: GuestRequest, index: int, host: HostCapacity, parts: list[_Part], page: int) -> Iterator[Spot]:
    with_cpus = [n for n in host.nodes if host.topology.node(n.node_id).cpus]
    if host.hypervisor is Hypervisor.XEN:  # where memory is on the nodes of the pCPUs
        with_cpus = [n for n in with_cpus if _memory_node(host, n) == n.node_id]
    for nodes in itertools.permutations(with_cpus, len(parts)):
        homes = [(int(node.node_id), _memory_node(host, node)) for node in nodes]
        memory_nodes = {m for _, m in homes}
        if request.cells == 1 and 1 < len(memory_nodes) < len(homes):
            continue
        if not _is_near_enough(request, host, {n for home in homes for n in home}):
            continue
        memory: Counter[MemoryPlace] = Counter()
        for (_, node), part in zip(homes, parts, strict=True):
            memory[node, page] += part.kib
        if request.overhead_kib:
            memory[homes[0][1], 4] += request.overhead_kib
        several = request.cells != 1
        cells = (
            tuple(m for (_, m), part in zip(homes, parts, strict=True) for _ in range(part.cells)) if several else ()
        )
        far = _distance(
            host, [home for home, p in zip(homes, parts, strict=True) for _ in range(p.cells)], apart=several
        )
        for own, floating, runs in _pcpus(request, host, nodes, parts):
            yield Spot(
                host=index,
                own=own,
                floating=floating,
                runs=runs,
                memory=tuple(sorted(memory.items())),
                cells=cells,
                nodes=frozenset(n for home in homes for n in home),
                cpu_nodes=frozenset(c for c, _ in homes),
                distance=far,
            )


def _memory_node(host: HostCapacity, node: NodeCapacity) -> int:
    with_memory = [n.node_id for n in host.topology.nodes if n.memory_total_kib != 0]
    if node.node_id in with_memory:
        return int(node.node_id)
    return int(min(with_memory, key=lambda m: (host.topology.distance(node.node_id, m), m)))


def _is_near_enough(request: GuestRequest, host: HostCapacity, nodes: set[int]) -> bool:
    pairs = itertools.product(nodes, nodes)
    return all(_slit(host, a, b) <= (request.max_distance or 254) for a, b in pairs)


def _slit(host: HostCapacity, a: int, b: int) -> int:
    ids = {int(node.node_id): node.node_id for node in host.topology.nodes}
    return host.topology.distance(ids[a], ids[b])


def _distance(host: HostCapacity, homes: list[tuple[int, int]], *, apart: bool) -> int:
    """Between its nodes, the larger way; and of memory that is elsewhere, from the nearest of its cell's pCPUs.

    `homes`: of each cell, or of one cell its several.
    """
    pairs = itertools.combinations({c for c, _ in homes}, 2)
    far = sum(max(_slit(host, a, b), _slit(host, b, a)) for a, b in pairs)
    cells = [({c}, {m}) for c, m in homes] if apart else [({c for c, _ in homes}, {m for _, m in homes})]
    return far + sum(min(_slit(host, c, m) for c in cpus) - 10 for cpus, memory in cells for m in memory - cpus)


def _pcpus(
    request: GuestRequest, host: HostCapacity, nodes: Sequence[NodeCapacity], parts: list[_Part]
) -> Iterator[tuple[Cpus, tuple[tuple[int, int], ...], Cpus]]:
    """Its own pCPUs, the vCPUs that float, and where: every choice."""
    dedicated = range(request.vcpus) if request.cpus is CpuPolicy.DEDICATED else request.dedicated_vcpus.ids
    choices, floating = [], []
    for i, (node, part) in enumerate(zip(nodes, parts, strict=True)):
        own = sum(vcpu in dedicated for vcpu in part.vcpus)
        floats = len(part.vcpus) - own
        own_sets = _own(request, host, node.free_cpus.ids, own)
        if i == 0 and request.emulator == "own":
            own_sets = {some | {cpu} for some in own_sets for cpu in node.free_cpus.ids - some}
        choices.append([(some, runs) for some in own_sets for runs in _subsets(node.shared_cpus.ids - some, floats)])
        floating += [(int(node.node_id), floats)] * bool(floats)
    for chosen in itertools.product(*choices):
        own_all = frozenset[int]().union(*(own for own, _ in chosen))
        yield own_all, tuple(sorted(floating)), frozenset[int]().union(*(runs for _, runs in chosen))


def _own(request: GuestRequest, host: HostCapacity, free: Cpus, count: int) -> set[Cpus]:
    if request.smt == "prefer" or not count:
        return {frozenset(some) for some in itertools.combinations(sorted(free), count)}
    cores = [core.cpus.ids for core in host.topology.cores if core.cpus.ids <= free]
    threads = max((len(core.cpus) for core in host.topology.cores), default=1)
    if request.smt == "require" and threads == 1:
        return set()
    wanted = count if request.smt == "isolate" else -(-count // threads)
    whole = [core for core in cores if len(core) == threads]
    return {frozenset().union(*some) for some in itertools.combinations(whole, wanted)}


def _subsets(ground: Cpus, least: int) -> Iterator[Cpus]:
    """Those on which so many vCPUs may float; of none the empty one."""
    for size in range(least, len(ground) + 1) if least else (0,):
        yield from map(frozenset, itertools.combinations(sorted(ground), size))


def spot_of(placement: Placement, hosts: Sequence[HostCapacity]) -> Spot:
    """Where a guest that is pinned stands."""
    index = next(i for i, host in enumerate(hosts) if host.name == placement.host)
    host = hosts[index]
    node_of = {cpu: int(node.node_id) for node in host.topology.nodes for cpu in node.cpus.ids}
    memory: Counter[MemoryPlace] = Counter()
    homes: list[tuple[int, int]] = []
    for cell in placement.cells:
        for share in cell.memory:
            memory[int(share.node_id or 0), share.page_kib] += share.kib
        for node in cell.cpu_nodes or ():
            homes.append((int(node), _memory_node(host, host.node(node))))
    if placement.overhead_kib:
        memory[int(placement.cells[0].memory[0].node_id or 0), 4] += placement.overhead_kib
    several = len(placement.cells) > 1
    floating = Counter(node_of[min(pin)] for pin in placement.floating_pins.values())
    return Spot(
        host=index,
        own=placement.own_cpus.ids,
        floating=tuple(sorted(floating.items())),
        runs=frozenset[int]().union(*(pin.ids for pin in placement.floating_pins.values())),
        memory=tuple(sorted(memory.items())),
        cells=tuple(int(cell.memory[0].node_id or 0) for cell in placement.cells) if several else (),
        nodes=frozenset(node for home in homes for node in home),
        cpu_nodes=frozenset(node for node, _ in homes),
        distance=_distance(host, homes, apart=several),
    )
