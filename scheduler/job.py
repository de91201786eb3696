"""One guest's way through `apply`: what is asked for, how it is carried out, what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event

from probe.errors import NumaplaceError
from scheduler.ledger import Claim, State
from scheduler.memory_guarantee import MemoryGuarantee
from scheduler.steps import Bench, Faults, Order, faults_from_environment

Report = Callable[[Claim], None]
"""Called after each step with the claim as it is now, from the thread that works on its host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How orders are carried out.

    Attributes:
        plan_hash: which plan they are of; "" for none.
        retries: how often one guest is planned again when the world has changed.
        stop: once set, each host stops after the step that it is in.
    """

    report: Report = lambda _: None
    faults: Faults = field(default_factory=faults_from_environment)
    plan_hash: str = ""
    retries: int = 2
    stop: Event = field(default_factory=Event)


class StoppedError(NumaplaceError):
    """It was interrupted between two steps: what was done is in the books, and anybody may go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A guest was planned again: from where to where, and why. Nodes are those of its memory."""

    from_host: str
    from_nodes: str
    to_host: str
    to_nodes: str
    why: str

    def __str__(self) -> str:
        old, new = _place(self.from_host, self.from_nodes), _place(self.to_host, self.to_nodes)
        return f"tried again on {old}" if old == new else f"moved from {old} to {new}"


def _place(host: str, nodes: str) -> str:
    return f"{host} node {nodes}" if nodes else host


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one guest.

    Attributes:
        host: where it was planned last.
        exit_status: 0 when it is active, else the README's (3 no place left, 4 drifted or lost, 5, 6, 7, 8).
        note: what went wrong; "" for an active one.
        moves: how it was planned again, oldest first.
        memory_guarantee: of a guest that was let run; None where it cannot be told.
        world_changed: it was undone because its host is not as planned; another place may do.
        place_failed: the hypervisor did not give it there what the host had shown as free.
    """

    guest: str
    host: str
    state: State
    exit_status: int = 0
    note: str = ""
    moves: tuple[Move, ...] = ()
    memory_guarantee: MemoryGuarantee | None = None
    world_changed: bool = False
    place_failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One guest as it is worked on. `why` tells in the books why it was planned again."""

    order: Order
    bench: Bench
    course: Course
    why: str = ""
