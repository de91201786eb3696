"""Sizes: KiB inside, units outside."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from probe.units import format_kib, parse_size_kib


@given(st.integers(0, 2**50))
def test_sizes_round_trip(kib: int) -> None:
    """What is printed exactly is read back as the same number of KiB."""
    assert kib == parse_size_kib(format_kib(kib))


@pytest.mark.parametrize(
    ("text", "kib"),
    [("8GiB", 8 * 1024**2), ("512M", 512 * 1024), ("1.5 GiB", 1536 * 1024), ("4kib", 4), ("1T", 1024**3)],
)
def test_units_are_binary(text: str, kib: int) -> None:
    """`K`, `M`, `G`, `T` and their `iB` forms are powers of 1024."""
    assert kib == parse_size_kib(text)


@pytest.mark.parametrize("text", ["8", "8GB", "GiB", "-1GiB", "1e3GiB", "0.0001KiB", "", "8 GiB x"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """A number without a unit, or a unit that is not binary, is not guessed at."""
    with pytest.raises(ValueError, match="size"):
        parse_size_kib(text)
