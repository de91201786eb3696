"""The page: whole, by itself, for everybody, and nothing in it that its rows did not say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from benchmarks.report.page import page
from benchmarks.report.results import results_of
from benchmarks.report.words import figure
from benchmarks.rows import Row
from tests.benchmarks.report.made_up import measured, row
from tests.conftest import ROOT

ROWS = measured(samples=12)
VOID = {"meta", "img", "br", "hr", "link", "input"}
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "$\\frac{1}{0}$ {{ 7 * 7 }}",
    "\x1b[2J\ud800\x00",
)


class Elements(HTMLParser):
    """Every element with its attributes, its text and what it is inside of; closing tags are checked."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.told: list[str] = []
        self.feed(text)
        self.close()
        assert [] == self.open, "everything that is opened is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.told.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes, _ in self.found if name == tag]


def page_of(rows: list[Row], base: str = "unpinned") -> str:
    return page(results_of(rows), base)


@pytest.fixture(scope="module")
def text() -> str:
    return page_of(ROWS)


@pytest.fixture(scope="module")
def elements(text: str) -> Elements:
    return Elements(text)


def test_nothing_comes_from_elsewhere(text: str, elements: Elements) -> None:
    """No address, no script, no file beside it; and the page forbids it itself."""
    assert not re.search(r"https?:|//[a-z]|@import|<script|javascript:", text)
    assert {"data:image/png"} == {(each["src"] or "").partition(";")[0] for each in elements.of("img")}
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    links = [each["href"] or "" for tag in ("a", "use", "link") for each in elements.of(tag)]
    ids = [attributes["id"] for _, attributes, _ in elements.found if attributes.get("id")]
    assert len(ids) == len({*ids})
    assert {f"#{each}" for each in ids} >= {*links}
    assert "default-src 'none'" in text


def test_the_figures_of_every_row_are_in_it(elements: Elements) -> None:
    """And their scenarios, policies, seeds, digests and commands."""
    told = {part.strip() for part in elements.told}
    for each in ROWS:
        assert {figure(name, value) for name, value in each.metrics.items()} <= told
        assert {each.scenario, each.policy, str(each.seed), each.digest} <= told
    assert any("--policy best-fit --policy solver --policy unpinned --seeds 1-3" in part for part in told)
    assert "clock" in told
    assert any("Measured 2026-11-01 to 2026-11-03, x86_64, 2 CPUs, numaplace 0.1.0." in part for part in told)


def test_it_is_the_same_again_in_any_order_and_process(text: str, tmp_path: Path) -> None:
    """Byte for byte: no clock, no order of sets, no random ids."""
    assert text == page_of(ROWS[::-1])
    lines = "".join(json.dumps(each.to_json()) + "\n" for each in ROWS)
    (tmp_path / "rows.jsonl").write_text(lines, encoding="utf-8")
    code = "from scheduler.cli.main import main; main()"
    arguments = ["bench", "report", str(tmp_path), "-o", str(tmp_path / "out.html")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, True) == (done.returncode, text == (tmp_path / "out.html").read_text(encoding="utf-8")), done.stderr


def test_it_is_for_those_who_do_not_see_it(elements: Elements) -> None:
    """Heads know what they are of, tables say what they show, pictures have words, boxes are reached by keys."""
    assert all(each.get("scope") in ("row", "col") for each in elements.of("th"))
    assert len(elements.of("table")) == len(elements.of("caption")) > 0
    assert all(each.get("alt") for each in elements.of("img"))
    pictures = [(attributes, inside) for tag, attributes, inside in elements.found if tag == "svg"]
    for attributes, inside in pictures:
        hidden_or_told = (
            attributes.get("aria-hidden") or attributes.get("aria-label") or inside[-2:] == ("figure", "div")
        )
        assert hidden_or_told
    boxes = [each for each in elements.of("div") if each.get("class") == "box"]
    assert all(each.get("tabindex") == "0" and each.get("aria-label") for each in boxes)
    assert {"en"} == {each["lang"] for each in elements.of("html")}


def test_names_stay_text() -> None:
    """Of scenarios, policies, versions, options, digests and commands; also where matplotlib would read formulas."""
    rows = [
        replace(
            each,
            scenario=f"{name} at home",
            policy=each.policy + name,
            digest=name,
            versions={name: name},
            command=name,
        )
        for name in HOSTILE
        for each in measured(("unpinned", "solver"), ("lab",), (1, 2), nodes=2, samples=3)
    ]
    text = page_of(rows, f"unpinned{HOSTILE[0]}")
    elements = Elements(text)
    assert [] == elements.of("script")
    assert all((each["src"] or "").startswith("data:image/png") for each in elements.of("img"))
    assert not any(name.startswith("on") for _, attributes, _ in elements.found for name in attributes)
    told = " ".join(elements.told)
    assert "{{ 7 * 7 }}" in told
    assert "\x1b" not in told
    assert text.encode()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (measured(("unpinned",), ("lab",), (1,), samples=3), "nothing to compare"),
        (measured(("unpinned", "solver"), ("lab",), (1,), samples=3), "one seed: no intervals"),
        ([row("unpinned", metrics={}), row("solver", metrics={})], "0 guests asked"),
        ([row("unpinned", metrics={"placed": 0, "refused": 0}), row("solver")], "no row has samples"),
        ([row("unpinned", metrics={"placed": 0, "refused": 0})], "Nobody was refused."),
        ([row("unpinned", 1), row("unpinned", 2), row("solver", 2)], "seed 1 is left out"),
        ([row("unpinned", metrics={"elegance": 1}), row("solver")], "elegance"),
    ],
    ids=["one policy", "one seed", "no figures", "no samples", "no guests", "a seed too few", "unknown figures"],
)
def test_little_is_still_a_page(rows: list[Row], said: str) -> None:
    assert said in " ".join(Elements(page_of(rows)).told)


def test_with_one_seed_nobody_wins() -> None:
    """The mark of a winner stands in the explanation only."""
    elements = Elements(page_of(measured(seeds=(1,), samples=3)))
    assert "wins" not in {attributes.get("class") for attributes in elements.of("td")}
    assert "leads" in {attributes.get("class") for attributes in elements.of("td")}


def test_a_size_in_the_names_makes_curves() -> None:
    text = page_of(measured(("unpinned", "solver"), ("fleet-10-hosts", "fleet-100-hosts"), (1,), samples=3))
    assert "fleet-N-hosts" in text
    assert "linear growth" in text


def test_a_report_stays_small() -> None:
    """An eighth of twelve policies, eight scenarios and three seeds, which may take 3 MB."""
    policies = [f"policy-{i}" for i in range(11)] + ["unpinned"]
    assert len(page_of(measured(policies, ("lab",), nodes=128, samples=200))) < 3_000_000 / 8
