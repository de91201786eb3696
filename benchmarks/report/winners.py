"""Who wins a figure of a scenario, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

from benchmarks.metrics import Better, metric_of
from benchmarks.report.paired import Difference, Evidence, difference
from benchmarks.report.results import Results


class Standing(StrEnum):
    """How sure the first place is."""

    WINS = "wins"
    """Against each of the others the 95 % interval of the difference excludes zero."""
    LEADS = "leads"
    """The best mean, but against somebody the interval has zero in it, or there is no interval."""
    TIES = "ties"
    """Others are equal with every seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """The first place of one figure in one scenario.

    Attributes:
        first: the contender with the best mean; with `TIES` all that share it.
        runner_up: the next best mean; None where nobody else has the figure, or all share the first place.
        margin: of the first over the runner-up.
        unbeaten: contenders against whom the first place is not shown.
    """

    scenario: str
    metric: str
    standing: Standing
    first: tuple[str, ...]
    mean: float
    runner_up: str | None
    margin: Difference | None
    unbeaten: tuple[str, ...] = ()

    def mark(self, contender: str) -> str:
        """ "wins", "leads" or "ties" for a first place, "unbeaten" for who may be as good, else ""."""
        if contender in self.first:
            return self.standing.value
        return "unbeaten" if contender in self.unbeaten else ""


def winners(results: Results, metrics: Sequence[str]) -> list[Winner]:
    """Of every scenario and figure that has one."""
    found = (winner(results, scenario, metric) for scenario in results.scenarios for metric in metrics)
    return [one for one in found if one is not None]


def winner(results: Results, scenario: str, metric: str) -> Winner | None:
    """None where nobody wins by this figure, fewer than two have it, or they have no seed in common."""
    better = metric_of(metric).better
    values = _common(results, scenario, metric)
    if better is Better.NEITHER or len(values) < 2:
        return None
    more = 1 if better is Better.MORE else -1
    means = {contender: fmean(by_seed.values()) for contender, by_seed in values.items()}
    best, *others = sorted(means, key=lambda contender: (-more * means[contender], contender))
    repeats = {contender: results.repeats(scenario, contender) for contender in values}
    margins = {
        other: margin
        for other in others
        if (margin := difference(values[best], values[other], repeat=repeats[best] and repeats[other])) is not None
    }
    equal = tuple(other for other in margins if means[other] == means[best] and _is_equal(margins[other]))
    behind = tuple(other for other in others if other not in equal)
    unbeaten = tuple(other for other in behind if margins[other].sign != more)
    return Winner(
        scenario=scenario,
        metric=metric,
        standing=Standing.TIES if equal else Standing.LEADS if unbeaten else Standing.WINS,
        first=(best, *equal),
        mean=means[best],
        runner_up=behind[0] if behind else None,
        margin=margins[behind[0]] if behind else None,
        unbeaten=unbeaten,
    )


def _common(results: Results, scenario: str, metric: str) -> dict[str, Mapping[int, float]]:
    """The values of those that have the figure, over the seeds that all of these have."""
    found = {c: results.values(scenario, c, metric) for c in results.played(scenario)}
    found = {contender: values for contender, values in found.items() if values}
    seeds = set.intersection(*(set(values) for values in found.values())) if found else set()
    return {c: {seed: values[seed] for seed in sorted(seeds)} for c, values in found.items()} if seeds else {}


def _is_equal(margin: Difference) -> bool:
    """With every seed, be it only one."""
    return margin.is_none or margin.evidence is Evidence.ONE_SEED
