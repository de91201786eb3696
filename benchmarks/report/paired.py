"""The paired difference of two policies: the same events for both, seed by seed.

Few seeds are the rule, so the interval is Student's: of the mean of the differences, 95 %. (A bootstrap of three
values draws from ten samples; its intervals are far too narrow.) Differences that do not spread give it nothing to
reckon with. Where the seed changes nothing (a recorded batch), or both figures are the same with each of three seeds or
more (a 99th percentile of 10 against 21), the difference counts as exact. Else the differences agree by chance, and
nothing is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from statistics import fmean, stdev

from benchmarks.report.student import quantile, two_sided_p

CONFIDENCE = 0.95
_ALIKE = 1e-12
"""Differences that spread less than this part of the values are one difference, rounded."""


class Evidence(StrEnum):
    """What stands behind a difference."""

    INTERVAL = "95 % interval"
    EXACT = "the same for every seed"
    ONE_SEED = "one seed: no interval"
    NO_SPREAD = "the seeds differ by the same: no interval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Policy − base, over the seeds that both have.

    Attributes:
        low, high: the interval; None where there is none.
        p: how probable so large a mean is where nothing differs; 1 where there is no interval.
        seeds: that both have, ascending.
    """

    mean: float
    low: float | None
    high: float | None
    p: float
    seeds: tuple[int, ...]
    evidence: Evidence

    @property
    def sign(self) -> int:
        """1 or −1 where the interval is on that side of zero, else 0: nothing is claimed."""
        if self.low is None or self.high is None:
            return 0
        return (self.low > 0) - (self.high < 0)

    @property
    def is_none(self) -> bool:
        """Whether both were measured as equal with every seed, and with more than one."""
        return self.low == self.high == 0


def difference(values: Mapping[int, float], base: Mapping[int, float], *, repeat: bool = False) -> Difference | None:
    """Of the seeds that both have; None where there is none. `repeat`: both give the same row for every seed."""
    seeds = tuple(sorted(values.keys() & base.keys()))
    if not seeds:
        return None
    scale = max(max(abs(values[seed]), abs(base[seed])) for seed in seeds)
    constant = len(seeds) > 2 and all(len({side[seed] for seed in seeds}) == 1 for side in (values, base))
    by_seed = {seed: values[seed] - base[seed] for seed in seeds}
    return mean_difference(by_seed, scale=scale, repeat=repeat or constant)


def mean_difference(by_seed: Mapping[int, float], *, scale: float, repeat: bool = False) -> Difference:
    """Of the differences of each seed; `scale` is the largest value that they are of."""
    differences, seeds = tuple(by_seed.values()), tuple(by_seed)
    mean, n = fmean(differences), len(differences)
    known = partial(Difference, mean=mean, seeds=seeds)
    if n == 1:
        return known(low=None, high=None, p=1.0, evidence=Evidence.ONE_SEED)
    if max(differences) - min(differences) <= _ALIKE * scale:
        if abs(mean) <= _ALIKE * scale:
            return known(mean=0.0, low=0.0, high=0.0, p=1.0, evidence=Evidence.EXACT)
        if repeat:
            return known(low=mean, high=mean, p=0.0, evidence=Evidence.EXACT)
        return known(low=None, high=None, p=1.0, evidence=Evidence.NO_SPREAD)
    error = stdev(differences) / math.sqrt(n)
    reach = error * _quantile(n - 1)
    p = two_sided_p(mean / error, n - 1)
    return known(low=mean - reach, high=mean + reach, p=p, evidence=Evidence.INTERVAL)


def holm(ps: Sequence[float]) -> list[float]:
    """Each p as it is among all of them: below 0.05, the claim holds beside all others (Holm 1979)."""
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        largest = max(largest, min(1.0, ps[i] * (len(ps) - rank)))
        adjusted[i] = largest
    return adjusted


@cache
def _quantile(degrees: int) -> float:
    return quantile(CONFIDENCE, degrees)
