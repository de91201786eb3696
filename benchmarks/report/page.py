"""The report as one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.metrics import METRICS
from benchmarks.report.against_base import compared
from benchmarks.report.looks import Look, looks
from benchmarks.report.origin import commands, facts, measured_on
from benchmarks.report.plots.occupancy import LEVELS, OVER
from benchmarks.report.plots.scaling import Family, draw_scaling, families
from benchmarks.report.results import Results
from benchmarks.report.sections import Plot, section
from benchmarks.report.standings import headline, standings
from benchmarks.report.verdict import verdicts
from benchmarks.report.words import clean, left_out
from probe.errors import BadInputError

TEMPLATES = Path(__file__).with_name("templates")


def page(results: Results, base: str) -> str:
    """The whole page; the same for the same rows, byte for byte.

    Raises:
        BadInputError: what it is made with is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise BadInputError("Jinja2 is not installed.", advice="pip install 'numaplace[report]'") from error
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: clean(value) if type(value) is str else value,
    )
    return templates.get_template("report.html.j2").render(_context(results, base)) + "\n"


def _context(results: Results, base: str) -> Mapping[str, Any]:
    found = verdicts(results, base)
    drawn = looks([base, *(one.policy for one in found)], base)
    differences = compared(results, base, [metric for metric in results.metrics if "[" not in metric])
    by_scenario = {s: [one for one in differences if one.scenario == s] for s in results.scenarios}
    return {
        "base": base,
        "policies": results.contenders,
        "scenarios": results.scenarios,
        "rows": len(results.all_rows()),
        "facts": facts(results),
        "measured_on": measured_on(results),
        "commands": commands(results),
        "left_out": left_out(results),
        "headline": headline(found),
        "standings": standings(found, results),
        "looks": drawn,
        "sections": [section(results, s, by_scenario[s], drawn, f"s{i}") for i, s in enumerate(results.scenarios)],
        "scaling": _scaling(families(results), drawn),
        "metrics": METRICS,
        "levels": [*LEVELS, OVER],
    }


def _scaling(found: Sequence[Family], drawn: Mapping[str, Look]) -> list[tuple[Family, Plot]]:
    return [
        (
            family,
            Plot(
                svg=draw_scaling(family, drawn, f"scaling{i}"),
                alt=f"Median time of a decision in {family.name} by size N, for {', '.join(family.curves)}.",
            ),
        )
        for i, family in enumerate(found)
    ]
