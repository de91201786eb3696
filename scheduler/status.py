"""The books beside what really runs. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from probe.errors import NumaplaceError
from probe.snapshot import HostSnapshot, OccupantState
from scheduler.executors.port import DomainFound, Observation
from scheduler.ledger import Claim, Ledger, State
from scheduler.memory_guarantee import MemoryGuarantee, memory_guarantee
from scheduler.steps import Site, ours
from scheduler.trespass import trespasses
from scheduler.verify import Figures, figures

_BY_STATE = {
    State.UNKNOWN: "its outcome is unknown: numaplace status --reconcile",
    State.LOST: "its domain is gone, and it keeps what it was promised: numaplace destroy gives it back",
}
_UNFINISHED = "its creation was not finished: numaplace apply goes on, status --reconcile rolls back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One claim beside what is really there.

    Attributes:
        domain: state of its domain; None where there is none of ours, or the host does not answer.
        figures: None where it holds no memory, or could not be looked at.
        memory_guarantee: None where there is no domain of ours, or it could not be looked at.
        problems: what is not as it should be; empty when all is well.
    """

    claim: Claim
    domain: OccupantState | None
    figures: Figures | None
    problems: tuple[str, ...]
    memory_guarantee: MemoryGuarantee | None = None


def standings(
    ledger: Ledger,
    sites: Mapping[str, Site],
    unreached: Mapping[str, NumaplaceError] = MappingProxyType({}),
    *,
    snapshots: Mapping[str, HostSnapshot] = MappingProxyType({}),
    memory: bool = True,
) -> tuple[Standing, ...]:
    """Every live claim beside what its hypervisor shows, in the order of acceptance.

    `snapshots`, host to what was read of it, tell who else may run on dedicated pCPUs.

    Each host is looked at once for all its guests; without `memory` pages are not counted where
    that is dear (`Executor.observe_all`).
    """
    claims = ledger.claims()
    looks: dict[str, _Look] = {}
    for host, site in sites.items():
        looks |= _look(ledger, site, [claim for claim in claims if claim.host == host], memory=memory)
    crowded: dict[str, str] = {}
    for host, snapshot in snapshots.items():
        crowded |= trespasses(snapshot, ledger.outstanding(host))
    found = []
    for claim in claims:
        error = unreached.get(claim.host)
        why = f"its host {claim.host} is not among the hosts" if error is None else error.message
        standing = _standing(ledger, claim, sites.get(claim.host), looks.get(claim.claim_id, _Look()), why)
        if claim.claim_id in crowded:
            standing = replace(standing, problems=(*standing.problems, crowded[claim.claim_id]))
        found.append(standing)
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """A claim's domain, and where it is if it holds memory; or why that is not known."""

    found: DomainFound | None = None
    seen: Observation | None = None
    error: NumaplaceError | None = None

    @property
    def domain(self) -> OccupantState | None:
        return self.found.state if self.found else None


def _look(ledger: Ledger, site: Site, claims: Sequence[Claim], *, memory: bool) -> Mapping[str, _Look]:
    """Claim id to what was found on one host."""
    try:
        listed = {domain.uuid: domain for domain in site.executor.list_domains()}
        looks = {claim.claim_id: _domain_of(ledger, site, claim, listed.get(claim.uuid)) for claim in claims}
        states = {claim.uuid: (claim.claim_id, looks[claim.claim_id].domain) for claim in claims}
        held = {uuid: claim_id for uuid, (claim_id, state) in states.items() if state and state.holds_memory}
        for uuid, seen in site.executor.observe_all(held, memory=memory).items():
            if isinstance(seen, Observation):
                looks[held[uuid]] = replace(looks[held[uuid]], seen=seen)
            else:
                looks[held[uuid]] = _Look(error=seen)
    except NumaplaceError as error:
        return {claim.claim_id: _Look(error=error) for claim in claims}
    return looks


def _domain_of(ledger: Ledger, site: Site, claim: Claim, listed: DomainFound | None) -> _Look:
    """One that is not listed is asked for by itself: what cannot be read is not listed."""
    try:
        return _Look(found=ours(ledger, claim, listed or site.executor.find(claim.uuid)))
    except NumaplaceError as error:
        return _Look(error=error)


def _standing(ledger: Ledger, claim: Claim, site: Site | None, look: _Look, why_not: str) -> Standing:
    of_books = _problems_of_books(ledger, claim)
    if site is None or look.error is not None:
        why = look.error.message if look.error else why_not
        return Standing(claim=claim, domain=None, figures=None, problems=(*of_books, why))
    seen = None if look.seen is None else figures(claim.placement, look.seen, site.topology)
    problems = (*of_books, *_problems_of_domain(claim, look.domain), *(seen.problems if seen else ()))
    return Standing(
        claim=claim,
        domain=look.domain,
        figures=seen,
        problems=problems,
        memory_guarantee=memory_guarantee(claim.placement, preallocated=look.found.preallocated)
        if look.found
        else None,
    )


def _problems_of_books(ledger: Ledger, claim: Claim) -> tuple[str, ...]:
    if claim.state in _BY_STATE:
        return (_BY_STATE[claim.state],)
    if claim.state.is_under_way and not ledger.is_busy(claim):
        return (_UNFINISHED,)
    return ()


def _problems_of_domain(claim: Claim, domain: OccupantState | None) -> tuple[str, ...]:
    if claim.state not in (State.ACTIVE, State.DRIFTED):
        return ()
    if domain is None:
        return ("its domain is gone",)
    return () if domain is OccupantState.RUNNING else (f"it is {domain.value}",)
