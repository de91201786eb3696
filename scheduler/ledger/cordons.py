"""What is closed for new guests: hosts, or single nodes of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from policies.plan import Placement
from probe.cpuset import NodeSet
from scheduler.ledger.records import database_now, utc
from scheduler.ledger.schema import cordon_event_table as cordon_events, cordon_table
from scheduler.ledger.store import Store
from scheduler.ledger.values import WHOLE_HOST, ConflictError


@dataclass(frozen=True, slots=True, kw_only=True)
class Cordon:
    """A host, or one node of it, that takes no new guests. Node `WHOLE_HOST` is the host."""

    host: str
    node: int
    since: datetime

    def __str__(self) -> str:
        return self.host if self.node == WHOLE_HOST else f"node {self.node} of {self.host}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CordonEvent:
    """A host or a node was closed, or opened again."""

    seq: int
    at: datetime
    host: str
    node: int
    closed: bool


def fold_cordons(events: Iterable[CordonEvent]) -> tuple[Cordon, ...]:
    """What the table must hold after these events, oldest first; by host and node."""
    closed: dict[tuple[str, int], Cordon] = {}
    for event in events:
        if event.closed:
            closed[event.host, event.node] = Cordon(host=event.host, node=event.node, since=event.at)
        else:
            del closed[event.host, event.node]
    return tuple(closed[place] for place in sorted(closed))


class Cordons:
    """The cordons of one ledger. Every method may raise `LedgerUnreachableError`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def close(self, host: str, node: int = WHOLE_HOST) -> bool:
        """Close a host or a node; False where it is closed already."""
        with self._store.write() as connection:
            if _row(connection, host, node) is not None:
                return False
            now = _recorded(connection, host, node, closed=True)
            connection.execute(insert(cordon_table).values(host=host, node=node, since=now))
            return True

    def open(self, host: str, node: int = WHOLE_HOST) -> bool:
        """Open it again; False where it was not closed. Nodes of a host are closed by themselves."""
        with self._store.write() as connection:
            if _row(connection, host, node) is None:
                return False
            _recorded(connection, host, node, closed=False)
            here = (cordon_table.c.host == host) & (cordon_table.c.node == node)
            connection.execute(delete(cordon_table).where(here))
            return True

    def all(self) -> tuple[Cordon, ...]:
        """What is closed, by host and node."""
        query = select(cordon_table).order_by(cordon_table.c.host, cordon_table.c.node)
        with self._store.read() as connection:
            return tuple(
                Cordon(host=row.host, node=row.node, since=utc(row.since)) for row in connection.execute(query)
            )

    def welcome(self, placement: Placement) -> None:
        """Raises `ConflictError` where a new guest would not be taken."""
        with self._store.read() as connection:
            new_guests_are_welcome(connection, placement)

    def events(self) -> tuple[CordonEvent, ...]:
        """What was closed and opened, oldest first."""
        query = select(cordon_events).order_by(cordon_events.c.seq)
        with self._store.read() as connection:
            return tuple(
                CordonEvent(seq=row.seq, at=utc(row.at), host=row.host, node=row.node, closed=bool(row.closed))
                for row in connection.execute(query)
            )


def new_guests_are_welcome(connection: Connection, placement: Placement) -> None:
    """Hard: what is cordoned takes no new guest. Asked in the transaction that promises.

    Raises:
        ConflictError: its host, or a node of it that it needs, is cordoned.
    """
    cpu_nodes = NodeSet.union(cell.cpu_nodes for cell in placement.cells if cell.cpu_nodes is not None)
    needed = {WHOLE_HOST, *(cpu_nodes | placement.memory_nodes).ids}
    query = select(cordon_table).where(cordon_table.c.host == placement.host).order_by(cordon_table.c.node)
    for row in connection.execute(query):
        if row.node in needed:
            cordon = Cordon(host=row.host, node=row.node, since=utc(row.since))
            place = row.host if row.node == WHOLE_HOST else f"{row.host}:{row.node}"
            raise ConflictError(
                f"guest {placement.guest}: {cordon} is cordoned.",
                host=placement.host,
                advice=f"Maybe plan again, or open it: numaplace uncordon {place}",
            )


def _row(connection: Connection, host: str, node: int) -> object:
    here = (cordon_table.c.host == host) & (cordon_table.c.node == node)
    return connection.execute(select(cordon_table).where(here)).first()


def _recorded(connection: Connection, host: str, node: int, *, closed: bool) -> datetime:
    """Write the event; when it happened."""
    now = database_now(connection)
    connection.execute(insert(cordon_events).values(at=now, host=host, node=node, closed=int(closed)))
    return now
