"""xl.cfg is read exactly as Xen reads it, and what a plan becomes is taken by Xen."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from probe.errors import SourceMalformedError
from scheduler.definitions.xl_grammar import last_values, number, parse_xl_cfg, quoted
from tests.conftest import DATA
from tests.xlutil import XlUtil

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.cfg"))
CFGS = sorted((DATA / "libvirt").glob("x[lm]configdata/*.cfg")) + sorted((DATA / "recorded/xen/xl").glob("*.cfg"))
WORDS = [
    "a",
    "b",
    "=",
    "+=",
    "[",
    "]",
    ",",
    ";",
    "\n",
    " ",
    "\t",
    "#c\n",
    "'x y'",
    '"z\\"\\n"',
    "7",
    "0x1f",
    "010",
    "[1]",
]
ODD = ["-1", "A", "\\\n", "\r", '"', "'", '"\\q"', '"\\x41"', "1g", "{a}", "b1", "_a", "import os", ".", '"\\', "é"]
texts = st.lists(st.one_of(*[st.sampled_from(WORDS)] * 8, st.sampled_from(ODD)), max_size=14).map("".join)
assignments = st.builds(
    lambda key, sign, value: f"{key}{sign}{value}\n",
    st.sampled_from("ab"),
    st.sampled_from([" = ", "+=", "="]),
    st.sampled_from(["1", "'x'", '"y\\t"', "[]", "[1,'2']", "[\n 'p', # c\n 'q',\n]", "[[1], 'r']"]),
)


def values_of(text: str) -> dict[str, object] | None:
    """What we read; None where we refuse it. A list in a list counts as None, as for xlutil."""
    try:
        read = last_values(parse_xl_cfg(text, origin="t"), origin="t")
    except SourceMalformedError:
        return None
    return {
        key: value if isinstance(value, str) else [each if isinstance(each, str) else None for each in value]
        for key, value in read.items()
    }


def agrees(xlutil: XlUtil, text: str) -> None:
    """Both refuse a text, or both read the same values."""
    ours = values_of(text)
    if not xlutil.takes(text):
        assert ours is None
        return
    assert ours is not None
    assert ours == {key: xlutil.value(text, key) for key in ours}


@given(text=st.one_of(texts, st.lists(assignments, max_size=6).map("".join)))
@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_we_read_what_xen_reads(xlutil: XlUtil, text: str) -> None:
    """Lists, comments, `+=`, escapes, code, broken ends: the same answer as libxlutil."""
    if "\\x41" not in text:  # 4.17 has a bug there; we refuse it before it comes to that
        agrees(xlutil, f"{text}\n")


@pytest.mark.data
@pytest.mark.parametrize("path", CFGS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_we_read_every_recorded_cfg_as_xen_does(xlutil: XlUtil, path: Path) -> None:
    """xm's Python strings are refused by both; everything else has the same values."""
    agrees(xlutil, path.read_text())


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_xen_takes_every_golden_cfg(xlutil: XlUtil, path: Path) -> None:
    """And sees a list of pins, one for each maximum vCPU, where the guest is pinned."""
    text = path.read_text()
    assert xlutil.takes(text)
    if "unpinned" not in path.name:
        pins = xlutil.value(text, "cpus")
        assert isinstance(pins, list)
        assert len(pins) == xlutil.number(text, "maxvcpus")


@given(value=st.from_regex(r"(0x)?[0-9a-f]{1,6}|[0-7]{1,4}|[0-9]{1,18}", fullmatch=True))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_are_those_of_c(xlutil: XlUtil, value: str) -> None:
    """`010` is 8, as `strtol` has it."""
    assert xlutil.number(f'a = "{value}"\n', "a") == number(value)


@given(value=st.text(max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_we_quote_is_read_back(xlutil: XlUtil, value: str) -> None:
    """Inside either kind of quotes; what xl cannot write is None."""
    written = quoted(value)
    if written is None:
        return
    for mark in "'\"":
        assert xlutil.value(f"a = {mark}{written}{mark}\n", "a") == value


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a = 1\nimport os\n", "t:2: expected = behind a key, got 'os'"),
        ("a = [1,\n2\n", "t:2: expected a list that ends with ], got 'the end'"),
        ("a = 'x\n", "t:1: expected an xl.cfg"),
        ("a = 1\r\n", "Maybe its lines end as on Windows"),
        ("vcpus = -1\n", "t:1: expected an xl.cfg, got '-1"),
        ("a = " + "[" * 50 + "]" * 50, "t:1: expected at most 8 nested lists"),
        ("a = 1\n" * 10_001, "expected at most 10000 assignments"),
        ("#" * (4 * 1024**2 + 1), "expected at most 4194304 characters"),
        ("a = [1]\na += 'x'\n", "t:2: expected a += what it is"),
        ('a = "\\x41"', "t:1: expected an escape that xl knows"),
    ],
)
def test_what_is_no_xl_cfg_is_refused_with_its_line(text: str, where: str) -> None:
    """One typed error that names file, line and what was found."""
    with pytest.raises(SourceMalformedError) as refused:
        last_values(parse_xl_cfg(text, origin="t"), origin="t")
    assert where in str(refused.value)
