"""A folder of results: one Parquet file for each row, whole or not there.

The files are written and read by DuckDB. A folder that came from elsewhere is read with limits, as data only.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.duck import in_memory
from benchmarks.rows import Key, Row
from benchmarks.sweeps.columns import COLUMNS, NEEDED, row_of, told
from probe.errors import BadInputError, SourceMalformedError, SourceUnreadableError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

MOST_FILES = 100_000
MOST_BYTES = 64 * 1024 * 1024
"""Of a file."""
MOST_ROWS = 10_000
"""In a file."""
MOST_ENTRIES = 1_000_000
"""In a list or a map of a row; of a list of lists, on its inner level together."""


class FolderUnwritableError(BadInputError):
    """Rows cannot be kept."""


def write_row(folder: Path, row: Row) -> Path:
    """Keep a row in the folder, in place of an earlier one of its key; whole, or not at all.

    Raises:
        FolderUnwritableError: nothing can be written there.
        BadInputError: the row is none that columns can hold.
    """
    values, path = told(row), folder / file_name(row.key)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as aside:
            written = Path(aside) / "row.parquet"
            with in_memory() as db:
                db.execute(f"CREATE TABLE rows ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})")
                table = db.table("rows")
                table.insert([values[name] for name in COLUMNS])
                table.write_parquet(str(written), compression="zstd")
            with written.open("rb+") as file:
                os.fsync(file.fileno())
            written.replace(path)
    except OSError as error:
        raise FolderUnwritableError(f"{path}: cannot be written: {error.strerror or error}.") from error
    return path


def file_name(key: Key) -> str:
    """Of the file of a row: what people look for, and a hash that keeps different keys apart."""
    plain = [re.sub(r"[^A-Za-z0-9-]+", "-", str(part))[-40:].strip("-") for part in key]
    short = hashlib.sha256(repr(tuple(key)).encode()).hexdigest()[:12]
    return f"{'.'.join([*filter(None, plain), short])}.parquet"


def read_results(where: Path) -> list[Row]:
    """All rows of a folder of results, or of one file, by key.

    Raises:
        SourceUnreadableError: it is not there, or cannot be read.
        BadInputError: a file is not what we write; two rows have one key.
    """
    rows: dict[Key, tuple[Row, Path]] = {}
    with in_memory() as db:
        for path in result_files(where):
            for row in _read(db, path):
                if row.key in rows:
                    both = f"{path.name} and {rows[row.key][1].name}"
                    advice = "Maybe delete the older one."
                    raise SourceMalformedError(str(where), "one row for each key", both, advice=advice)
                rows[row.key] = row, path
    return [rows[key][0] for key in sorted(rows)]


def result_files(where: Path) -> list[Path]:
    """The Parquet files of a folder, or the one that is given. Raises `SourceUnreadableError`."""
    if where.is_file():
        return [where]
    try:
        found = sorted(path for path in where.iterdir() if path.suffix == ".parquet" and path.name[0] != ".")
    except OSError as error:
        raise SourceUnreadableError(
            str(where), error.strerror or str(error), advice="Maybe `numaplace bench run` has not been there yet."
        ) from error
    if len(found) > MOST_FILES:
        raise SourceMalformedError(str(where), f"{MOST_FILES:,} files at most", len(found))
    return found


def _read(db: DuckDBPyConnection, path: Path) -> list[Row]:
    import duckdb

    try:
        with path.open("rb") as file:
            if (size := os.fstat(file.fileno()).st_size) > MOST_BYTES:
                raise SourceMalformedError(str(path), f"{MOST_BYTES:,} bytes at most", size)
            table = db.read_parquet(f"/proc/self/fd/{file.fileno()}")  # its name would be taken as a pattern
            rows = _values(table, str(path))
    except OSError as error:
        raise SourceUnreadableError(str(path), error.strerror or str(error)) from error
    except (duckdb.Error, RuntimeError, ValueError) as error:  # names that are no UTF-8 among them
        raise SourceMalformedError(
            str(path), "a Parquet file of rows", error, advice="Maybe delete it, and measure the row again."
        ) from error
    return [row_of(values, origin=str(path)) for values in rows]


def _values(table: DuckDBPyRelation, origin: str) -> list[dict[str, Any]]:
    kinds = {name: str(kind) for name, kind in zip(table.columns, table.types, strict=True)}
    if missing := sorted(NEEDED - kinds.keys()):
        raise SourceMalformedError(origin, f"a column {missing[0]}", ", ".join(kinds))
    there = [name for name in COLUMNS if name in kinds]
    for name in there:
        if kinds[name] != COLUMNS[name]:
            raise SourceMalformedError(origin, f"{COLUMNS[name]} in column {name}", kinds[name])
    sizes = [f"coalesce(max({_size(name)}), 0)" for name in there if _size(name)]
    counted = table.aggregate(", ".join(["count(*)", *sizes])).fetchall()
    rows, *entries = counted[0]
    if rows > MOST_ROWS or max(entries) > MOST_ENTRIES:
        expected = f"{MOST_ROWS:,} rows and {MOST_ENTRIES:,} entries of a list at most"
        raise SourceMalformedError(origin, expected, (rows, max(entries)))
    return [dict(zip(there, values, strict=True)) for values in table.project(", ".join(there)).fetchall()]


def _size(name: str) -> str:
    """How to ask for the number of entries in a column; "" where it has but one."""
    kind = COLUMNS[name]
    if kind.startswith("MAP"):
        return f"cardinality({name})"
    if kind.endswith("[][]"):
        return f"greatest(len({name}), len(flatten({name})))"
    return f"len({name})" if kind == "VARCHAR" or kind.endswith("[]") else ""
