"""Bring the books and the hypervisors into agreement, by looking; nothing is freed on a guess.

For each live claim that nobody works on, what is found decides (`verdict_on`):

* a guest that was never let run is taken away and its claim given back (`failed`);
* one that runs is looked at: `active` or `drifted`;
* one that ran and is gone is `lost`. It keeps what it was promised, for it may come back or have
  been moved, until the operator destroys it (`released`);
* one whose destruction was begun, and that does not run, is destroyed to the end (`released`);
* one whose adoption or release was begun is adopted (`active`) or let go (`released`) to the end;
  a guest that was adopted is never taken away because something is unfinished.

A hypervisor that does not answer tells nothing. A second pass changes nothing. A domain that a
fenced-off apply left behind, under a claim that had failed, is taken away unless it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum

from probe.errors import NumaplaceError
from probe.snapshot import OccupantState
from scheduler.apply import RAN, Site
from scheduler.executors.port import ExecutorError
from scheduler.handover import finish_adoption, finish_release
from scheduler.ledger import TRANSITIONS, Claim, Ledger, State
from scheduler.steps import Bench, Faults, Step, faults_from_environment, find_ours, take_away, verify_memory


class Verdict(Enum):
    """What reconciliation does about a claim."""

    KEEP = "nothing to do"
    FORGET = "never came to be: failed, what it held is given back"
    UNDO = "never ran: taken away, failed"
    LOSE = "ran and is gone: lost, keeps what it holds"
    CHECK = "was let run: looked at, active or drifted"
    FINISH = "its destruction was begun: taken away, released"
    ADOPT = "its adoption was begun: marked, active"
    LET_GO = "its release was begun: its mark is taken out, released"


def verdict_on(claim: Claim, seen: OccupantState | None) -> Verdict:
    """What to do about a claim whose domain is in this state; None: surely not there."""
    if seen is OccupantState.OTHER:
        return Verdict.KEEP
    if claim.state is State.PLANNED:
        return Verdict.FORGET
    if claim.state in (State.ACTIVE, State.DRIFTED, State.LOST):
        return _on_created(claim, seen)
    if claim.step in (Step.LET_GO, Step.RELEASE):
        return _on_ending(claim, seen)
    if claim.adopted:
        return _on_adopted(claim, seen)
    return _on_once_run(claim, seen) if claim.step in RAN else _on_unfinished(seen)


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
    never_ran = seen is OccupantState.PAUSED and claim.state is State.UNKNOWN and claim.step == Step.RESUME
    return Verdict.UNDO if never_ran else Verdict.CHECK


def reconcile(ledger: Ledger, sites: Mapping[str, Site], *, faults: Faults | None = None) -> tuple[Claim, ...]:
    """Record what is found for each claim; the claims that changed, as they are now.

    Hosts that are not in `sites`, or do not answer, and claims on which another numaplace works,
    are left alone.
    """
    told = faults or faults_from_environment()
    benches = {host: Bench(site=site, ledger=ledger, faults=told) for host, site in sites.items()}
    changed = []
    for claim in ledger.claims():
        bench = benches.get(claim.host)
        settled = claim if bench is None else _settled(bench, claim)
        if settled.generation != claim.generation:
            changed.append(settled)
    left_over = [claim for host, bench in benches.items() for claim in _swept(bench, host)]
    return (*changed, *left_over)


def _settled(bench: Bench, claim: Claim) -> Claim:
    """The claim as it is after what was found; as it was where nothing could be found out."""
    try:
        if bench.ledger.is_busy(claim):
            return claim
        found = find_ours(bench, claim)
        verdict = verdict_on(claim, None if found is None else found.state)
        return _carried_out(bench, claim, verdict)
    except NumaplaceError:  # it does not answer, or somebody else moved the claim while we looked
        now = bench.ledger.claim(claim.claim_id)
        return claim if now is None or now.state is claim.state else now


def _carried_out(bench: Bench, claim: Claim, verdict: Verdict) -> Claim:
    ledger, note = bench.ledger, verdict.value
    if verdict is Verdict.KEEP:
        return claim
    if verdict is Verdict.CHECK:
        return _looked_at(bench, claim)
    if verdict is Verdict.LOSE:
        claim = claim if State.LOST in TRANSITIONS[claim.state] else _unknown(bench, claim)
        return ledger.move(claim, State.LOST, step=Step.RECONCILE, note=note)
    if verdict is Verdict.FORGET:
        return ledger.move(claim, State.FAILED, step=Step.RECONCILE, note=note)
    return _ENDS[verdict](bench, ledger.take(claim))


def _removed(bench: Bench, claim: Claim, verdict: Verdict) -> Claim:
    """Take its domain away, and give back what it was promised."""
    take_away(bench, claim)
    state = State.RELEASED if verdict is Verdict.FINISH else State.FAILED
    return bench.ledger.move(claim, state, step=Step.RECONCILE, note=verdict.value)


_ENDS: Mapping[Verdict, Callable[[Bench, Claim], Claim]] = {
    Verdict.UNDO: lambda bench, claim: _removed(bench, claim, Verdict.UNDO),
    Verdict.FINISH: lambda bench, claim: _removed(bench, claim, Verdict.FINISH),
    Verdict.ADOPT: finish_adoption,
    Verdict.LET_GO: finish_release,
}
"""How what was begun is brought to its end, under a claim that was taken over."""


def _looked_at(bench: Bench, claim: Claim) -> Claim:
    """Let the books say that it runs, where they do not yet; then where it is."""
    if claim.state not in (State.RUNNING, State.ACTIVE, State.DRIFTED):
        claim = claim if claim.state is State.UNKNOWN else _unknown(bench, claim)
        claim = bench.ledger.move(claim, State.RUNNING, step=Step.RESUME, note=Verdict.CHECK.value)
    return verify_memory(bench, claim)


def _unknown(bench: Bench, claim: Claim) -> Claim:
    return bench.ledger.move(claim, State.UNKNOWN, step=claim.step, under_way=True)


def _swept(bench: Bench, host: str) -> Iterator[Claim]:
    """Take away what stands under a claim of ours that had failed and given everything back."""
    ledger = bench.ledger
    try:
        for domain in bench.site.executor.list_domains():
            claim = ledger.claim(domain.claim) if domain.claim and domain.ledger == ledger.ledger_id else None
            if claim is None or (claim.state, claim.uuid, claim.host) != (State.FAILED, domain.uuid, host):
                continue
            if not claim.adopted and domain.state in (OccupantState.SHUTOFF, OccupantState.PAUSED):
                take_away(bench, claim)
                yield claim
    except ExecutorError:
        return
