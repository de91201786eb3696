"""How a guest comes into the books."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection

from policies.plan import Placement
from scheduler.ledger import owner
from scheduler.ledger.records import database_now, insert_claim
from scheduler.ledger.rows import know_host
from scheduler.ledger.values import ADOPTED, Claim, ConflictError, State


def new_claim(
    connection: Connection, placement: Placement, domain_uuid: str, *, plan_hash: str = "", adopted: bool = False
) -> Claim:
    """A new claim, in its first state. `IntegrityError`: its guest has a live one."""
    know_host(connection, placement.host)
    now = database_now(connection)
    claim = Claim(
        claim_id=str(uuid.uuid4()),
        guest=placement.guest,
        host=placement.host,
        uuid=domain_uuid,
        state=State.UNKNOWN if adopted else State.PLANNED,
        generation=0,
        step=ADOPTED if adopted else "accept",
        owner=owner.this_process(),
        lease_s=owner.LEASE_S,
        plan_hash=plan_hash,
        adopted=adopted,
        placement=placement,
        created_at=now,
        updated_at=now,
    )
    insert_claim(connection, claim)
    return claim


def known_already(placement: Placement) -> ConflictError:
    """What is raised where it is there already."""
    return ConflictError(
        f"guest {placement.guest}: is in the books already.", host=placement.host, others=(placement.guest,)
    )
