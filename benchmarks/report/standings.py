"""The page's first table: better than the base or not, with intervals that are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.report.paired import Difference
from benchmarks.report.results import Results
from benchmarks.report.verdict import DECIDING, Answer, Verdict
from benchmarks.report.words import margin, plural, title

_SAID = {
    Answer.YES: "better",
    Answer.MIXED: "better in one and worse in the other",
    Answer.NO: "not better",
    Answer.NOT_SHOWN: "not shown to be better or worse",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A difference, as it is written and as it is drawn.

    Attributes:
        low, mean, high: in per cent of the width, zero at 50; None where there is nothing to be drawn.
    """

    text: str
    mean: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standings:
    """A line for each policy."""

    heads: tuple[str, ...]
    scenarios: tuple[str, ...]
    lines: tuple[tuple[Verdict, tuple[Interval, ...]], ...]


def standings(found: Sequence[Verdict], results: Results) -> Standings:
    """Of all policies but the base; the intervals of a column on one scale."""
    columns = [[one.overall[i] for one in found] for i in range(len(DECIDING))]
    drawn = [_drawn(metric, column) for metric, column in zip(DECIDING, columns, strict=True)]
    return Standings(
        heads=tuple(title(metric) for metric in DECIDING),
        scenarios=results.scenarios,
        lines=tuple(zip(found, zip(*drawn, strict=True), strict=True)),
    )


def headline(found: Sequence[Verdict]) -> list[tuple[str, str]]:
    """A sentence for each answer that was given, and who it is about."""
    told = []
    for answer in Answer:
        who = [one.policy for one in found if one.answer is answer]
        if who:
            told.append((f"{plural(who, 'policy', 'policies')} {_SAID[answer]}", ", ".join(who)))
    return told


def _drawn(metric: str, column: Sequence[Difference | None]) -> list[Interval]:
    ends = [
        abs(end) for each in column if each is not None for end in (each.mean, each.low, each.high) if end is not None
    ]
    scale = 48 / max(ends, default=0) if max(ends, default=0) else 0.0
    return [_interval(metric, each, scale) for each in column]


def _interval(metric: str, each: Difference | None, scale: float) -> Interval:
    if each is None:
        return Interval(text="–")
    low, high = (None if end is None else round(50 + scale * end, 1) for end in (each.low, each.high))
    return Interval(text=margin(metric, each), mean=round(50 + scale * each.mean, 1), low=low, high=high)
