"""The file of an embedded hypervisor's host: its domains, its faults, its published snapshot.

One SQLite database for each host. Every change is one transaction of one process at a time, so
that the file is whole after each, whoever dies when.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from probe.errors import BadInputError, SourceMalformedError, SourceUnreadableError
from probe.snapshot import HostSnapshot, Hypervisor, OccupantState
from probe.snapshot_json import snapshot_from_json, snapshot_to_json
from scheduler.sim.errors import SimError
from scheduler.sim.wanted import Wanted, read_wanted

_VERSION = 1
_SCHEMA = """
CREATE TABLE host (id INTEGER PRIMARY KEY CHECK (id = 1), flavour TEXT NOT NULL, base TEXT NOT NULL);
CREATE TABLE published (id INTEGER PRIMARY KEY CHECK (id = 1), snapshot TEXT NOT NULL);
CREATE TABLE domain (uuid TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, state TEXT NOT NULL,
                     text TEXT NOT NULL, next_text TEXT, pages TEXT NOT NULL);
CREATE TABLE fault (call TEXT NOT NULL, nth INTEGER NOT NULL, kind TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimDomain:
    """One domain.

    Attributes:
        text: the definition that it was started with, or will be.
        next_text: defined while it ran: what its next start takes; None for nothing new.
        pages: for each guest cell, node id to resident KiB.
    """

    wanted: Wanted
    state: OccupantState
    text: str
    next_text: str | None = None
    pages: tuple[dict[int, int], ...] = field(default=())

    @property
    def resident_kib(self) -> dict[int, int]:
        """Node id to KiB, of all its cells."""
        total: dict[int, int] = {}
        for cell in self.pages:
            for node, kib in cell.items():
                total[node] = total.get(node, 0) + kib
        return total


class HostFile:
    """An open host file."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises `SourceUnreadableError`, `SourceMalformedError`."""
        if not path.is_file():
            raise SourceUnreadableError(
                str(path), "no such file", advice="Maybe: numaplace sim create FILE --from SOURCE"
            )
        self.path = path
        self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        try:
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            flavour, base = self._connection.execute("SELECT flavour, base FROM host").fetchone()
        except (sqlite3.DatabaseError, TypeError) as error:
            self._connection.close()
            raise SourceMalformedError(str(path), "a host of the embedded hypervisor", error) from error
        if version != _VERSION:
            self._connection.close()
            advice = "Maybe make it anew: numaplace sim create."
            raise SourceMalformedError(str(path), f"a host file of version {_VERSION}", version, advice=advice)
        self.flavour = Hypervisor(flavour)
        self.base = snapshot_from_json(json.loads(base), origin=str(path))

    @classmethod
    def create(cls, path: Path, base: HostSnapshot, flavour: Hypervisor) -> HostFile:
        """Make one. Raises `BadInputError` if there is a file already, or none can be made."""
        try:
            path.open("x").close()
        except FileExistsError:
            raise BadInputError(f"{path}: exists already.", advice="Maybe take another name, or delete it.") from None
        except OSError as error:
            raise BadInputError(f"{path}: cannot be made: {error.strerror}.") from error
        connection = sqlite3.connect(path)
        with connection:
            connection.executescript(f"{_SCHEMA} PRAGMA user_version = {_VERSION};")
            text = json.dumps(snapshot_to_json(base))
            connection.execute("INSERT INTO host VALUES (1, ?, ?)", (flavour.value, text))
            connection.execute("INSERT INTO published VALUES (1, ?)", (text,))
        connection.close()
        return cls(path)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing; other processes wait. Raises `SimError` where the file fails."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise SimError(38, f"{self.path}: {error}") from error
            raise

    def domains(self) -> Iterator[SimDomain]:
        """Every domain, by name."""
        query = "SELECT uuid, text, next_text, state, pages FROM domain ORDER BY name"
        for own, text, next_text, state, pages in self._connection.execute(query):
            yield SimDomain(
                wanted=replace(read_wanted(text, self.flavour), uuid=own),
                state=OccupantState(state),
                text=text,
                next_text=next_text,
                pages=tuple({int(n): kib for n, kib in cell.items()} for cell in json.loads(pages)),
            )

    def find(self, own: str) -> SimDomain | None:
        """The domain with this uuid."""
        return next((domain for domain in self.domains() if domain.wanted.uuid == own), None)

    def add(self, text: str) -> SimDomain:
        """A new domain; one without a uuid gets one, as from libvirt."""
        wanted = read_wanted(text, self.flavour)
        return SimDomain(
            wanted=replace(wanted, uuid=wanted.uuid or str(uuid.uuid4())), state=OccupantState.SHUTOFF, text=text
        )

    def write(self, domain: SimDomain) -> None:
        """Add or change its row."""
        wanted = domain.wanted
        self._connection.execute(
            "INSERT INTO domain VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (uuid) DO UPDATE SET name = excluded.name,"
            " state = excluded.state, text = excluded.text, next_text = excluded.next_text, pages = excluded.pages",
            (wanted.uuid, wanted.name, domain.state.value, domain.text, domain.next_text, json.dumps(domain.pages)),
        )

    def forget(self, own: str) -> None:
        """Delete its row."""
        self._connection.execute("DELETE FROM domain WHERE uuid = ?", (own,))

    def publish(self, snapshot: HostSnapshot) -> None:
        """What the probe reads from now on."""
        self._connection.execute("UPDATE published SET snapshot = ?", (json.dumps(snapshot_to_json(snapshot)),))

    def order_fault(self, call: str, kind: str, nth: int) -> None:
        """Remember that the nth next `call` goes wrong."""
        with self.transaction():
            self._connection.execute("INSERT INTO fault VALUES (?, ?, ?)", (call, nth, kind))

    def next_fault(self, call: str) -> str | None:
        """Count this call; what is to go wrong with it, once."""
        with self.transaction():
            self._connection.execute("UPDATE fault SET nth = nth - 1 WHERE call = ?", (call,))
            row = self._connection.execute("SELECT kind FROM fault WHERE call = ? AND nth <= 0", (call,)).fetchone()
            self._connection.execute("DELETE FROM fault WHERE call = ? AND nth <= 0", (call,))
        return None if row is None else str(row[0])
