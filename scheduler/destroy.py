"""Destroy guests of ours, and give back what they were promised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from probe.errors import NumaplaceError
from scheduler.ledger import Claim, ConflictError, Ledger, State
from scheduler.steps import Bench, Faults, Site, Step, faults_from_environment, take_away


def destroy_guests(
    ledger: Ledger, sites: Mapping[str, Site], guests: Sequence[str], *, faults: Faults | None = None
) -> tuple[tuple[str, str], ...]:
    """Destroy and undefine guests of ours, and release their claims; (guest, "" or why not) for each.

    Before its domain is touched, a claim goes to `unknown` by the step "release": if we die there,
    `reconcile` finishes what was asked, unless it finds the guest running.
    """
    told = faults or faults_from_environment()
    done = []
    for guest in guests:
        try:
            _destroy(ledger, sites, guest, told)
            done.append((guest, ""))
        except NumaplaceError as error:
            done.append((guest, str(error)))
    return tuple(done)


def _destroy(ledger: Ledger, sites: Mapping[str, Site], guest: str, faults: Faults) -> None:
    claim = ledger.claim_of(guest)
    if claim is None:
        raise ConflictError("is not in the books")
    if ledger.is_busy(claim):
        raise ConflictError("another numaplace works on it", host=claim.host, others=(guest,))
    if claim.state is State.PLANNED:
        ledger.move(claim, State.RELEASED, step=Step.RELEASE)
        return
    if claim.host not in sites:
        raise ConflictError(f"its host {claim.host} is in no hosts file", host=claim.host)
    bench = Bench(site=sites[claim.host], ledger=ledger, faults=faults)
    claim = ledger.move(claim, State.UNKNOWN, step=Step.RELEASE, note="to be destroyed", under_way=True)
    faults.at(Step.RELEASE, "before", guest)
    _taken_away(bench, claim)
    faults.at(Step.RELEASE, "after", guest)
    ledger.move(claim, State.RELEASED, step=Step.RELEASE)


def _taken_away(bench: Bench, claim: Claim) -> None:
    """What cannot be done for certain leaves the claim `unknown`, and everything promised."""
    try:
        take_away(bench, claim)
    except NumaplaceError as error:
        bench.ledger.move(claim, State.UNKNOWN, step=Step.RELEASE, note=str(error), under_way=False)
        raise
