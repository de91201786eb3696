"""How many more guests of a flavour fit, host by host, and what is stranded: exact, as far as it says so.

Each flavour is counted as if it were alone: the counts of two flavours cannot be had together.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from policies.asked import EmulatorPolicy, SmtPolicy
from policies.candidates import Part, kinds_of_parts, may_live_on, part_of
from policies.capacity import HostCapacity, NodeCapacity
from policies.cores import threads_per_core, whole_cores
from policies.fleet import Fleet
from policies.homes import Home, has_own_pcpus, homes_for
from policies.near import near_nodes
from policies.places import counts_of_parts
from policies.request import GuestName, GuestRequest
from policies.usage import shared_lost
from probe.cpuset import CpuSet, NodeId


@dataclass(frozen=True, slots=True)
class Fits:
    """So many fit for certain, and no more than `bound`; equal where the count is exact."""

    count: int
    bound: int

    def __add__(self, other: Fits) -> Fits:
        return Fits(self.count + other.count, self.bound + other.bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranded:
    """What no guest of any flavour can use as it lies, though it is free.

    Attributes:
        vcpus: room for vCPUs on nodes where memory is what every flavour lacks.
        memory_kib: page size to memory on nodes where pCPUs are what every flavour lacks.
        odd_pages_kib: page size to memory in pages that no flavour asks for.
    """

    vcpus: int
    memory_kib: Mapping[int, int]
    odd_pages_kib: Mapping[int, int]


def how_many(flavour: GuestRequest, fleet: Fleet) -> tuple[Fits, ...]:
    """How many more guests like `flavour` each host takes; groups are not looked at.

    Hosts of one shape are counted once.
    """
    request = replace(flavour, name=GuestName("any"), groups=(), priority=1)
    known: dict[object, Fits] = {}
    found = []
    for host in fleet:
        shape = _shape(request, host)
        if shape not in known:
            known[shape] = _on_host(request, host)
        found.append(known[shape])
    return tuple(found)


def _shape(request: GuestRequest, host: HostCapacity) -> object:
    """Equal for hosts that take as many."""
    nodes = tuple(
        (
            n.node_id,
            _cores(request, host, n),
            len(n.free_cpus),
            len(n.shared_cpus),
            len(n.free_cpus & n.shared_cpus),
            n.shared_vcpus,
            n.memory_kib.get(4, 0),
            *(n.memory_kib.get(concrete.page_kib, 0) for concrete in request.by_pages()),
        )
        for n in host.nodes
    )
    allowed = host.schedulable and (request.hosts is None or host.name in request.hosts)
    return allowed, host.hypervisor, host.overcommit, nodes, host.topology.fingerprint(), _kept(request, host)


def _cores(request: GuestRequest, host: HostCapacity, node: NodeCapacity) -> tuple[int, ...]:
    """How many siblings of each whole core of a node are shared; empty where the guest takes any pCPUs."""
    if request.smt is SmtPolicy.PREFER:
        return ()
    cores = whole_cores(host.topology, node.free_cpus.ids)
    return threads_per_core(host.topology), *sorted(len(core & node.shared_cpus.ids) for core in cores)


def _kept(request: GuestRequest, host: HostCapacity) -> object:
    """The homes that have each thing that one of the guest's must have."""
    kept = host.housekeeping_cpus if request.emulator is EmulatorPolicy.HOUSEKEEPING else CpuSet()
    return kept, tuple(near_nodes(device, host) for device in request.devices if device.must)


def _on_host(request: GuestRequest, host: HostCapacity) -> Fits:
    counts = counts_of_parts(request, host)
    if not counts:
        return Fits(0, 0)
    there = homes_for(request, host)
    one_home_each = len({home.cpu_node for home in there}) == len(there)
    if list(counts) == [1] and one_home_each:
        count = _of_one_part(request, host, [home for home in there if may_live_on(request, host, home)])
        return Fits(count, count)
    from policies.solver.count import most_alike

    return most_alike(request, host)


def _of_one_part(request: GuestRequest, host: HostCapacity, there: Sequence[Home]) -> int:
    """Guests of one part each on these homes, each of which has another CPU node."""
    pages = [concrete for concrete in request.by_pages() if counts_of_parts(concrete, host)]
    kinds = [(concrete, kinds_of_parts(concrete, host, 1)[0]) for concrete in pages]
    by_pcpus: dict[NodeId, int] = defaultdict(int)
    by_memory: dict[NodeId, int] = {}
    for home in there:
        parts = [part_of(concrete, home, kind) for concrete, kind in kinds]
        by_pcpus[home.memory_node] += _by_pcpus(host, parts[0])
        by_memory[home.memory_node] = _by_memory(host, parts)
    return sum(min(guests, by_memory[node_id]) for node_id, guests in by_pcpus.items())


def _by_memory(host: HostCapacity, parts: Sequence[Part]) -> int:
    """The most such parts for which one node has the memory: in the largest pages first, which leave most to others."""
    left = dict(host.node(parts[0].home.memory_node).memory_kib)
    found = 0
    for part in parts:
        guests = min(left.get(page, 0) // kib for page, kib in part.memory_kib.items() if kib)
        left |= {page: left[page] - guests * kib for page, kib in part.memory_kib.items() if page in left}
        found += guests
    return found


def _by_pcpus(host: HostCapacity, part: Part) -> int:
    """The most such parts for which one node has the pCPUs: what holds one more holds these."""
    node, low = host.node(part.home.cpu_node), 0
    high = _most_by_sums(host, node, part)
    while low < high:
        middle = (low + high + 1) // 2
        if _has_pcpus(host, node, part, middle):
            low = middle
        else:
            high = middle - 1
    return low


def _most_by_sums(host: HostCapacity, node: NodeCapacity, part: Part) -> int:
    """No more of them own pCPUs than are free, or float than the shared ones let."""
    own = len(node.free_cpus) // part.pcpus if part.pcpus else math.inf
    room = max(0, int(host.overcommit * len(node.shared_cpus)) - node.shared_vcpus)
    return int(min(own, room // part.floating if part.floating else math.inf))


def _has_pcpus(host: HostCapacity, node: NodeCapacity, part: Part, guests: int) -> bool:
    """Whether a node has the pCPUs of so many parts (policies/README.md: mixed guests, cores and emulator threads)."""
    pcpus, cores, floating = part.pcpus * guests, part.cores * guests, part.floating * guests
    if pcpus > len(node.free_cpus) or cores > len(whole_cores(host.topology, node.free_cpus.ids)):
        return False
    left = len(node.shared_cpus) - (shared_lost(host, node, pcpus=pcpus, cores=cores) if pcpus else 0)
    return not floating or (left >= part.floating and int(host.overcommit * left) >= node.shared_vcpus + floating)


def _room(request: GuestRequest, host: HostCapacity, node: NodeCapacity) -> int:
    """vCPUs of such a guest that the node still takes; of a mixed one, those that own a pCPU."""
    if has_own_pcpus(request):
        return len(node.free_cpus)
    return max(0, int(host.overcommit * len(node.shared_cpus)) - node.shared_vcpus)


def stranded(flavours: Sequence[GuestRequest], host: HostCapacity) -> Stranded:
    """What the host has free and none of these flavours can use; of a host that takes no guests, nothing."""
    if not host.schedulable:
        return Stranded(vcpus=0, memory_kib={}, odd_pages_kib={})
    asked = {4, *(concrete.page_kib for flavour in flavours for concrete in flavour.by_pages())}
    free = {(node.node_id, page): kib for node in host.nodes for page, kib in node.memory_kib.items()}
    odd = Counter[int]()
    for (_, page), kib in free.items():
        odd[page] += kib if page not in asked else 0
    looked = list(_looked_at(flavours, host))
    memory = Counter[int]()
    reached = {home.memory_node for flavour in flavours for home in homes_for(flavour, host)}
    for node_id in {node.node_id for node in host.nodes} - reached | _without_pcpus(looked):
        memory.update({page: free[node_id, page] for page in host.node(node_id).memory_kib if page in asked})
    vcpus = sum(
        max(_room(flavour, host, host.node(node_id)) for flavour in flavours) for node_id in _without_memory(looked)
    )
    return Stranded(vcpus=vcpus, memory_kib=dict(+memory), odd_pages_kib=dict(+odd))


_Looked = tuple[Home, bool, bool]
"""A home, whether its CPU node has the pCPUs for some part of a flavour, and whether its memory node has the memory."""


def _looked_at(flavours: Sequence[GuestRequest], host: HostCapacity) -> Iterator[_Looked]:
    for flavour in flavours:
        for home in homes_for(flavour, host):
            for part in _parts(flavour, host, home):
                yield home, *_fits(host, part)


def _without_memory(looked: Sequence[_Looked]) -> set[NodeId]:
    """CPU nodes that have the pCPUs for some part, wherever its memory is, and hold none."""
    holding = {home.cpu_node for home, cpus, memory in looked if cpus and memory}
    return {home.cpu_node for home, cpus, _ in looked if cpus} - holding


def _without_pcpus(looked: Sequence[_Looked]) -> set[NodeId]:
    """Nodes whose memory would hold some part, of which no CPU node has the pCPUs for any."""
    useful = {home.memory_node for home, cpus, _ in looked if cpus}
    return {home.memory_node for home, _, memory in looked if memory} - useful


def _parts(flavour: GuestRequest, host: HostCapacity, home: Home) -> Iterator[Part]:
    """Every kind of part of the flavour, for each page size and each number of nodes that it may be on."""
    for concrete in replace(flavour, groups=()).by_pages():
        for parts in counts_of_parts(concrete, host):
            for kind in dict.fromkeys(kinds_of_parts(concrete, host, parts)):
                yield part_of(concrete, home, kind)


def _fits(host: HostCapacity, part: Part) -> tuple[bool, bool]:
    """Whether the part's node has the pCPUs, and whether its memory node has the memory."""
    node, memory = host.node(part.home.cpu_node), host.node(part.home.memory_node).memory_kib
    has_memory = all(memory.get(page, 0) >= kib for page, kib in part.memory_kib.items())
    return _has_pcpus(host, node, part, 1), has_memory
