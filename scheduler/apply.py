"""Apply as a transaction: reserve, look, define, start paused, verify, resume, verify again.

First all guests are accepted and reserved, so that nobody else takes what the plan needs; then one
after the other is created. Each step is recorded after it was done (`scheduler.steps`), so a
second `apply` goes on from what the books say *and* the hypervisor shows. A definite failure is
undone in reverse order; after an indefinite one the claim stays, as `unknown`, until somebody has
looked (`apply` again, or `scheduler.reconcile`). One guest's failure never touches another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from policies.capacity import HostCapacity
from probe.errors import BadInputError, NumaplaceError, SourceError
from probe.snapshot import OccupantState
from scheduler.definitions.render import guest_uuid
from scheduler.executors.port import DefiniteFailureError, HostUnreachableError, OutcomeUnknownError
from scheduler.ledger import Claim, ConflictError, Ledger, LedgerUnreachableError, State
from scheduler.steps import (
    Bench,
    Faults,
    Order,
    Site,
    Step,
    define,
    faults_from_environment,
    find_ours,
    last_look,
    resume,
    start,
    take_away,
    verify_bindings,
    verify_memory,
)

__all__ = ["Order", "Outcome", "Report", "Site", "apply_orders"]

ATTEMPTS = 5
"""How often a reservation is tried when others reserve on the same host meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one guest.

    Attributes:
        exit_status: 0 when it is active, else the README's (4 drifted or lost, 5, 6, 7, 8).
        note: what went wrong; "" for an active one.
    """

    guest: str
    host: str
    state: State
    exit_status: int = 0
    note: str = ""


Report = Callable[[str, State], None]
"""Called after each step with the guest's name and its state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    order: Order
    bench: Bench
    report: Report
    plan_hash: str


def apply_orders(
    orders: Sequence[Order],
    sites: Mapping[str, Site],
    ledger: Ledger,
    report: Report = lambda *_: None,
    *,
    faults: Faults | None = None,
    plan_hash: str = "",
) -> tuple[Outcome, ...]:
    """Create guests on the hosts of `sites`; outcomes in the order of `orders`."""
    told = faults or faults_from_environment()
    looks: dict[str, _Seen] = {}
    reserved: list[tuple[_Job, Claim] | Outcome] = []
    for order in orders:
        bench = Bench(site=sites[order.placement.host], ledger=ledger, faults=told)
        job = _Job(order=order, bench=bench, report=report, plan_hash=plan_hash)
        reserved.append(_in_the_books(job, looks))
    return tuple(each if isinstance(each, Outcome) else _create(*each) for each in reserved)


def _in_the_books(job: _Job, looks: dict[str, _Seen]) -> tuple[_Job, Claim] | Outcome:
    """Accept and reserve, or take over what an earlier apply has left."""
    try:
        claim = _accepted(job)
    except NumaplaceError as error:
        return _not_ours(job, error)
    try:
        if claim.state is State.PLANNED:
            claim = _reserved(job, claim, looks)
            job.report(claim.guest, claim.state)
    except NumaplaceError as error:
        return _ended(job, claim, error)
    return job, claim


def _accepted(job: _Job) -> Claim:
    """The guest's claim, in our hands.

    Raises:
        ConflictError: somebody else works on it, or it is in the books with another placement.
    """
    placement, ledger, faults = job.order.placement, job.bench.ledger, job.bench.faults
    claim = ledger.claim_of(placement.guest)
    if claim is None:
        faults.at(Step.ACCEPT, "before", placement.guest)
        uuid = guest_uuid(ledger.ledger_id, placement.guest)
        claim = ledger.accept(placement, uuid, plan_hash=job.plan_hash)
        faults.at(Step.ACCEPT, "after", placement.guest)
        return claim
    if (claim.adopted or claim.step == Step.LET_GO) and claim.state not in _CREATED:
        raise ConflictError(
            f"guest {placement.guest}: was to be adopted or let go, and it is not known how far that came.",
            host=claim.host,
            others=(claim.guest,),
            advice="Maybe look: numaplace status --reconcile",
        )
    if claim.placement != placement:
        raise ConflictError(
            f"guest {placement.guest}: is in the books on {claim.host}, as another plan placed it.",
            host=claim.host,
            others=(claim.guest,),
            advice=f"Maybe it is meant to go: numaplace destroy {claim.guest}",
        )
    return claim if claim.state in _CREATED else ledger.take(claim)


def _not_ours(job: _Job, error: NumaplaceError) -> Outcome:
    """Nothing was done: the claim is somebody else's, or there is none."""
    placement = job.order.placement
    return Outcome(
        guest=placement.guest,
        host=placement.host,
        state=State.FAILED,
        exit_status=error.exit_status,
        note=str(error),
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """A host as it was looked at, and the claims that were counted."""

    capacity: HostCapacity
    counted: frozenset[str]


def _look(job: _Job, host: str) -> _Seen:
    claims = job.bench.ledger.outstanding(host)
    return _Seen(job.bench.site.look(claims), frozenset(claim.claim_id for claim in claims))


def _reserved(job: _Job, claim: Claim, looks: dict[str, _Seen]) -> Claim:
    """Reserve; where others reserved meanwhile, look again. One look serves all guests of a host."""
    bench = job.bench
    bench.faults.at(Step.RESERVE, "before", claim.guest)
    for attempt in range(1, ATTEMPTS + 1):
        seen = looks.get(claim.host) or looks.setdefault(claim.host, _look(job, claim.host))
        try:
            claim = bench.ledger.reserve(claim, seen.capacity, counted=seen.counted)
        except ConflictError:
            looks[claim.host] = again = _look(job, claim.host)
            if attempt == ATTEMPTS or again.counted == seen.counted:
                raise
        else:
            break
    bench.faults.at(Step.RESERVE, "after", claim.guest)
    return claim


def _create(job: _Job, claim: Claim) -> Outcome:
    """Go on from where the guest really is, step by step."""
    try:
        claim = _where_it_is(job.bench, claim)
        if claim.state is State.RESERVED:
            claim = last_look(job.bench, job.order, claim)
        while claim.state in _NEXT:
            claim = _NEXT[claim.state](job.bench, job.order, claim)
            job.report(claim.guest, claim.state)
    except NumaplaceError as error:
        return _ended(job, claim, error)
    return _rests(job, claim)


_NEXT: Mapping[State, Callable[[Bench, Order, Claim], Claim]] = {
    State.RESERVED: define,
    State.DEFINED: start,
    State.STARTING: verify_bindings,
    State.VERIFYING: resume,
    State.RUNNING: lambda bench, _, claim: verify_memory(bench, claim),
}
"""The step that follows a state. Where there is none, the claim rests."""

_CREATED = frozenset({State.ACTIVE, State.DRIFTED, State.LOST})
"""States of a guest that was created; apply does not create it again."""

_AGREES = {
    State.RESERVED: None,
    State.DEFINED: OccupantState.SHUTOFF,
    State.STARTING: OccupantState.PAUSED,
    State.VERIFYING: OccupantState.PAUSED,
    State.RUNNING: OccupantState.RUNNING,
}
_STANDS_FOR: Mapping[OccupantState | None, State] = {
    None: State.RESERVED,
    OccupantState.SHUTOFF: State.DEFINED,
    OccupantState.PAUSED: State.STARTING,
    OccupantState.RUNNING: State.RUNNING,
}
RAN = frozenset({Step.RESUME, Step.VERIFY_MEMORY})
"""After these steps a domain that is shut off has run before, and is not simply started again."""


def _where_it_is(bench: Bench, claim: Claim) -> Claim:
    """Where an earlier apply was interrupted, the hypervisor says how far it came."""
    if claim.step in (Step.ACCEPT, Step.RESERVE):
        return claim  # nothing was asked of the hypervisor yet
    found = find_ours(bench, claim)
    seen = None if found is None else found.state
    if claim.state in _CREATED:
        return _checked(bench, claim, seen)
    if seen is OccupantState.OTHER:
        raise OutcomeUnknownError(f"guest {claim.guest}: its domain is neither running, paused nor shut off.")
    if claim.state in _AGREES and _AGREES[claim.state] is seen:
        return claim
    target = _STANDS_FOR[seen]
    if seen is OccupantState.SHUTOFF and claim.step in RAN:
        target = State.RUNNING
    note = "found no domain" if seen is None else f"found it {seen.value}"
    claim = bench.ledger.move(claim, State.UNKNOWN, step=claim.step, note=note, under_way=True)
    return bench.ledger.move(claim, target, step=Step.RECONCILE)


def _checked(bench: Bench, claim: Claim, seen: OccupantState | None) -> Claim:
    """A guest that was created before is not created again, even where it is gone."""
    if seen is None:
        return claim if claim.state is State.LOST else bench.ledger.move(claim, State.LOST, step=Step.RECONCILE)
    if claim.state is State.LOST:
        claim = bench.ledger.move(claim, State.UNKNOWN, step=Step.RECONCILE, note="found it again", under_way=True)
        return bench.ledger.move(claim, State.RUNNING, step=Step.RECONCILE)
    return verify_memory(bench, claim) if seen is OccupantState.RUNNING else claim


def _rests(job: _Job, claim: Claim) -> Outcome:
    notes = {
        State.DRIFTED: job.bench.ledger.events(claim.guest)[-1].note if claim.state is State.DRIFTED else "",
        State.LOST: "its domain is gone; it is not created again while the books hold its place",
    }
    status = {State.ACTIVE: 0, State.DRIFTED: 4, State.LOST: 4}.get(claim.state, 8)
    return _outcome(claim, status, notes.get(claim.state, ""))


def _ended(job: _Job, claim: Claim, error: NumaplaceError) -> Outcome:
    """What an error means for our claim: left as it is, unknown, or undone."""
    ledger, note = job.bench.ledger, str(error)
    try:
        if claim.adopted or claim.state in _CREATED or isinstance(error, LedgerUnreachableError):
            return _outcome(claim, error.exit_status, note)
        if isinstance(error, ConflictError) and claim.state is not State.PLANNED:
            return _outcome(claim, error.exit_status, note)  # another numaplace has taken it over
        if isinstance(error, HostUnreachableError):
            return _outcome(ledger.leave(claim, note=note), error.exit_status, note)
        if claim.state is State.PLANNED or isinstance(error, _DEFINITE):
            return _undone(job, claim, error)
        step = _STEP_AFTER.get(claim.state, claim.step)
        return _outcome(ledger.move(claim, State.UNKNOWN, step=step, note=note, under_way=False), 8, note)
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


def _undone(job: _Job, claim: Claim, error: NumaplaceError) -> Outcome:
    """Undo in reverse order. What cannot be undone for certain stays claimed, as `unknown`."""
    ledger = job.bench.ledger
    status = error.exit_status if error.exit_status != 1 else 7
    try:
        if claim.state is not State.PLANNED:
            job.bench.faults.at(Step.UNDO, "before", claim.guest)
            take_away(job.bench, claim)
            job.bench.faults.at(Step.UNDO, "after", claim.guest)
    except NumaplaceError as second:
        note = f"{error}; undoing it: {second}"
        return _outcome(ledger.move(claim, State.UNKNOWN, step=Step.UNDO, note=note, under_way=False), 8, note)
    return _outcome(ledger.move(claim, State.FAILED, step=Step.UNDO, note=str(error)), status, str(error))


def _outcome(claim: Claim, exit_status: int, note: str) -> Outcome:
    return Outcome(guest=claim.guest, host=claim.host, state=claim.state, exit_status=exit_status, note=note)
