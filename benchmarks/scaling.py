"""Seconds against hosts, as a picture: the rows of `random N hosts` on two logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from probe.errors import BadInputError

FAMILY = "random {hosts:,} hosts"
"""The name of a row that belongs to the curve; rows with something added to it do not."""


def curve(rows: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    """Hosts and seconds of the rows that differ in nothing but their size, ascending."""
    return sorted((r["hosts"], r["wall_s"]) for r in rows if r["case"] == FAMILY.format(hosts=r["hosts"]))


def draw_scaling(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the curve as SVG, with a line of linear growth from its smallest size on.

    Raises:
        BadInputError: fewer than two sizes were measured, or matplotlib is not installed.
    """
    points = curve(rows)
    if len(points) < 2:
        advice = "Measure more: numaplace bench batches --full."
        raise BadInputError(f"a curve needs two sizes of 'random … hosts', got {len(points)}.", advice=advice)
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BadInputError("matplotlib is not installed.", advice="pip install 'numaplace[report]'") from error
    hosts, seconds = zip(*points, strict=True)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.loglog(hosts, seconds, "o-", label="measured")
    axes.loglog(hosts, [seconds[0] * n / hosts[0] for n in hosts], "--", color="gray", label="linear growth")
    for n, s in points:
        axes.annotate(f"{s:.1f} s", (n, s), xytext=(0, -14), textcoords="offset points", ha="center")
    axes.set_xticks(hosts, [f"{n:,}" for n in hosts], minor=False)
    axes.tick_params(axis="x", which="minor", labelbottom=False)
    axes.set(
        xlabel="hosts", ylabel="seconds, checker included", title="Placing a random batch: cost as the fleet grows"
    )
    axes.yaxis.set_major_formatter("{x:g}")
    axes.margins(y=0.1)
    axes.legend()
    figure.savefig(path, format="svg")
