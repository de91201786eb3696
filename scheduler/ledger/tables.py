"""The tables' content as one value: what the fold over the events must give too."""

from __future__ import annotations

from sqlalchemy import Connection, select

from scheduler.ledger.fold import Books, FoldedClaim
from scheduler.ledger.records import claim_from_row
from scheduler.ledger.rows import read_holding, shared_limit
from scheduler.ledger.schema import (
    claim_table,
    cpu_claim_table as cpus,
    host_table,
    page_counter_table,
    shared_counter_table,
)
from scheduler.ledger.values import Claim, Holding


def read_books(connection: Connection) -> Books:
    """All tables but the events."""
    claims = [claim_from_row(row) for row in connection.execute(select(claim_table)).mappings()]
    held = {claim.claim_id: read_holding(connection, claim.claim_id) for claim in claims}
    owned = connection.execute(select(cpus.c.host, cpus.c.cpu, cpus.c.claim).where(cpus.c.claim.is_not(None)))
    floating = connection.execute(select(cpus.c.host, cpus.c.cpu, cpus.c.floating).where(cpus.c.claim.is_(None)))
    return Books(
        generations={row.name: row.generation for row in connection.execute(select(host_table))},
        claims={claim.claim_id: _folded(claim) for claim in claims},
        holdings={claim_id: holding for claim_id, holding in held.items() if holding != Holding()},
        owners={(host, cpu): claim for host, cpu, claim in owned},
        floating={(host, cpu): count for host, cpu, count in floating},
        memory={
            (host, node, page_kib): (used, capacity)
            for host, node, page_kib, used, capacity in connection.execute(select(page_counter_table))
        },
        shared={
            (row.host, row.node): (
                row.used,
                shared_limit(row.cpus, row.others, row.overcommit_numerator, row.overcommit_denominator),
            )
            for row in connection.execute(select(shared_counter_table))
        },
    )


def _folded(claim: Claim) -> FoldedClaim:
    return FoldedClaim(
        guest=claim.guest,
        host=claim.host,
        uuid=claim.uuid,
        state=claim.state,
        generation=claim.generation,
        step=claim.step,
        placement=claim.placement,
        adopted=claim.adopted,
    )
