"""Packing against locality: a point for each contender, and the front of those that nobody beats in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.report.looks import Look
from benchmarks.report.plots.canvas import COLOUR, HEIGHT, Drawing, drawing
from benchmarks.report.plots.labels import Box, is_away, labels
from benchmarks.report.results import SHARE, Results
from benchmarks.report.words import clean, is_ratio, title

PACKING = (SHARE, "empty_hosts")
"""The first of them in which the contenders differ: where everybody places all guests, empty hosts tell them apart."""
LOCALITY = ("local_ratio", "one_node_ratio")
_LONGEST, _GLYPH = 22, 5.1
"""Characters of a name, and the width of one in 8 points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pareto:
    """Points by contender, of two figures of which more is better."""

    packing: str
    locality: str
    points: Mapping[str, tuple[float, float]]

    @property
    def front(self) -> tuple[str, ...]:
        """Those that nobody equals in one figure and beats in the other, from the least to the most packed."""
        inside = [c for c in self.points if not any(_beats(other, self.points[c]) for other in self.points.values())]
        return tuple(sorted(inside, key=lambda c: (self.points[c], c)))


def pareto(results: Results, scenario: str) -> Pareto | None:
    """None where fewer than two contenders have both figures."""
    played = results.played(scenario)
    found = [
        Pareto(packing=x, locality=y, points=points)
        for y in LOCALITY
        for x in PACKING
        if len(points := _points(results, scenario, played, (x, y))) > 1
    ]
    different = (each for each in found if len({x for x, _ in each.points.values()}) > 1)
    return next(different, found[0] if found else None)


def draw_pareto(found: Pareto, looks: Mapping[str, Look], name: str) -> str:
    """The SVG: each point with its name, the front as steps."""
    scale = [100 if is_ratio(metric) else 1 for metric in (found.packing, found.locality)]
    points = {c: (x * scale[0], y * scale[1]) for c, (x, y) in found.points.items()}
    with drawing(name, HEIGHT * 1.25) as canvas:
        front = [points[contender] for contender in found.front]
        canvas.axes.step(*zip(*front, strict=True), where="pre", color=COLOUR["line"], lw=1, ls=":", zorder=1)
        for contender, (x, y) in points.items():
            look = looks[contender]
            canvas.axes.plot(x, y, marker=look.marker, color=COLOUR[look.colour], ls="", markersize=7, clip_on=False)
        units = [" (%)" if is_ratio(metric) else "" for metric in (found.packing, found.locality)]
        canvas.axes.set(xlabel=f"{title(found.packing)}{units[0]} →", ylabel=f"{title(found.locality)}{units[1]} →")
        canvas.axes.margins(x=0.18, y=0.14)
        for axis, metric in ((canvas.axes.xaxis, found.packing), (canvas.axes.yaxis, found.locality)):
            low, high = axis.get_view_interval()
            most = min(high, 100) if is_ratio(metric) else high
            axis.set_ticks([tick for tick in axis.get_ticklocs() if low <= tick <= most])
        _label(canvas, points)
    return canvas.svg


def _label(canvas: Drawing, points: Mapping[str, tuple[float, float]]) -> None:
    """Each name near its point; names of one place are told together."""
    axes = canvas.axes
    canvas.figure.draw_without_rendering()  # (only then are the axes where they will be)
    area = axes.get_window_extent()
    places: dict[tuple[int, int], list[str]] = {}
    for contender, point in points.items():
        x, y = axes.transData.transform(point)
        places.setdefault((round(x / 3), round(y / 3)), []).append(contender)
    told = [((3.0 * x, 3.0 * y), _told(names)) for (x, y), names in sorted(places.items())]
    boxes = labels([(at, _GLYPH * len(text)) for at, text in told], Box(area.x0, area.y0, area.x1, area.y1))
    for (at, text), box in zip(told, boxes, strict=True):
        middle = box.left, (box.low + box.high) / 2
        line = {"arrowstyle": "-", "color": COLOUR["line"], "lw": 0.5} if is_away(at, box) else None
        axes.annotate(
            text, at, middle, xycoords="figure pixels", textcoords="figure pixels", va="center", size=8, arrowprops=line
        )


def _told(names: Sequence[str]) -> str:
    """Of one place: two names in full, of more how many."""
    shown = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in map(clean, names[:2])]
    return ", ".join(shown) + (f" +{len(names) - 2}" if len(names) > 2 else "")


def _points(
    results: Results, scenario: str, played: Sequence[str], metrics: Sequence[str]
) -> dict[str, tuple[float, float]]:
    both = {c: tuple(results.mean(scenario, c, metric) for metric in metrics) for c in played}
    return {c: (x, y) for c, (x, y) in both.items() if x is not None and y is not None}


def _beats(other: tuple[float, float], one: tuple[float, float]) -> bool:
    return other != one and other[0] >= one[0] and other[1] >= one[1]
