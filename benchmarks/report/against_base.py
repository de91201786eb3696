"""Every policy beside the base, scenario by scenario and figure by figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import fmean

from benchmarks.metrics import Better, metric_of
from benchmarks.report.paired import CONFIDENCE, Difference, difference, holm
from benchmarks.report.results import Results


class Judgement(StrEnum):
    """What a difference from the base says."""

    BETTER = "better"
    WORSE = "worse"
    OTHER = "other"
    """It differs in a figure by which nobody wins."""
    SAME = "the same"
    NOT_SHOWN = "not shown"
    """The interval has zero in it, or there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One figure of one policy in one scenario, beside the base.

    Attributes:
        value, base_value: means over the seeds that both have.
        left_out: seeds that one of the two lacks.
        holds: whether the judgement stands beside all others of the same figure (Holm, 5 % for all together).
    """

    scenario: str
    metric: str
    policy: str
    value: float
    base_value: float
    difference: Difference
    left_out: tuple[int, ...]
    holds: bool = False

    @property
    def judgement(self) -> Judgement:
        return judged(self.metric, self.difference)


def judged(metric: str, margin: Difference) -> Judgement:
    """Whether the difference is for the better."""
    better = metric_of(metric).better
    if margin.is_none:
        return Judgement.SAME
    if margin.sign == 0:
        return Judgement.NOT_SHOWN
    if better is Better.NEITHER:
        return Judgement.OTHER
    return Judgement.BETTER if (margin.sign > 0) is (better is Better.MORE) else Judgement.WORSE


def compared(results: Results, base: str, metrics: Sequence[str]) -> list[Compared]:
    """By metric, scenario and policy; a figure that one of the two lacks is left out."""
    found = []
    for metric in metrics:
        family = [
            one
            for scenario in results.scenarios
            for policy in results.played(scenario)
            if policy != base and (one := _compared(results, scenario, metric, policy, base)) is not None
        ]
        ps = holm([one.difference.p for one in family])
        found += [replace(one, holds=p < 1 - CONFIDENCE) for one, p in zip(family, ps, strict=True)]
    return found


def _compared(results: Results, scenario: str, metric: str, policy: str, base: str) -> Compared | None:
    ours, theirs = results.values(scenario, policy, metric), results.values(scenario, base, metric)
    repeat = results.repeats(scenario, policy) and results.repeats(scenario, base)
    margin = difference(ours, theirs, repeat=repeat)
    if margin is None:
        return None
    every = {*results.of(scenario, policy), *results.of(scenario, base)}
    return Compared(
        scenario=scenario,
        metric=metric,
        policy=policy,
        value=fmean(ours[seed] for seed in margin.seeds),
        base_value=fmean(theirs[seed] for seed in margin.seeds),
        difference=margin,
        left_out=tuple(sorted(every - set(margin.seeds))),
    )
