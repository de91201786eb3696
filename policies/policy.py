"""The plug-in point: what a policy is, and how it is found by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from policies.objective import DEFAULT_OBJECTIVE, Objective
from policies.request import GuestRequest
from policies.spread import Spread, here

if TYPE_CHECKING:
    from policies.fleet import Fleet
    from policies.plan import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a policy aims at, and how long and how it may search.

    Attributes:
        time_limit_s: wall clock; None for `deterministic_limit` alone.
        deterministic_limit: CP-SAT's deterministic time; the same seed then gives the same answer.
        seed: for everything random.
        workers: threads of the solver.
        objective: what a plan is judged by. Policies that do not search are judged by it only.
        spread: where the parts of a large batch are answered; the answer does not depend on it.
    """

    time_limit_s: float | None = 30.0
    deterministic_limit: float | None = None
    seed: int = 0
    workers: int = 2
    objective: Objective = DEFAULT_OBJECTIVE
    spread: Spread = field(default=here, compare=False)


class Policy(Protocol):
    """Decide where a batch of guests lives.

    A policy is pure: it neither reads the host nor remembers earlier batches. It returns one
    decision per request, in request order.
    """

    def __call__(self, requests: Sequence[GuestRequest], fleet: Fleet, effort: Effort, /) -> Answer: ...
