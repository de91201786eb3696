"""Apply as a transaction: reserve, look, define, start paused, verify, resume, verify again.

Each step is idempotent and recorded by one event after it is done, so that a second `apply` goes
on from what the books say. A definite failure is undone in reverse order; after an indefinite one
the claim stays, as `unknown`, until `reconcile` has looked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from policies.capacity import HostCapacity
from policies.demand import demand_of
from policies.plan import Placement
from probe.errors import NumaplaceError
from probe.topology import HostTopology
from scheduler.definitions.identity import Identity
from scheduler.definitions.render import guest_uuid
from scheduler.executors.port import (
    DefiniteFailureError,
    DomainDefinition,
    Executor,
    HostUnreachableError,
    OutcomeUnknownError,
)
from scheduler.ledger import Claim, ConflictError, Ledger, Rows, State
from scheduler.verify import figures

ATTEMPTS = 10
"""How often a reservation is tried when others change the host's promises meanwhile."""


class NotAsPlannedError(DefiniteFailureError):
    """The guest was started paused and is not bound as planned; it never ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A host as apply uses it.

    Attributes:
        look: what the host may promise now, read afresh, our outstanding claims taken off.
    """

    executor: Executor
    topology: HostTopology
    look: Callable[[], HostCapacity]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One guest to create: its placement, and how its definition is made."""

    placement: Placement
    render: Callable[[Identity], DomainDefinition]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one guest. `exit_status` is 0 when it is active."""

    guest: str
    host: str
    state: State
    exit_status: int = 0
    note: str = ""


Report = Callable[[str, State], None]
"""Called after each step with the guest's name and its state."""


def apply_orders(
    orders: Sequence[Order], sites: Mapping[str, Site], ledger: Ledger, report: Report = lambda *_: None
) -> tuple[Outcome, ...]:
    """Create the guests, one after the other; one guest's failure never touches another."""
    return tuple(_apply_one(order, sites, ledger, report) for order in orders)


def crash_point(step: str, when: str) -> None:
    """Die here if $NUMAPLACE_CRASH is "step:before" or "step:after": fault injection for tests."""
    if os.environ.get("NUMAPLACE_CRASH") == f"{step}:{when}":
        os._exit(137)


def _apply_one(order: Order, sites: Mapping[str, Site], ledger: Ledger, report: Report) -> Outcome:
    placement = order.placement
    site = sites[placement.host]
    claim = ledger.claim_of(placement.guest)
    try:
        if claim is None:
            claim = ledger.accept(placement, guest_uuid(ledger.ledger_id, placement.guest))
        elif claim.placement != placement:
            raise ConflictError(f"guest {placement.guest}: is in the books on {claim.host}, as another plan placed it.")
        for step, done in _STEPS:
            if claim.state in done.since:
                crash_point(step, "before")
                claim = done.do(order, site, ledger, claim)
                crash_point(step, "after")
                report(placement.guest, claim.state)
    except OutcomeUnknownError as error:
        moved = ledger.move(ledger.claim_of(placement.guest) or claim, State.UNKNOWN, str(error))  # type: ignore[arg-type]
        return _outcome(moved, error)
    except (HostUnreachableError, ConflictError) as error:
        if claim is not None and claim.state is State.PLANNED:
            claim = ledger.move(claim, State.FAILED, str(error))
        state = State.FAILED if claim is None else claim.state
        return Outcome(
            guest=placement.guest, host=placement.host, state=state, exit_status=error.exit_status, note=str(error)
        )
    except NumaplaceError as error:
        return _outcome(_undone(site, ledger, placement.guest, error), error)
    bad = claim.state is not State.ACTIVE
    note = ledger.events(placement.guest)[-1].note if bad else ""
    return Outcome(guest=claim.guest, host=claim.host, state=claim.state, exit_status=4 if bad else 0, note=note)


def _outcome(claim: Claim, error: NumaplaceError) -> Outcome:
    status = 8 if claim.state is State.UNKNOWN else error.exit_status
    return Outcome(guest=claim.guest, host=claim.host, state=claim.state, exit_status=status, note=str(error))


def _undone(site: Site, ledger: Ledger, guest: str, error: NumaplaceError) -> Claim:
    """Undo in reverse order. What cannot be undone for certain stays claimed, as `unknown`."""
    claim = ledger.claim_of(guest)
    if claim is None:
        raise error
    try:
        take_away(site.executor, ledger, claim)
    except NumaplaceError as second:
        return ledger.move(claim, State.UNKNOWN, f"{error}; undoing it: {second}")
    return ledger.move(claim, State.FAILED, str(error))


def take_away(executor: Executor, ledger: Ledger, claim: Claim) -> None:
    """Destroy and undefine the claim's domain, if its uuid and our marks are in it."""
    found = executor.find(claim.uuid)
    if found is not None and (found.ledger, found.claim) == (ledger.ledger_id, claim.claim_id):
        executor.destroy(claim.uuid)
        executor.undefine(claim.uuid)


def _reserve(order: Order, site: Site, ledger: Ledger, claim: Claim) -> Claim:
    for attempt in range(1, ATTEMPTS + 1):
        generation = ledger.generation(claim.host)
        capacity = site.look()
        rows, room = rows_of(order.placement, capacity)
        try:
            return ledger.reserve(claim, rows, room, generation)
        except ConflictError:
            if attempt == ATTEMPTS or ledger.generation(claim.host) == generation:
                raise
    raise AssertionError("unreachable")


def rows_of(placement: Placement, capacity: HostCapacity) -> tuple[Rows, Mapping[tuple[int, str], int]]:
    """What a placement holds in the books, and how much of each the host has left.

    Raises:
        DoesNotFitError: it names what the host has not got (any more).
    """
    demand = demand_of(placement, capacity)
    room: dict[tuple[int, str], int] = {}
    for node in capacity.nodes:
        room |= {(node.node_id, f"pages-{page}"): kib for page, kib in node.memory_kib.items()}
        room[node.node_id, "shared"] = max(0, int(capacity.overcommit * len(node.shared_cpus)) - node.shared_vcpus)
    amounts: dict[tuple[int, str], int] = {}
    cpus: set[int] = set()
    for node_id, need in demand.nodes.items():
        cpus |= need.cpus
        amounts |= {(node_id, f"pages-{page}"): kib for page, kib in need.memory_kib.items()}
        if need.shared_vcpus:
            amounts[node_id, "shared"] = need.shared_vcpus
    loose = {f"pages-{page}": kib for page, kib in demand.loose_memory_kib.items()}
    for kind, amount in {**loose, **({"shared": demand.loose_vcpus} if demand.loose_vcpus else {})}.items():
        amounts[-1, kind] = amount
        room[-1, kind] = sum(left for (_, other), left in room.items() if other == kind)
    return Rows(cpus=frozenset(cpus), amounts=amounts), room


def _define(order: Order, site: Site, ledger: Ledger, claim: Claim) -> Claim:
    identity = Identity(uuid=claim.uuid, ledger=ledger.ledger_id, claim=claim.claim_id)
    site.executor.define(order.render(identity))
    return ledger.move(claim, State.DEFINED)


def _start(order: Order, site: Site, ledger: Ledger, claim: Claim) -> Claim:
    site.executor.start_paused(claim.uuid)
    return ledger.move(claim, State.STARTING)


def _verify(order: Order, site: Site, ledger: Ledger, claim: Claim) -> Claim:
    """KVM: the bindings. Xen: its pages too, because all of them are placed by now."""
    seen = figures(order.placement, site.executor.observe(claim.uuid, order.placement), site.topology)
    if seen.problems:
        raise NotAsPlannedError(f"guest {claim.guest}: {'; '.join(seen.problems)}; it was never let run.")
    return ledger.move(claim, State.VERIFYING)


def _resume(order: Order, site: Site, ledger: Ledger, claim: Claim) -> Claim:
    site.executor.resume(claim.uuid)
    return ledger.move(claim, State.RUNNING)


def _verify_memory(order: Order, site: Site, ledger: Ledger, claim: Claim) -> Claim:
    seen = figures(order.placement, site.executor.observe(claim.uuid, order.placement), site.topology)
    return ledger.move(claim, State.DRIFTED if seen.problems else State.ACTIVE, "; ".join(seen.problems))


@dataclass(frozen=True, slots=True)
class _Step:
    since: frozenset[State]
    do: Callable[[Order, Site, Ledger, Claim], Claim]


_STEPS: tuple[tuple[str, _Step], ...] = (
    ("reserve", _Step(frozenset({State.PLANNED}), _reserve)),
    ("define", _Step(frozenset({State.RESERVED}), _define)),
    ("start", _Step(frozenset({State.DEFINED}), _start)),
    ("verify", _Step(frozenset({State.STARTING}), _verify)),
    ("resume", _Step(frozenset({State.VERIFYING}), _resume)),
    ("verify-memory", _Step(frozenset({State.RUNNING}), _verify_memory)),
)
"""Each step with the state that it follows. `reserve` reads the host once more under the claim."""
