"""How much memory everybody on a host counts for, per node and page size, and how much is resident.

* What is resident and not told counts as not touched at all, which is the careful side. Two
  exceptions: Xen allocates a guest's memory when it creates it, and libvirt has QEMU preallocate
  huge pages, so both are resident as soon as there is a domain.
* A share that is bound to no node is taken in full from every node it could be on.
* A share in huge pages of a size of which the source shows no pool on the node is taken from the
  node's 4 KiB memory: it is somewhere.
* A stranger's hypervisor process has its overhead on every node of its memory; one of ours has
  what its placement says, on the first cell's memory node.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from policies.host_rules import HostRules
from policies.plan import Placement
from policies.tenants import Tenant
from probe.cpuset import CpuSet
from probe.snapshot import HostSnapshot, Hypervisor, Occupant, OccupantMemory, OccupantState

Place = tuple[int, int]
"""A node id and a page size in KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What is counted at one place. `untouched_kib` is the part of both that is not resident."""

    guests_kib: int = 0
    overhead_kib: int = 0
    untouched_kib: int = 0

    def __add__(self, other: Counted) -> Counted:
        return Counted(
            guests_kib=self.guests_kib + other.guests_kib,
            overhead_kib=self.overhead_kib + other.overhead_kib,
            untouched_kib=self.untouched_kib + other.untouched_kib,
        )


def counted_memory(snapshot: HostSnapshot, rules: HostRules, everybody: Sequence[Tenant]) -> Mapping[Place, Counted]:
    """Sum over all tenants; a place that is absent has nobody."""
    sums: dict[Place, Counted] = defaultdict(Counted)
    for tenant in everybody:
        for place, counted in _tenant_memory(snapshot, rules, tenant).items():
            sums[place] += counted
    return sums


def given_back(snapshot: HostSnapshot, rules: HostRules, tenant: Tenant) -> Mapping[Place, int]:
    """KiB that become free at each place where a tenant goes: what it has resident, as far as one knows where.

    A share that may be on several nodes is taken to lie as it was promised; one that nobody promised is left out.
    """
    freed: dict[Place, int] = defaultdict(int)
    occupant = tenant.occupant
    if occupant is None:
        return freed
    promised = _promised_memory(snapshot, tenant.placement)
    for share in occupant.memory:
        kib = _resident_kib(snapshot, occupant, share)
        places = _share_places(snapshot, occupant, share)
        weights = dict.fromkeys(places, 1) if len(places) == 1 else {p: promised.get(p, 0) for p in places}
        for place, weight in weights.items():
            freed[place] += kib * weight // max(1, sum(weights.values()))
    if _allocates_at_creation(snapshot, occupant):
        overhead = _overhead(snapshot, rules, tenant, [place for place, kib in freed.items() if kib])
        for place, kib in overhead.items() if len(overhead) == 1 else ():
            freed[place] += kib
    return freed


def _tenant_memory(snapshot: HostSnapshot, rules: HostRules, tenant: Tenant) -> dict[Place, Counted]:
    """One tenant: at every place the larger of what it declares and what it was promised."""
    declared, resident = _occupant_memory(snapshot, tenant.occupant)
    promised = _promised_memory(snapshot, tenant.placement)
    overhead = _overhead(snapshot, rules, tenant, declared)
    result: dict[Place, Counted] = {}
    for place in declared.keys() | promised.keys() | overhead.keys():
        guests = max(declared.get(place, 0), promised.get(place, 0))
        extra = overhead.get(place, 0)
        there = extra if _allocates_at_creation(snapshot, tenant.occupant) else 0
        untouched = guests + extra - min(guests + there, resident.get(place, 0) + there)
        result[place] = Counted(guests_kib=guests, overhead_kib=extra, untouched_kib=untouched)
    return result


def _occupant_memory(snapshot: HostSnapshot, occupant: Occupant | None) -> tuple[dict[Place, int], dict[Place, int]]:
    """Declared and resident KiB at every place where the occupant is or could be."""
    declared: dict[Place, int] = defaultdict(int)
    resident: dict[Place, int] = defaultdict(int)
    if occupant is None:
        return declared, resident
    for share in occupant.memory:
        for place in _share_places(snapshot, occupant, share):
            declared[place] += share.kib
            resident[place] += _resident_kib(snapshot, occupant, share)
    return declared, resident


def _share_places(snapshot: HostSnapshot, occupant: Occupant, share: OccupantMemory) -> set[Place]:
    """A share that is bound among several nodes may be on each of them, wherever its pCPUs are."""
    known = share.nodes & snapshot.topology.node_ids if share.nodes is not None else None
    if share.node_id is not None or not known:
        return _places(snapshot, share.node_id, share.page_kib, _home_cpus(occupant))
    return {place for node_id in known for place in _places(snapshot, node_id, share.page_kib, None)}


def _promised_memory(snapshot: HostSnapshot, placement: Placement | None) -> dict[Place, int]:
    promised: dict[Place, int] = defaultdict(int)
    for cell in placement.cells if placement is not None else ():
        for share in cell.memory:
            for place in _places(snapshot, share.node_id, share.page_kib, cell.cpus):
                promised[place] += share.kib
    return promised


def _overhead(snapshot: HostSnapshot, rules: HostRules, tenant: Tenant, declared: Iterable[Place]) -> dict[Place, int]:
    if tenant.placement is None:
        return {(node_id, 4): rules.guest_overhead_kib for node_id, _ in declared}
    first = tenant.placement.cells[0]
    node_id = first.memory[0].node_id if first.memory else None
    return dict.fromkeys(_places(snapshot, node_id, 4, first.cpus), tenant.placement.overhead_kib)


def _places(snapshot: HostSnapshot, node_id: int | None, page_kib: int, cpus: CpuSet | None) -> set[Place]:
    """Where a share counts: on its node; without one, wherever it could be."""
    nodes = [node_id] if node_id is not None else _possible_nodes(snapshot, page_kib, cpus)
    return {(n, page_kib if _has_pool(snapshot, n, page_kib) else 4) for n in nodes}


def _possible_nodes(snapshot: HostSnapshot, page_kib: int, cpus: CpuSet | None) -> list[int]:
    """The nodes of its CPUs; all nodes for one that may run everywhere, or whose nodes have none.

    Memory-less nodes are left out, and for huge pages nodes without a pool, where others have one.
    """
    topology = snapshot.topology
    with_memory = [n.node_id for n in topology.nodes if n.memory_total_kib != 0]
    pooled = [n for n in with_memory if page_kib != 4 and _has_pool(snapshot, n, page_kib)]
    candidates = pooled or with_memory
    if cpus is None or topology.online_cpus <= cpus:
        return [int(n) for n in candidates]
    near = topology.nodes_of_cpus(cpus)
    return [int(n) for n in candidates if n in near] or [int(n) for n in candidates]


def _home_cpus(occupant: Occupant) -> CpuSet | None:
    """Where it may run, as far as anybody tells; None for everywhere."""
    return occupant.declared_cpus if occupant.effective_cpus is None else occupant.effective_cpus


def _has_pool(snapshot: HostSnapshot, node_id: int, page_kib: int) -> bool:
    if node_id not in snapshot.topology.node_ids:
        return False
    return any(pool.size_kib == page_kib for pool in snapshot.memory_of(node_id).hugepages)


def _resident_kib(snapshot: HostSnapshot, occupant: Occupant, share: OccupantMemory) -> int:
    if occupant.state is OccupantState.SHUTOFF:
        return 0
    if _allocates_at_creation(snapshot, occupant):
        return share.kib
    if share.resident_kib is not None:
        return min(share.resident_kib, share.kib)
    return share.kib if share.page_kib != 4 else 0


def _allocates_at_creation(snapshot: HostSnapshot, occupant: Occupant | None) -> bool:
    running = occupant is not None and occupant.state is not OccupantState.SHUTOFF
    return running and snapshot.hypervisor is Hypervisor.XEN
