"""How the time of a decision grows: scenarios whose names differ in one number, on two logarithmic axes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.report.looks import Look
from benchmarks.report.plots.canvas import COLOUR, drawing
from benchmarks.report.results import Results

METRIC = "p50_ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Scenarios of one kind.

    Attributes:
        name: what their names have in common, `N` for the size.
        curves: by contender, size and median time in ms, ascending; two sizes at least.
    """

    name: str
    curves: Mapping[str, tuple[tuple[int, float], ...]]


def families(results: Results) -> list[Family]:
    """Of all scenarios of which there are two sizes or more."""
    sizes: dict[str, dict[int, str]] = {}
    for scenario in results.scenarios:
        for name, size in _names(scenario):
            sizes.setdefault(name, {})[size] = scenario
    found = (_family(results, name, by_size) for name, by_size in sorted(sizes.items()) if len(by_size) > 1)
    return [family for family in found if family.curves]


def draw_scaling(family: Family, looks: Mapping[str, Look], name: str) -> str:
    """The SVG, with what linear growth would be."""
    with drawing(name) as canvas:
        for contender in sorted(family.curves, key=lambda each: (looks[each].is_highlighted, each)):
            look = looks[contender]
            canvas.axes.loglog(
                *zip(*family.curves[contender], strict=True),
                color=COLOUR[look.colour],
                dashes=look.dashes or (1, 0),
                marker=look.marker,
                markersize=4,
                lw=1.6 if look.is_highlighted else 0.8,
            )
        sizes = sorted({size for curve in family.curves.values() for size, _ in curve})
        start = min(curve[0][1] for curve in family.curves.values())
        canvas.axes.loglog(
            sizes,
            [start * size / sizes[0] for size in sizes],
            color=COLOUR["line"],
            ls=":",
            lw=1,
            label="linear growth",
        )
        canvas.axes.set_xticks(sizes, [f"{size:,}" for size in sizes], minor=False)
        canvas.axes.tick_params(axis="x", which="minor", labelbottom=False)
        canvas.axes.yaxis.set_major_formatter("{x:,g}")
        canvas.axes.set(xlabel="N", ylabel="ms for a decision, median")
        canvas.axes.legend(frameon=False, fontsize=8)
    return canvas.svg


def _family(results: Results, name: str, by_size: Mapping[int, str]) -> Family:
    curves = {}
    for contender in results.contenders:
        means = ((size, results.mean(by_size[size], contender, METRIC)) for size in sorted(by_size))
        curve = tuple((size, mean) for size, mean in means if mean)
        if len(curve) > 1:
            curves[contender] = curve
    return Family(name=name, curves=curves)


def _names(scenario: str) -> Iterator[tuple[str, int]]:
    """The name with each of its numbers in turn called N, and that number."""
    for found in re.finditer(r"(?<![0-9])([1-9][0-9]{0,8})(?![0-9])", scenario):
        yield f"{scenario[: found.start()]}N{scenario[found.end() :]}", int(found[1])
