"""Memory that may be promised, and the pCPUs: what a host has left once everybody is counted.

For 4 KiB pages a node may promise the smaller of two bounds (design.md):

* accounting: total − huge-page pools − reserve − everything counted (declared or claimed memory
  and the overhead of the hypervisor processes);
* availability: MemFree + reclaimable page cache − everything counted that is not yet resident.
  Page cache makes MemFree small, so it is added; guests that have not touched their memory make
  MemFree large, so what they may still touch is taken off.

Together they keep for the host the larger of its reserve and what it really uses. Where the total
is unknown, and on Xen (whose `memsize` is a span, TRAPS.md 6), only availability counts, and the
reserve is taken off it in full. Where nothing is known, nothing is promised, and the note says so.
Huge pages of each size obey the same two bounds, with the pool as total and its free pages as
what is available, without reserve or overhead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from policies.capacity import HostCapacity, NodeCapacity, Resident
from policies.cpu_partition import NodeCpus, partition
from policies.groups import nodes_of
from policies.host_rules import HostRules, OutstandingClaim
from policies.l3 import cpus_of
from policies.memory_shares import Counted, counted_memory
from policies.request import HostName
from policies.tenants import Tenant, tenants
from probe.cpuset import CpuSet, NodeId
from probe.snapshot import HostSnapshot, HugepagePool, Hypervisor, NodeMemory
from probe.units import format_kib_rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNote:
    """Why a node may promise so much memory in pages of one size, and no more.

    Attributes:
        total_kib: all memory (4 KiB) or the pool (huge pages); None where it is unknown or, on
            Xen, not to be believed.
        pools_kib: set aside in huge-page pools.
        guests_kib: what tenants declared or were promised here.
        overhead_kib: of their hypervisor processes.
        available_kib: free + reclaimable, or free huge pages; None where not told.
        untouched_kib: the part of guests and overhead that is not resident yet.
    """

    node_id: int
    page_kib: int
    total_kib: int | None
    pools_kib: int
    reserve_kib: int
    guests_kib: int
    overhead_kib: int
    available_kib: int | None
    untouched_kib: int

    @property
    def accounting_kib(self) -> int | None:
        """What the books leave, perhaps negative; None where the total is unknown."""
        if self.total_kib is None:
            return None
        return self.total_kib - self.pools_kib - self.reserve_kib - self.guests_kib - self.overhead_kib

    @property
    def availability_kib(self) -> int | None:
        """What is physically there for a new guest, perhaps negative; None where not told."""
        if self.available_kib is None:
            return None
        reserve = self.reserve_kib if self.total_kib is None else 0
        return self.available_kib - self.untouched_kib - reserve

    @property
    def promise_kib(self) -> int:
        """The smaller bound in whole pages, never negative; 0 where neither is known."""
        bounds = [b for b in (self.accounting_kib, self.availability_kib) if b is not None]
        return max(0, min(bounds, default=0)) // self.page_kib * self.page_kib

    @property
    def text(self) -> str:
        """One line for people: the sum that was made."""
        start = f"node {self.node_id}, {format_kib_rounded(self.page_kib)} pages: "
        if self.accounting_kib is None and self.availability_kib is None:
            return start + "nothing is promised, because neither total nor free memory is known"
        return f"{start}{format_kib_rounded(self.promise_kib)} of " + "; ".join(_sums(self))


def host_capacity(
    name: HostName,
    snapshot: HostSnapshot,
    rules: HostRules,
    claims: Sequence[OutstandingClaim] = (),
    *,
    leaving: Collection[str] = (),
) -> HostCapacity:
    """What the host may still promise, after reserves, occupants and outstanding claims.

    Every figure of the snapshot must be of one moment; `claims` are those on this host. `leaving` are
    ids of claims that are looked away from: what the host could promise if their guests were gone.
    """
    everybody = tenants(snapshot, rules, claims)
    gone = {id(claim.placement) for claim in claims if claim.claim_id in leaving}
    staying = tuple(tenant for tenant in everybody if id(tenant.placement) not in gone)
    claims = [claim for claim in claims if claim.claim_id not in leaving]
    cpus = partition(snapshot, rules, staying)
    promise: dict[int, dict[int, int]] = {}
    for note in _notes_without(snapshot, rules, everybody, staying):
        promise.setdefault(note.node_id, {})[note.page_kib] = note.promise_kib
    return HostCapacity(
        name=name,
        topology=snapshot.topology,
        nodes=tuple(
            _nothing(m.node_id, promise[m.node_id])
            if m.node_id in rules.cordoned_nodes
            else _node_capacity(m, cpus[m.node_id], promise[m.node_id])
            for m in snapshot.memory
        ),
        overcommit=rules.overcommit,
        hypervisor=snapshot.hypervisor,
        schedulable=rules.schedulable and not rules.cordoned,
        cordoned=rules.cordoned,
        cordoned_nodes=rules.cordoned_nodes & snapshot.topology.node_ids,
        housekeeping_cpus=rules.housekeeping_cpus & snapshot.usable_cpus,
        dedicated_cpus=CpuSet.union(tenant.dedicated_cpus for tenant in staying),
        domains=rules.domains,
        residents=residents_of(claims, [node.shared for node in cpus.values()]),
    )


def residents_of(claims: Sequence[OutstandingClaim], shared: Sequence[CpuSet] = ()) -> tuple[Resident, ...]:
    """The members of groups among guests that were promised a place.

    Args:
        shared: the shared pCPUs of each node of their host, where these are known.
    """
    placed = [claim.placement for claim in claims if claim.placement.groups]
    return tuple(Resident(groups=p.groups, nodes=nodes_of(p), cpus=cpus_of(p, shared)) for p in placed)


def memory_notes(
    snapshot: HostSnapshot, rules: HostRules, claims: Sequence[OutstandingClaim] = ()
) -> tuple[MemoryNote, ...]:
    """Why: one note per node and page size, 4 KiB first, in node order."""
    return tuple(_notes(snapshot, rules, tenants(snapshot, rules, claims)))


def _node_capacity(memory: NodeMemory, cpus: NodeCpus, promise: Mapping[int, int]) -> NodeCapacity:
    return NodeCapacity(
        node_id=memory.node_id,
        free_cpus=cpus.free,
        shared_cpus=cpus.shared,
        shared_vcpus=cpus.shared_vcpus,
        memory_kib=promise,
    )


def _nothing(node_id: NodeId, pages: Iterable[int]) -> NodeCapacity:
    """A cordoned node. Who floats there is left out with its pCPUs, so that the host's sums stay right."""
    return NodeCapacity(
        node_id=node_id,
        free_cpus=CpuSet(),
        shared_cpus=CpuSet(),
        shared_vcpus=0,
        memory_kib=dict.fromkeys(pages, 0),
    )


def _notes(snapshot: HostSnapshot, rules: HostRules, everybody: Sequence[Tenant]) -> Iterable[MemoryNote]:
    counted = counted_memory(snapshot, rules, everybody)
    for memory in snapshot.memory:
        node_id = memory.node_id
        yield _base_note(snapshot, rules, memory, counted.get((node_id, 4), Counted()))
        for pool in memory.hugepages:
            yield _pool_note(node_id, pool, counted.get((node_id, pool.size_kib), Counted()))


def _notes_without(
    snapshot: HostSnapshot, rules: HostRules, everybody: Sequence[Tenant], staying: Sequence[Tenant]
) -> Iterable[MemoryNote]:
    """Notes on those who stay. What the others count for comes back, also where it is resident now: then
    `untouched_kib` is negative."""
    notes = _notes(snapshot, rules, staying)
    if len(staying) == len(everybody):
        yield from notes
        return
    before = {(note.node_id, note.page_kib): note for note in _notes(snapshot, rules, everybody)}
    for note in notes:
        was = before[note.node_id, note.page_kib]
        back_kib = was.guests_kib + was.overhead_kib - note.guests_kib - note.overhead_kib
        yield replace(note, untouched_kib=was.untouched_kib - back_kib)


def _base_note(snapshot: HostSnapshot, rules: HostRules, memory: NodeMemory, counted: Counted) -> MemoryNote:
    total = memory.total_kib
    if total is None:
        total = snapshot.topology.node(memory.node_id).memory_total_kib
    if snapshot.hypervisor is Hypervisor.XEN and memory.available_kib is not None:
        total = None
    return MemoryNote(
        node_id=memory.node_id,
        page_kib=4,
        total_kib=total,
        pools_kib=memory.hugepages_kib,
        reserve_kib=rules.node_reserve_kib.get(memory.node_id, rules.reserve_kib),
        guests_kib=counted.guests_kib,
        overhead_kib=counted.overhead_kib,
        available_kib=memory.available_kib,
        untouched_kib=counted.untouched_kib,
    )


def _pool_note(node_id: int, pool: HugepagePool, counted: Counted) -> MemoryNote:
    """Surplus pages go away when they are freed: without a free count they are not promised."""
    free_kib = None if pool.free is None else pool.free * pool.size_kib
    surplus_kib = (pool.surplus or 0) * pool.size_kib
    note = MemoryNote(
        node_id=node_id,
        page_kib=pool.size_kib,
        total_kib=pool.total_kib,
        pools_kib=0,
        reserve_kib=0,
        guests_kib=counted.guests_kib,
        overhead_kib=0,
        available_kib=free_kib,
        untouched_kib=counted.untouched_kib,
    )
    return note if free_kib is not None else replace(note, total_kib=max(0, pool.total_kib - surplus_kib))


def _sums(note: MemoryNote) -> list[str]:
    human = format_kib_rounded
    sums = []
    if note.total_kib is not None:
        parts = (("pools", note.pools_kib), ("reserve", note.reserve_kib), ("guests", note.guests_kib))
        minus = [f" − {what} {human(kib)}" for what, kib in (*parts, ("overhead", note.overhead_kib)) if kib]
        sums.append(f"total {human(note.total_kib)}" + "".join(minus))
    if note.available_kib is not None:
        reserve = note.reserve_kib if note.total_kib is None else 0
        minus = [f" − {w} {human(k)}" for w, k in (("untouched", note.untouched_kib), ("reserve", reserve)) if k]
        sums.append(f"available {human(note.available_kib)}" + "".join(minus))
    return sums
