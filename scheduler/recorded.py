"""What the books are told afterwards about a guest that is known to have run."""

from __future__ import annotations

from scheduler.ledger import TRANSITIONS, Claim, Ledger, State
from scheduler.steps import Step


def record_running(ledger: Ledger, claim: Claim, *, note: str) -> Claim:
    """Let the books say that it was let run, where they do not yet."""
    if claim.state in (State.RUNNING, State.ACTIVE, State.DRIFTED):
        return claim
    claim = _known_to_have_run(ledger, claim)
    return ledger.move(claim, State.RUNNING, step=Step.RESUME, note=note)


def record_lost(ledger: Ledger, claim: Claim, *, note: str) -> Claim:
    """It ran and is gone. What it was promised stays promised."""
    if State.LOST not in TRANSITIONS[claim.state]:
        claim = _known_to_have_run(ledger, claim)
    return ledger.move(claim, State.LOST, step=Step.RECONCILE, note=note)


def _known_to_have_run(ledger: Ledger, claim: Claim) -> Claim:
    """`unknown`, by a step that only a guest which ran has come to: if we die here it is not undone."""
    return ledger.move(claim, State.UNKNOWN, step=Step.VERIFY_MEMORY, under_way=True)
