"""What a claim and the state of its domain mean together: the one judgement of apply and reconcile."""

from __future__ import annotations

from enum import Enum

from probe.snapshot import OccupantState
from scheduler.ledger import Claim, State
from scheduler.steps import Step

_RAN = frozenset({Step.RESUME, Step.VERIFY_MEMORY})
"""Steps after which a domain was let run, or that was tried."""


class Verdict(Enum):
    """What is to be done about a claim."""

    KEEP = "nothing to do"
    FORGET = "never came to be: failed, what it held is given back"
    UNDO = "never ran: taken away, failed"
    LOSE = "ran and is gone: lost, keeps what it holds"
    CHECK = "was let run: looked at, active or drifted"
    FINISH = "its destruction was begun: taken away, released"
    ADOPT = "its adoption was begun: marked, active"
    LET_GO = "its release was begun: its mark is taken out, released"


NEVER_RAN = frozenset({Verdict.FORGET, Verdict.UNDO})
"""Only what never ran may be taken away because something went wrong."""


def verdict_on(claim: Claim, seen: OccupantState | None) -> Verdict:
    """What to do about a claim whose domain is in this state; None: surely not there."""
    if seen is OccupantState.OTHER:
        return Verdict.KEEP
    if claim.state is State.PLANNED:
        return Verdict.FORGET
    if claim.state in (State.ACTIVE, State.DRIFTED, State.LOST):
        return _on_created(claim, seen)
    return _on_interrupted(claim, seen)


def _on_interrupted(claim: Claim, seen: OccupantState | None) -> Verdict:
    """Its creation, destruction, adoption or release did not come to its end, or that is not known."""
    if claim.step in (Step.LET_GO, Step.RELEASE):
        return _on_ending(claim, seen)
    if claim.adopted:
        return _on_adopted(claim, seen)
    if claim.step in _RAN:
        return _on_once_run(claim, seen)
    return _on_unfinished(seen)


def _on_ending(claim: Claim, seen: OccupantState | None) -> Verdict:
    """It was to be let go or destroyed; one that runs is not destroyed by us."""
    if claim.step == Step.LET_GO:
        return Verdict.LET_GO
    return Verdict.FINISH if seen in (None, OccupantState.SHUTOFF) else Verdict.CHECK


def _on_unfinished(seen: OccupantState | None) -> Verdict:
    """As far as the books tell it was never let run."""
    if seen is OccupantState.RUNNING:
        return Verdict.CHECK
    return Verdict.FORGET if seen is None else Verdict.UNDO


def _on_created(claim: Claim, seen: OccupantState | None) -> Verdict:
    if seen is None:
        return Verdict.KEEP if claim.state is State.LOST else Verdict.LOSE
    if claim.state is State.LOST or seen is OccupantState.RUNNING:
        return Verdict.CHECK
    return Verdict.KEEP


def _on_adopted(claim: Claim, seen: OccupantState | None) -> Verdict:
    """Somebody else made it: it is looked at, whatever it does."""
    if claim.step == Step.ADOPT:
        return Verdict.FORGET if seen is None else Verdict.ADOPT
    return Verdict.LOSE if seen is None else Verdict.CHECK


def _on_once_run(claim: Claim, seen: OccupantState | None) -> Verdict:
    """It was let run, or that was tried, and its memory was not looked at yet."""
    if seen is None:
        return Verdict.LOSE
    tried_in_vain = seen is OccupantState.PAUSED and claim.state is State.UNKNOWN and claim.step == Step.RESUME
    return Verdict.UNDO if tried_in_vain else Verdict.CHECK
