"""How much searching is left: wall clock, CP-SAT's deterministic time, or both."""

from __future__ import annotations

import time

from ortools.sat.python.cp_model import CpSolver

from policies.policy import Effort

SHORTEST_S = 0.02


class Budget:
    """Begins when it is made. With a deterministic limit and one seed, answers repeat.

    That takes a single worker, and a time limit that does not bind: several workers stop each
    other at moments that nobody controls.
    """

    def __init__(self, effort: Effort) -> None:
        self.effort = effort
        self._began = time.monotonic()
        self._deterministic = 0.0

    def solver(self, *, share: float, most: float | None = None) -> CpSolver:
        """A CP-SAT solver that may use this share of what is left, and no more than `most`.

        `most` is in deterministic seconds, about as long as real ones; it makes the search single.
        """
        cp, effort = CpSolver(), self.effort
        cp.parameters.random_seed = effort.seed
        cp.parameters.num_workers = 1 if most is not None or effort.deterministic_limit is not None else effort.workers
        limits = [] if most is None else [most]
        if effort.deterministic_limit is not None:
            limits.append(max(0.0, effort.deterministic_limit - self._deterministic) * share)
        if limits:
            cp.parameters.max_deterministic_time = min(limits)
        if effort.time_limit_s is not None:
            left_s = max(0.0, effort.time_limit_s - (time.monotonic() - self._began))
            cp.parameters.max_time_in_seconds = max(SHORTEST_S, left_s * share)
        return cp

    def spend(self, cp: CpSolver) -> None:
        """Take off what a search has used: something, even where it was too short to count."""
        self._deterministic += max(SHORTEST_S, cp.deterministic_time)

    def used(self) -> float:
        """The part of the budget that is used up, 1 or more when all is; 0 without a limit."""
        parts = [0.0]
        if self.effort.time_limit_s is not None:
            parts.append((time.monotonic() - self._began) / max(self.effort.time_limit_s, 1e-9))
        if self.effort.deterministic_limit is not None:
            parts.append(self._deterministic / max(self.effort.deterministic_limit, 1e-9))
        return max(parts)

    def has_lasted(self, *, share: float, least_s: float) -> bool:
        """Whether this share of the time limit is over, and so many seconds at least; never without a time limit."""
        limit_s = self.effort.time_limit_s
        return limit_s is not None and time.monotonic() - self._began >= max(limit_s * share, least_s)

    def affords(self, work_s: float, *, share: float) -> bool:
        """Whether so much counted work is within this share of a deterministic limit; always without one."""
        limit = self.effort.deterministic_limit
        return limit is None or self._deterministic + work_s <= limit * share

    def count(self, work_s: float) -> None:
        """Take off work that was counted, not measured: the same on every machine."""
        self._deterministic += work_s

    def part_of(self, until: float, fraction: float) -> float:
        """This fraction of the way from now to the point `until`, as a share of what is left.

        All without a limit, and nothing where nothing is left.
        """
        if not self.is_limited:
            return 1.0
        used = self.used()
        return max(0.0, min(until, 1.0) - used) * fraction / (1.0 - used) if used < 1.0 else 0.0

    def is_spent(self, *, share: float = 1.0) -> bool:
        return self.used() >= share

    @property
    def is_limited(self) -> bool:
        """Whether it ever ends."""
        return self.effort.time_limit_s is not None or self.effort.deterministic_limit is not None

    def what_ended(self) -> str:
        """Which limit ended a search; "" where none did."""
        effort = self.effort
        if effort.deterministic_limit is not None and self._deterministic >= effort.deterministic_limit:
            return f"the effort of {effort.deterministic_limit:g}"
        if effort.time_limit_s is not None and self.is_spent():
            return f"the time limit of {effort.time_limit_s:g}s"
        return ""
