"""The second half of adopting a guest and of letting one go: the mark, then the books.

Both are begun by one event, which leaves the claim `unknown`; then the domain's metadata is
changed, and a second event ends it. If we die between, a repeated command or `reconcile` goes on
from here. The guest itself is never touched.
"""

from __future__ import annotations

from probe.errors import NumaplaceError
from scheduler.definitions.identity import Identity
from scheduler.executors.port import CannotMarkError, DefiniteFailureError, DomainFound
from scheduler.ledger import Claim, ConflictError, State
from scheduler.steps import Bench, Step, bears_mark

NO_MARK = "no mark could be set in it"
NO_UNMARK = "its mark could not be taken out"


def is_half_adopted(claim: Claim) -> bool:
    """Whether its adoption was begun and not ended."""
    return claim.state is State.UNKNOWN and claim.step == Step.ADOPT


def finish_adoption(bench: Bench, claim: Claim) -> Claim:
    """Mark the domain of a claim that is being adopted; `active` afterwards.

    The last event's note says where no mark could be set: the domain is then known by its uuid.

    Raises:
        ConflictError: another ledger has marked it meanwhile; the claim is given back.
        ExecutorError: refused (the claim is given back), or not known (it stays `unknown`).
    """
    ledger, ours = bench.ledger, bench.ledger.ledger_id
    try:
        found = bench.site.executor.find(claim.uuid)
    except NumaplaceError as error:
        ledger.move(claim, State.UNKNOWN, step=Step.ADOPT, note=str(error), under_way=False)
        raise
    try:
        if found is None:
            raise DefiniteFailureError(f"guest {claim.guest}: its domain has gone.")
        if found.ledger not in (None, ours):
            raise marked_by_another(found, claim.host)
        note = "" if bears_mark(ledger, claim, found) else _marked(bench, claim)
    except NumaplaceError as error:
        certain = isinstance(error, DefiniteFailureError | ConflictError)
        ledger.move(
            claim, State.FAILED if certain else State.UNKNOWN, step=Step.ADOPT, note=str(error), under_way=False
        )
        raise
    return ledger.move(claim, State.ACTIVE, step=Step.ADOPT, note=note)


def _marked(bench: Bench, claim: Claim) -> str:
    """Set the mark; a note where there can be none."""
    bench.faults.at(Step.MARK, "before", claim.guest)
    try:
        bench.site.executor.set_mark(Identity(uuid=claim.uuid, ledger=bench.ledger.ledger_id, claim=claim.claim_id))
    except CannotMarkError as error:
        return f"{NO_MARK}: {error.message}"
    bench.faults.at(Step.MARK, "after", claim.guest)
    return ""


def finish_release(bench: Bench, claim: Claim) -> Claim:
    """Take our mark out of the domain of a claim that is being let go; `released` afterwards.

    Raises:
        ExecutorError: it could not be done, or it is not known whether it was; the claim stays.
    """
    ledger, note = bench.ledger, ""
    try:
        found = bench.site.executor.find(claim.uuid)
        if found is not None and bears_mark(ledger, claim, found):
            bench.faults.at(Step.UNMARK, "before", claim.guest)
            bench.site.executor.clear_mark(claim.uuid)
            bench.faults.at(Step.UNMARK, "after", claim.guest)
    except CannotMarkError as error:
        note = f"{NO_UNMARK}: {error.message}"
    except NumaplaceError as error:
        ledger.move(claim, State.UNKNOWN, step=Step.LET_GO, note=str(error), under_way=False)
        raise
    return ledger.move(claim, State.RELEASED, step=Step.LET_GO, note=note)


def marked_by_another(found: DomainFound, host: str) -> ConflictError:
    """The error where a domain is in the books of somebody else."""
    return ConflictError(
        f"guest {found.guest} on {host}: bears the mark of another ledger, {found.ledger}.",
        host=host,
        others=(found.guest,),
        advice=f"Maybe let it go there first: numaplace release {found.guest}",
    )
