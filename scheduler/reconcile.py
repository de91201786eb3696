"""Bring the books and the hypervisors into agreement, by looking; nothing is started or freed on a guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from probe.errors import NumaplaceError
from probe.snapshot import OccupantState
from scheduler.apply import Site, take_away
from scheduler.ledger import Claim, Ledger, State
from scheduler.verify import Figures, figures

_SEEN = {
    OccupantState.SHUTOFF: State.DEFINED,
    OccupantState.PAUSED: State.STARTING,
    OccupantState.RUNNING: State.RUNNING,
}
"""What `unknown` becomes by what is found; `apply` then goes on from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One claim beside what is really there.

    Attributes:
        domain: state of its domain; None where there is none, or the host does not answer.
        problems: what is not as it should be.
    """

    claim: Claim
    domain: OccupantState | None
    figures: Figures | None
    problems: tuple[str, ...]


def standings(ledger: Ledger, sites: Mapping[str, Site]) -> tuple[Standing, ...]:
    """Every live claim beside what its hypervisor shows; nothing is changed."""
    return tuple(_standing(ledger, claim, sites.get(claim.host)) for claim in ledger.claims())


def _standing(ledger: Ledger, claim: Claim, site: Site | None) -> Standing:
    if site is None:
        return Standing(claim=claim, domain=None, figures=None, problems=("its host is in no hosts file",))
    try:
        found = site.executor.find(claim.uuid)
        if found is None:
            missing = ("its domain is gone",) if claim.state not in (State.PLANNED, State.RESERVED) else ()
            return Standing(claim=claim, domain=None, figures=None, problems=missing)
        if (found.ledger, found.claim) != (ledger.ledger_id, claim.claim_id):
            return Standing(claim=claim, domain=found.state, figures=None, problems=("its domain is not ours",))
        if not found.state.holds_memory:
            off = ("it is shut off",) if claim.state in (State.ACTIVE, State.DRIFTED, State.RUNNING) else ()
            return Standing(claim=claim, domain=found.state, figures=None, problems=off)
        seen = figures(claim.placement, site.executor.observe(claim.uuid, claim.placement), site.topology)
    except NumaplaceError as error:
        return Standing(claim=claim, domain=None, figures=None, problems=(error.message,))
    return Standing(claim=claim, domain=found.state, figures=seen, problems=seen.problems)


def reconcile(ledger: Ledger, sites: Mapping[str, Site]) -> tuple[Claim, ...]:
    """Record what is found for each claim; those that changed. A second pass changes nothing.

    A claim is given back only where its domain is surely not there and never ran (`failed`); one
    that ran and is gone is `lost` and keeps its promise until it is destroyed or comes back.
    """
    changed = []
    for claim in ledger.claims():
        site = sites.get(claim.host)
        if site is None:
            continue
        try:
            target = _target(ledger, claim, site)
        except NumaplaceError:
            continue  # a host that does not answer tells nothing
        if target is not None and target is not claim.state:
            changed.append(ledger.move(claim, target, "reconciled"))
    return tuple(changed)


def _target(ledger: Ledger, claim: Claim, site: Site) -> State | None:
    """The state that what is found calls for; None to leave it."""
    found = site.executor.find(claim.uuid)
    ours = found is not None and (found.ledger, found.claim) == (ledger.ledger_id, claim.claim_id)
    if found is None or not ours:
        never_ran = claim.state in (State.RESERVED, State.DEFINED, State.STARTING, State.VERIFYING, State.UNKNOWN)
        if claim.state is State.PLANNED:
            return State.FAILED
        return State.FAILED if never_ran else State.LOST
    if claim.state in (State.UNKNOWN, State.LOST):
        return _SEEN.get(found.state) if claim.state is State.UNKNOWN or found.state.holds_memory else None
    if claim.state in (State.ACTIVE, State.DRIFTED) and found.state is OccupantState.RUNNING:
        seen = figures(claim.placement, site.executor.observe(claim.uuid, claim.placement), site.topology)
        return State.DRIFTED if seen.problems else State.ACTIVE
    return None


def destroy_guests(ledger: Ledger, sites: Mapping[str, Site], guests: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Destroy guests of ours and give back what they held; (guest, "" or why not) for each."""
    done = []
    for guest in guests:
        claim = ledger.claim_of(guest)
        if claim is None:
            done.append((guest, "is not in the books"))
        elif claim.host not in sites:
            done.append((guest, f"its host {claim.host} is in no hosts file"))
        else:
            try:
                take_away(sites[claim.host].executor, ledger, claim)
                ledger.move(claim, State.RELEASED)
                done.append((guest, ""))
            except NumaplaceError as error:
                done.append((guest, str(error)))
    return tuple(done)
