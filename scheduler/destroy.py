"""Destroy guests of ours, and give back what they were promised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from probe.errors import BadInputError, NumaplaceError
from scheduler.executors.port import HostUnreachableError
from scheduler.ledger import Claim, ConflictError, Ledger, State
from scheduler.steps import Bench, Faults, Site, Step, faults_from_environment, take_away


def destroy_guests(
    ledger: Ledger,
    sites: Mapping[str, Site],
    guests: Sequence[str],
    *,
    dry_run: bool = False,
    faults: Faults | None = None,
) -> dict[str, NumaplaceError | None]:
    """Destroy and undefine guests of ours, and release their claims; for each, why that failed or None.

    Before its domain is touched, a claim goes to `unknown` by the step "release": if we die there,
    `reconcile` finishes what was asked, unless it finds the guest running.
    """
    told = faults or faults_from_environment()
    done: dict[str, NumaplaceError | None] = {}
    for guest in dict.fromkeys(guests):
        try:
            claim = claim_to_end(ledger, sites, guest)
            if not dry_run:
                _destroy(ledger, sites, claim, told)
            done[guest] = None
        except NumaplaceError as error:
            done[guest] = error
    return done


def claim_to_end(ledger: Ledger, sites: Mapping[str, Site], guest: str) -> Claim:
    """The guest's claim, if it can be worked on.

    Raises:
        BadInputError: it is not in the books.
        ConflictError: another numaplace works on it.
        HostUnreachableError: its host is not among `sites`.
    """
    claim = ledger.claim_of(guest)
    if claim is None:
        raise BadInputError("is not in the books", advice="Maybe `numaplace status` knows its name.")
    if ledger.is_busy(claim):
        raise ConflictError("another numaplace works on it", host=claim.host, others=(guest,))
    if claim.state is not State.PLANNED and claim.host not in sites:
        raise HostUnreachableError(f"its host {claim.host} could not be reached; nothing was done")
    return claim


def _destroy(ledger: Ledger, sites: Mapping[str, Site], claim: Claim, faults: Faults) -> None:
    if claim.state is State.PLANNED:
        ledger.move(claim, State.RELEASED, step=Step.RELEASE)
        return
    bench = Bench(site=sites[claim.host], ledger=ledger, faults=faults)
    claim = ledger.move(claim, State.UNKNOWN, step=Step.RELEASE, note="to be destroyed", under_way=True)
    faults.at(Step.RELEASE, "before", claim.guest)
    _taken_away(bench, claim)
    faults.at(Step.RELEASE, "after", claim.guest)
    ledger.move(claim, State.RELEASED, step=Step.RELEASE)


def _taken_away(bench: Bench, claim: Claim) -> None:
    """What cannot be done for certain leaves the claim `unknown`, and everything promised."""
    try:
        take_away(bench, claim)
    except NumaplaceError as error:
        bench.ledger.move(claim, State.UNKNOWN, step=Step.RELEASE, note=str(error), under_way=False)
        raise
