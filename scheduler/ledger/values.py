"""The values of the books: states, claims, what a claim holds, events, and what goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fractions import Fraction

from policies.plan import Placement
from probe.cpuset import CpuSet
from probe.errors import NumaplaceError

WHOLE_HOST = -1
"""Stands where a node's id would for what is counted over all nodes of a host together. Every
claim counts there too, so that unpinned guests, which count on no node, keep what they were promised."""


ADOPTED = "adopt"
"""The step of a claim's first event where somebody else made its guest."""


class State(StrEnum):
    """Where a claim is (design.md, "The books")."""

    PLANNED = "planned"
    RESERVED = "reserved"
    DEFINED = "defined"
    STARTING = "starting"
    VERIFYING = "verifying"
    RUNNING = "running"
    ACTIVE = "active"
    DRIFTED = "drifted"
    UNKNOWN = "unknown"
    LOST = "lost"
    RELEASED = "released"
    FAILED = "failed"

    @property
    def is_live(self) -> bool:
        """Whether the claim stands. What is released or failed holds nothing any more."""
        return self not in (State.RELEASED, State.FAILED)

    @property
    def is_under_way(self) -> bool:
        """Whether a transaction is in the midst of creating the guest."""
        return self in _UNDER_WAY


_S = State
_UNDER_WAY = frozenset({_S.PLANNED, _S.RESERVED, _S.DEFINED, _S.STARTING, _S.VERIFYING, _S.RUNNING})

TRANSITIONS: Mapping[State, frozenset[State]] = {
    _S.PLANNED: frozenset({_S.RESERVED, _S.FAILED, _S.RELEASED}),
    _S.RESERVED: frozenset({_S.RESERVED, _S.DEFINED, _S.UNKNOWN, _S.FAILED}),
    _S.DEFINED: frozenset({_S.STARTING, _S.UNKNOWN, _S.FAILED}),
    _S.STARTING: frozenset({_S.VERIFYING, _S.UNKNOWN, _S.FAILED}),
    _S.VERIFYING: frozenset({_S.RUNNING, _S.UNKNOWN, _S.FAILED}),
    _S.RUNNING: frozenset({_S.ACTIVE, _S.DRIFTED, _S.UNKNOWN, _S.FAILED}),
    _S.ACTIVE: frozenset({_S.ACTIVE, _S.DRIFTED, _S.UNKNOWN, _S.LOST}),
    _S.DRIFTED: frozenset({_S.DRIFTED, _S.ACTIVE, _S.UNKNOWN, _S.LOST}),
    _S.UNKNOWN: frozenset(
        {_S.UNKNOWN, _S.RESERVED, _S.DEFINED, _S.STARTING, _S.RUNNING, _S.ACTIVE, _S.LOST, _S.RELEASED, _S.FAILED}
    ),
    _S.LOST: frozenset({_S.UNKNOWN}),
    _S.RELEASED: frozenset(),
    _S.FAILED: frozenset(),
}
"""State to the states that may follow it. `unknown` is the turn-table: where the books and the
hypervisor differ, where a guest is adopted, let go or destroyed, and where one that was lost is seen
again, the claim goes through it. `reserved` follows itself when the host was looked at once more,
`active` and `drifted` when a repair was begun, or has changed nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A promise: a guest, its host, what it was promised, and how far its creation is.

    Attributes:
        claim_id: UUID4, also in the domain's metadata.
        uuid: of the domain.
        generation: counts its transitions; a transition names the one that it saw (fencing).
        step: the step of `scheduler.steps` that led to this state.
        owner: the process that made the last transition (`scheduler.ledger.owner`).
        lease_s: for so long after `updated_at` nobody else takes the claim; 0: nobody works on it.
        plan_hash: of the plan that it was accepted from; "" where none was told.
        adopted: whether somebody else made the guest; undoing never takes such a one away.
        created_at, updated_at: the database's clock, aware UTC, whole seconds.
    """

    claim_id: str
    guest: str
    host: str
    uuid: str
    state: State
    generation: int
    step: str
    owner: str
    lease_s: int
    plan_hash: str
    placement: Placement
    adopted: bool = False
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What a placement holds on its host.

    Attributes:
        own_cpus: pCPUs that are nobody else's.
        floating_cpus: pCPUs on which its vCPUs or its emulator threads may run beside others;
            they can be dedicated to nobody.
        memory_kib: (node, page size in KiB) to KiB, overhead included; node `WHOLE_HOST` has the
            sum, unbound memory included.
        shared_vcpus: node to vCPUs that float there; `WHOLE_HOST` as above.
    """

    own_cpus: CpuSet = field(default_factory=CpuSet)
    floating_cpus: CpuSet = field(default_factory=CpuSet)
    memory_kib: Mapping[tuple[int, int], int] = field(default_factory=dict)
    shared_vcpus: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """What the books say of a host at one moment.

    Attributes:
        counted: the sum of what those claims hold that a look at the host has taken off already.
        own_cpus: pCPUs that are dedicated, by whichever claim.
        shared_vcpus: node to the shared vCPUs that are promised there in all.
    """

    counted: Holding = field(default_factory=Holding)
    own_cpus: CpuSet = field(default_factory=CpuSet)
    shared_vcpus: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedLimit:
    """How many shared vCPUs a node takes: promised + `others` <= overcommit × `cpus`.

    Attributes:
        others: vCPUs seen there that are in no claim; negative where claims count for less than
            was promised.
    """

    cpus: int
    others: int
    overcommit: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What all claims on a host together may hold, as it was when one of them was reserved.

    `shared` also has the nodes from whose shared pCPUs a claim takes some away for itself.
    """

    memory_kib: Mapping[tuple[int, int], int] = field(default_factory=dict)
    shared: Mapping[int, SharedLimit] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened.

    Attributes:
        generation: the claim's, from then on.
        placement: what was accepted; None for every event but a claim's first.
        holding, limits: what was reserved, and within what; None for every event but that.
    """

    seq: int
    at: datetime
    claim_id: str
    guest: str
    host: str
    uuid: str
    step: str
    state: State
    generation: int
    note: str = ""
    placement: Placement | None = None
    holding: Holding | None = None
    limits: Limits | None = None


class LedgerUnreachableError(NumaplaceError):
    """The books cannot be opened, read or written; nothing is done without them."""

    exit_status = 6


class ConflictError(NumaplaceError):
    """Somebody else holds it, works on it, or changed it since we looked.

    Attributes:
        host: where.
        others: guests whose claims are in the way, as far as one can tell.
    """

    exit_status = 5

    def __init__(self, message: str, *, host: str = "", others: tuple[str, ...] = (), advice: str = "") -> None:
        super().__init__(message, advice=advice)
        self.host = host
        self.others = others
