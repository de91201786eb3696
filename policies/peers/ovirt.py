"""oVirt: dedicated pCPUs by the socket with the most free ones, guest cells by a first assignment.

Source: ovirt-engine, `…/bll/scheduling/utils/VdsCpuUnitPinningHelper.java` (3a099e0) and
`NumaPinningHelper.java` (051980c), `…/policyunits/NumaWeightPolicyUnit.java`. Facts kept:

* A guest is one virtual socket, which must fit one physical socket: the one with the most free
  pCPUs, the first of equals; there core by core, in the order of the host. Nodes are not looked at,
  nor memory; what the guest's pCPUs are near to is where its memory is interleaved.
* Guest cells are assigned depth first by memory alone, the last host node first, and two cells may
  share a node.
* A shared guest without cells is not bound at all.
* Hosts on which the guest fits one node come first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from policies.homes import has_own_pcpus, has_shared_pcpus
from policies.peers.peer import Bound, Choice, Refused, Unbound, even_memory, holding_in_sum, peer
from policies.peers.seen import SeenHost
from policies.plan import Reason
from policies.request import GuestRequest
from probe.cpuset import CpuSet, NodeId


def choose(request: GuestRequest, host: SeenHost) -> Choice:
    """The nodes that oVirt's pinning ends up on."""
    cells = request.cells if isinstance(request.cells, int) else 1
    if has_own_pcpus(request):
        if has_shared_pcpus(request):
            return Refused(reason=Reason.UNSUPPORTED, detail="all vCPUs of a guest are dedicated, or none")
        if cells > 1:
            detail = "cells of a guest with dedicated pCPUs follow its pCPUs"
            return Refused(reason=Reason.UNSUPPORTED, detail=detail)
        return _dedicated(request, host)
    return Unbound() if cells == 1 else _assigned(request, host, cells)


def _dedicated(request: GuestRequest, host: SeenHost) -> Choice:
    free = CpuSet.union(host.free_cpus.values())
    topology = host.capacity.topology
    sockets = [package.cpus & free for package in topology.packages] or [free]
    chosen = max(sockets, key=len)  # the first of equals
    if len(chosen) < request.vcpus:
        detail = f"the socket with the most free pCPUs has {len(chosen)} for {request.vcpus} vCPUs"
        return Refused(reason=Reason.PCPUS, detail=detail)
    by_core = [cpu for core in topology.cores for cpu in (core.cpus & chosen)]
    order = [*by_core, *(chosen - CpuSet(frozenset(by_core)))]
    counts = Counter(_node_of(host, cpu) for cpu in order[: request.vcpus])
    nodes = sorted(counts)
    return Bound(vcpus=tuple((n, counts[n]) for n in nodes), memory_kib=even_memory(request, nodes))


def _node_of(host: SeenHost, cpu: int) -> NodeId:
    return next(node for node in host.nodes if cpu in host.free_cpus[node])


def _assigned(request: GuestRequest, host: SeenHost, cells: int) -> Choice:
    """`findAssignment`: its commands run in reversed order, so that the last node comes first."""
    shares = request.shares(cells)
    free = dict(host.free_kib.get(request.page_kib, {}))
    last_first = [node for node in reversed(host.nodes) if host.shared_cpus(node)]

    def extended(cell: int) -> tuple[NodeId, ...] | None:
        if cell == cells:
            return ()
        for node in last_first:
            if free.get(node, 0) >= shares[cell].memory_kib:
                free[node] -= shares[cell].memory_kib
                rest = extended(cell + 1)
                if rest is not None:
                    return (node, *rest)
                free[node] += shares[cell].memory_kib
        return None

    nodes = extended(0)
    if nodes is None:
        return Refused(reason=Reason.MEMORY, detail="no assignment of guest cells to nodes has the memory")
    return Bound(
        vcpus=tuple((node, share.vcpus) for node, share in zip(nodes, shares, strict=True)),
        memory_kib=tuple((node, share.memory_kib) for node, share in zip(nodes, shares, strict=True)),
    )


def fitting_one_node_first(request: GuestRequest, hosts: Sequence[SeenHost]) -> Iterable[SeenHost]:
    """`NumaWeightPolicyUnit`, among hosts whose sums hold the guest."""
    return sorted(holding_in_sum(request, hosts), key=lambda host: not _fits_one_node(request, host))


def _fits_one_node(request: GuestRequest, host: SeenHost) -> bool:
    free = host.free_kib.get(request.page_kib, {})
    return any(free.get(n, 0) >= request.memory_kib and len(host.cpus[n]) >= request.vcpus for n in host.nodes)


ovirt = peer(choose, offer=fitting_one_node_first)
"""CPU pinning policy `dedicated` for dedicated guests, none for shared ones."""
