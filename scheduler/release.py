"""Let guests of ours go: their claims are given back, their mark is taken out, they stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from probe.errors import NumaplaceError
from scheduler.destroy import claim_to_end
from scheduler.handover import finish_release
from scheduler.ledger import Claim, ConflictError, Ledger, State
from scheduler.steps import Bench, Faults, Site, Step, faults_from_environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What became of one guest: `error` says why it was not let go; `note` what is left of it."""

    guest: str
    note: str = ""
    error: NumaplaceError | None = None


def release_guests(
    ledger: Ledger,
    sites: Mapping[str, Site],
    guests: Sequence[str],
    *,
    dry_run: bool = False,
    faults: Faults | None = None,
) -> tuple[Release, ...]:
    """Let each guest go. If we die on the way, `reconcile` or a second release finishes it."""
    told = faults or faults_from_environment()
    done = []
    for guest in dict.fromkeys(guests):
        try:
            claim = claim_to_end(ledger, sites, guest)
            _is_settled(claim)
            note = "" if dry_run else _let_go(ledger, sites, claim, told)
            done.append(Release(guest=guest, note=note))
        except NumaplaceError as error:
            done.append(Release(guest=guest, error=error))
    return tuple(done)


def _is_settled(claim: Claim) -> None:
    """Raises `ConflictError` for a guest that is half made, or half destroyed."""
    if claim.state in (State.PLANNED, State.ACTIVE, State.DRIFTED, State.LOST):
        return
    if claim.state is State.UNKNOWN and claim.step in (Step.ADOPT, Step.LET_GO):
        return
    raise ConflictError(
        f"is {claim.state.value}: what would be left of it is not known",
        host=claim.host,
        others=(claim.guest,),
        advice="Maybe look first: numaplace status --reconcile",
    )


def _let_go(ledger: Ledger, sites: Mapping[str, Site], claim: Claim, faults: Faults) -> str:
    """Begin it in the books, take the mark out, end it in the books; what is left, as a note."""
    faults.at(Step.LET_GO, "before", claim.guest)
    if claim.state is State.PLANNED:
        ledger.move(claim, State.RELEASED, step=Step.LET_GO)
        return ""
    bench = Bench(site=sites[claim.host], ledger=ledger, faults=faults)
    claim = ledger.move(claim, State.UNKNOWN, step=Step.LET_GO, note="to be let go", under_way=True)
    faults.at(Step.LET_GO, "after", claim.guest)
    finish_release(bench, claim)
    return ledger.events(claim.guest)[-1].note
