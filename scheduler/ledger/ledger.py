"""The ledger: accept, reserve, move, and what stands in the books."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError

from policies.capacity import HostCapacity
from policies.host_rules import OutstandingClaim
from policies.plan import Placement
from scheduler.ledger import conflicts, owner, tables
from scheduler.ledger.accepted import known_already, new_claim
from scheduler.ledger.cordons import Cordons, new_guests_are_welcome
from scheduler.ledger.fold import Books
from scheduler.ledger.holding import (
    holding_of,
    holding_of_present,
    limits_of,
    limits_with_present,
    shortages,
)
from scheduler.ledger.records import append_event, claim_from_row, database_now, event_from_row
from scheduler.ledger.rows import booked, hold, let_go, lock_host, read_holding
from scheduler.ledger.schema import claim_table, event_table
from scheduler.ledger.store import Store
from scheduler.ledger.values import TRANSITIONS, Claim, ConflictError, Event, Holding, State


class Ledger:
    """The books of one operator. `open_ledger` finds the file.

    Every method may raise `LedgerUnreachableError`. A method that changes something does so in one
    transaction, with one event.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the books. Raises `LedgerUnreachableError`."""
        self.path = path
        self._store = Store(path)
        self.ledger_id = self._store.ledger_id
        self.cordons = Cordons(self._store)

    def close(self) -> None:
        self._store.close()

    def reopened(self) -> Ledger:
        """The same books once more, for another thread; to be closed by it. Raises `LedgerUnreachableError`."""
        return Ledger(self.path)

    def accept(self, placement: Placement, domain_uuid: str, *, plan_hash: str = "", note: str = "") -> Claim:
        """Take a placement into the books as `planned`; it holds nothing yet.

        Raises:
            ConflictError: its guest is in the books already.
        """
        try:
            with self._store.write() as connection:
                claim = new_claim(connection, placement, domain_uuid, plan_hash=plan_hash)
                append_event(connection, claim, note=note, accepted=True)
                return claim
        except IntegrityError as error:
            raise known_already(placement) from error

    def adopt(
        self, placement: Placement, domain_uuid: str, capacity: HostCapacity, *, counted: Collection[str]
    ) -> Claim:
        """Take a guest that is there into the books, with all that it has, as `unknown` until it is marked.

        What it has is not asked of the host's remainder: `capacity` has taken it off already, as a
        stranger's. `counted` as in `reserve`.

        Raises:
            ConflictError: a guest of this name is in the books, or what this one has was promised
                to others. Nothing was written.
        """
        if self.claim_of(placement.guest) is not None:
            raise known_already(placement)
        holding = holding_of_present(placement, capacity)
        try:
            with self._store.write() as connection:
                claim = new_claim(connection, placement, domain_uuid, adopted=True)
                lock_host(connection, claim.host)
                limits = limits_with_present(holding, capacity, booked(connection, claim.host, counted))
                hold(connection, claim.host, claim.claim_id, holding, limits)
                append_event(connection, claim, accepted=True, reserved=(holding, limits))
                return claim
        except IntegrityError as error:
            with self._store.read() as connection:
                limits = limits_with_present(holding, capacity, booked(connection, claim.host, counted))
                raise conflicts.explained(connection, placement, holding, limits) from error

    def reserve(self, claim: Claim, capacity: HostCapacity, *, counted: Collection[str]) -> Claim:
        """Promise what the claim's placement needs, within what its host may still promise.

        `counted` are the ids of the claims that `capacity` has taken off; read them *before* the
        host is looked at. Claims that others reserved meanwhile are counted by the constraints.

        Raises:
            ConflictError: something of it is promised to others or not there; it says what and to
                whom. Nothing was reserved. Look at the host again, and perhaps plan again.
        """
        if lacking := shortages(claim.placement, capacity):
            raise ConflictError(f"guest {claim.guest}: {'; '.join(lacking)}.", host=claim.host)
        holding = holding_of(claim.placement, capacity)
        try:
            with self._store.write() as connection:
                lock_host(connection, claim.host)
                new_guests_are_welcome(connection, claim.placement)
                limits = limits_of(holding, capacity, booked(connection, claim.host, counted))
                hold(connection, claim.host, claim.claim_id, holding, limits)
                moved = self._moved(connection, claim, State.RESERVED, step="reserve")
                append_event(connection, moved, reserved=(holding, limits))
                return moved
        except IntegrityError as error:
            with self._store.read() as connection:
                limits = limits_of(holding, capacity, booked(connection, claim.host, counted))
                raise conflicts.explained(connection, claim.placement, holding, limits) from error

    def move(self, claim: Claim, state: State, *, step: str, note: str = "", under_way: bool | None = None) -> Claim:
        """Record that a step led to a state; `released` and `failed` give back what the claim holds.

        `under_way` says whether this process goes on working on it; by default as the state says.

        Raises:
            ConflictError: this transition does not exist, or somebody else moved the claim since
                we read it.
        """
        with self._store.write() as connection:
            if not state.is_live:
                self._let_go(connection, claim)
            moved = self._moved(connection, claim, state, step=step, under_way=under_way)
            append_event(connection, moved, note=note)
            return moved

    def take(self, claim: Claim) -> Claim:
        """Take over a claim that nobody works on; whoever did so before can move it no more.

        Raises:
            ConflictError: another numaplace works on it, or moved it since we read it.
        """
        with self._store.write() as connection:
            if self._is_busy(connection, claim):
                raise ConflictError(
                    f"guest {claim.guest}: another numaplace works on it.",
                    host=claim.host,
                    others=(claim.guest,),
                    advice="Maybe wait until it is done; `ps` shows it.",
                )
            return self._handed_over(connection, claim, "taken over", under_way=True)

    def leave(self, claim: Claim, *, note: str) -> Claim:
        """Let go of a claim that is under way; its state stays, and anybody may take it.

        Raises:
            ConflictError: somebody else moved it since we read it.
        """
        with self._store.write() as connection:
            return self._handed_over(connection, claim, note, under_way=False)

    def is_busy(self, claim: Claim) -> bool:
        """Whether another process is at work on the claim, as far as one can tell."""
        with self._store.read() as connection:
            return self._is_busy(connection, claim)

    def claims(
        self, *, host: str | None = None, states: Collection[State] | None = None, ended: bool = False
    ) -> tuple[Claim, ...]:
        """Claims in the order in which they were accepted; those that ended only where asked for."""
        query = select(claim_table).order_by(claim_table.c.created_seq)
        wanted = [state for state in states or State if ended or states or state.is_live]
        query = query.where(claim_table.c.state.in_([state.value for state in wanted]))
        if host is not None:
            query = query.where(claim_table.c.host == host)
        with self._store.read() as connection:
            return tuple(claim_from_row(row) for row in connection.execute(query).mappings())

    def claim(self, claim_id: str) -> Claim | None:
        """The claim with this id, live or ended; None where there is none."""
        query = select(claim_table).where(claim_table.c.id == claim_id)
        with self._store.read() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else claim_from_row(row)

    def claim_of(self, guest: str) -> Claim | None:
        """The live claim of a guest; None where it has none."""
        live = [state.value for state in State if state.is_live]
        query = select(claim_table).where(claim_table.c.guest == guest, claim_table.c.state.in_(live))
        with self._store.read() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else claim_from_row(row)

    def outstanding(self, host: str, *, planned: bool = False) -> tuple[OutstandingClaim, ...]:
        """What is promised on a host, for its capacity; with `planned` also what is accepted and holds nothing yet."""
        return tuple(
            OutstandingClaim(claim_id=claim.claim_id, placement=claim.placement, uuid=claim.uuid, adopted=claim.adopted)
            for claim in self.claims(host=host)
            if planned or claim.state is not State.PLANNED
        )

    def events(self, guest: str | None = None) -> tuple[Event, ...]:
        """What happened, oldest first; of one guest, or of all."""
        query = select(event_table).order_by(event_table.c.seq)
        if guest is not None:
            query = query.where(event_table.c.guest == guest)
        with self._store.read() as connection:
            return tuple(event_from_row(row) for row in connection.execute(query).mappings())

    def books(self) -> Books:
        """The tables' content, in the form in which `fold` gives it."""
        with self._store.read() as connection:
            return tables.read_books(connection)

    def _handed_over(self, connection: Connection, claim: Claim, note: str, *, under_way: bool) -> Claim:
        """A new generation of the same state and step."""
        handed = self._written(connection, claim, claim.state, step=claim.step, under_way=under_way)
        append_event(connection, handed, note=note)
        return handed

    def _moved(
        self, connection: Connection, claim: Claim, state: State, *, step: str, under_way: bool | None = None
    ) -> Claim:
        if state not in TRANSITIONS[claim.state]:
            raise ConflictError(
                f"guest {claim.guest}: cannot go from {claim.state.value} to {state.value}.", host=claim.host
            )
        return self._written(connection, claim, state, step=step, under_way=under_way)

    def _written(
        self, connection: Connection, claim: Claim, state: State, *, step: str, under_way: bool | None
    ) -> Claim:
        """Update the claim's row, if nobody else did since it was read."""
        working = state.is_under_way if under_way is None else under_way
        moved = replace(
            claim,
            state=state,
            generation=claim.generation + 1,
            step=step,
            owner=owner.this_process(),
            lease_s=owner.LEASE_S if working else 0,
            updated_at=database_now(connection),
        )
        changed = connection.execute(
            update(claim_table)
            .where(claim_table.c.id == claim.claim_id, claim_table.c.generation == claim.generation)
            .values(
                state=state.value,
                generation=moved.generation,
                step=step,
                owner=moved.owner,
                lease_s=moved.lease_s,
                updated_at=moved.updated_at,
            )
        )
        if changed.rowcount != 1:
            raise ConflictError(
                f"guest {claim.guest}: another numaplace moved its claim.", host=claim.host, others=(claim.guest,)
            )
        return moved

    def _let_go(self, connection: Connection, claim: Claim) -> None:
        holding = read_holding(connection, claim.claim_id)
        if holding != Holding():
            lock_host(connection, claim.host)
            let_go(connection, claim.host, claim.claim_id, holding)

    def _is_busy(self, connection: Connection, claim: Claim) -> bool:
        if not claim.lease_s:
            return False
        fate = owner.fate(claim.owner)
        if fate is owner.Fate.UNKNOWN:
            return database_now(connection) < claim.updated_at + timedelta(seconds=claim.lease_s)
        return fate is owner.Fate.ALIVE
