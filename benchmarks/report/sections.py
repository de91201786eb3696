"""What a page tells of one scenario: the table with its winners, the plots, the differences and the rows."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.metrics import Better, metric_of
from benchmarks.report.against_base import Compared
from benchmarks.report.looks import Look
from benchmarks.report.paired import Evidence
from benchmarks.report.plots.distances import Bars, bars
from benchmarks.report.plots.occupancy import heat_map, png_of
from benchmarks.report.plots.pareto import draw_pareto, pareto
from benchmarks.report.plots.refusals import courses, draw_refusals, unit_of
from benchmarks.report.results import Results, asked
from benchmarks.report.winners import Standing, Winner, winner
from benchmarks.report.words import figure, margin, title

SYMBOL = {"wins": "★", "leads": "☆", "ties": "=", "unbeaten": "≈", "": ""}
_VERB = {Standing.WINS: "wins", Standing.LEADS: "leads", Standing.TIES: "first"}
ARROW = {Better.MORE: "more is better", Better.LESS: "less is better", Better.NEITHER: ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A figure as it is written, and its standing: a key of `SYMBOL`."""

    text: str
    mark: str = ""

    @property
    def symbol(self) -> str:
        return SYMBOL[self.mark]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A figure's head and foot: who wins it by how much."""

    metric: str
    title: str
    better: str
    margin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A contender's cells, one for each column."""

    contender: str
    cells: tuple[Cell, ...]
    seed: int | None = None
    by_clock: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Lines under columns."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A picture that stands in the page, and what it says for those who do not see it."""

    svg: str
    alt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """The nodes of one contender over time."""

    contender: str
    image: str
    alt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One scenario. A plot is None where no row has what it draws."""

    scenario: str
    digest: str
    seeds: tuple[int, ...]
    guests: str
    legend: tuple[str, ...]
    main: Table
    parts: Table
    differences: Table
    rows: Table
    refused: bool
    refusals: Plot | None
    pareto: Plot | None
    bars: Bars
    heats: tuple[Heat, ...]
    heats_told: str
    by_clock: bool


def section(
    results: Results, scenario: str, differences: Sequence[Compared], looks: Mapping[str, Look], name: str
) -> Section:
    """`name` makes the ids of its plots differ from those of other scenarios."""
    order = _order(results, scenario, looks)
    inside = [metric for metric in results.metrics if any(results.values(scenario, c, metric) for c in order)]
    plain, parts = [m for m in inside if "[" not in m], [m for m in inside if "[" in m]
    rows = [row for contender in order for row in results.of(scenario, contender).values()]
    heats, told = _heats(results, scenario, order)
    return Section(
        scenario=scenario,
        digest=results.digests[scenario],
        seeds=tuple(sorted({row.seed for row in rows})),
        guests=_span([asked(row) for row in rows]),
        legend=tuple(order),
        main=_winners_table(results, scenario, order, plain),
        parts=_winners_table(results, scenario, order, parts),
        differences=_differences_table(differences, order, plain),
        rows=_rows_table(results, scenario, order, inside),
        refused=any(row.metrics.get("refused") for row in rows),
        refusals=_refusals(results, scenario, looks, f"{name}r"),
        pareto=_pareto(results, scenario, looks, f"{name}p"),
        bars=bars(results, scenario),
        heats=heats,
        heats_told=told,
        by_clock=any(row.limited_by_clock for row in rows),
    )


def _order(results: Results, scenario: str, looks: Mapping[str, Look]) -> list[str]:
    """Who places most first, of these the most local bytes; then as in the report's legend."""
    rank = {contender: i for i, contender in enumerate(looks)}

    def key(contender: str) -> tuple[float, ...]:
        best = [results.mean(scenario, contender, metric) for metric in ("placed", "local_ratio")]
        return (*(-1e9 if value is None else -value for value in best), rank[contender])

    return sorted(results.played(scenario), key=key)


def _winners_table(results: Results, scenario: str, order: Sequence[str], metrics: Sequence[str]) -> Table:
    won = {metric: winner(results, scenario, metric) for metric in metrics}
    return Table(
        columns=tuple(column(metric, won[metric]) for metric in metrics),
        lines=tuple(
            Line(
                contender=contender,
                cells=tuple(
                    Cell(text=figure(m, results.mean(scenario, contender, m)), mark=_mark(won[m], contender))
                    for m in metrics
                ),
                by_clock=any(row.limited_by_clock for row in results.of(scenario, contender).values()),
            )
            for contender in order
        ),
    )


def column(metric: str, won: Winner | None = None) -> Column:
    """Its foot says who wins, leads or ties, and the margin over the next one."""
    return Column(
        metric=metric,
        title=title(metric),
        better=ARROW[metric_of(metric).better],
        margin=told_margin(won) if won else "",
    )


def told_margin(won: Winner) -> str:
    """`solver wins: +6.0 [+1.0, +11.0] over best-fit`."""
    if won.runner_up is None:
        return "all the same"
    who = won.first[0] if len(won.first) == 1 else f"{len(won.first)} equal"
    told = f"{who} {_VERB[won.standing]}: {margin(won.metric, won.margin)} over {won.runner_up}"
    if won.standing is Standing.WINS:
        return told
    if len(won.unbeaten) == 1:
        return f"{told}; not shown against {won.unbeaten[0]}"
    return f"{told}; not shown against {len(won.unbeaten)} others" if won.unbeaten else told


def _mark(won: Winner | None, contender: str) -> str:
    if won is None or won.runner_up is None:
        return ""
    mark = won.mark(contender)
    alone = won.margin is not None and won.margin.evidence is Evidence.ONE_SEED
    return "" if mark == "unbeaten" and alone else mark


def _differences_table(differences: Sequence[Compared], order: Sequence[str], metrics: Sequence[str]) -> Table:
    found = {(one.policy, one.metric): one for one in differences}
    policies = [contender for contender in order if any(policy == contender for policy, _ in found)]
    return Table(
        columns=tuple(column(metric) for metric in metrics),
        lines=tuple(
            Line(contender=policy, cells=tuple(_difference_cell(found.get((policy, m))) for m in metrics))
            for policy in policies
        ),
    )


def _difference_cell(one: Compared | None) -> Cell:
    if one is None:
        return Cell(text="–")
    return Cell(text=f"{margin(one.metric, one.difference)} {one.judgement.value}{'*' * one.holds}")


def _rows_table(results: Results, scenario: str, order: Sequence[str], metrics: Sequence[str]) -> Table:
    return Table(
        columns=tuple(column(metric) for metric in metrics),
        lines=tuple(
            Line(
                contender=contender,
                seed=seed,
                cells=tuple(Cell(text=figure(metric, row.metrics.get(metric))) for metric in metrics),
                by_clock=row.limited_by_clock,
            )
            for contender in order
            for seed, row in results.of(scenario, contender).items()
        ),
    )


def _refusals(results: Results, scenario: str, looks: Mapping[str, Look], name: str) -> Plot | None:
    found = courses(results, scenario)
    if not any(course.most[-1] for course in found.values()):
        return None
    ends = ", ".join(f"{contender} {found[contender].mean[-1]:,.4g}" for contender in sorted(found))
    unit, seconds = unit_of(next(iter(found.values())).at_s[-1])
    span = f"{next(iter(found.values())).at_s[-1] / seconds:.3g} {unit}"
    return Plot(svg=draw_refusals(found, looks, name), alt=f"Guests refused so far over {span}; at the end: {ends}.")


def _pareto(results: Results, scenario: str, looks: Mapping[str, Look], name: str) -> Plot | None:
    found = pareto(results, scenario)
    if found is None:
        return None
    axes = f"{title(found.packing)} against {title(found.locality)}"
    return Plot(
        svg=draw_pareto(found, looks, name), alt=f"{axes}; nobody is better in both than {', '.join(found.front)}."
    )


def _heats(results: Results, scenario: str, order: Sequence[str]) -> tuple[tuple[Heat, ...], str]:
    """One seed of each contender, the same where they have one in common; and what all of them show."""
    heats, told = [], ""
    for contender in order:
        rows = results.of(scenario, contender)
        row = rows[next((seed for seed in results.seeds(scenario)), min(rows))]
        drawn = heat_map(row)
        if drawn is not None:
            unit, seconds = unit_of(drawn.end_s)
            span = f"0 to {drawn.end_s / seconds:.3g} {unit} from left to right" if drawn.end_s else "all at one moment"
            told = f"{drawn.nodes} nodes from top to bottom, {span}, seed {row.seed}"
            image = base64.b64encode(png_of(drawn)).decode()
            mean = sum(map(sum, drawn.levels)) / (len(drawn.levels) * len(drawn.levels[0])) * 10
            alt = f"Load of the nodes over time under {contender}: about {min(100, mean):.0f} % on average."
            heats.append(Heat(contender=contender, image=f"data:image/png;base64,{image}", alt=alt))
    return tuple(heats), told


def _span(values: Sequence[float]) -> str:
    """`212`, or `212 to 236` where the seeds differ."""
    low, high = min(values), max(values)
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
