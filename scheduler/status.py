"""The books beside what really runs. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from probe.errors import NumaplaceError
from probe.snapshot import OccupantState
from scheduler.ledger import Claim, Ledger, State
from scheduler.steps import Bench, NoFaults, Site, find_ours, observed
from scheduler.verify import Figures

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
        problems: what is not as it should be; empty when all is well.
    """

    claim: Claim
    domain: OccupantState | None
    figures: Figures | None
    problems: tuple[str, ...]


def standings(
    ledger: Ledger, sites: Mapping[str, Site], unreached: Mapping[str, NumaplaceError] = MappingProxyType({})
) -> tuple[Standing, ...]:
    """Every live claim beside what its hypervisor shows, in the order of acceptance."""
    found = []
    for claim in ledger.claims():
        error = unreached.get(claim.host)
        why = f"its host {claim.host} is not among the hosts" if error is None else error.message
        found.append(_standing(ledger, claim, sites.get(claim.host), why))
    return tuple(found)


def _standing(ledger: Ledger, claim: Claim, site: Site | None, why_not: str) -> Standing:
    of_books = _problems_of_books(ledger, claim)
    if site is None:
        return Standing(claim=claim, domain=None, figures=None, problems=(*of_books, why_not))
    bench = Bench(site=site, ledger=ledger, faults=NoFaults())
    try:
        found = find_ours(bench, claim)
        runs = found is not None and found.state.holds_memory
        seen = observed(bench, claim) if runs else None
    except NumaplaceError as error:
        return Standing(claim=claim, domain=None, figures=None, problems=(*of_books, error.message))
    domain = None if found is None else found.state
    problems = (*of_books, *_problems_of_domain(claim, domain), *(seen.problems if seen else ()))
    return Standing(claim=claim, domain=domain, figures=seen, problems=problems)


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
