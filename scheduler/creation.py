"""One guest's creation: define, start paused, verify, resume, verify again; undone where it fails.

Each step is recorded after it was done (`scheduler.steps`), so a second `apply` goes on from what
the books say *and* the hypervisor shows. A definite failure is undone in reverse order; after an
indefinite one the claim stays, as `unknown`, until somebody has looked (`apply` again, or
`scheduler.reconcile`). What ran, or may have run, is never undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from probe.errors import BadInputError, NumaplaceError, SourceError
from probe.snapshot import OccupantState
from scheduler.executors.port import (
    DefiniteFailureError,
    HostChangedError,
    HostUnreachableError,
    NameTakenError,
    OutcomeUnknownError,
)
from scheduler.job import Job, Outcome, StoppedError
from scheduler.ledger import Claim, ConflictError, LedgerUnreachableError, State
from scheduler.memory_guarantee import guarantee_of
from scheduler.recorded import record_lost, record_running
from scheduler.steps import (
    Bench,
    NotRunningError,
    Order,
    Step,
    define,
    find_ours,
    identity_of,
    last_look,
    resume,
    start,
    take_away,
    verify_bindings,
    verify_memory,
)
from scheduler.verdict import NEVER_RAN, Verdict, verdict_on


def create(job: Job, claim: Claim) -> Outcome:
    """Go on from where the guest really is, step by step."""
    try:
        _go_on(job, claim)
        claim = _where_it_is(job.bench, claim)
        if claim.state is State.RESERVED:
            claim = last_look(job.bench, job.order, claim)
        while claim.state in _NEXT:
            _go_on(job, claim)
            claim = _NEXT[claim.state](job.bench, job.order, claim)
            job.course.report(claim)
        return _rests(job, claim)
    except NumaplaceError as error:
        return ended(job, claim, error)


def _go_on(job: Job, claim: Claim) -> None:
    """Raises `StoppedError` where nothing more is to be begun; a guest that was created is only looked at."""
    if job.course.stop.is_set() and claim.state not in CREATED:
        raise StoppedError(
            f"guest {claim.guest}: interrupted, {claim.state.value}.",
            advice="Maybe go on: numaplace apply; or roll back: numaplace status --reconcile",
        )


_NEXT: Mapping[State, Callable[[Bench, Order, Claim], Claim]] = {
    State.RESERVED: define,
    State.DEFINED: start,
    State.STARTING: verify_bindings,
    State.VERIFYING: resume,
    State.RUNNING: lambda bench, _, claim: verify_memory(bench, claim),
}
"""The step that follows a state. Where there is none, the claim rests."""

CREATED = frozenset({State.ACTIVE, State.DRIFTED, State.LOST})
"""States of a guest that was created; apply does not create it again."""

_STANDS_FOR: Mapping[OccupantState | None, tuple[State, ...]] = {
    None: (State.RESERVED,),
    OccupantState.PAUSED: (State.STARTING, State.VERIFYING),
}
"""The states of a guest that never ran, by what its domain does; the first where the books say another."""


def _where_it_is(bench: Bench, claim: Claim) -> Claim:
    """Where an earlier apply was interrupted, the hypervisor says how far it came.

    What was defined and not started is defined again, after a new look at the host.
    """
    if claim.step in (Step.ACCEPT, Step.RESERVE):
        return claim  # nothing was asked of the hypervisor yet
    found = find_ours(bench, claim)
    seen = None if found is None else found.state
    note = "found no domain" if seen is None else f"found it {seen.value}"
    verdict = verdict_on(claim, seen)
    if verdict is Verdict.KEEP:
        return _kept(claim, seen)
    if verdict is Verdict.LOSE:
        return record_lost(bench.ledger, claim, note=note)
    if verdict is Verdict.CHECK:
        claim = record_running(bench.ledger, claim, note=note)
        return claim if claim.state is State.RUNNING else verify_memory(bench, claim)
    if seen is OccupantState.SHUTOFF:
        take_away(bench, claim)
        seen = None
    if claim.state in _STANDS_FOR[seen]:
        return claim
    claim = bench.ledger.move(claim, State.UNKNOWN, step=claim.step, note=note, under_way=True)
    return bench.ledger.move(claim, _STANDS_FOR[seen][0], step=Step.RECONCILE)


def _kept(claim: Claim, seen: OccupantState | None) -> Claim:
    """A claim about which there is nothing to do for us.

    Raises:
        NotRunningError: its guest was created, and is paused or shut off.
        OutcomeUnknownError: it is not known whether it ever ran.
    """
    if claim.state is State.LOST or seen is None:
        return claim
    if claim.state in CREATED:
        raise NotRunningError(
            f"guest {claim.guest}: was created, and its domain is {seen.value} now; it keeps its place.",
            advice=f"Maybe start or resume it there, or give its place back: numaplace destroy {claim.guest}",
        )
    raise OutcomeUnknownError(f"guest {claim.guest}: its domain is neither running, paused nor shut off.")


def _rests(job: Job, claim: Claim) -> Outcome:
    notes = {
        State.DRIFTED: job.bench.ledger.events(claim.guest)[-1].note if claim.state is State.DRIFTED else "",
        State.LOST: "its domain is gone; it is not created again while the books hold its place",
    }
    status = {State.ACTIVE: 0, State.DRIFTED: 4, State.LOST: 4}.get(claim.state, 8)
    outcome = _outcome(claim, status, notes.get(claim.state, ""))
    if claim.adopted or status == 8 or claim.state is State.LOST:
        return outcome
    definition = job.order.render(identity_of(job.bench.ledger, claim))
    return replace(outcome, memory_guarantee=guarantee_of(claim.placement, definition))


def ended(job: Job, claim: Claim, error: NumaplaceError) -> Outcome:
    """What an error means for our claim: left as it is, unknown, or undone."""
    ledger, note = job.bench.ledger, str(error)
    try:
        taken_over = isinstance(error, ConflictError) and claim.state is not State.PLANNED
        if taken_over or claim.adopted or claim.state in CREATED or isinstance(error, LedgerUnreachableError):
            return _outcome(claim, error.exit_status, note)
        if isinstance(error, HostUnreachableError | StoppedError):
            return _outcome(ledger.leave(claim, note=note), error.exit_status, note)
        if claim.state is State.UNKNOWN:
            return _outcome(ledger.leave(claim, note=note), 8, note)  # as unknown as it was
        if claim.state is State.PLANNED or isinstance(error, _DEFINITE):
            return _undone(job, claim, error)
        return _unknown(job, claim, _STEP_AFTER[claim.state], note)
    except NumaplaceError as second:
        return _outcome(claim, second.exit_status, f"{note}; then: {second}")


_DEFINITE = (DefiniteFailureError, BadInputError, SourceError)
"""After these nothing was done to the hypervisor: it refused, or was not asked. What is not surely
definite is indefinite."""

_STEP_AFTER = {
    State.RESERVED: Step.DEFINE,
    State.DEFINED: Step.START,
    State.STARTING: Step.VERIFY_BINDINGS,
    State.VERIFYING: Step.RESUME,
    State.RUNNING: Step.VERIFY_MEMORY,
}
"""The step whose outcome is not known when it was begun in a state."""


def _undone(job: Job, claim: Claim, error: NumaplaceError) -> Outcome:
    """Undo in reverse order. What may have run, or cannot be undone for certain, stays claimed."""
    ledger = job.bench.ledger
    status = error.exit_status if error.exit_status != 1 else 7
    if claim.state is State.RUNNING:
        return _unknown(job, claim, Step.VERIFY_MEMORY, str(error))
    try:
        if claim.state is not State.PLANNED and not isinstance(error, NameTakenError):
            job.bench.faults.at(Step.UNDO, "before", claim.guest)
            found = find_ours(job.bench, claim)
            if verdict_on(claim, None if found is None else found.state) not in NEVER_RAN:
                return _unknown(job, claim, Step.VERIFY_MEMORY, f"{error}; and yet it runs, or did")
            take_away(job.bench, claim)
            job.bench.faults.at(Step.UNDO, "after", claim.guest)
    except NumaplaceError as second:
        return _unknown(job, claim, Step.UNDO, f"{error}; undoing it: {second}")
    failed = _outcome(ledger.move(claim, State.FAILED, step=Step.UNDO, note=str(error)), status, str(error))
    changed = isinstance(error, HostChangedError)
    was_tried = claim.state in (State.DEFINED, State.STARTING, State.VERIFYING)
    return replace(
        failed, world_changed=changed or isinstance(error, ConflictError), place_failed=changed and was_tried
    )


def _unknown(job: Job, claim: Claim, step: Step, note: str) -> Outcome:
    claim = job.bench.ledger.move(claim, State.UNKNOWN, step=step, note=note, under_way=False)
    return _outcome(claim, 8, note)


def _outcome(claim: Claim, exit_status: int, note: str) -> Outcome:
    return Outcome(guest=claim.guest, host=claim.host, state=claim.state, exit_status=exit_status, note=note)
