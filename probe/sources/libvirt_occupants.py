"""From what libvirt tells of a domain to an occupant, and what it tells in two ways.

Effective goes before declared. A domain that runs declares what its live XML says; what its
persistent configuration says otherwise holds from its next start on, and is listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from probe.cpuset import CpuSet
from probe.limits import ReadLimits
from probe.snapshot import Disagreement, Hypervisor, Occupant, OccupantMemory, OccupantState
from probe.sources.libvirt_domain import DeclaredDomain, parse_domain
from probe.sources.libvirt_memory import BASE_PAGE_KIB
from probe.sources.xen_memory import xen_memory
from probe.topology import HostTopology

_STATES = {
    1: OccupantState.RUNNING,
    2: OccupantState.RUNNING,
    3: OccupantState.PAUSED,
}
"""virDomainState: running, blocked (idle), paused; the rest of the active ones are `other`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSeen:
    """One domain as libvirt tells it.

    Attributes:
        declared: its XML; the live one where it is active.
        next_start: its persistent configuration, of an active domain that has one; else None.
        effective_cpus: `virDomainGetVcpus`; None where it is not active, or the driver cannot tell.
        current_kib: `virDomainGetInfo`, what the balloon leaves it now; asked on Xen only.
        resident_kib: of its process, everything in ordinary pages; None where not told.
    """

    name: str
    uuid: str
    state: OccupantState
    declared: DeclaredDomain
    next_start: DeclaredDomain | None = None
    effective_cpus: CpuSet | None = None
    current_kib: int | None = None
    resident_kib: int | None = None

    @classmethod
    def of(  # noqa: PLR0913 (each is one answer of libvirt)
        cls,
        *,
        name: str,
        uuid: str,
        state: OccupantState,
        xml: str,
        limits: ReadLimits,
        next_xml: str | None = None,
        effective_cpus: CpuSet | None = None,
        resident_kib: int | None = None,
    ) -> DomainSeen:
        """With its XML parsed. Raises `SourceMalformedError`."""
        origin = f"domain {name}"
        return cls(
            name=name,
            uuid=uuid,
            state=state,
            declared=parse_domain(xml, origin=origin, limits=limits),
            next_start=None if next_xml is None else parse_domain(next_xml, origin=origin, limits=limits),
            effective_cpus=effective_cpus,
            resident_kib=resident_kib,
        )


def state_of(code: int, *, active: bool) -> OccupantState:
    """A virDomainState as ours; what is not active is shut off, also where it crashed."""
    return _STATES.get(code, OccupantState.OTHER) if active else OccupantState.SHUTOFF


def occupant_of(seen: DomainSeen, topology: HostTopology, hypervisor: Hypervisor | None, *, source: str) -> Occupant:
    """The occupant that a domain is."""
    effective = None if seen.effective_cpus is None else seen.effective_cpus & topology.online_cpus
    return Occupant(
        guest=seen.name,
        uuid=seen.uuid,
        state=seen.state,
        vcpus=seen.declared.vcpus,
        declared_cpus=seen.declared.declared_cpus,
        effective_cpus=effective,
        memory=_memory(seen, effective, topology, hypervisor),
        ledger=seen.declared.ledger,
        claim=seen.declared.claim,
        source=source,
    )


def disagreements_of(seen: DomainSeen, topology: HostTopology) -> Iterator[Disagreement]:
    """Effective against declared pCPUs, and live against persistent configuration.

    Sets are compared as far as they are online: a pin to an offline CPU cannot be effective.
    """
    online = topology.online_cpus
    declared = seen.declared.declared_cpus
    if seen.effective_cpus is not None and declared is not None:
        effective = seen.effective_cpus & online
        if effective != declared & online:
            readings = {"effective": str(effective), "declared": str(declared)}
            yield Disagreement(what=f"cpus of guest {seen.name}", readings=readings)
    if seen.next_start is None:
        return
    for what, now, then in (
        ("declared cpus", _cpus_text(seen.declared), _cpus_text(seen.next_start)),
        ("declared memory", _memory_text(seen.declared), _memory_text(seen.next_start)),
    ):
        if now != then:
            yield Disagreement(what=f"{what} of guest {seen.name}", readings={"live": now, "next start": then})


def _cpus_text(declared: DeclaredDomain) -> str:
    cpus = declared.declared_cpus
    return "any" if cpus is None else str(cpus)


def _memory_text(declared: DeclaredDomain) -> str:
    places = (str(m.nodes or "any") if m.node_id is None else str(m.node_id) for m in declared.memory)
    return ", ".join(
        f"{m.kib} KiB in {m.page_kib} KiB pages on node {place}"
        for m, place in zip(declared.memory, places, strict=True)
    )


def _memory(
    seen: DomainSeen, effective: CpuSet | None, topology: HostTopology, hypervisor: Hypervisor | None
) -> tuple[OccupantMemory, ...]:
    """Xen: what it has now, where its affinity put it. Else what it declares, and what is resident."""
    if seen.state is OccupantState.SHUTOFF:
        return seen.declared.memory
    if hypervisor is Hypervisor.XEN:
        kib = seen.declared.memory_kib if seen.current_kib is None else seen.current_kib
        return (xen_memory(kib, effective, CpuSet(), topology),)
    return _with_resident(seen.declared.memory, seen.resident_kib)


def _with_resident(shares: tuple[OccupantMemory, ...], resident_kib: int | None) -> tuple[OccupantMemory, ...]:
    """Huge pages are allocated when QEMU starts; ordinary pages are known where they are one share.

    The process's own few MiB are in `resident_kib` too, so it is cut at what the guest may have.
    """
    ordinary = [share for share in shares if share.page_kib == BASE_PAGE_KIB]
    known = resident_kib if len(ordinary) == 1 else None
    return tuple(
        replace(share, resident_kib=None if known is None else min(known, share.kib))
        if share.page_kib == BASE_PAGE_KIB
        else replace(share, resident_kib=share.kib)
        for share in shares
    )
