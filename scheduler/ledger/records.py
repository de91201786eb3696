"""Claims and events: values to rows, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from policies.errors import PlanMalformedError
from policies.plan import Placement
from policies.plan_json import decision_from_json, decision_to_json
from policies.plan_reader import Reader
from probe.cpuset import CpuSet
from scheduler.ledger.rows import shared_limit
from scheduler.ledger.schema import claim_table, event_table
from scheduler.ledger.values import Claim, Event, Holding, LedgerUnreachableError, Limits, State


def database_now(connection: Connection) -> datetime:
    """The database's clock, aware UTC: the only clock that several schedulers share."""
    return utc(connection.execute(select(func.current_timestamp())).scalar_one())


def append_event(
    connection: Connection,
    claim: Claim,
    *,
    note: str = "",
    accepted: bool = False,
    reserved: tuple[Holding, Limits] | None = None,
) -> None:
    """Record that the claim is now as it is."""
    body: dict[str, Any] = {}
    if accepted:
        body["accepted"] = decision_to_json(claim.placement)
    if reserved is not None:
        body["reserved"] = _reserved_to_json(*reserved)
    connection.execute(
        insert(event_table).values(
            at=claim.updated_at,
            claim=claim.claim_id,
            guest=claim.guest,
            host=claim.host,
            uuid=claim.uuid,
            step=claim.step,
            state=claim.state.value,
            generation=claim.generation,
            note=note,
            body=json.dumps(body),
        )
    )


def insert_claim(connection: Connection, claim: Claim) -> None:
    """Write a new claim. `IntegrityError`: its guest has a live one."""
    number = connection.execute(select(func.count()).select_from(claim_table)).scalar_one()
    connection.execute(
        insert(claim_table).values(
            id=claim.claim_id,
            guest=claim.guest,
            host=claim.host,
            uuid=claim.uuid,
            state=claim.state.value,
            generation=claim.generation,
            step=claim.step,
            owner=claim.owner,
            lease_s=claim.lease_s,
            plan_hash=claim.plan_hash,
            adopted=int(claim.adopted),
            placement=json.dumps(decision_to_json(claim.placement)),
            created_seq=number,
            created_at=claim.created_at,
            updated_at=claim.updated_at,
        )
    )


def claim_from_row(row: Mapping[Any, Any]) -> Claim:
    """A row of `claim` as a value."""
    return Claim(
        claim_id=row["id"],
        guest=row["guest"],
        host=row["host"],
        uuid=row["uuid"],
        state=State(row["state"]),
        generation=row["generation"],
        step=row["step"],
        owner=row["owner"],
        lease_s=row["lease_s"],
        plan_hash=row["plan_hash"],
        adopted=bool(row["adopted"]),
        placement=_placement(json.loads(row["placement"]), f"ledger, claim {row['id']}"),
        created_at=utc(row["created_at"]),
        updated_at=utc(row["updated_at"]),
    )


def event_from_row(row: Mapping[Any, Any]) -> Event:
    """A row of `event` as a value."""
    body = json.loads(row["body"])
    origin = f"ledger, event {row['seq']}"
    holding, limits = _reserved_from_json(body["reserved"]) if "reserved" in body else (None, None)
    return Event(
        seq=row["seq"],
        at=utc(row["at"]),
        claim_id=row["claim"],
        guest=row["guest"],
        host=row["host"],
        uuid=row["uuid"],
        step=row["step"],
        state=State(row["state"]),
        generation=row["generation"],
        note=row["note"],
        placement=_placement(body["accepted"], origin) if "accepted" in body else None,
        holding=holding,
        limits=limits,
    )


def _placement(value: object, origin: str) -> Placement:
    try:
        decision = decision_from_json(Reader.of(value, origin))
    except PlanMalformedError as error:
        raise LedgerUnreachableError(error.message) from error
    if not isinstance(decision, Placement):
        raise LedgerUnreachableError(f"{origin}: expected a placement, got a rejection.")
    return decision


def _reserved_to_json(holding: Holding, limits: Limits) -> dict[str, Any]:
    shared = []
    for node, limit in sorted(limits.shared.items(), key=lambda item: item[0]):
        ratio, vcpus = limit.overcommit, holding.shared_vcpus.get(node, 0)
        shared.append([node, vcpus, limit.cpus, limit.others, ratio.numerator, ratio.denominator])
    return {
        "own_cpus": str(holding.own_cpus),
        "floating_cpus": str(holding.floating_cpus),
        "memory": [
            [node, page_kib, kib, limits.memory_kib[node, page_kib]]
            for (node, page_kib), kib in sorted(holding.memory_kib.items())
        ],
        "shared": shared,
    }


def _reserved_from_json(value: Mapping[str, Any]) -> tuple[Holding, Limits]:
    memory, shared = value["memory"], value["shared"]
    holding = Holding(
        own_cpus=CpuSet.parse(value["own_cpus"]),
        floating_cpus=CpuSet.parse(value["floating_cpus"]),
        memory_kib={(node, page_kib): kib for node, page_kib, kib, _ in memory},
        shared_vcpus={row[0]: row[1] for row in shared if row[1]},
    )
    limits = Limits(
        memory_kib={(node, page_kib): capacity for node, page_kib, _, capacity in memory},
        shared={row[0]: shared_limit(*row[2:]) for row in shared},
    )
    return holding, limits


def utc(at: datetime) -> datetime:
    """SQLite keeps no time zone; what it holds is UTC."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
