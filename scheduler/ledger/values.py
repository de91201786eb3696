"""The values of the books: states, claims, events, and what goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from policies.plan import Placement
from probe.errors import NumaplaceError


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
        """Whether its rows stand."""
        return self not in (State.RELEASED, State.FAILED)


_S = State
ALLOWED: Mapping[State, frozenset[State]] = {
    _S.PLANNED: frozenset({_S.RESERVED, _S.FAILED, _S.RELEASED}),
    _S.RESERVED: frozenset({_S.DEFINED, _S.UNKNOWN, _S.FAILED, _S.RELEASED}),
    _S.DEFINED: frozenset({_S.STARTING, _S.UNKNOWN, _S.LOST, _S.FAILED, _S.RELEASED}),
    _S.STARTING: frozenset({_S.VERIFYING, _S.UNKNOWN, _S.LOST, _S.FAILED, _S.RELEASED}),
    _S.VERIFYING: frozenset({_S.RUNNING, _S.UNKNOWN, _S.LOST, _S.FAILED, _S.RELEASED}),
    _S.RUNNING: frozenset({_S.ACTIVE, _S.DRIFTED, _S.UNKNOWN, _S.LOST, _S.FAILED, _S.RELEASED}),
    _S.ACTIVE: frozenset({_S.DRIFTED, _S.UNKNOWN, _S.LOST, _S.RELEASED}),
    _S.DRIFTED: frozenset({_S.ACTIVE, _S.UNKNOWN, _S.LOST, _S.RELEASED}),
    _S.UNKNOWN: frozenset({_S.DEFINED, _S.STARTING, _S.RUNNING, _S.LOST, _S.FAILED, _S.RELEASED}),
    _S.LOST: frozenset({_S.ACTIVE, _S.DRIFTED, _S.RUNNING, _S.DEFINED, _S.RELEASED}),
    _S.RELEASED: frozenset(),
    _S.FAILED: frozenset(),
}
"""State to the states that may follow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A promise: a guest, its host, what it was promised, and how far its creation is.

    Attributes:
        generation: counts its transitions; a transition names the one it saw.
        updated_at: database clock, UTC, "YYYY-MM-DD HH:MM:SS".
    """

    claim_id: str
    guest: str
    host: str
    uuid: str
    state: State
    generation: int
    placement: Placement
    updated_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a claim holds.

    Attributes:
        cpus: dedicated pCPUs.
        amounts: (node, kind) to KiB or vCPUs; node -1 for the host's sum.
    """

    cpus: frozenset[int] = frozenset()
    amounts: Mapping[tuple[int, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened. `rows` is what the claim held from then on."""

    seq: int
    at: str
    claim_id: str
    guest: str
    host: str
    state: State
    rows: Rows
    note: str = ""


class LedgerUnreachableError(NumaplaceError):
    """The books cannot be opened or written; nothing is done without them."""

    exit_status = 6


class ConflictError(NumaplaceError):
    """Somebody else holds it, or changed it since we looked."""

    exit_status = 5
