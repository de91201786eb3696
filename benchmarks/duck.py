"""DuckDB, which reads and writes the Parquet files: in memory, with limits, and nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from probe.errors import BadInputError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY = "512MB"
"""That DuckDB may use while it reads a file: a file may say that it unpacks to anything."""


@contextmanager
def in_memory() -> Iterator[DuckDBPyConnection]:
    """A database in memory, that loads nothing and spills nothing.

    Raises:
        BadInputError: DuckDB is not installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise BadInputError("Parquet files need DuckDB.", advice="Maybe pip install 'numaplace[bench]'.") from error
    off = dict.fromkeys(("autoinstall_known_extensions", "autoload_known_extensions"), "false")
    with duckdb.connect(config={"threads": 1, "memory_limit": MEMORY, "temp_directory": "", **off}) as db:
        yield db
