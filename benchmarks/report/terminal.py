"""The comparison as tables for the terminal, and as one document for scripts."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.report.against_base import Compared, compared
from benchmarks.report.results import Results
from benchmarks.report.verdict import DECIDING, Verdict, counts, verdicts
from benchmarks.report.winners import Winner, winners
from benchmarks.report.words import clean, figure, left_out, margin, title
from scheduler.cli.output import columns, table_width

SHOWN = ("placed", "broken", "local_ratio", "mean_distance")
"""Figures that are compared where nobody asks for others."""

_READING = (
    "[low, high]: 95 % interval of the mean of the paired differences, policy − base, each by itself. *: holds beside "
    "all others of its figure too (Holm, 5 % for all together). Nothing is claimed where the interval has zero in it, "
    "or from one seed. Better: more guests placed or more local bytes is shown, and of the other one at most a point "
    "less."
)


def tables(results: Results, base: str, metrics: Sequence[str]) -> str:
    """Better than the base first, then the winners, then every difference."""
    parts = [
        _verdict_table(verdicts(results, base), base),
        _winner_table(winners(results, metrics)),
        _difference_table(compared(results, base, metrics)),
        "\n".join(clean(line) for line in left_out(results)),
        textwrap.fill(_READING, width=table_width() or 120),
    ]
    return "\n\n".join(part for part in parts if part)


def document(results: Results, base: str, metrics: Sequence[str]) -> dict[str, Any]:
    """The same for scripts."""
    lacks = {scenario: results.left_out(scenario) for scenario in results.scenarios}
    return {
        "schema": 1,
        "base": base,
        "options": dict(results.shared),
        "digests": dict(results.digests),
        "verdicts": [_verdict_document(one) for one in verdicts(results, base)],
        "winners": [asdict(one) for one in winners(results, metrics)],
        "differences": [{**asdict(one), "judgement": one.judgement} for one in compared(results, base, metrics)],
        "left_out": {scenario: {str(seed): who for seed, who in of.items()} for scenario, of in lacks.items() if of},
        "unknown": results.unknown,
    }


def _verdict_document(one: Verdict) -> dict[str, Any]:
    overall = {metric: each and asdict(each) for metric, each in zip(DECIDING, one.overall, strict=True)}
    return {**asdict(one), "overall": overall}


def _verdict_table(found: Sequence[Verdict], base: str) -> str:
    head = ("POLICY", f"BETTER THAN {clean(base).upper()}?", "PLACED, POINTS", "LOCAL BYTES, POINTS", "SCENARIOS")
    rows = [(clean(v.policy), v.answer.value, *_overall(v), counts(v)) for v in found]
    return columns(head, rows) if rows else f"There is no other policy than {clean(base)}: nothing to compare."


def _overall(verdict: Verdict) -> list[str]:
    return [margin(metric, each) for metric, each in zip(DECIDING, verdict.overall, strict=True)]


def _winner_table(found: Sequence[Winner]) -> str:
    rows = [
        (
            clean(w.scenario),
            title(w.metric),
            "all" if w.runner_up is None else clean(", ".join(w.first)),
            w.standing.value,
            figure(w.metric, w.mean),
            "-" if w.runner_up is None else clean(w.runner_up),
            margin(w.metric, w.margin),
        )
        for w in found
    ]
    return columns(("SCENARIO", "FIGURE", "FIRST", "", "VALUE", "NEXT", "MARGIN"), rows) if rows else ""


def _difference_table(found: Sequence[Compared]) -> str:
    rows = [
        (
            clean(one.scenario),
            title(one.metric),
            clean(one.policy),
            figure(one.metric, one.value),
            figure(one.metric, one.base_value),
            margin(one.metric, one.difference),
            f"{one.judgement.value}{'*' * one.holds}",
        )
        for one in found
    ]
    return columns(("SCENARIO", "FIGURE", "POLICY", "VALUE", "BASE", "DIFFERENCE", ""), rows) if rows else ""
