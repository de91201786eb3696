"""Guests into the books: accepted and reserved, before anything is asked of a hypervisor."""

from __future__ import annotations

from dataclasses import dataclass

from policies.capacity import HostCapacity
from probe.errors import NumaplaceError
from scheduler.creation import CREATED, ended
from scheduler.definitions.render import guest_uuid
from scheduler.job import Job, Outcome, StoppedError
from scheduler.ledger import Claim, ConflictError, LedgerUnreachableError, State
from scheduler.steps import Step

ATTEMPTS = 5
"""How often a reservation is tried when others reserve on the same host meanwhile."""


def book(job: Job) -> Claim | Outcome:
    """Accept and reserve one guest by itself."""
    claim = accept(job)
    return claim if isinstance(claim, Outcome) else reserve(job, claim, {})


def accept(job: Job) -> Claim | Outcome:
    """Into the books, or take over what an earlier apply has left; the outcome where that ends it."""
    if job.course.stop.is_set():
        return _untouched(job, StoppedError(f"guest {job.order.placement.guest}: interrupted before it was begun."))
    try:
        return _accepted(job)
    except NumaplaceError as error:
        return _untouched(job, error)


def reserve(job: Job, claim: Claim, looks: dict[str, Seen]) -> Claim | Outcome:
    """Promise what it was accepted for, where that was not done yet; the outcome where that ends it."""
    try:
        if claim.state is State.PLANNED:
            claim = _reserved(job, claim, looks)
            job.course.report(claim)
    except NumaplaceError as error:
        return ended(job, claim, error)
    return claim


def _accepted(job: Job) -> Claim:
    """The guest's claim, in our hands.

    Raises:
        ConflictError: somebody else works on it, or it is in the books with another placement.
    """
    placement, ledger, faults = job.order.placement, job.bench.ledger, job.bench.faults
    claim = ledger.claim_of(placement.guest)
    if claim is None:
        faults.at(Step.ACCEPT, "before", placement.guest)
        uuid = guest_uuid(ledger.ledger_id, placement.guest)
        claim = ledger.accept(placement, uuid, plan_hash=job.course.plan_hash, note=job.why)
        faults.at(Step.ACCEPT, "after", placement.guest)
        return claim
    if (claim.adopted or claim.step == Step.LET_GO) and claim.state not in CREATED:
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
    return claim if claim.state in CREATED else ledger.take(claim)


def _untouched(job: Job, error: NumaplaceError) -> Outcome:
    """Nothing was done: the claim is somebody else's and stands as it stands, or there is none."""
    placement = job.order.placement
    try:
        claim = job.bench.ledger.claim_of(placement.guest)
    except LedgerUnreachableError:
        claim = None
    return Outcome(
        guest=placement.guest,
        host=claim.host if claim else placement.host,
        state=claim.state if claim else State.FAILED,
        exit_status=error.exit_status,
        note=str(error),
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """A host as it was looked at, and the claims that were counted."""

    capacity: HostCapacity
    counted: frozenset[str]


def _look(job: Job, host: str) -> Seen:
    claims = job.bench.ledger.outstanding(host)
    return Seen(job.bench.site.look(claims), frozenset(claim.claim_id for claim in claims))


def _reserved(job: Job, claim: Claim, looks: dict[str, Seen]) -> Claim:
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
