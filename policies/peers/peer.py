"""Lift a peer's choice of nodes for one guest on one host to a policy for a batch and a fleet.

Guests come one after the other, higher priority first, and are counted in before the next is looked
at. Which host a guest is offered is the peer's own rule where it has one. Those that know one host
only (`libxl`, `xenopsd`, `numad`) get the first whose sums hold the guest: what any layer above them
would do. pCPUs within a node are chosen as for our own policies, because the peers' rules for that
ask for what a plan does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from policies.asked import own_vcpus
from policies.compose import emulator_cpus_of, make_unpinned, memory_mode_of, settle_shared
from policies.cores import choose_cpus
from policies.fleet import Fleet
from policies.homes import has_cells
from policies.peers.seen import SeenHost
from policies.plan import Answer, Decision, MemoryMode, PlacedCell, PlacedMemory, Placement, Reason, Rejection
from policies.policy import Effort
from policies.request import GuestRequest
from policies.tiers import objective_of
from probe.cpuset import CpuSet, NodeId, NodeSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The peer does not create the guest there: a closed reason and a sentence without a full stop."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The nodes that the peer chose.

    Attributes:
        vcpus: node to the number of vCPUs there, in the order of the guest's vCPUs.
        memory_kib: node to the memory there; for a guest with cells, of the cell at the same position.
    """

    vcpus: tuple[tuple[NodeId, int], ...]
    memory_kib: tuple[tuple[NodeId, int], ...]


@dataclass(frozen=True, slots=True)
class Unbound:
    """The peer creates the guest and binds nothing; often it only logs that."""


Choice = Bound | Unbound | Refused
Choose = Callable[[GuestRequest, SeenHost], Choice]
"""What the peer answers for a guest on a host. The guest is counted in by the caller."""

Offer = Callable[[GuestRequest, Sequence[SeenHost]], Iterable[SeenHost]]
"""The hosts that a guest is offered, in order; where the last refuses, it is refused."""


def holding_in_sum(request: GuestRequest, hosts: Sequence[SeenHost]) -> Iterable[SeenHost]:
    """The hosts whose sums hold the guest, in the fleet's order."""
    return (host for host in hosts if host.holds_in_sum(request))


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The policy that decides as a peer does. Whoever keeps hosts as it sees them asks it for one guest."""

    choose: Choose
    offer: Offer

    def __call__(self, requests: Sequence[GuestRequest], fleet: Fleet, effort: Effort, /) -> Answer:
        hosts = [SeenHost(host) for host in fleet]
        decided: dict[str, Decision] = {}
        for request in sorted(requests, key=lambda r: -r.priority):
            decision, host = self.decide_one(request, hosts)
            if host is not None and isinstance(decision, Placement):
                host.take(decision)
            decided[request.name] = decision
        settled = settle_shared([decided[request.name] for request in requests], fleet)
        return Answer(decisions=settled, objective=objective_of(settled, requests, fleet, effort.objective))

    def decide_one(self, request: GuestRequest, hosts: Sequence[SeenHost]) -> tuple[Decision, SeenHost | None]:
        """The answer for one guest, and the host of its place, in which the caller counts it in."""
        why = Refused(reason=Reason.HOST, detail="no host is left whose sums hold it")
        for host in self.offer(request, hosts):
            choice = self.choose(request, host)
            if isinstance(choice, Refused):
                why = replace(choice, detail=f"{host.capacity.name}: {choice.detail}")
            elif isinstance(choice, Bound):
                return _placement(request, host, choice), host
            else:
                return make_unpinned(request, host.capacity), host
        return Rejection(guest=request.name, reason=why.reason, detail=why.detail), None


def peer(choose: Choose, *, offer: Offer = holding_in_sum) -> Peer:
    """The policy that decides as a peer does."""
    return Peer(choose=choose, offer=offer)


def evenly(request: GuestRequest, host: SeenHost, nodes: Sequence[NodeId]) -> Choice:
    """The guest's vCPUs over those of the nodes that have shared pCPUs, its memory over all; cells in proportion.

    Nothing is bound where no node has any.
    """
    with_cpus = [node for node in nodes if host.shared_cpus(node)][: request.vcpus]
    if not with_cpus:
        return Unbound()
    shares = request.shares(len(with_cpus))
    vcpus = _pairs(with_cpus, [share.vcpus for share in shares])
    if has_cells(request, host.capacity):
        return Bound(vcpus=vcpus, memory_kib=_pairs(with_cpus, [share.memory_kib for share in shares]))
    return Bound(vcpus=vcpus, memory_kib=even_memory(request, nodes))


def even_memory(request: GuestRequest, nodes: Sequence[NodeId]) -> tuple[tuple[NodeId, int], ...]:
    """The guest's memory in whole pages over the nodes; the first ones have what is left over."""
    pages, spare = divmod(request.memory_kib // request.page_kib, len(nodes))
    return _pairs(nodes, [(pages + (i < spare)) * request.page_kib for i in range(len(nodes))])


def _pairs(nodes: Sequence[NodeId], amounts: Sequence[int]) -> tuple[tuple[NodeId, int], ...]:
    return tuple(zip(nodes, amounts, strict=True))


def _placement(request: GuestRequest, host: SeenHost, choice: Bound) -> Placement:
    """The peer's choice with pCPUs, whether our rules allow it or not."""
    parts = _pinned(request, host, choice)
    memory = [PlacedMemory(node_id=n, kib=kib, page_kib=request.page_kib) for n, kib in choice.memory_kib]
    if has_cells(request, host.capacity):
        mode = memory_mode_of(request, host.capacity, cells=len(parts), nodes=1)
        cells = [_cell(i, [part], (own,), mode) for i, (part, own) in enumerate(zip(parts, memory, strict=True))]
    else:
        cells = [_cell(0, parts, tuple(memory), memory_mode_of(request, host.capacity, cells=1, nodes=len(memory)))]
    placement = Placement(
        guest=request.name,
        host=host.capacity.name,
        cells=tuple(cells),
        emulator_cpus=None,
        emulator=request.emulator,
        dedicated_vcpus=own_vcpus(request),
        far_memory=request.far_memory,
        overhead_kib=request.overhead_kib,
        devices=request.devices,
        groups=request.groups,
    )
    return replace(placement, emulator_cpus=emulator_cpus_of(placement, host.capacity))


_Part = tuple[NodeId, dict[int, CpuSet]]
"""A node, and the pCPUs of each vCPU there."""


def _pinned(request: GuestRequest, host: SeenHost, choice: Bound) -> list[_Part]:
    parts: list[_Part] = []
    owners, start = own_vcpus(request).ids, 0
    for node, count in choice.vcpus:
        vcpus = range(start, start + count)
        shared = host.capacity.node(node).shared_cpus
        own = [vcpu for vcpu in vcpus if vcpu in owners]
        chosen = choose_cpus(host.capacity.topology, host.free_cpus[node], len(own), shared=shared)
        owned = {vcpu: CpuSet.of(cpu) for vcpu, cpu in zip(own, chosen, strict=True)}
        parts.append((node, dict.fromkeys(vcpus, shared - CpuSet.of(*chosen)) | owned))
        start += count
    return parts


def _cell(index: int, parts: Sequence[_Part], memory: tuple[PlacedMemory, ...], mode: MemoryMode) -> PlacedCell:
    pins = {vcpu: cpus for _, part in parts for vcpu, cpus in part.items()}
    return PlacedCell(
        cell=index,
        vcpus=CpuSet(frozenset(pins)),
        cpus=CpuSet.union(pins.values()),
        cpu_nodes=NodeSet.of(*(node for node, _ in parts)),
        pins=pins,
        memory=memory,
        memory_mode=mode,
    )
