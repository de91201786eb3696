"""How figures, differences and names are written, the same in pages, Markdown and the terminal."""

from __future__ import annotations

import math
from collections.abc import Sized

from benchmarks.metrics import METRICS
from benchmarks.report.paired import Difference, Evidence
from benchmarks.report.results import SHARE, Results

_DIGITS = 4
_RATIOS = {"gap", "regret"}
"""Beside all whose names end in `_ratio`."""


def title(metric: str) -> str:
    """A table's head: `local bytes`, `p50 (ms)`, `refused [memory]`."""
    if metric == SHARE:
        return "placed of asked"
    name, bracket, inside = metric.partition("[")
    unit = METRICS[name].unit
    return f"{METRICS[name].title}{f' ({unit})' if unit else ''}{f' [{inside}' if bracket else ''}"


def is_ratio(metric: str) -> bool:
    """Whether it is written in per cent."""
    name = metric.partition("[")[0]
    return name.endswith("_ratio") or name in _RATIOS


def figure(metric: str, value: float | None) -> str:
    """Four digits, so that 99.96 % is not called 100 %; counts in full."""
    if value is None:
        return "–"
    if is_ratio(metric):
        return f"{_number(100 * value)} %"
    return _number(value)


def signed(metric: str, *values: float) -> list[str]:
    """Differences, `+3.2`, all to the same place: the largest of them has three digits. Ratios in percentage points."""
    scaled = [100 * value if is_ratio(metric) else value for value in values]
    largest = max(map(abs, scaled))
    places = max(0, 2 - math.floor(math.log10(largest))) if largest else 0
    whole = all(value.is_integer() for value in map(float, scaled))
    return [f"{value:+,.{0 if whole else min(places, 9)}f}".replace("-", "−") for value in scaled]


def margin(metric: str, difference: Difference | None) -> str:
    """`+3.2 [+1.1, +5.3]`, with a word instead of the interval where there is none."""
    if difference is None:
        return "–"
    if difference.is_none:
        return f"0 ({SHORT[difference.evidence]})"
    if difference.evidence is Evidence.INTERVAL and difference.low is not None and difference.high is not None:
        mean, low, high = signed(metric, difference.mean, difference.low, difference.high)
        return f"{mean} [{low}, {high}]"
    return f"{signed(metric, difference.mean)[0]} ({SHORT[difference.evidence]})"


SHORT = {
    Evidence.INTERVAL: "95 %",
    Evidence.EXACT: "every seed",
    Evidence.ONE_SEED: "one seed",
    Evidence.NO_SPREAD: "no spread",
}


def left_out(results: Results) -> list[str]:
    """What the rows have and the comparison has not: a line each."""
    lines = []
    for scenario in results.scenarios:
        for seed, who in results.left_out(scenario).items():
            lines.append(f"{scenario}: seed {seed} is left out of what all are compared in; it lacks {', '.join(who)}.")
    every = [{seed for contender in results.played(s) for seed in results.of(s, contender)} for s in results.scenarios]
    if set.union(*every) != set.intersection(*every):
        common = ", ".join(map(str, sorted(set.intersection(*every)))) or "none"
        lines.append(f"Not all scenarios have the same seeds: over all of them only the common ones count ({common}).")
    if results.unknown:
        lines.append(f"Passed over, as no metric of this version has the name: {', '.join(results.unknown)}.")
    return lines


def clean(text: str) -> str:
    """A name that others chose, for a terminal: what moves the cursor is taken out."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _number(value: float) -> str:
    if float(value).is_integer() or abs(value) >= 10**_DIGITS:
        text = f"{value:,.0f}"
    elif abs(value) < 10**-_DIGITS:
        text = f"{value:.1e}"
    else:
        text = f"{float(f'{value:.{_DIGITS}g}'):.{2 * _DIGITS}f}".rstrip("0").rstrip(".")
    return text.replace("-", "−")


def plural(things: Sized, one: str, many: str = "") -> str:
    """`1 seed`, `3 seeds`."""
    return f"{len(things):,} {one if len(things) == 1 else many or one + 's'}"
