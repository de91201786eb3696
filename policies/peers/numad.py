"""numad's advice, as libvirt asks for it where a domain says `placement='auto'`: `numad -w VCPUS:MIB`.

Source: numad.c (`pick_numa_nodes` for no process, `combined_value_of_weighted_resources`), read in
openEuler's mirror at f6d7c7f; libvirt binds vCPUs and, strictly, memory to the answer. Facts kept:

* A node's worth is (10·min(free, need) + 4·excess MiB) × (6·min(idle, need) + excess), CPUs in
  hundredths. CPUs count as idle while nobody computes: guests that were just created are not seen.
* Nodes needed = by the totals of the *first* node, whatever the others have.
* Of each node's nearest so many nodes (itself included) the worths ÷ distance² are added up, whole
  numbers each; the node with the largest sum is the seed. From it on, the nearest first, the worthier
  of equally near ones first, nodes are added until the request is met, 100 MiB of each left out.
* It never refuses: where all nodes do not suffice, the answer is all nodes. It books nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from policies.homes import has_own_pcpus
from policies.peers.peer import Choice, Refused, evenly, peer
from policies.peers.seen import SeenHost
from policies.plan import Reason
from policies.request import GuestRequest
from probe.cpuset import NodeId

_HUNDRED = 100
_MARGIN_MIB = 100


def choose(request: GuestRequest, host: SeenHost) -> Choice:
    """The nodes that numad advises."""
    if has_own_pcpus(request) or request.cells not in (1, "auto"):
        detail = "placement='auto' gives no pCPU and no guest cell a place of its own"
        return Refused(reason=Reason.UNSUPPORTED, detail=detail)
    mib = -(-request.memory_kib // 1024)
    return evenly(request, host, sorted(advice(request.vcpus, mib, host)))


def advice(vcpus: int, mib: int, host: SeenHost) -> list[NodeId]:
    """`numad -w VCPUS:MIB`: the nodes in the order in which they are added."""
    hundredths = vcpus * _HUNDRED
    free_mib = {node: host.free_kib[4][node] // 1024 for node in host.nodes}
    idle = {node: max(1, len(host.cpus[node]) * _HUNDRED) for node in host.nodes}
    worth = {node: _worth(mib, hundredths, free_mib[node], idle[node]) for node in host.nodes}
    needed = _nodes_needed(hundredths, mib, host)
    chains = {seed: _nearest(host, seed, worth) for seed in host.nodes}
    sums = {
        seed: sum(worth[node] // host.capacity.topology.distance(node, seed) ** 2 for node in chain[:needed])
        for seed, chain in chains.items()
    }
    seed = max(host.nodes, key=lambda node: sums[node])  # the first of equals
    chosen: list[NodeId] = []
    for node in chains[seed]:
        if needed <= 0 and mib <= 0 and hundredths <= 0:
            break
        chosen.append(node)
        needed -= 1
        mib = 0 if free_mib[node] >= mib + _MARGIN_MIB else mib - (free_mib[node] - _MARGIN_MIB)
        hundredths = 0 if idle[node] >= hundredths else hundredths - idle[node]
    return chosen


def _worth(need_mib: int, need_cpus: int, free_mib: int, idle: int) -> int:
    memory = 10 * min(free_mib, need_mib) + 4 * max(0, free_mib - need_mib)
    return memory * (6 * min(idle, need_cpus) + max(0, idle - need_cpus))


def _nodes_needed(hundredths: int, mib: int, host: SeenHost) -> int:
    first = host.nodes[0]
    total_mib, total_cpus = host.total_kib(first) // 1024, len(host.cpus[first]) * _HUNDRED
    by_memory, by_cpus = (
        -(-need // total) if total else len(host.nodes) for need, total in ((mib, total_mib), (hundredths, total_cpus))
    )
    return min(len(host.nodes), max(by_memory, by_cpus))


def _nearest(host: SeenHost, seed: NodeId, worth: dict[NodeId, int]) -> Sequence[NodeId]:
    """All nodes by numad's selection sort: a swap may change the order of equals behind it."""
    order = list(host.nodes)
    for i in range(len(order)):
        best = i
        for k in range(i + 1, len(order)):
            near, other = (host.capacity.topology.distance(order[x], seed) for x in (best, k))
            if other < near or (other == near and worth[order[k]] > worth[order[best]]):
                best = k
        order[i], order[best] = order[best], order[i]
    return order


numad = peer(choose)
"""libvirt's `<vcpu placement='auto'>` with numad, memory `strict`."""
