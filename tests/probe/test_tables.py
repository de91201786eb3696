"""Tables and running text fit the terminal, and lose nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st

from probe.tables import columns, running

words = st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True)
texts = st.lists(words, min_size=1, max_size=8).map(", ".join)
HEADER = ("GUEST", "CPUS", "PROBLEM")


@given(st.lists(st.tuples(words, texts, texts), min_size=1, max_size=4), st.integers(20, 100))
def test_a_table_is_no_wider_than_asked_and_says_everything(rows: list[tuple[str, str, str]], width: int) -> None:
    """Whether it is broken inside its columns or becomes paragraphs, every word is there."""
    told = columns(HEADER, rows, width=width)
    assert max(map(len, told.splitlines())) <= width
    for row in rows:
        for word in re.findall(r"\w+", " ".join(row)):
            assert word in told


@given(st.lists(st.tuples(words, texts, texts), min_size=1, max_size=4))
def test_without_a_width_a_row_is_a_line(rows: list[tuple[str, str, str]]) -> None:
    """Scripts that read a pipe find one guest a line."""
    assert len(rows) + 1 == len(columns(HEADER, rows).splitlines())


@pytest.mark.parametrize(
    ("width", "told"),
    [
        (30, "GUEST  CPUS       PROBLEM\nweb    0,2,4,6,8  it is paused"),
        (24, "GUEST  CPUS    PROBLEM\nweb    0,2,4,  it is\n       6,8     paused"),
        (16, "GUEST web\n  CPUS 0,2,4,6,8\n  PROBLEM it is\n  paused"),
    ],
)
def test_long_texts_are_broken_before_the_table_is(width: int, told: str) -> None:
    """At blanks and commas; where that does not do, each row is a paragraph."""
    rows = [("web", "0,2,4,6,8", "it is paused")]
    assert told.splitlines() == columns(HEADER, rows, width=width).splitlines()


def test_running_text_breaks_between_items_only() -> None:
    """An item that is too long stays whole; a colour takes no room."""
    items = ["guests:", "a", "\x1b[1mbb\x1b[0m", "cccccccccccccc", "d"]
    assert ["guests:  a  \x1b[1mbb\x1b[0m", "  cccccccccccccc", "  d"] == running(items, width=14, indent="  ")
