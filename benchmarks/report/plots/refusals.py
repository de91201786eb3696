"""Cumulative refusals over time: a line for each contender, the mean of its seeds."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.report.looks import Look
from benchmarks.report.plots.canvas import COLOUR, drawing
from benchmarks.report.results import Results
from benchmarks.rows import Row

POINTS = 96
_UNITS = (("days", 86400.0, 3.0), ("hours", 3600.0, 3.0), ("minutes", 60.0, 3.0))
"""With how many of it at least it is used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Refusals so far, at the moments of a common clock: the mean of the seeds, the least and the most."""

    at_s: tuple[float, ...]
    mean: tuple[float, ...]
    least: tuple[float, ...]
    most: tuple[float, ...]


def courses(results: Results, scenario: str) -> dict[str, Course]:
    """Of the contenders whose rows have samples; all on the same clock. None where all happens at one moment."""
    rows = {c: [r for r in results.of(scenario, c).values() if _has(r)] for c in results.played(scenario)}
    end = max((row.series["at_s"][-1] for each in rows.values() for row in each), default=0.0)
    at_s = tuple(end * i / (POINTS - 1) for i in range(POINTS))
    return {contender: _course(each, at_s) for contender, each in rows.items() if each and end}


def draw_refusals(found: Mapping[str, Course], looks: Mapping[str, Look], name: str) -> str:
    """The SVG; those in grey lie below."""
    unit, seconds = unit_of(max(course.at_s[-1] for course in found.values()))
    with drawing(name) as canvas:
        for contender in sorted(found, key=lambda each: (looks[each].is_highlighted, each)):
            look, course = looks[contender], found[contender]
            x = [moment / seconds for moment in course.at_s]
            if look.is_highlighted and course.least != course.most:
                canvas.axes.fill_between(x, course.least, course.most, color=COLOUR[look.colour], alpha=0.12, lw=0)
            canvas.axes.plot(
                x,
                course.mean,
                color=COLOUR[look.colour],
                lw=1.6 if look.is_highlighted else 0.8,
                dashes=look.dashes or (1, 0),
                marker=look.marker if look.is_highlighted else "",
                markevery=(POINTS // 12, POINTS // 6),
                markersize=4,
            )
        canvas.axes.set(xlabel=unit, ylabel="guests refused so far")
        canvas.axes.set_xlim(left=0)
        canvas.axes.set_ylim(bottom=0)
    return canvas.svg


def unit_of(span_s: float) -> tuple[str, float]:
    """The unit of a time axis, and its seconds."""
    return next(((unit, seconds) for unit, seconds, least in _UNITS if span_s >= least * seconds), ("seconds", 1.0))


def _has(row: Row) -> bool:
    return bool(row.series.get("at_s")) and "refused" in row.series


def _course(rows: Sequence[Row], at_s: tuple[float, ...]) -> Course:
    sampled = [_sampled(row.series["at_s"], row.series["refused"], at_s) for row in rows]
    moments = [*zip(*sampled, strict=True)]
    return Course(
        at_s=at_s,
        mean=tuple(map(fmean, moments)),
        least=tuple(map(min, moments)),
        most=tuple(map(max, moments)),
    )


def _sampled(at_s: Sequence[float], values: Sequence[float], moments: Sequence[float]) -> list[float]:
    """The last value that was sampled by then; 0 before the first one."""
    places = [bisect_right(at_s, moment) for moment in moments]
    return [values[place - 1] if place else 0.0 for place in places]
