"""Who has a part of a host already: each occupant and each claim, counted once.

An occupant that carries our claim id and that claim are one tenant. A clone of a guest keeps the
metadata of the original (`virsh dumpxml | virsh define`), so at most one occupant is matched to a
claim, the one with the claim's guest name first; the others are strangers and count by themselves.
Where nobody bears it, the unmarked domain with the claim's uuid is its guest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from policies.host_rules import HostRules, OutstandingClaim
from policies.plan import Placement
from probe.cpuset import CpuSet
from probe.snapshot import HostSnapshot, Occupant, OccupantState


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One guest that has a part of the host; at least one of `occupant` and `placement` is not None.

    Attributes:
        adopted: whether the placement was read off the guest, and not made for it.
    """

    occupant: Occupant | None = None
    placement: Placement | None = None
    adopted: bool = False

    @property
    def dedicated_cpus(self) -> CpuSet:
        """The pCPUs that we promised to nobody else; empty for strangers."""
        return CpuSet() if self.placement is None else self.placement.own_cpus

    def may_run_on(self, online: CpuSet) -> CpuSet:
        """The pCPUs that its vCPUs or emulator threads may run on, now or when it is started, or that are to stay idle.

        A shut-off guest that declares no CPUs holds none.
        """
        cpus = CpuSet()
        if self.occupant is not None:
            cpus = _occupant_cpus(self.occupant, online)
        if self.placement is not None:
            claimed, emulator = self.placement.cpus, self.placement.emulator_cpus or CpuSet()
            cpus |= online if claimed is None else (claimed | emulator | self.placement.booked_cpus) & online
        return cpus

    def vcpus_on(self, part: CpuSet, online: CpuSet) -> Fraction:
        """vCPUs that float on `part`: each counts by the portion of its pCPUs that lies there.

        The larger of what was promised and what is seen, unless the guest runs where it was placed: which of its
        vCPUs run where, only the placement tells. 2 vCPUs that may run on 8 pCPUs, 4 of them in `part`, count
        as 1: the kernel and Xen spread load over all that is allowed.
        """
        seen = promised = Fraction(0)
        if self.placement is not None:
            loose = sum(len(cell.vcpus) for cell in self.placement.cells if cell.cpus is None)
            pins = self.placement.floating_pins.values()
            promised = loose * _portion(online, part) + sum((_portion(pin, part) for pin in pins), Fraction(0))
        if self.occupant is not None and not self._runs_as_placed(online):
            seen = self.occupant.vcpus * _portion(self.occupant.possible_cpus(online), part)
        return max(seen, promised)

    def _runs_as_placed(self, online: CpuSet) -> bool:
        """Whether it has no more vCPUs and may run on no other pCPUs than it was placed with.

        Not where it was adopted: then nobody has placed it, and to adopt a guest makes no room.
        """
        if self.occupant is None or self.placement is None or self.placement.cpus is None or self.adopted:
            return False
        placed = self.placement.cpus | (self.placement.emulator_cpus or CpuSet())
        vcpus = sum(len(cell.vcpus) for cell in self.placement.cells)
        return self.occupant.vcpus <= vcpus and self.occupant.possible_cpus(online) <= placed


def tenants(snapshot: HostSnapshot, rules: HostRules, claims: Sequence[OutstandingClaim]) -> tuple[Tenant, ...]:
    """Everybody who counts on a host: claims first, in their order, then the strangers.

    A shut-off occupant without a claim counts only where `rules.count_shutoff` says so; a claim
    counts until it is released, whatever became of its guest.
    """
    matched = {id(o): c for c in claims if (o := occupant_of(c, snapshot.occupants)) is not None}
    by_claim = {id(c): o for o in snapshot.occupants if (c := matched.get(id(o))) is not None}
    ours = [Tenant(occupant=by_claim.get(id(c)), placement=c.placement, adopted=c.adopted) for c in claims]
    strangers = [
        Tenant(occupant=o)
        for o in snapshot.occupants
        if id(o) not in matched and (rules.count_shutoff or o.state is not OccupantState.SHUTOFF)
    ]
    return (*ours, *strangers)


def occupant_of(claim: OutstandingClaim, occupants: Sequence[Occupant]) -> Occupant | None:
    """The claim's guest among those that are seen; None where it is not."""
    bearers = [o for o in occupants if o.claim is not None and o.claim == claim.claim_id]
    namesakes = [o for o in bearers if o.guest == claim.placement.guest]
    unmarked = [o for o in occupants if o.ledger is None and o.uuid is not None and o.uuid == claim.uuid]
    return next(iter(namesakes or bearers or unmarked), None)


def _occupant_cpus(occupant: Occupant, online: CpuSet) -> CpuSet:
    if occupant.state is OccupantState.SHUTOFF:
        return (occupant.declared_cpus or CpuSet()) & online
    return occupant.possible_cpus(online)


def _portion(cpus: CpuSet, part: CpuSet) -> Fraction:
    return Fraction(len(cpus & part), len(cpus)) if cpus else Fraction(0)
