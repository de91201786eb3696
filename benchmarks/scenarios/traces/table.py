"""Tables of strangers: CSV and Parquet, read with limits; every cell has an error that names file, row and column."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.duck import in_memory
from probe.errors import SourceMalformedError
from probe.limits import DEFAULT_LIMITS
from probe.sources.files import read_bytes_file, read_text_file

MOST_ROWS = 2_000_000
MOST = 10**15
"""No number of a trace is larger: amounts stay far inside 64 bits."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row, which knows where it stands."""

    origin: str
    cells: dict[str, str]

    def text(self, column: str) -> str:
        return self.cells[column]

    def number(self, column: str) -> float:
        """A number from 0 to `MOST`. Raises `SourceMalformedError`."""
        text = self.cells[column]
        try:
            value = float(text)
        except ValueError:
            value = -1
        if not 0 <= value <= MOST:  # NaN is neither
            raise SourceMalformedError(f"{self.origin}, {column}", "a number that is not negative", text)
        return value

    def whole(self, column: str) -> int:
        """A whole number from 0 to `MOST`. Raises `SourceMalformedError`."""
        value = self.number(column)
        if value != int(value):
            raise SourceMalformedError(f"{self.origin}, {column}", "a whole number", self.cells[column])
        return int(value)


def read_table(path: Path, columns: tuple[str, ...]) -> list[TableRow]:
    """The rows of a CSV file that has at least these columns.

    Raises:
        SourceUnreadableError: it cannot be read.
        SourceMalformedError: it is too large, has no such table, or a row has fewer cells.
    """
    text = read_text_file(path, limits=DEFAULT_LIMITS)
    try:
        return list(_rows(path, text, columns))
    except csv.Error as error:
        raise SourceMalformedError(str(path), f"a CSV table ({error})", text) from error


def read_parquet_table(path: Path, columns: tuple[str, ...]) -> list[TableRow]:
    """The rows of a Parquet file that has at least these columns, as text. Raises as `read_table`, or `BadInputError`
    where DuckDB is not installed."""
    content = read_bytes_file(path, limits=DEFAULT_LIMITS)
    with in_memory() as db, tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        import duckdb

        file.write(content)
        file.flush()
        try:
            table = db.read_parquet(file.name)
            if lacking := [name for name in columns if name not in table.columns]:
                raise SourceMalformedError(str(path), f"a column {lacking[0]!r}", table.columns)
            texts = table.project(", ".join(f"{name}::VARCHAR" for name in columns)).limit(MOST_ROWS + 1).fetchall()
        except (duckdb.Error, RuntimeError, ValueError) as error:
            raise SourceMalformedError(str(path), "a Parquet file", error) from error
    if len(texts) > MOST_ROWS:
        raise SourceMalformedError(str(path), f"at most {MOST_ROWS} rows", "more")
    return [
        TableRow(f"{path}, row {number}", dict(zip(columns, ("" if t is None else t for t in row), strict=True)))
        for number, row in enumerate(texts, 1)
    ]


def _rows(path: Path, text: str, columns: tuple[str, ...]) -> Iterator[TableRow]:
    table = csv.DictReader(io.StringIO(text, newline=""))
    if lacking := [name for name in columns if name not in (table.fieldnames or ())]:
        raise SourceMalformedError(str(path), f"a column {lacking[0]!r}", table.fieldnames)
    for number, cells in enumerate(table):
        origin = f"{path}:{table.line_num}"
        if number >= MOST_ROWS:
            raise SourceMalformedError(origin, f"at most {MOST_ROWS} rows", "more")
        if any(cells[name] is None for name in columns):
            raise SourceMalformedError(origin, f"{len(table.fieldnames or ())} cells", cells)
        yield TableRow(origin, cells)
