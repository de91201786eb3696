"""Exhaustive search over small batches, written from design.md and sharing no code with any policy.

Each guest goes nowhere, or on any host over any ordered choice of its nodes; all combinations are
tried. What is compared is the vector of the objective's tiers (`tests.policies.oracle_terms`).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from policies.asked import NearDevice
from policies.capacity import HostCapacity, NodeCapacity, Resident
from policies.objective import DEFAULT_OBJECTIVE, Objective
from policies.request import CpuPolicy, GroupRule, GuestRequest
from probe.snapshot import Hypervisor

Vector = tuple[int, ...]
"""Per tier a value of which more is better."""


@dataclass(frozen=True)
class Option:
    """One way for one guest: per part (CPU node, vCPUs), (memory node, page KiB, KiB), and its cost.

    Of a dedicated guest also, by CPU node, the pCPUs that it owns and the whole cores among them; and where a group
    of it looks at L3 domains, by CPU node and domain, the single pCPUs and the whole cores of its own vCPUs.
    """

    host: int
    vcpus: tuple[tuple[int, int], ...]
    floating: tuple[tuple[int, int], ...]
    own: tuple[tuple[int, int, int], ...]
    memory: tuple[tuple[int, int, int], ...]
    distance: int
    caches: tuple[tuple[int, int, int, int], ...] = ()

    @property
    def nodes(self) -> set[int]:
        return {node for node, _ in self.vcpus} | {node for node, _, _ in self.memory}


def best_vector(
    requests: Sequence[GuestRequest], hosts: Sequence[HostCapacity], objective: Objective = DEFAULT_OBJECTIVE
) -> Vector:
    """The lexicographically largest vector that any answer reaches."""
    return max(vectors(requests, hosts, objective))


def has_a_place(request: GuestRequest, left: Sequence[HostCapacity], before: Sequence[HostCapacity]) -> bool:
    """Whether one more guest has, on what is left; it floats in the L3 domains that were shared there before."""
    hosts = [replace(then, residents=now.residents) for then, now in zip(before, left, strict=True)]
    return any(
        all(host_holds(host, i, [option]) for i, host in enumerate(left)) and _groups_hold([request], hosts, [option])
        for option in options_of(request, left)
    )


def vectors(requests: Sequence[GuestRequest], hosts: Sequence[HostCapacity], objective: Objective) -> Iterator[Vector]:
    """That of each answer that breaks no rule and is, up to the first tier, no worse than one before."""
    from tests.policies.oracle_terms import vector_of

    options = [[None, *options_of(r, hosts)] for r in requests]
    most = -1
    for chosen in itertools.product(*options):
        placed = sum(r.priority for r, o in zip(requests, chosen, strict=True) if o is not None)
        if (
            placed >= most
            and all(host_holds(h, i, chosen) for i, h in enumerate(hosts))
            and _groups_hold(requests, hosts, chosen)
        ):
            most = placed
            yield vector_of(requests, hosts, chosen, objective)


def options_of(request: GuestRequest, hosts: Sequence[HostCapacity]) -> Iterator[Option]:
    for index, host in enumerate(hosts):
        xen = host.hypervisor is Hypervisor.XEN
        if not may_live(request, host):
            continue
        threads = max((len(core.cpus) for core in host.topology.cores), default=0)
        if (xen and request.emulator != "auto") or threads < {"prefer": 0, "isolate": 1, "require": 2}[request.smt]:
            continue
        several_cells = request.cells != 1 and not xen
        for one in _page_sizes(request, xen=xen):
            for k in part_counts(one):
                for nodes in itertools.permutations(home_nodes(host, xen, far=request.far_memory), k):
                    apart = len({cpu_node for cpu_node, _ in nodes}) == k
                    option = _option(one, host, index, nodes, several_cells) if apart else None
                    if option is not None:
                        yield from _by_caches(one, host, option)


def _by_caches(request: GuestRequest, host: HostCapacity, option: Option) -> Iterator[Option]:
    """The option once for each way to take its own vCPUs' pCPUs, or cores, from the L3 domains of its nodes."""
    if not any(m.group.level == "l3" and m.group.rule is not GroupRule.ALL_OR_NOTHING for m in request.groups):
        yield option
        return
    dealt = []
    for i, (node, pcpus, cores) in enumerate(option.own):
        units = cores or pcpus - (1 if pcpus and i == 0 and request.emulator == "own" else 0)
        some = [d for d, cpus in enumerate(caches(host)) if cpus & set(host.node(node).free_cpus.ids)]
        ways = [some_of for some_of in itertools.product(range(units + 1), repeat=len(some)) if sum(some_of) == units]
        dealt.append([[(node, d, 0 if cores else n, n if cores else 0) for d, n in zip(some, w) if n] for w in ways])  # noqa: B905
    for chosen in itertools.product(*dealt):
        yield replace(option, caches=tuple(one for some_of in chosen for one in some_of))


def caches(host: HostCapacity) -> list[set[int]]:
    """The pCPUs of each L3 domain; those of none are the last."""
    known = [set(l3.cpus.ids) for l3 in host.topology.l3]
    return [*known, {cpu for node in host.topology.nodes for cpu in node.cpus}.difference(*known)]


def _page_sizes(request: GuestRequest, *, xen: bool) -> list[GuestRequest]:
    """The request once for each page size that may back it."""
    if not request.largest_pages:
        return [request]
    small = xen or request.memory_mode == "restrictive"
    amounts = [request.memory_kib, *(size.memory_kib for size in request.cell_sizes)]
    sizes = [page for page in (4, 2048, 1048576) if page == 4 or (not small and all(a % page == 0 for a in amounts))]
    return [replace(request, page_kib=page, largest_pages=False) for page in sizes]


def may_live(request: GuestRequest, host: HostCapacity) -> bool:
    """Whatever else is there."""
    if (request.hosts is not None and host.name not in request.hosts) or not host.schedulable:
        return False
    odd_for_xen = request.page_kib != 4 or request.memory_mode != "auto" or request.cells not in (1, "auto")
    odd_for_xen = odd_for_xen or request.far_memory
    return host.hypervisor is not Hypervisor.XEN or not odd_for_xen


def part_counts(request: GuestRequest) -> list[int]:
    if isinstance(request.cells, int) and request.stack_cells:
        if min(kib for _, kib in _stacked(request, request.cells, request.cells)) < 1:
            return []
        return list(range(1, min(request.cells, request.max_nodes or request.cells) + 1))
    if isinstance(request.cells, int) and request.cells > 1:
        return [request.cells]
    most = request.max_nodes or (1 if request.cells == 1 else request.vcpus)
    return list(range(1, min(most, request.vcpus) + 1))


def home_nodes(host: HostCapacity, xen: bool, *, far: bool = False) -> list[tuple[int, int]]:
    """(CPU node, memory node): its own memory, or the nearest where it has none (never on Xen).

    A guest whose memory may be far may have that of any CPU-less node which a path leads to and from, too.
    """
    homes = []
    with_memory = [n.node_id for n in host.topology.nodes if n.memory_total_kib != 0]
    for node in host.topology.nodes:
        if not node.cpus:
            continue
        if node.node_id in with_memory:
            homes.append((node.node_id, node.node_id))
        elif with_memory and not xen:
            nearest = sorted(with_memory, key=lambda m: (host.topology.distance(node.node_id, m), m))
            homes.append((node.node_id, nearest[0]))
    slit, nodes = host.topology.distance, host.topology.nodes
    beyond = [(c, n.node_id) for c, _ in homes for n in nodes if not n.cpus and n.memory_total_kib != 0]
    more = [(c, m) for c, m in beyond if slit(c, m) != 255 != slit(m, c) and (c, m) not in homes]
    return [*homes, *more] if far else homes


def _option(
    request: GuestRequest, host: HostCapacity, index: int, nodes: Sequence[tuple[int, int]], several_cells: bool
) -> Option | None:
    k = len(nodes)
    slit = host.topology.distance
    memory_nodes = [m for _, m in nodes]
    if any(slit(a, b) == 255 for (a, _), (b, _) in itertools.permutations(nodes, 2)):
        return None
    if request.max_distance is not None and any(
        slit(a, b) > request.max_distance for a, b in itertools.permutations({n for pair in nodes for n in pair}, 2)
    ):
        return None
    if not several_cells and 1 < len(set(memory_nodes)) < k:
        return None  # interleaving is even over distinct nodes, or all on one
    if isinstance(request.cells, int) and request.stack_cells:
        shares = _stacked(request, request.cells, k)
    elif several_cells and request.cell_sizes:
        shares = [(s.vcpus, s.memory_kib) for s in request.cell_sizes]
    elif several_cells or k == 1:
        shares = [(s.vcpus, s.memory_kib) for s in request.shares(k)]
    else:
        pages = request.memory_kib // request.page_kib
        shares = [
            (request.vcpus // k + (i < request.vcpus % k), (pages // k + (i < pages % k)) * request.page_kib)
            for i in range(k)
        ]
    if min(kib for _, kib in shares) < 1:
        return None
    if not _has_what_it_must_be_near(request, host, {c for c, _ in nodes}):
        return None
    distance = sum(max(slit(a, b), slit(b, a)) for (a, _), (b, _) in itertools.combinations(nodes, 2))
    if several_cells:
        stacked = request.cells if isinstance(request.cells, int) and request.stack_cells else k
        many = [stacked // k + (1 if i < stacked % k else 0) for i in range(k)]
        distance += sum(n * max(0, slit(c, m) - 10) for n, (c, m) in zip(many, nodes, strict=True) if c != m)
    else:
        for m in set(memory_nodes) - {c for c, _ in nodes}:
            distance += max(0, min(slit(c, m) for c, _ in nodes) - 10)
    memory = [(m, request.page_kib, kib) for (_, m), (_, kib) in zip(nodes, shares, strict=True)]
    counts = [n for n, _ in shares]
    owners = [sum(_owns(request, sum(counts[:i]) + v) for v in range(n)) for i, n in enumerate(counts)]
    return Option(
        host=index,
        vcpus=tuple((c, n) for (c, _), n in zip(nodes, counts, strict=True)),
        floating=tuple((c, n - own) for (c, _), n, own in zip(nodes, counts, owners, strict=True) if n > own),
        own=tuple(_owned(request, host, nodes, owners)),
        memory=(*memory, (memory_nodes[0], 4, request.overhead_kib)),
        distance=distance,
    )


def _has_what_it_must_be_near(request: GuestRequest, host: HostCapacity, nodes: set[int]) -> bool:
    kept = [not host.topology.node(c).cpus.isdisjoint(host.housekeeping_cpus) for c in nodes]
    housekeeping = request.emulator != "housekeeping" or any(kept)
    return housekeeping and all(near(d, host, nodes) for d in request.devices if d.must)


def near(device: NearDevice, host: HostCapacity, nodes: set[int]) -> bool:
    """Whether one of the nodes is the device's, or shares a package with it."""
    at = [d.node_id for d in host.topology.devices if d.address == device.address and d.node_id is not None]
    if len(host.topology.nodes) == 1:
        return any(d.address == device.address for d in host.topology.devices)
    if not at or device.near == "node":
        return bool(nodes & set(at))
    there = host.topology.node(at[0]).cpus
    sockets = [p.cpus for p in host.topology.packages if p.cpus & there]
    wide = {n.node_id for n in host.topology.nodes if any(n.cpus & cpus for cpus in sockets)}
    return bool(nodes & (wide | set(at) if host.topology.packages else host.topology.node_ids.ids))


def _owns(request: GuestRequest, vcpu: int) -> bool:
    return request.cpus is CpuPolicy.DEDICATED or vcpu in request.dedicated_vcpus


def _owned(
    request: GuestRequest, host: HostCapacity, nodes: Sequence[tuple[int, int]], owners: Sequence[int]
) -> Iterator[tuple[int, int, int]]:
    threads = max((len(core.cpus) for core in host.topology.cores), default=0)
    for i, ((node, _), n) in enumerate(zip(nodes, owners, strict=True)):
        if request.cpus is not CpuPolicy.SHARED:
            cores = {"prefer": 0, "isolate": n, "require": math.ceil(n / max(threads, 1))}[request.smt]
            emulator = 1 if request.emulator == "own" and i == 0 else 0
            yield node, (threads * cores or n) + emulator, cores


def _stacked(request: GuestRequest, cells: int, nodes: int) -> list[tuple[int, int]]:
    """vCPUs and KiB per node: cell after cell, the first nodes one more where they do not come out even."""
    sizes = request.cell_sizes or replace(request, stack_cells=False, max_nodes=None).shares(cells)
    found, first = [], 0
    for i in range(nodes):
        last = first + cells // nodes + (1 if i < cells % nodes else 0)
        found.append((sum(s.vcpus for s in sizes[first:last]), sum(s.memory_kib for s in sizes[first:last])))
        first = last
    return found


def host_holds(host: HostCapacity, index: int, chosen: Sequence[Option | None]) -> bool:
    here = [o for o in chosen if o is not None and o.host == index]
    memory: Counter[tuple[int, int]] = Counter()
    for o in here:
        for node_id, page, kib in o.memory:
            memory[node_id, page] += kib
    for node in host.nodes:
        if any(memory[node.node_id, page] > node.memory_kib.get(page, 0) for page in (4, 2048, 1048576)):
            return False
        own = sum(n for o in here for c, n, _ in o.own if c == node.node_id)
        cores = sum(k for o in here for c, _, k in o.own if c == node.node_id)
        floating = [n for o in here for c, n in o.floating if c == node.node_id]
        most = max((len(core.cpus) for core in host.topology.cores), default=0)
        whole = [c.cpus for c in host.topology.cores if len(c.cpus) == most and c.cpus <= node.free_cpus]
        if own > len(node.free_cpus) or cores > len(whole):
            return False
        of_cores = sum(sorted(len(core & node.shared_cpus) for core in whole)[:cores])
        only_free = len(node.free_cpus - node.shared_cpus)
        lost = max(0, own - only_free, of_cores)
        told = [(d, n, k) for o in here for c, d, n, k in o.caches if c == node.node_id]
        if told:
            lost = min(_losses(host, node, (own - most * cores, cores), told), default=-1)
            if lost < 0:
                return False
        left = len(node.shared_cpus) - lost
        if floating and (sum(floating) + node.shared_vcpus > host.overcommit * left or max(floating) > left):
            return False
    return True


def _losses(
    host: HostCapacity, node: NodeCapacity, needed: tuple[int, int], told: Sequence[tuple[int, int, int]]
) -> Iterator[int]:
    """For every choice of whole cores that serves all: the shared pCPUs lost, where others are taken first."""
    single, cores = needed
    most = max((len(core.cpus) for core in host.topology.cores), default=0)
    whole = [c.cpus.ids for c in host.topology.cores if len(c.cpus) == most and c.cpus <= node.free_cpus]
    for taken in itertools.combinations(whole, cores):
        gone = frozenset().union(*taken)
        rest, lost, spare = set(node.free_cpus.ids - gone), len(gone & node.shared_cpus.ids), 0
        holds = len(rest) >= single
        for d, cpus in enumerate(caches(host)):
            singles = sum(n for at, n, _ in told if at == d)
            unshared = len((rest & cpus) - node.shared_cpus.ids)
            holds = holds and len(rest & cpus) >= singles
            holds = holds and sum(core <= cpus for core in taken) >= sum(k for at, _, k in told if at == d)
            lost += max(0, singles - unshared)
            spare += max(0, unshared - singles)
        if holds:
            yield lost + max(0, single - sum(n for _, n, _ in told) - spare)


def _groups_hold(
    requests: Sequence[GuestRequest], hosts: Sequence[HostCapacity], chosen: Sequence[Option | None]
) -> bool:
    """All or none are there, and every pair, of which one at least is new, stands to each other as their group says."""
    placed = [(m.group, o is not None) for r, o in zip(requests, chosen, strict=True) for m in r.groups]
    for group in {group for group, _ in placed if group.rule is GroupRule.ALL_OR_NOTHING}:
        if len({there for other, there in placed if other == group}) > 1:
            return False
    members = [
        (m, m.group.name, i, touched_by(m.group.level, hosts[o.host], o))
        for i, (r, o) in enumerate(zip(requests, chosen, strict=True))
        if o is not None
        for m in r.groups
        if m.group.hard
    ]
    new = len(members)
    members += [
        (m, m.group.name, -1, touched_by_resident(m.group.level, host, resident))
        for host in hosts
        for resident in host.residents
        for m in resident.groups
    ]
    for i, (m, name, who, here) in enumerate(members[:new]):
        if m.group.rule is GroupRule.AFFINITY and len(here) > 1:
            return False
        for other, other_name, other_who, there in members[i + 1 :]:
            if other_name != name or other_who == who:
                continue
            together = bool(here & there)
            if m.group.rule is GroupRule.AFFINITY and here != there:
                return False
            if m.group.rule is GroupRule.ANTI_AFFINITY and together:
                return False
            if m.group.rule is GroupRule.FAULT_DOMAINS and together and m.part != other.part:
                return False
    return True


def touched_by(level: str, host: HostCapacity, option: Option) -> set[object]:
    """By its nodes; at level l3 by the pCPUs of its own vCPUs, and by those on which its others float."""
    if level != "l3":
        return touched(level, host, option.nodes)
    floats = [host.node(node).shared_cpus.ids for node, _ in option.floating]
    floats_in = {d for d, cpus in enumerate(caches(host)) for some in floats if cpus & some}
    return {_cache(host, d) for d in floats_in | {d for _, d, _, _ in option.caches}}


def touched_by_resident(level: str, host: HostCapacity, resident: Resident) -> set[object]:
    if level != "l3" or resident.cpus is None:
        return touched(level, host, {int(n) for n in resident.nodes or ()})
    return {_cache(host, d) for d, cpus in enumerate(caches(host)) if cpus & resident.cpus.ids} or {host.name}


def _cache(host: HostCapacity, index: int) -> object:
    """Every pCPU without a known L3 is in one domain of its host."""
    return host.name if index == len(host.topology.l3) else (host.name, "l3", index)


def touched(level: str, host: HostCapacity, nodes: set[int]) -> set[object]:
    if level == "host":
        return {host.name}
    if level == "rack":
        return {("rack", host.domains["rack"])} if "rack" in host.domains else {host.name}
    if level == "node":
        return {(host.name, node) for node in nodes}
    cpus = {cpu for node in host.topology.nodes if node.node_id in nodes for cpu in node.cpus}
    if level == "l3":
        return {_cache(host, d) for d, some in enumerate(caches(host)) if some & cpus} or {host.name}
    return {(host.name, "package", p.package_id) for p in host.topology.packages if cpus & p.cpus.ids} or {host.name}
