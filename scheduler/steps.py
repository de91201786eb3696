"""The steps of the transaction that creates a guest, and of its undoing (design.md, "The books").

Each step does one thing to the hypervisor and then records one event. Each can be repeated: what
is done already succeeds. Before it, and between the deed and its record, stands a fault-injection
point, so a crash there is what a crash anywhere in the step would be.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from policies.capacity import HostCapacity
from policies.host_rules import OutstandingClaim
from policies.plan import Placement
from probe.errors import NumaplaceError
from probe.snapshot import OccupantState
from probe.topology import HostTopology
from scheduler.definitions.identity import Identity
from scheduler.executors.port import (
    DomainDefinition,
    DomainFound,
    Executor,
    HostChangedError,
    NameTakenError,
    OutcomeUnknownError,
)
from scheduler.ledger import Claim, Ledger, State, shortages
from scheduler.verify import Figures, figures


class Step(StrEnum):
    """What can be done in one go. The words of events, of `NUMAPLACE_CRASH` and of the output."""

    ACCEPT = "accept"
    RESERVE = "reserve"
    LOOK = "look"
    DEFINE = "define"
    START = "start"
    VERIFY_BINDINGS = "verify-bindings"
    RESUME = "resume"
    VERIFY_MEMORY = "verify-memory"
    UNDO = "undo"
    ADOPT = "adopt"
    MARK = "mark"
    LET_GO = "let-go"
    UNMARK = "unmark"
    RELEASE = "release"
    DESTROY = "destroy"
    UNDEFINE = "undefine"
    RECONCILE = "reconcile"
    REPAIR = "repair"


class Faults(Protocol):
    """Told before each step, and between its deed and its record; may end the process, or raise."""

    def at(self, step: Step, when: str, guest: str) -> None: ...


class NoFaults:
    """Nothing goes wrong on purpose."""

    def at(self, step: Step, when: str, guest: str) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class CrashAt:
    """Die like a killed process at one point, written "step:before" or "step:after"."""

    point: str

    def at(self, step: Step, when: str, guest: str) -> None:
        """Leave the process at once, without any clean-up, if this is the point."""
        if f"{step.value}:{when}" == self.point:
            os._exit(137)


def faults_from_environment(environment: Mapping[str, str] = os.environ) -> Faults:
    """What `NUMAPLACE_CRASH` asks for: fault injection for tests."""
    point = environment.get("NUMAPLACE_CRASH")
    return CrashAt(point) if point else NoFaults()


class NotAsPlannedError(HostChangedError):
    """The guest was started paused and is not where the plan says; it never ran."""


class MarkGoneError(OutcomeUnknownError):
    """A domain with a claim's uuid is there without the claim's mark: ours or not, nobody knows."""


class NotRunningError(NumaplaceError):
    """A guest that was created does not run; nobody but its operator starts it again."""

    exit_status = 4


Look = Callable[[Sequence[OutstandingClaim]], HostCapacity]
"""Read the host afresh; what it may still promise, the given claims taken off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A host as it is worked on: its hypervisor, its topology as planned on, and a look at it now.

    Attributes:
        connect: opens one more connection, for the thread that calls it.
    """

    executor: Executor
    connect: Callable[[], Executor]
    topology: HostTopology
    look: Look


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One guest to create: its placement, and how its definition is made."""

    placement: Placement
    render: Callable[[Identity], DomainDefinition]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a step works with."""

    site: Site
    ledger: Ledger
    faults: Faults


def last_look(bench: Bench, order: Order, claim: Claim) -> Claim:
    """Read the host once more under the claim: is there still what was reserved?

    Raises:
        HostChangedError: a pCPU, memory or the topology is not as it was planned.
    """
    bench.faults.at(Step.LOOK, "before", claim.guest)
    others = [o for o in bench.ledger.outstanding(claim.host) if o.claim_id != claim.claim_id]
    now = bench.site.look(others)
    if now.topology.fingerprint() != bench.site.topology.fingerprint():
        raise HostChangedError(f"guest {claim.guest}: the topology of {claim.host} has changed.")
    if lacking := shortages(order.placement, now):
        raise HostChangedError(
            f"guest {claim.guest}: {'; '.join(lacking)}.", advice="Maybe somebody else took it since: plan again."
        )
    bench.faults.at(Step.LOOK, "after", claim.guest)
    return bench.ledger.move(claim, State.RESERVED, step=Step.LOOK)


def define(bench: Bench, order: Order, claim: Claim) -> Claim:
    """Define the domain, with our mark in it."""
    definition = order.render(identity_of(bench.ledger, claim))
    _uuid_is_free(bench, claim)
    bench.faults.at(Step.DEFINE, "before", claim.guest)
    bench.site.executor.define(definition)
    bench.faults.at(Step.DEFINE, "after", claim.guest)
    return bench.ledger.move(claim, State.DEFINED, step=Step.DEFINE)


def identity_of(ledger: Ledger, claim: Claim) -> Identity:
    """What ties the claim's definition to the books."""
    return Identity(uuid=claim.uuid, ledger=ledger.ledger_id, claim=claim.claim_id)


def _uuid_is_free(bench: Bench, claim: Claim) -> None:
    found = bench.site.executor.find(claim.uuid)
    if found is not None and not bears_mark(bench.ledger, claim, found):
        raise NameTakenError(
            f"guest {claim.guest}: a domain with its uuid {claim.uuid} is on {claim.host} and not of this claim.",
            advice="Maybe an earlier creation left it: numaplace status --reconcile",
        )


def start(bench: Bench, order: Order, claim: Claim) -> Claim:
    """Start it paused."""
    del order
    bench.faults.at(Step.START, "before", claim.guest)
    bench.site.executor.start_paused(claim.uuid)
    bench.faults.at(Step.START, "after", claim.guest)
    return bench.ledger.move(claim, State.STARTING, step=Step.START)


def verify_bindings(bench: Bench, order: Order, claim: Claim) -> Claim:
    """Look how it is bound while it is paused, and where its pages are, as far as it has any.

    On Xen these are all its pages: it places them before the guest runs.

    Raises:
        NotAsPlannedError: not as planned; it must not run.
    """
    bench.faults.at(Step.VERIFY_BINDINGS, "before", claim.guest)
    seen = figures(order.placement, bench.site.executor.observe(claim.uuid), bench.site.topology)
    if seen.problems:
        raise NotAsPlannedError(f"guest {claim.guest}: {'; '.join(seen.problems)}; it was never let run.")
    bench.faults.at(Step.VERIFY_BINDINGS, "after", claim.guest)
    return bench.ledger.move(claim, State.VERIFYING, step=Step.VERIFY_BINDINGS)


def resume(bench: Bench, order: Order, claim: Claim) -> Claim:
    """Let it run."""
    del order
    bench.faults.at(Step.RESUME, "before", claim.guest)
    bench.site.executor.resume(claim.uuid)
    bench.faults.at(Step.RESUME, "after", claim.guest)
    return bench.ledger.move(claim, State.RUNNING, step=Step.RESUME)


def verify_memory(bench: Bench, claim: Claim) -> Claim:
    """Look where a running guest is; a claim whose state says so already stays as it is."""
    bench.faults.at(Step.VERIFY_MEMORY, "before", claim.guest)
    problems = problems_of_running(bench, claim)
    bench.faults.at(Step.VERIFY_MEMORY, "after", claim.guest)
    state = State.DRIFTED if problems else State.ACTIVE
    if state is claim.state:
        return claim
    return bench.ledger.move(claim, state, step=Step.VERIFY_MEMORY, note="; ".join(problems))


def problems_of_running(bench: Bench, claim: Claim) -> tuple[str, ...]:
    """What is not as it should be with a guest that was let run; empty when all is well.

    Raises:
        ExecutorError: it could not be looked at.
    """
    found = find_ours(bench, claim)
    if found is None or not found.state.holds_memory:
        return ("it does not run: it shut down, or was killed for lack of memory",)
    return observed(bench, claim).problems


def observed(bench: Bench, claim: Claim) -> Figures:
    """The three figures of a claim's guest. Raises `ExecutorError`."""
    seen = bench.site.executor.observe(claim.uuid)
    return figures(claim.placement, seen, bench.site.topology)


def find_ours(bench: Bench, claim: Claim) -> DomainFound | None:
    """Look for the claim's domain, as `ours` tells it. Raises what `ours` raises, and `ExecutorError`."""
    return ours(bench.ledger, claim, bench.site.executor.find(claim.uuid))


def ours(ledger: Ledger, claim: Claim, found: DomainFound | None) -> DomainFound | None:
    """The claim's domain: its uuid and our mark are in it; None where there is none with its uuid.

    An adopted one is ours also without any mark: not every hypervisor keeps one. One that is being
    let go may have lost it already, and be in somebody else's books.

    Raises:
        MarkGoneError: a domain with its uuid is there and does not bear our mark.
    """
    if found is None or bears_mark(ledger, claim, found) or (claim.adopted and found.ledger is None):
        return found
    if claim.step == Step.LET_GO:
        return None
    raise MarkGoneError(
        f"guest {claim.guest}: the domain {found.guest} on {claim.host} has its uuid {claim.uuid} and not its mark; "
        f"it is {found.state.value}, left alone, and the claim is kept.",
        advice="Maybe its definition was written anew without our <metadata>: put it back, or undefine it there.",
    )


def bears_mark(ledger: Ledger, claim: Claim, found: DomainFound) -> bool:
    """Whether our ledger and this claim are in the domain's mark."""
    return (found.ledger, found.claim) == (ledger.ledger_id, claim.claim_id)


def take_away(bench: Bench, claim: Claim) -> None:
    """Destroy and undefine the claim's domain, if it is ours. What is gone is gone.

    Raises:
        OutcomeUnknownError: it is there still.
        ExecutorError: the hypervisor could not be asked, or refused.
    """
    executor = bench.site.executor
    found = find_ours(bench, claim)
    if found is None:
        return
    if found.state is not OccupantState.SHUTOFF:
        bench.faults.at(Step.DESTROY, "before", claim.guest)
        executor.destroy(claim.uuid)
        bench.faults.at(Step.DESTROY, "after", claim.guest)
    bench.faults.at(Step.UNDEFINE, "before", claim.guest)
    executor.undefine(claim.uuid)
    bench.faults.at(Step.UNDEFINE, "after", claim.guest)
    if find_ours(bench, claim) is not None:
        raise OutcomeUnknownError(f"guest {claim.guest}: is still there after it was destroyed.")
