"""The curve has the rows that differ in size alone, and is a picture where matplotlib is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scaling import curve, draw_scaling
from probe.errors import BadInputError

ROWS = [
    {"case": "random 2,000 hosts", "hosts": 2000, "wall_s": 3.0},
    {"case": "random 1,000 hosts", "hosts": 1000, "wall_s": 2.0},
    {"case": "random 4,000 hosts, 64 MiB overhead", "hosts": 4000, "wall_s": 9.0},
    {"case": "huawei C1", "hosts": 1710, "wall_s": 8.0},
]


def test_the_curve_is_one_family_by_size() -> None:
    """Another overhead, or a recorded batch, is no point of it."""
    assert [(1000, 2.0), (2000, 3.0)] == curve(ROWS)


def test_one_size_is_no_curve(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="two sizes"):
        draw_scaling(ROWS[:1], tmp_path / "s.svg")


def test_it_is_drawn(tmp_path: Path) -> None:
    """Both lines and the sizes are in the SVG."""
    pytest.importorskip("matplotlib", reason="matplotlib (numaplace[report]) is not installed")
    draw_scaling(ROWS, tmp_path / "s.svg")
    text = (tmp_path / "s.svg").read_text(encoding="utf-8")
    assert "<svg" in text
    assert "linear growth" in text
