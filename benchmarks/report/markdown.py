"""The report as Markdown, short enough for an issue or a README."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from benchmarks.report.origin import commands, facts, size
from benchmarks.report.results import Results
from benchmarks.report.verdict import DECIDING, Verdict, counts, verdicts
from benchmarks.report.winners import Winner, winner
from benchmarks.report.words import clean, figure, left_out, margin, title
from probe.errors import BadInputError
from scheduler.cli.output import write_file

SHOWN = ("placed", "refused", "broken", "one_node_ratio", "mean_distance", "local_ratio", "empty_hosts", "gap")
"""Figures of a scenario's table; the page has all of them. None is a time: these differ from run to run."""
BEGIN = "<!-- numaplace bench report: what stands from here on is written by it -->"
END = "<!-- numaplace bench report: end -->"
_READING = (
    "Means over the seeds. Bold: wins, the 95 % intervals of the paired differences from all others exclude zero; "
    "*italic*: the best mean, not shown, or equal with others; † a wall clock cut something short."
)


def markdown(results: Results, base: str) -> str:
    """Better than the base first, then a table for each scenario, then how it was measured."""
    found = verdicts(results, base)
    parts = [
        f"{size(results)}.",
        *_verdicts(found, base),
        *(text for scenario in results.scenarios for text in _scenario(results, scenario)),
        _READING,
        *(_text(line) for line in left_out(results)),
        "; ".join(f"{_text(name)}: {_text(value)}" for name, value in facts(results)[1:]) + ".",
        *_commands(commands(results)),
    ]
    return "\n\n".join(parts) + "\n"


def write_between(path: Path, block: str) -> None:
    """Put the text between the two marks of a file, in place of what is there.

    Raises:
        BadInputError: the file cannot be read or written, or has not each mark once.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: cannot be read: {error}.") from error
    write_file(path, with_block(text, block, origin=str(path)))


def with_block(text: str, block: str, *, origin: str) -> str:
    """The text with another block between its marks. Raises `BadInputError` where it has not each of them once."""
    if (text.count(BEGIN), text.count(END)) != (1, 1) or text.index(END) < text.index(BEGIN):
        raise BadInputError(
            f"{origin}: expected one place to write to, got none or several.",
            advice=f"Maybe put these lines in:\n{BEGIN}\n{END}",
        )
    before, after = text.split(BEGIN, maxsplit=1)[0], text.split(END)[1]
    return f"{before}{BEGIN}\n{block.strip()}\n{END}{after}"


def _verdicts(found: Sequence[Verdict], base: str) -> list[str]:
    if not found:
        return [f"There is no other policy than {_text(base)}: nothing to compare."]
    head = ("policy", f"better than {base}?", *(f"{title(metric)}, points" for metric in DECIDING), "scenarios")
    rows = []
    for one in found:
        overall = (margin(metric, each) for metric, each in zip(DECIDING, one.overall, strict=True))
        rows.append((_text(one.policy), one.answer.value, *overall, counts(one)))
    return [_table(head, rows), f"Differences from {_text(base)} over all scenarios, [95 % interval]."]


def _scenario(results: Results, scenario: str) -> list[str]:
    metrics = [m for m in SHOWN if any(results.values(scenario, c, m) for c in results.played(scenario))]
    won = {metric: winner(results, scenario, metric) for metric in metrics}
    means = {c: [results.mean(scenario, c, metric) for metric in metrics] for c in results.played(scenario)}
    order = sorted(
        means,
        key=lambda c: (
            -(results.mean(scenario, c, "placed") or 0),
            -(results.mean(scenario, c, "local_ratio") or 0),
            c,
        ),
    )
    rows = []
    for contender in order:
        by_clock = any(row.limited_by_clock for row in results.of(scenario, contender).values())
        cells = (_cell(m, value, won[m], contender) for m, value in zip(metrics, means[contender], strict=True))
        rows.append((_text(contender) + "†" * by_clock, *cells))
    head = f"<details><summary>{escape(clean(scenario))}</summary>"
    return [head, _table(("policy", *map(title, metrics)), rows), "</details>"]


def _cell(metric: str, value: float | None, won: Winner | None, contender: str) -> str:
    text = _text(figure(metric, value))
    mark = won.mark(contender) if won is not None and won.runner_up is not None else ""
    return {"wins": f"**{text}**", "leads": f"*{text}*", "ties": f"*{text}*"}.get(mark, text)


def _commands(found: Sequence[str]) -> list[str]:
    longest = max((len(run) for each in found for run in re.findall("`+", each)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}shell\n{chr(10).join(map(clean, found))}\n{fence}"] if found else []


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = [_text(each) for each in head]
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    """What others chose, so that it stays text: no markup, no HTML, no link, no further column."""
    return re.sub(r"([\\`*_{}\[\]<>()#!|~@&])", r"\\\1", clean(text))
