"""The SQLite file: opened, locked, read and written; every failure is a `LedgerUnreachableError`.

WAL with `synchronous=FULL`: what was acknowledged survives a power cut. A writer first takes a
lock file (`flock`), because SQLite's own waiting is unfair (a tail of 5 s was measured with eight
writers: research/reliability.md A2), then begins IMMEDIATE, so that nobody fails half-way.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, inspect, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from scheduler.ledger.filesystem import shared_filesystem
from scheduler.ledger.schema import SCHEMA, UPGRADES, ledger_table, metadata
from scheduler.ledger.values import LedgerUnreachableError

_WAIT_S = 60.0
_POLL_S = 0.002
_OTHER_FILE = "Maybe give another file: --ledger, NUMAPLACE_LEDGER."


class Store:
    """One ledger file. Connections belong to the thread that uses them."""

    def __init__(self, path: Path, *, wait_s: float = _WAIT_S) -> None:
        """Open the file; make it where there is none.

        Raises:
            LedgerUnreachableError: not writable, not a ledger, of a newer schema, or on a file
                system that several machines share.
        """
        self.path = path
        self._wait_s = wait_s
        self._engine = create_engine(URL.create("sqlite", database=str(path)), connect_args={"timeout": wait_s})
        event.listen(self._engine, "connect", _configure)
        event.listen(self._engine, "begin", _begin)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if kind := shared_filesystem(path.parent):
                raise LedgerUnreachableError(
                    f"ledger {path}: is on {kind}, where SQLite's locks do not hold.",
                    advice="Maybe give a file on a local disk: --ledger, NUMAPLACE_LEDGER.",
                )
        except OSError as error:
            raise LedgerUnreachableError(f"ledger {path}: {error.strerror}.", advice=_OTHER_FILE) from error
        with self.write() as connection:
            self.ledger_id = _identity(connection, path)
        with self._failures_are_ours(), self._alone():
            _write_ahead(self._engine)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the books, and writes nothing."""
        with self._failures_are_ours(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction of the one writer. Any error takes it back; `IntegrityError` passes."""
        with self._failures_are_ours(), self._alone(), self._engine.connect() as connection:
            writing = connection.execution_options(numaplace_begin="BEGIN IMMEDIATE")
            with writing.begin():
                yield writing

    @contextmanager
    def _failures_are_ours(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            why = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise LedgerUnreachableError(f"ledger {self.path}: {why}.", advice=_OTHER_FILE) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait for the other writers; a lock ends with the process that holds it."""
        lock_path = self.path.with_name(f"{self.path.name}.lock")
        try:
            lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerUnreachableError(f"ledger {lock_path}: {error.strerror}.", advice=_OTHER_FILE) from error
        try:
            self._acquire(lock)
            yield
        finally:
            os.close(lock)

    def _acquire(self, lock: int) -> None:
        deadline = time.monotonic() + self._wait_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LedgerUnreachableError(
                        f"ledger {self.path}: another process has been writing for {self._wait_s:.0f} s.",
                        advice="Maybe a numaplace is stopped (Ctrl-Z): `ps` shows it.",
                    ) from None
                time.sleep(_POLL_S)
            else:
                return


def _configure(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours (SQLAlchemy docs, pysqlite, "Serializable isolation")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _write_ahead(engine: Engine) -> None:
    """Set WAL, which the file remembers; only now that the file is surely ours."""
    with engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        driver.execute("PRAGMA journal_mode=WAL")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("numaplace_begin", "BEGIN"))


def _identity(connection: Connection, path: Path) -> str:
    """The ledger's id; a file without tables becomes a ledger."""
    tables = inspect(connection).get_table_names()
    if not tables:
        metadata.create_all(connection)
        connection.execute(insert(ledger_table).values(id=str(uuid.uuid4()), schema=SCHEMA))
    elif ledger_table.name not in tables:
        raise LedgerUnreachableError(f"ledger {path}: is a database of something else.", advice=_OTHER_FILE)
    found = connection.execute(select(ledger_table.c.id, ledger_table.c.schema)).one()
    if found.schema > SCHEMA:
        raise LedgerUnreachableError(
            f"ledger {path}: has schema {found.schema}, this numaplace knows {SCHEMA}.",
            advice="Maybe a newer numaplace wrote it: install that one, or give another file by --ledger.",
        )
    if found.schema < SCHEMA:
        _upgrade(connection, found.schema)
    return str(found.id)


def _upgrade(connection: Connection, schema: int) -> None:
    """Bring the tables of an older numaplace up to ours, in the transaction that looked at them."""
    for older in range(schema, SCHEMA):
        connection.exec_driver_sql(UPGRADES[older])
    metadata.create_all(connection)
    connection.execute(update(ledger_table).values(schema=SCHEMA))
