"""The start-up benchmark runs and reports; what it measures is no test."""

from __future__ import annotations

from benchmarks.startup import measure_startup


def test_it_measures_each_command_beside_python_itself() -> None:
    """One row each, with its limit; the empty Python is the unit."""
    rows = measure_startup(1)
    assert [(row["command"], row["limit"]) for row in rows] == [
        ("python -c pass", None),
        ("numaplace --help", 10),
        ("numaplace probe", 20),
    ]
    assert rows[0]["ratio"] == 1.0
    assert all(row["wall_s"] > 0 for row in rows)
