"""The ledger: one SQLite file, written by one process at a time, readable by all.

WAL with `synchronous=FULL`: what was acknowledged survives a power cut. Every transaction begins
IMMEDIATE, so that two writers queue instead of failing half-way; the host's row is taken first.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping, create_engine, delete, event, func, insert, select, text, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import DatabaseError, IntegrityError, SQLAlchemyError

from policies.host_rules import OutstandingClaim
from policies.plan import Placement
from policies.plan_json import decision_from_json, decision_to_json
from policies.plan_reader import Reader
from scheduler.ledger.fold import Books
from scheduler.ledger.schema import (
    SCHEMA,
    amount_claim_table,
    amount_table,
    claim_table,
    cpu_claim_table,
    event_table,
    host_table,
    ledger_table,
    metadata,
)
from scheduler.ledger.values import ALLOWED, Claim, ConflictError, Event, LedgerUnreachableError, Rows, State

_BUSY_S = 60


class Ledger:
    """The books of one operator. Opened by `open_ledger`."""

    def __init__(self, path: Path) -> None:
        """Open or make the books at `path`.

        Raises:
            LedgerUnreachableError: not writable, not a ledger, or of a newer schema.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": _BUSY_S})
            event.listen(self._engine, "connect", _configure)
            event.listen(self._engine, "begin", lambda c: c.exec_driver_sql("BEGIN IMMEDIATE"))
            with self._transaction() as connection:
                metadata.create_all(connection)
                self.ledger_id = _identity(connection)
        except (OSError, SQLAlchemyError) as error:
            raise LedgerUnreachableError(
                f"ledger {path}: {str(error).splitlines()[0]}", advice="Maybe give another: --ledger, NUMAPLACE_LEDGER."
            ) from error

    def close(self) -> None:
        self._engine.dispose()

    def generation(self, host: str) -> int:
        """How often promises on a host have changed; read it before looking at the host."""
        with self._transaction() as connection:
            found = connection.scalar(select(host_table.c.generation).where(host_table.c.name == host))
        return found or 0

    def claims(self, *, ended: bool = False) -> tuple[Claim, ...]:
        """The claims in the order in which they were made; those that ended only where asked for."""
        query = select(claim_table).order_by(text("rowid"))
        with self._transaction() as connection:
            found = [_claim(row) for row in connection.execute(query).mappings()]
        return tuple(claim for claim in found if ended or claim.state.is_live)

    def claim_of(self, guest: str) -> Claim | None:
        """The live claim of a guest, or None."""
        return next((claim for claim in self.claims() if claim.guest == guest), None)

    def outstanding(self, host: str) -> tuple[OutstandingClaim, ...]:
        """What stands promised on a host, for its capacity."""
        return tuple(
            OutstandingClaim(claim_id=claim.claim_id, placement=claim.placement)
            for claim in self.claims()
            if claim.host == host and claim.state is not State.PLANNED
        )

    def accept(self, placement: Placement, domain_uuid: str) -> Claim:
        """Take a placement into the books, as `planned`; it holds nothing yet.

        Raises:
            ConflictError: a guest of this name is in the books already.
        """
        claim_id = str(uuid.uuid4())
        with self._transaction() as connection:
            connection.execute(upsert(host_table).values(name=placement.host).on_conflict_do_nothing())
            try:
                connection.execute(
                    insert(claim_table).values(
                        id=claim_id,
                        guest=placement.guest,
                        live_guest=placement.guest,
                        host=placement.host,
                        uuid=domain_uuid,
                        state=State.PLANNED,
                        generation=0,
                        placement=json.dumps(decision_to_json(placement)),
                        updated_at=func.datetime("now"),
                    )
                )
            except IntegrityError as error:
                raise ConflictError(f"guest {placement.guest}: is in the books already.") from error
            claim = _read(connection, claim_id)
            _record(connection, claim, State.PLANNED, Rows(), "")
            return claim

    def reserve(self, claim: Claim, rows: Rows, room: Mapping[tuple[int, str], int], generation: int) -> Claim:
        """Promise `rows`, of which the host has `room` left ((node, kind) to KiB or vCPUs).

        `generation` is the host's as it was read before the room was.

        Raises:
            ConflictError: promises on the host changed since, or a pCPU or amount is taken.
        """
        with self._transaction() as connection:
            found = connection.scalar(select(host_table.c.generation).where(host_table.c.name == claim.host))
            if found != generation:
                raise ConflictError(f"{claim.host}: its promises changed since it was looked at; look again.")
            try:
                _hold(connection, claim, rows, room)
            except IntegrityError as error:
                raise ConflictError(f"guest {claim.guest}: {claim.host} has promised this already.") from error
            self._move(connection, claim, State.RESERVED, rows, "")
            return _read(connection, claim.claim_id)

    def move(self, claim: Claim, state: State, note: str = "") -> Claim:
        """Record a transition; `released` and `failed` give back all that the claim held.

        Raises:
            ConflictError: somebody else moved the claim since we read it.
        """
        with self._transaction() as connection:
            rows = _rows(connection, claim.claim_id)
            if not state.is_live:
                _let_go(connection, claim, rows)
                rows = Rows()
            self._move(connection, claim, state, rows, note)
            return _read(connection, claim.claim_id)

    def events(self, guest: str | None = None) -> tuple[Event, ...]:
        """What happened, oldest first; of one guest, or of all."""
        query = select(event_table).order_by(event_table.c.seq)
        if guest is not None:
            query = query.where(event_table.c.guest == guest)
        with self._transaction() as connection:
            return tuple(_event(row) for row in connection.execute(query).mappings())

    def books(self) -> Books:
        """The tables, in the form in which `fold` gives them."""
        with self._transaction() as connection:
            states = connection.execute(select(claim_table.c.id, claim_table.c.state)).all()
            cpus = connection.execute(select(cpu_claim_table)).all()
            used = connection.execute(select(amount_table)).mappings().all()
        return Books(
            states={claim: State(state) for claim, state in states},
            cpus={(host, cpu): claim for host, cpu, claim in cpus},
            used={(row["host"], row["node"], row["kind"]): row["used"] for row in used if row["used"]},
        )

    def _move(self, connection: Connection, claim: Claim, state: State, rows: Rows, note: str) -> None:
        if state not in ALLOWED[claim.state]:
            raise ConflictError(f"guest {claim.guest}: cannot go from {claim.state.value} to {state.value}.")
        moved = connection.execute(
            update(claim_table)
            .where(claim_table.c.id == claim.claim_id, claim_table.c.generation == claim.generation)
            .values(
                state=state,
                generation=claim.generation + 1,
                live_guest=claim.guest if state.is_live else None,
                updated_at=func.datetime("now"),
            )
        )
        if moved.rowcount != 1:
            raise ConflictError(f"guest {claim.guest}: another numaplace works on it.")
        _record(connection, claim, state, rows, note)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except DatabaseError as error:
            raise LedgerUnreachableError(f"ledger {self.path}: {error.orig}") from error


def _configure(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours (SQLAlchemy, "pysqlite, serializable isolation")
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _identity(connection: Connection) -> str:
    row = connection.execute(select(ledger_table.c.id, ledger_table.c.schema)).first()
    if row is None:
        ledger_id = str(uuid.uuid4())
        connection.execute(insert(ledger_table).values(id=ledger_id, schema=SCHEMA))
        return ledger_id
    ledger_id, schema = row
    if schema > SCHEMA:
        raise LedgerUnreachableError(
            f"the ledger has schema {schema}, this numaplace knows {SCHEMA}.",
            advice="Maybe a newer numaplace wrote it.",
        )
    return str(ledger_id)


def _hold(connection: Connection, claim: Claim, rows: Rows, room: Mapping[tuple[int, str], int]) -> None:
    """Write the rows of a claim; the constraints refuse what is promised to somebody else."""
    owned = [{"host": claim.host, "cpu": cpu, "claim": claim.claim_id} for cpu in sorted(rows.cpus)]
    if owned:
        connection.execute(insert(cpu_claim_table), owned)
    for (node, kind), amount in sorted(rows.amounts.items()):
        key = {"host": claim.host, "node": node, "kind": kind}
        connection.execute(upsert(amount_table).values(**key, capacity=0, used=0).on_conflict_do_nothing())
        connection.execute(
            update(amount_table)
            .where(*(amount_table.c[name] == value for name, value in key.items()))
            .values(capacity=amount_table.c.used + room.get((node, kind), 0), used=amount_table.c.used + amount)
        )
        connection.execute(insert(amount_claim_table).values(claim=claim.claim_id, node=node, kind=kind, amount=amount))
    _count_change(connection, claim.host)


def _let_go(connection: Connection, claim: Claim, rows: Rows) -> None:
    connection.execute(delete(cpu_claim_table).where(cpu_claim_table.c.claim == claim.claim_id))
    for (node, kind), amount in rows.amounts.items():
        connection.execute(
            update(amount_table)
            .where(amount_table.c.host == claim.host, amount_table.c.node == node, amount_table.c.kind == kind)
            .values(used=amount_table.c.used - amount)
        )
    connection.execute(delete(amount_claim_table).where(amount_claim_table.c.claim == claim.claim_id))
    _count_change(connection, claim.host)


def _count_change(connection: Connection, host: str) -> None:
    connection.execute(
        update(host_table).where(host_table.c.name == host).values(generation=host_table.c.generation + 1)
    )


def _rows(connection: Connection, claim_id: str) -> Rows:
    cpus = connection.scalars(select(cpu_claim_table.c.cpu).where(cpu_claim_table.c.claim == claim_id)).all()
    held = connection.execute(select(amount_claim_table).where(amount_claim_table.c.claim == claim_id)).mappings()
    return Rows(cpus=frozenset(cpus), amounts={(r["node"], r["kind"]): r["amount"] for r in held})


def _record(connection: Connection, claim: Claim, state: State, rows: Rows, note: str) -> None:
    amounts = [[node, kind, amount] for (node, kind), amount in sorted(rows.amounts.items())]
    detail = json.dumps({"cpus": sorted(rows.cpus), "amounts": amounts, "note": note})
    connection.execute(
        insert(event_table).values(
            at=func.datetime("now"),
            claim=claim.claim_id,
            guest=claim.guest,
            host=claim.host,
            state=state,
            detail=detail,
        )
    )


def _read(connection: Connection, claim_id: str) -> Claim:
    return _claim(connection.execute(select(claim_table).where(claim_table.c.id == claim_id)).mappings().one())


def _claim(row: RowMapping) -> Claim:
    return Claim(
        claim_id=row["id"],
        guest=row["guest"],
        host=row["host"],
        uuid=row["uuid"],
        state=State(row["state"]),
        generation=row["generation"],
        placement=_placement(row["placement"], row["id"]),
        updated_at=row["updated_at"],
    )


def _placement(text_json: str, claim_id: str) -> Placement:
    decision = decision_from_json(Reader.of(json.loads(text_json), f"ledger, claim {claim_id}"))
    if not isinstance(decision, Placement):
        raise LedgerUnreachableError(f"ledger: claim {claim_id} holds no placement.")
    return decision


def _event(row: RowMapping) -> Event:
    detail = json.loads(row["detail"])
    return Event(
        seq=row["seq"],
        at=row["at"],
        claim_id=row["claim"],
        guest=row["guest"],
        host=row["host"],
        state=State(row["state"]),
        rows=Rows(cpus=frozenset(detail["cpus"]), amounts={(n, k): a for n, k, a in detail["amounts"]}),
        note=detail["note"],
    )
