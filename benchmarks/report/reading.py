"""Rows from where a sweep left them."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.rows import Row, row_from_json
from probe.errors import BadInputError

PARQUET, LINES = ".parquet", ".jsonl"
MOST_BYTES = 4 * 1024**3
"""Of a file of JSON Lines: ten thousand rows with their samples take as much."""


def read_rows(path: Path) -> list[Row]:
    """Those of a folder that `numaplace bench run` filled, else of its files of JSON Lines; or of one such file.

    Raises:
        BadInputError: there is none, or what is there is no row.
    """
    if path.suffix == PARQUET or (path.is_dir() and any(path.glob(f"*{PARQUET}"))):
        from benchmarks.sweeps.results import read_results

        return read_results(path)
    files = sorted(path.glob(f"*{LINES}")) if path.is_dir() else [path]
    rows = [row for file in files for row in _read_lines(file)]
    if not rows:
        raise BadInputError(
            f"{path}: expected rows, found none.", advice="Measure some first: numaplace bench run --help."
        )
    return rows


def _read_lines(path: Path) -> list[Row]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInputError(f"{path}: expected at most {MOST_BYTES >> 30} GiB of rows.")
        with path.open(encoding="utf-8") as lines:
            return [parse_line(line, origin=f"{path}:{i}") for i, line in enumerate(lines, 1) if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: cannot be read: {error}.") from error


def parse_line(line: str, *, origin: str) -> Row:
    """One row of JSON Lines.

    Raises:
        BadInputError: it is none.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{origin}: expected JSON, got {line[:80]!r}.") from error
    return row_from_json(value, origin=origin)
