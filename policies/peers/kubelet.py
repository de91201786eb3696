"""Kubernetes: its scheduler for the host, then the kubelet's CPU, memory and topology managers.

Source: kubernetes, `pkg/kubelet/cm/{topologymanager,cpumanager,memorymanager}` (hints, their merge,
`bitmask`), KEPs 693, 1769, 3545, 4622; `noderesources` (LeastAllocated) of the scheduler. A dedicated
guest is a pod of the class Guaranteed with whole CPUs, under the `static` CPU and memory managers; a
shared guest is Burstable: no manager looks at it, and nothing is bound. Facts kept:

* The scheduler knows sums: of the hosts that hold the guest, the one with the largest free shares of
  CPUs and memory. The kubelet there has the last word: its refusal is final (TopologyAffinityError).
* Hints are sets of nodes whose sums suffice, for CPUs and for each kind of page; preferred are those
  with the fewest nodes that could hold the guest if they were empty. Memory is in groups: a node that
  serves guests of one group of nodes serves no other group.
* A merged hint is the intersection, preferred where all are equal and preferred. Preferred ones come
  first, of these the narrowest, then the lowest mask; with `prefer-closest-numa-nodes` of equally
  narrow ones the one with the least mean distance. Others: as near as may be to the most nodes that
  any resource needs.
* `best-effort` admits all, `restricted` preferred ones, `single-numa-node` one node.
* More than 8 nodes are refused.
* CPUs are taken from whole free nodes first, then from the fullest; so their numbers may be uneven,
  while memory is even (KubeVirt's guest cells too: equal memory, whatever the vCPUs).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from policies.homes import has_own_pcpus, has_shared_pcpus
from policies.peers.peer import Bound, Choice, Choose, Refused, Unbound, even_memory, peer
from policies.peers.seen import SeenHost
from policies.plan import Reason
from policies.policy import Policy
from policies.request import GuestRequest
from probe.cpuset import NodeId

MOST_NODES = 8
Mask = frozenset[NodeId]


@dataclass(frozen=True, slots=True)
class Hint:
    """A set of nodes that would do for a resource."""

    nodes: Mask
    preferred: bool


Compare = Callable[[SeenHost, Mask], tuple[float, ...]]
"""A key by which the better of two equally preferred sets is smaller."""


def narrowest(_: SeenHost, nodes: Mask) -> tuple[float, ...]:
    """Fewer nodes, then the lower bit mask."""
    return len(nodes), _bits(nodes)


def closest(host: SeenHost, nodes: Mask) -> tuple[float, ...]:
    """Fewer nodes, then the smaller mean distance over all ordered pairs, then the lower bit mask."""
    pairs = itertools.product(nodes, repeat=2)
    return len(nodes), sum(host.capacity.topology.distance(a, b) for a, b in pairs) / len(nodes) ** 2, _bits(nodes)


def _bits(nodes: Mask) -> int:
    return sum(1 << node for node in nodes)


def _choose_by(name: str, compare: Compare) -> Choose:
    def choose(request: GuestRequest, host: SeenHost) -> Choice:
        if request.cells not in (1, "auto"):
            return Refused(reason=Reason.UNSUPPORTED, detail="the kubelet knows no guest cells")
        if not has_own_pcpus(request):
            return Unbound()
        if has_shared_pcpus(request):
            return Refused(reason=Reason.UNSUPPORTED, detail="the kubelet gives a guest whole CPUs, or shares")
        if len(host.nodes) > MOST_NODES:
            return Refused(reason=Reason.UNSUPPORTED, detail=f"has more than {MOST_NODES} nodes")
        hints = [cpu_hints(request, host), *memory_hints(request, host)]
        if name == "single-numa-node":
            hints = [[hint for hint in some if hint.preferred and len(hint.nodes) == 1] for some in hints]
        best = merged(hints, host, compare)
        if name != "best-effort" and not best.preferred:
            return Refused(reason=Reason.CONTENTION, detail=f"TopologyAffinityError ({name})")
        return _allocated(request, host, best.nodes)

    return choose


def _masks(nodes: Sequence[NodeId]) -> Iterator[Mask]:
    for count in range(1, len(nodes) + 1):
        yield from map(frozenset, itertools.combinations(nodes, count))


def cpu_hints(request: GuestRequest, host: SeenHost) -> list[Hint]:
    """`generateCPUTopologyHints`."""
    masks = list(_masks([node for node in host.nodes if host.cpus[node]]))
    could = [len(mask) for mask in masks if sum(len(host.cpus[n]) for n in mask) >= request.vcpus]
    fewest = min(could, default=len(host.nodes))
    can = [mask for mask in masks if sum(len(host.free_cpus[n]) for n in mask) >= request.vcpus]
    return [Hint(mask, len(mask) == fewest) for mask in can]


def memory_hints(request: GuestRequest, host: SeenHost) -> list[list[Hint]]:
    """`calculateHints` of the memory manager: the same sets for each kind of page."""
    need = {request.page_kib: request.memory_kib}
    need[4] = need.get(4, 0) + request.overhead_kib
    need = {page: kib for page, kib in need.items() if kib}
    could = [mask for mask in _masks(host.nodes) if _holds(host.allocatable_kib, need, mask)]
    fewest = min(map(len, could), default=len(host.nodes))
    can = [mask for mask in could if _is_no_others(host, mask) and _holds(host.free_kib, need, mask)]
    return [[Hint(mask, len(mask) == fewest) for mask in can]] * len(need)


def _holds(kib: dict[int, dict[NodeId, int]], need: dict[int, int], mask: Mask) -> bool:
    return all(sum(kib.get(page, {}).get(node, 0) for node in mask) >= amount for page, amount in need.items())


def _is_no_others(host: SeenHost, mask: Mask) -> bool:
    """No node of it serves guests of another group of nodes; a node of a group serves no single guest."""
    groups = (host.groups.get(node) for node in mask)
    return all(group is None or group == mask for group in groups)


def merged(hints: Sequence[Sequence[Hint]], host: SeenHost, compare: Compare) -> Hint:
    """The best intersection of one hint of each list; all nodes, not preferred, where there is none."""
    equal = frozenset.intersection(*(frozenset(h.nodes for h in some if h.preferred) for some in hints))
    if equal:
        return Hint(min(equal, key=lambda nodes: compare(host, nodes)), preferred=True)
    reached = {frozenset(host.nodes)}
    for some in hints:
        of_resource = {hint.nodes for hint in some} or {frozenset(host.nodes)}
        reached = {a & b for a, b in itertools.product(reached, of_resource) if a & b}
    most = max((min(len(h.nodes) for h in some) for some in hints if some), default=len(host.nodes))
    best = min(reached, key=lambda nodes: (*_from(most, nodes), *compare(host, nodes)), default=frozenset(host.nodes))
    return Hint(best, preferred=False)


def _from(most: int, nodes: Mask) -> tuple[int, int]:
    """`HintMerger.compare` between sets that are not preferred: `most` nodes, else more of fewer, else fewer."""
    if len(nodes) == most:
        return 0, 0
    return (1, -len(nodes)) if len(nodes) < most else (2, len(nodes))


def _allocated(request: GuestRequest, host: SeenHost, nodes: Mask) -> Choice:
    """CPUs as `takeByTopologyNUMAPacked` does, the aligned ones first; memory from the hint's nodes."""
    left, vcpus = request.vcpus, []
    others = [node for node in host.nodes if node not in nodes]
    for node in [*_packed(host, sorted(nodes), left), *_packed(host, others, left)]:
        count = min(left, len(host.free_cpus[node]))
        if count:
            vcpus.append((node, count))
            left -= count
    if left:
        return Refused(reason=Reason.PCPUS, detail="not enough CPUs available to satisfy request")
    with_memory = sorted(nodes)
    if request.cells == "auto":
        with_memory = [node for node, _ in vcpus]
    return Bound(vcpus=tuple(vcpus), memory_kib=even_memory(request, with_memory))


def _packed(host: SeenHost, nodes: Iterable[NodeId], vcpus: int) -> list[NodeId]:
    """Nodes that are wholly free and wholly needed, then the others, the fewest free CPUs first."""
    free = {node: len(host.free_cpus[node]) for node in nodes}
    whole = [n for n in free if 0 < free[n] == len(host.cpus[n]) <= vcpus]
    return [*whole, *sorted((n for n in free if n not in whole), key=lambda n: (free[n], n))]


def least_allocated(request: GuestRequest, hosts: Sequence[SeenHost]) -> Iterable[SeenHost]:
    """The one host that the scheduler picks; of equals the first (there: any)."""
    holding = [host for host in hosts if host.holds_in_sum(request)]
    return [max(holding, key=lambda host: _free_share(request, host))] if holding else []


def _free_share(request: GuestRequest, host: SeenHost) -> int:
    """In per cent, whole ones: the mean of what is free of CPUs and of memory once the guest is there."""
    cpus = sum(map(len, host.cpus.values()))
    free_cpus = (sum(map(len, host.free_cpus.values())) if has_own_pcpus(request) else host.vcpu_room()) - request.vcpus
    memory = sum(host.allocatable_kib[4].values())
    own_kib = request.overhead_kib + (request.memory_kib if request.page_kib == 4 else 0)
    free_kib = host.total_free_kib(4) - own_kib
    return (100 * free_cpus // max(1, cpus) + 100 * free_kib // max(1, memory)) // 2


def _kubelet(name: str, compare: Compare = narrowest) -> Policy:
    return peer(_choose_by(name, compare), offer=least_allocated)


kubelet_best_effort = _kubelet("best-effort")
"""`topologyManagerPolicy: best-effort`."""
kubelet_restricted = _kubelet("restricted")
"""`topologyManagerPolicy: restricted`."""
kubelet_single_numa_node = _kubelet("single-numa-node")
"""`topologyManagerPolicy: single-numa-node`."""
kubelet_closest = _kubelet("best-effort", closest)
"""`best-effort` with the option `prefer-closest-numa-nodes`."""
