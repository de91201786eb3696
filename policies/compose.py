"""Turn "this guest on these nodes of this host" into a placement with pCPUs and memory bound.

Memory modes (design.md): `restrictive` for one cell on one node in 4 KiB pages (it can be moved
later, while the guest runs), `strict` for huge pages or several cells, `interleave` for one cell
that spans nodes, `affinity` on Xen. `preferred` only where it is asked for: the margin of a node is its
reserve, which the books keep, so that no full node makes a guest's memory silently remote.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from policies.asked import EmulatorPolicy, SmtPolicy, own_vcpus
from policies.capacity import HostCapacity, NodeCapacity
from policies.cores import choose_cores, choose_cpus
from policies.errors import DoesNotFitError
from policies.fleet import Fleet
from policies.homes import Home, cores_of, has_cells, split
from policies.l3 import L3Use
from policies.plan import Decision, MemoryMode, PlacedCell, PlacedMemory, Placement
from policies.request import AskedMemoryMode, GuestRequest, GuestShare, HostName
from probe.cpuset import CpuId, CpuSet, NodeSet
from probe.snapshot import Hypervisor

AnyDecision = TypeVar("AnyDecision", bound=Decision)

Within = tuple[tuple[CpuSet, int | None], ...]
"""So many pCPUs, or whole cores, are among these pCPUs, so many among those; None is all that are not elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """A policy's choice for one guest: the homes of its parts, the larger share first, and its page size.

    Attributes:
        l3: of a guest whose groups look at L3 domains, what its parts take of which; empty for others.
    """

    request: GuestRequest
    host: HostName
    homes: tuple[Home, ...]
    page_kib: int
    l3: L3Use = ()


def make_placement(
    request: GuestRequest, host: HostCapacity, homes: Sequence[Home], within: Sequence[Within] = ()
) -> Placement:
    """The placement of a guest on these homes, one part each; the larger shares come first.

    `host` is what is left now (`OpenFleet.host`). Whether it all fits, memory included, is for
    `OpenFleet.take` to say.

    Args:
        within: for each part, where the pCPUs of its vCPUs are; without, anywhere on their nodes.

    Raises:
        DoesNotFitError: a node has not enough pCPUs.
        KeyError: no such node.
    """
    shares = split(request, host, len(homes))
    parts, start = [], 0
    for home, share, inside in zip(homes, shares, within or [()] * len(shares), strict=True):
        parts.append(_part(request, host, home, share, _Seat(start, inside)))
        start += share.vcpus
    cells: tuple[PlacedCell, ...]
    if has_cells(request, host):
        pieces = _pieces(request, parts)
        mode = memory_mode_of(request, host, cells=len(pieces), nodes=1)
        cells = tuple(_cell(i, [piece], (piece.memory,), mode) for i, piece in enumerate(pieces))
    else:
        memory = _evenly(request, [part.memory for part in parts])
        cells = (_cell(0, parts, memory, memory_mode_of(request, host, cells=1, nodes=len(memory))),)
    placement = Placement(
        guest=request.name,
        host=host.name,
        cells=cells,
        emulator_cpus=None,
        dedicated_vcpus=own_vcpus(request),
        smt=request.smt,
        booked_cpus=CpuSet.union(part.idle for part in parts),
        far_memory=request.far_memory,
        overhead_kib=request.overhead_kib,
        devices=request.devices,
        groups=request.groups,
    )
    return with_emulator(placement, request, host)


def make_unpinned(request: GuestRequest, host: HostCapacity) -> Placement:
    """The placement that binds nothing: one cell, wherever its vCPUs and memory fall."""
    cell = PlacedCell(
        cell=0,
        vcpus=CpuSet(frozenset(range(request.vcpus))),
        cpus=None,
        cpu_nodes=None,
        pins={},
        memory=(PlacedMemory(node_id=None, kib=request.memory_kib, page_kib=request.page_kib),),
        memory_mode=MemoryMode.NONE,
    )
    return Placement(
        guest=request.name,
        host=host.name,
        cells=(cell,),
        emulator_cpus=None,
        emulator=request.emulator,
        far_memory=request.far_memory,
        overhead_kib=request.overhead_kib,
        devices=request.devices,
        groups=request.groups,
    )


def settle_shared(decisions: Sequence[AnyDecision], fleet: Fleet) -> tuple[AnyDecision, ...]:
    """Let shared guests float on the shared pCPUs that no guest of the plan owns.

    A policy that decides one guest after the other calls this at the end: a guest placed early
    would else float on pCPUs that were dedicated later. Everything else stays as it is.
    """
    owned: dict[HostName, CpuSet] = defaultdict(CpuSet)
    for decision in decisions:
        if isinstance(decision, Placement):
            owned[decision.host] |= decision.own_cpus
    return tuple(settled(decision, fleet, owned) for decision in decisions)


def settled(decision: AnyDecision, fleet: Fleet, owned: Mapping[HostName, CpuSet]) -> AnyDecision:
    """Its shared vCPUs float on all shared pCPUs of their nodes but those that are owned."""
    if not isinstance(decision, Placement) or not decision.floating_pins:
        return decision
    host, gone = fleet.host(decision.host), owned.get(decision.host, CpuSet())
    pins = {vcpu: _shared_around(host, pin) - gone for vcpu, pin in decision.floating_pins.items()}
    settled = replace(decision, cells=_cells_floating(decision, pins))
    emulator = decision.emulator_cpus or CpuSet()
    elsewhere = emulator & (host.housekeeping_cpus | decision.booked_cpus)
    return settled if elsewhere else replace(settled, emulator_cpus=_where_it_floats(settled))


def _cells_floating(placement: Placement, pins: Mapping[int, CpuSet]) -> tuple[PlacedCell, ...]:
    """Its cells with these pins of vCPUs that float."""
    cells = []
    for cell in placement.cells:
        now = {vcpu: pins.get(vcpu, pin) for vcpu, pin in cell.pins.items()}
        cells.append(replace(cell, pins=now, cpus=CpuSet.union(now.values())))
    return tuple(cells)


def _where_it_floats(placement: Placement) -> CpuSet | None:
    """The pCPUs of the vCPUs that float; of all where none does."""
    return CpuSet.union(placement.floating_pins.values()) or placement.cpus


def _shared_around(host: HostCapacity, pin: CpuSet) -> CpuSet:
    return CpuSet.union(n.shared_cpus for n in host.nodes if not n.shared_cpus.isdisjoint(pin))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    home: Home
    pins: Mapping[int, CpuSet]
    idle: CpuSet
    memory: PlacedMemory


class _Seat(NamedTuple):
    """The first vCPU of a part, and where the pCPUs that it owns are."""

    start: int
    within: Within


def _part(request: GuestRequest, host: HostCapacity, home: Home, share: GuestShare, seat: _Seat) -> _Part:
    """One host node's part of the guest."""
    node, start = host.node(home.cpu_node), seat.start
    owners = own_vcpus(request).ids
    own = [vcpu for vcpu in range(start, start + share.vcpus) if vcpu in owners]
    floating = share.vcpus - len(own)
    try:
        chosen, idle = _own_cpus(request, host, (node, seat.within), len(own))
        shared = node.shared_cpus - CpuSet.of(*chosen) - idle
        if len(shared) < floating:
            raise ValueError(f"{floating} vCPUs, and {len(shared)} pCPUs are shared.")
    except ValueError as error:
        raise DoesNotFitError(f"guest {request.name}: node {home.cpu_node} of {host.name}: {error}") from error
    owned = dict(zip(own, (CpuSet.of(cpu) for cpu in chosen), strict=True))
    pins = {vcpu: owned.get(vcpu, shared) for vcpu in range(start, start + share.vcpus)}
    memory = PlacedMemory(node_id=home.memory_node, kib=share.memory_kib, page_kib=request.page_kib)
    return _Part(home=home, pins=pins, idle=idle, memory=memory)


def _own_cpus(
    request: GuestRequest, host: HostCapacity, where: tuple[NodeCapacity, Within], vcpus: int
) -> tuple[Sequence[CpuId], CpuSet]:
    """A pCPU for each vCPU, siblings side by side, and the siblings that stay idle. ValueError: there are too few."""
    node, within = where
    count = cores_of(request, host, vcpus)
    cores, chosen = list[list[CpuId]](), list[CpuId]()
    for cpus, most in within or ((node.free_cpus, None),):
        free = node.free_cpus & cpus
        if count:
            few = count - len(cores) if most is None else most
            cores += choose_cores(host.topology, free, few, shared=node.shared_cpus)
        else:
            few = vcpus - len(chosen) if most is None else most
            chosen += choose_cpus(host.topology, free, few, shared=node.shared_cpus)
    if count and request.smt is SmtPolicy.ISOLATE:
        chosen = [siblings[0] for siblings in cores]
    elif count:
        chosen = [cpu for siblings in cores for cpu in siblings][:vcpus]
    return chosen, CpuSet.of(*(cpu for siblings in cores for cpu in siblings if cpu not in chosen))


def _pieces(request: GuestRequest, parts: Sequence[_Part]) -> list[_Part]:
    """The part of each guest cell, its vCPUs in order: a node has several where they are stacked."""
    pieces = []
    for part, sizes in zip(parts, request.dealt(len(parts)), strict=True):
        vcpus = iter(part.pins.items())
        for size in sizes:
            pins = dict(itertools.islice(vcpus, size.vcpus))
            pieces.append(replace(part, pins=pins, memory=replace(part.memory, kib=size.memory_kib)))
    return pieces


def _cell(index: int, parts: Sequence[_Part], memory: tuple[PlacedMemory, ...], mode: MemoryMode) -> PlacedCell:
    pins = {vcpu: pin for part in parts for vcpu, pin in part.pins.items()}
    return PlacedCell(
        cell=index,
        vcpus=CpuSet(frozenset(pins)),
        cpus=CpuSet.union(pins.values()),
        cpu_nodes=NodeSet.of(*(part.home.cpu_node for part in parts)),
        pins=pins,
        memory=memory,
        memory_mode=mode,
    )


def _evenly(request: GuestRequest, shares: Sequence[PlacedMemory]) -> tuple[PlacedMemory, ...]:
    """One cell's memory, evenly over its nodes, of which two memory-less ones may mean the same."""
    nodes = list(dict.fromkeys(share.node_id for share in shares))
    if len(nodes) == len(shares):
        return tuple(shares)
    pages, spare = divmod(request.memory_kib // request.page_kib, len(nodes))
    amounts = [(pages + (i < spare)) * request.page_kib for i in range(len(nodes))]
    return tuple(replace(shares[0], node_id=n, kib=kib) for n, kib in zip(nodes, amounts, strict=True))


def memory_mode_of(request: GuestRequest, host: HostCapacity, *, cells: int, nodes: int) -> MemoryMode:
    """The mode of each cell of a guest with so many cells, the cell being on so many nodes."""
    if host.hypervisor is Hypervisor.XEN:
        return MemoryMode.AFFINITY
    if nodes > 1:
        return MemoryMode.INTERLEAVE
    if request.memory_mode is not AskedMemoryMode.AUTO:
        return MemoryMode(request.memory_mode.value)
    return MemoryMode.RESTRICTIVE if cells == 1 and request.page_kib == 4 else MemoryMode.STRICT


def with_emulator(placement: Placement, request: GuestRequest, host: HostCapacity) -> Placement:
    """The placement with pCPUs for its emulator threads; one of its own is taken of what the host has left beside it.

    Raises:
        DoesNotFitError: the node of its first vCPU has none left, or its nodes have no housekeeping ones.
    """
    if request.emulator is EmulatorPolicy.HOUSEKEEPING and not _housekeeping_near(placement, host):
        raise DoesNotFitError(f"guest {request.name}: its nodes of {host.name} have no housekeeping pCPUs.")
    placement = replace(placement, emulator=request.emulator)
    if request.emulator is not EmulatorPolicy.OWN:
        return replace(placement, emulator_cpus=emulator_cpus_of(placement, host, request.emulator))
    first = placement.cells[0].pins[0]
    node = next(node for node in host.nodes if not first.isdisjoint(node.free_cpus | node.shared_cpus))
    left = node.free_cpus - placement.own_cpus
    if not left:
        where = f"node {node.node_id} of {host.name}"
        raise DoesNotFitError(f"guest {request.name}: {where} has no pCPU left for its emulator threads.")
    own = CpuSet.of(*choose_cpus(host.topology, left, 1, shared=node.shared_cpus))
    cells = _cells_floating(placement, {vcpu: pin - own for vcpu, pin in placement.floating_pins.items()})
    return replace(placement, cells=cells, emulator_cpus=own, booked_cpus=placement.booked_cpus | own)


def emulator_cpus_of(
    placement: Placement, host: HostCapacity, asked: EmulatorPolicy = EmulatorPolicy.AUTO
) -> CpuSet | None:
    """Housekeeping pCPUs of a KVM guest's nodes, where it wants these, or has pCPUs of its own; else its vCPUs'."""
    if asked is EmulatorPolicy.HOUSEKEEPING or (asked is EmulatorPolicy.AUTO and placement.dedicated):
        return _housekeeping_near(placement, host) or _where_it_floats(placement)
    return _where_it_floats(placement)


def _housekeeping_near(placement: Placement, host: HostCapacity) -> CpuSet:
    """The housekeeping pCPUs of its nodes; none on Xen, where emulator threads are bound to nothing."""
    if host.hypervisor is Hypervisor.XEN:
        return CpuSet()
    return host.housekeeping_cpus & CpuSet.union(host.topology.node(n).cpus for n in placement.cpu_nodes or ())
