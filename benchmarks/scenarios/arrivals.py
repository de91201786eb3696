"""When guests come and how long they stay: random processes, in blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.scenarios.mix import BLOCK, Floats

HOUR_S = 3600
HOURS = 24
DAY_S = HOUR_S * HOURS


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """A renewal process whose clock runs by the hours of a day.

    Attributes:
        burstiness: coefficient of variation of the times between arrivals (gamma distributed); 1 is a Poisson process.
        hours: 24 weights, how many come in each hour of the day; empty: as many in each.
    """

    burstiness: float = 1.0
    hours: tuple[float, ...] = ()

    def times(self, per_s: float, rng: np.random.Generator) -> Iterator[float]:
        """Seconds, ascending, without end; `per_s` come in a second on the average of whole days."""
        shape = 1 / self.burstiness**2
        last = 0.0
        while True:
            steps = rng.exponential(size=BLOCK) if shape == 1 else rng.gamma(shape, 1 / shape, BLOCK)
            clock = last + np.cumsum(steps)
            last = float(clock[-1])
            yield from self._at(clock / per_s).tolist()

    def _at(self, even_s: Floats) -> Floats:
        """The time of day at which the clock of a day with even hours shows so many seconds."""
        if not self.hours:
            return even_s
        days, rest = np.divmod(even_s, DAY_S)
        shown = np.concatenate(([0.0], np.cumsum(self.hours))) / sum(self.hours) * DAY_S
        return days * DAY_S + np.interp(rest, shown, np.arange(HOURS + 1) * HOUR_S)

    def even(self, at_s: Floats) -> Floats:
        """The inverse of the day's clock: times as they would be if all hours were alike."""
        if not self.hours:
            return at_s
        days, rest = np.divmod(at_s, DAY_S)
        shown = np.concatenate(([0.0], np.cumsum(self.hours))) / sum(self.hours) * DAY_S
        return days * DAY_S + np.interp(rest, np.arange(HOURS + 1) * HOUR_S, shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long guests stay.

    Attributes:
        mean_s: on the average.
        distribution: "exponential", "lognormal", "fixed" or "recorded".
        sigma: of lognormal: standard deviation of the logarithm.
        recorded_s: of recorded: the times that are drawn from.
    """

    mean_s: float
    distribution: str = "exponential"
    sigma: float = 0.0
    recorded_s: tuple[float, ...] = ()

    def draws(self, rng: np.random.Generator) -> Iterator[float]:
        """Seconds that new guests stay, without end."""
        while True:
            yield from self._block(rng).tolist()

    def rests(self, rng: np.random.Generator) -> Iterator[float]:
        """Seconds that guests still stay who are there at any one time, without end.

        Who is there is more likely one of those who stay long: lifetimes count by their length, and any part of
        them is over.
        """
        while True:
            yield from (self._by_length(rng) * rng.random(BLOCK)).tolist()

    def _block(self, rng: np.random.Generator) -> Floats:
        if self.distribution == "lognormal":
            return rng.lognormal(math.log(self.mean_s) - self.sigma**2 / 2, self.sigma, BLOCK)
        if self.distribution == "recorded":
            return rng.choice(np.array(self.recorded_s), BLOCK)
        return rng.exponential(self.mean_s, BLOCK) if self.distribution == "exponential" else self._fixed()

    def _by_length(self, rng: np.random.Generator) -> Floats:
        if self.distribution == "lognormal":
            return rng.lognormal(math.log(self.mean_s) + self.sigma**2 / 2, self.sigma, BLOCK)
        if self.distribution == "recorded":
            times = np.array(self.recorded_s)
            return rng.choice(times, BLOCK, p=times / times.sum())
        return rng.gamma(2, self.mean_s, BLOCK) if self.distribution == "exponential" else self._fixed()

    def _fixed(self) -> Floats:
        return np.full(BLOCK, self.mean_s)
