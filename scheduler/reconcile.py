"""Bring the books and the hypervisors into agreement, by looking; nothing is freed on a guess.

For each live claim that nobody works on, what is found decides (`scheduler.verdict`):

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

from probe.errors import NumaplaceError
from probe.snapshot import OccupantState
from scheduler.handover import finish_adoption, finish_release
from scheduler.ledger import Claim, Ledger, State
from scheduler.recorded import record_lost, record_running
from scheduler.steps import (
    Bench,
    Faults,
    Site,
    Step,
    faults_from_environment,
    find_ours,
    take_away,
    verify_memory,
)
from scheduler.verdict import Verdict, verdict_on


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
        return verify_memory(bench, record_running(ledger, claim, note=note))
    if verdict is Verdict.LOSE:
        return record_lost(ledger, claim, note=note)
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
    except NumaplaceError:
        return  # it does not answer any more, or refuses: the next reconciliation sweeps
