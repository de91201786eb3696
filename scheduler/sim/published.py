"""What a host of the embedded hypervisor looks like from outside: its snapshot as it is now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from probe.cpuset import CpuSet, NodeId
from probe.snapshot import Disagreement, HostSnapshot, Hypervisor, NodeMemory, Occupant, OccupantMemory, OccupantState
from scheduler.sim.host_file import SimDomain
from scheduler.sim.pages import Pools


def snapshot_now(base: HostSnapshot, flavour: Hypervisor, domains: Sequence[SimDomain], pools: Pools) -> HostSnapshot:
    """The base with what its domains have taken, and the domains as occupants."""
    occupants = tuple(_occupant(domain, base, flavour) for domain in domains)
    told = tuple(
        Disagreement(
            what=f"cpus of guest {o.guest}",
            readings={"effective": str(o.effective_cpus), "declared": str(o.declared_cpus)},
        )
        for o in occupants
        if o.effective_cpus is not None and o.declared_cpus is not None and o.effective_cpus != o.declared_cpus
    )
    return replace(
        base,
        memory=tuple(_left(memory, pools) for memory in base.memory),
        occupants=(*base.occupants, *occupants),
        disagreements=(*base.disagreements, *told),
    )


def _occupant(domain: SimDomain, base: HostSnapshot, flavour: Hypervisor) -> Occupant:
    wanted, online = domain.wanted, base.topology.online_cpus
    runs = domain.state is not OccupantState.SHUTOFF
    effective = CpuSet.union(wanted.affinity.get(v, online) for v in range(wanted.vcpus)) if runs else None
    return Occupant(
        guest=wanted.name,
        uuid=wanted.uuid,
        state=domain.state,
        vcpus=wanted.vcpus,
        declared_cpus=wanted.declared_cpus,
        effective_cpus=effective,
        memory=tuple(_on_xen(domain) if flavour is Hypervisor.XEN else _on_kvm(domain)),
        ledger=wanted.ledger,
        claim=wanted.claim,
        source=base.sources[0],
    )


def _on_kvm(domain: SimDomain) -> Iterator[OccupantMemory]:
    """Each cell where its policy binds it, evenly over several nodes; nowhere where nothing does."""
    pages = domain.pages or tuple({} for _ in domain.wanted.cells)
    for cell, resident in zip(domain.wanted.cells, pages, strict=True):
        nodes = sorted(cell.nodes.ids) if cell.mode not in ("preferred", "local") else []
        for node in nodes:
            yield _share(domain, node, cell.memory_kib // len(nodes), resident.get(node, 0))
        if not nodes:
            yield _share(domain, None, cell.memory_kib, sum(resident.values()))


def _on_xen(domain: SimDomain) -> Iterator[OccupantMemory]:
    """Where its pages are: a domain that was started has all of them."""
    for node, kib in sorted(domain.resident_kib.items()):
        yield _share(domain, node, kib, kib)
    if not domain.pages:
        yield _share(domain, None, sum(cell.memory_kib for cell in domain.wanted.cells), 0)


def _share(domain: SimDomain, node: int | None, kib: int, resident_kib: int) -> OccupantMemory:
    return OccupantMemory(
        node_id=None if node is None else NodeId(node),
        kib=kib,
        page_kib=domain.wanted.page_kib,
        resident_kib=resident_kib,
    )


def _left(memory: NodeMemory, pools: Pools) -> NodeMemory:
    """The node's memory with what is left of it now."""
    node = memory.node_id
    reclaimable = min(pools[node, 4], memory.reclaimable_kib or 0)
    return replace(
        memory,
        free_kib=pools[node, 4] - reclaimable,
        reclaimable_kib=reclaimable,
        hugepages=tuple(replace(p, free=pools[node, p.size_kib] // p.size_kib) for p in memory.hugepages),
    )
