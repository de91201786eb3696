"""The language of changes: read once, said again, and refused where it says nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from scheduler.what_if.change import (
    AddCxl,
    AddMemory,
    Change,
    ChangeInvalidError,
    Drain,
    Lose,
    LoseEach,
    NodesPerPackage,
    parse_change,
    parse_changes,
)

hosts = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,9}", fullmatch=True).filter(lambda name: name != "each")
nodes = st.integers(0, 9999)
sizes, distances = st.integers(1, 2**40), st.integers(11, 254)
changes: st.SearchStrategy[Change | LoseEach] = st.one_of(
    st.builds(Drain, host=hosts, node=st.one_of(st.none(), nodes)),
    st.builds(Lose, host=hosts),
    st.just(LoseEach()),
    st.builds(AddMemory, host=hosts, node=nodes, kib=sizes),
    st.builds(AddCxl, host=hosts, kib=sizes, distance=distances),
    st.builds(NodesPerPackage, host=hosts, count=st.integers(1, 64), distance=distances),
)


@given(changes)
def test_a_change_is_read_as_it_is_said(change: Change | LoseEach) -> None:
    assert change == parse_change(str(change))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected drain=HOST or drain=HOST:NODE, lose=HOST"),
        ("drain", "expected drain=HOST or drain=HOST:NODE, lose=HOST"),
        ("drane=h1", "expected drain=HOST or drain=HOST:NODE, lose=HOST"),
        ("drain=", "expected drain=HOST or drain=HOST:NODE."),
        ("drain=h1:", "expected drain=HOST or drain=HOST:NODE."),
        ("drain=h1:-1", "expected drain=HOST or drain=HOST:NODE."),
        ("drain=h1:1:2", "expected drain=HOST or drain=HOST:NODE."),
        ("drain=h1:999999", "expected drain=HOST or drain=HOST:NODE."),
        ("drain=-h1", "expected drain=HOST or drain=HOST:NODE."),
        ("lose=h1:0", "expected lose=HOST or lose=each."),
        ("memory=h1:0:64GiB", "expected memory=HOST:NODE:+SIZE."),
        ("memory=h1:0:+64GB", "expected memory=HOST:NODE:+SIZE."),
        ("memory=h1:0:+0GiB", "expected memory=HOST:NODE:+SIZE."),
        ("memory=h1:+1GiB", "expected memory=HOST:NODE:+SIZE."),
        ("memory=h1:0:+2000TiB", "expected memory=HOST:NODE:+SIZE."),
        ("cxl=h1", "expected cxl=HOST:SIZE or cxl=HOST:SIZE:DISTANCE."),
        ("cxl=h1:64GiB:10", "expected cxl=HOST:SIZE or cxl=HOST:SIZE:DISTANCE."),
        ("cxl=h1:64GiB:255", "expected cxl=HOST:SIZE or cxl=HOST:SIZE:DISTANCE."),
        ("cxl=h1:64GiB:20:1", "expected cxl=HOST:SIZE or cxl=HOST:SIZE:DISTANCE."),
        ("nodes=h1", "expected nodes=HOST:COUNT or nodes=HOST:COUNT:DISTANCE."),
        ("nodes=h1:0", "expected nodes=HOST:COUNT or nodes=HOST:COUNT:DISTANCE."),
        ("nodes=h1:65", "expected nodes=HOST:COUNT or nodes=HOST:COUNT:DISTANCE."),
    ],
)
def test_what_is_no_change_is_refused(text: str, expected: str) -> None:
    """It says what stands there and how that kind of change is written."""
    with pytest.raises(ChangeInvalidError) as error:
        parse_change(text)
    assert f"--what-if {text!r}" in error.value.message
    assert expected in error.value.message


def test_each_host_is_lost_once() -> None:
    with pytest.raises(ChangeInvalidError, match="twice"):
        parse_changes(["lose=each", "drain=h1", "lose=each"])
