"""How a row is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields

from policies.policy import Effort
from policies.rebalance.question import Budget

OnProgress = Callable[[int, int | None], None]
"""Told now and then how many events are played, and of how many (None: not known)."""

GIB_KIB = 1 << 20
SAMPLES = 500
UNKNOWN_LENGTH_EVERY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a row is measured; what is not as usual is in the row.

    Attributes:
        sample_every: events from one sample of the whole fleet to the next; None: so that a scenario whose
            length is known has 500. Guests are all counted, whatever the samples.
        rebalance_every: events from one rebalancing to the next; None: the fleet is never rebalanced.
        rebalance_hosts: as many hosts are rebalanced at a time, with each other; the next ones next time.
        budget: of each rebalancing.
        looks: how far each rebalancing searches, counted in its own steps, so that it can be repeated.
        deterministic_limit: of each question to a policy that searches, in CP-SAT's own seconds.
        time_limit_s: wall clock limit of each question; what it cuts short is marked as limited by the clock.
        regret: whether the plan that knows everything beforehand is bounded too.
        checkpoint_every_s: seconds of wall clock between two checkpoints.
    """

    sample_every: int | None = None
    rebalance_every: int | None = None
    rebalance_hosts: int = 8
    budget: Budget = field(default_factory=Budget)
    looks: int = 2_000
    deterministic_limit: float = 2.0
    time_limit_s: float | None = None
    regret: bool = True
    checkpoint_every_s: float = 30.0

    def every(self, count: int | None) -> int:
        """Events from one sample to the next, in a scenario of so many events."""
        if self.sample_every is not None:
            return self.sample_every
        return UNKNOWN_LENGTH_EVERY if count is None else max(1, count // SAMPLES)

    def effort(self, seed: int) -> Effort:
        """What each question to a policy may take."""
        return Effort(
            time_limit_s=self.time_limit_s, deterministic_limit=self.deterministic_limit, seed=seed, workers=1
        )

    def told(self) -> dict[str, str]:
        """What of them makes another row, as a row tells it: those that are not as usual."""
        usual = Options()
        names = [each.name for each in fields(self) if each.name not in ("budget", "checkpoint_every_s")]
        told = {name: getattr(self, name) for name in names if getattr(self, name) != getattr(usual, name)}
        if self.rebalance_every is not None:
            told["most_moves"], told["most_memory_gib"] = self.budget.most_moves, self.budget.most_memory_kib // GIB_KIB
        return {name: str(value) for name, value in told.items()}
