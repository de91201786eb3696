"""What is drawn is what was measured."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, strategies as st
from PIL import Image

from benchmarks.report.looks import COLOURS, looks
from benchmarks.report.plots.distances import bars
from benchmarks.report.plots.labels import Box, labels
from benchmarks.report.plots.occupancy import MOST_COLUMNS, MOST_ROWS, heat_map, png_of
from benchmarks.report.plots.pareto import Pareto, draw_pareto, pareto
from benchmarks.report.plots.refusals import courses, draw_refusals
from benchmarks.report.plots.scaling import families
from benchmarks.report.results import results_of
from tests.benchmarks.report.made_up import measured, row

POINTS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3), st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=9
)


def test_refusals_are_the_mean_of_the_seeds_on_one_clock() -> None:
    """Seed 1 refuses 4 from 50 s on, seed 2 refuses 2 from the beginning: 1, then 3 in the mean."""
    results = results_of(
        [
            row("p", 1, series={"at_s": [0, 50, 100], "refused": [0, 4, 4]}),
            row("p", 2, series={"at_s": [0, 80], "refused": [2, 2]}),
            row("q", 1),
        ]
    )
    found = courses(results, "lab")
    assert {"p"} == {*found}
    course = found["p"]
    assert (1.0, 3.0, 2.0, 4.0) == (course.mean[0], course.mean[-1], course.least[-1], course.most[-1])
    assert all((mean == 3.0) is (moment >= 50) for moment, mean in zip(course.at_s, course.mean, strict=True))


def test_lines_take_the_colours_of_the_page() -> None:
    """Each contender has its own; no number of a colour is left, and the SVG is whole."""
    results = results_of(measured())
    drawn = draw_refusals(courses(results, "lab"), looks(["solver", "best-fit"], "unpinned"), "n")
    root = ET.fromstring(drawn)
    styles = " ".join(element.get("style", "") for element in root.iter())
    assert {"var(--base)", "var(--p0)", "var(--p1)", "var(--ink)"} <= {*styles.replace(";", " ").split()}
    assert "#01fe" not in drawn


@given(POINTS)
def test_the_front_is_who_nobody_beats(points: dict[str, tuple[float, float]]) -> None:
    """Whoever is not on it is beaten by somebody who is."""
    front = Pareto(packing="placed", locality="local_ratio", points=points).front
    for name, (x, y) in points.items():
        beaten = any(a >= x and b >= y and (a, b) != (x, y) for a, b in (points[each] for each in front))
        assert beaten is (name not in front)


def test_every_point_is_named() -> None:
    """Names of one place together; empty hosts tell apart who all place everybody."""
    rows = [
        row(policy, metrics={"placed": 9, "refused": 0, "local_ratio": 0.5, "empty_hosts": hosts})
        for policy, hosts in (("a", 1), ("b", 2), ("c", 2), ("d", 2), ("unpinned", 0))
    ]
    found = pareto(results_of(rows), "lab")
    assert found is not None
    assert ("empty_hosts", ("b", "c", "d")) == (found.packing, found.front)
    drawn = draw_pareto(found, looks(["a", "b", "c", "d"], "unpinned"), "n")
    assert {"a", "b, c +1", "unpinned"} <= {*ET.fromstring(drawn).itertext()}


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=10, unique=True))
def test_names_that_have_room_do_not_cover_each_other(places: list[tuple[int, int]]) -> None:
    """Points 40 apart, names 30 wide."""
    found = labels([((40.0 * x + 40, 40.0 * y + 40), 30.0) for x, y in places], Box(0, 0, 480, 480))
    for i, one in enumerate(found):
        for other in found[:i]:
            assert one.right <= other.left or other.right <= one.left or one.high <= other.low or other.high <= one.low


def test_a_heat_map_has_a_row_for_each_node() -> None:
    """Empty, half, full, and over: the fewest things that must not look alike."""
    found = heat_map(row("p", series={"at_s": [0, 10], "node_load": [[0, 50, 100, 101], [0, 50, 100, 300]]}))
    assert found is not None
    assert (bytes([0, 0]), bytes([6, 6]), bytes([11, 11]), bytes([12, 12])) == found.levels
    image = Image.open(io.BytesIO(png_of(found)))
    assert (2, 4) == image.size
    colours = [image.convert("RGBA").getpixel((0, y)) for y in range(4)]
    assert [0, 255, 255, 255] == [colour[3] for colour in colours]  # type: ignore[index]
    assert 4 == len({*colours})


def test_many_nodes_and_samples_are_thinned() -> None:
    """The average of neighbours: 1,000 nodes of which every second one is full are half full."""
    series = {"at_s": [*range(500)], "node_load": [[0, 100] * 500 for _ in range(500)]}
    found = heat_map(row("p", series=series))
    assert found is not None
    assert (True, MOST_COLUMNS) == (len(found.levels) <= MOST_ROWS, len(found.levels[0]))
    assert {6} == {level for node in found.levels for level in node} - {5}
    assert heat_map(row("p")) is None
    assert heat_map(row("p", series={"at_s": [0.0], "node_load": [[]]})) is None


def test_distances_are_shares_and_local_comes_first() -> None:
    rows = [
        row("a", distances={"10": 3, "21": 1}),
        row("b", distances={"10": 1, "40": 1}),
        row("c"),
        row("d", distances={"10": 0}),
    ]
    found = bars(results_of(rows), "lab")
    assert ["a", "b"] == [*found.shares]
    assert ["10 (local)", "21–31", "over 31"] == [*found.names.values()]
    assert [0.75, 0.25, 0.0] == [*found.shares["a"].values()]
    assert all(sum(shares.values()) == pytest.approx(1) for shares in found.shares.values())


def test_sizes_are_told_by_names_that_differ_in_one_number() -> None:
    """Two numbers are two families; a single size is none."""
    names = ("fleet-10-of-2", "fleet-100-of-2", "fleet-10-of-4", "lab-8", "trace")
    rows = [row("p", scenario=name, metrics={"p50_ms": len(name)}) for name in names]
    found = {family.name: family.curves for family in families(results_of(rows))}
    assert {"fleet-N-of-2", "fleet-10-of-N"} == {*found}
    assert ((10, 13.0), (100, 14.0)) == found["fleet-N-of-2"]["p"]


@given(st.lists(st.text("abc", min_size=1, max_size=4), unique=True, max_size=20))
def test_a_colour_is_one_contenders(names: list[str]) -> None:
    """The base is always seen; who has no colour of its own is grey."""
    found = looks(names, "base")
    coloured = [look.colour for look in found.values() if look.is_highlighted]
    assert "base" == found["base"].colour
    assert len({*coloured}) == len(coloured) == min(COLOURS, len(names)) + 1
