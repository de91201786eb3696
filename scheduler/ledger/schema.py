"""The tables of the books. Their constraints, not anybody's reads, keep a promise from being made twice."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

SCHEMA = 1

metadata = MetaData()

ledger_table = Table(
    "ledger",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("schema", Integer, nullable=False),
)

host_table = Table(
    "host",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("generation", Integer, nullable=False, default=0),
)
"""A row per host; its generation counts every change of promises there."""

claim_table = Table(
    "claim",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("guest", String(63), nullable=False),
    Column("live_guest", String(63), unique=True),
    Column("host", String(63), ForeignKey("host.name"), nullable=False),
    Column("uuid", String(36), nullable=False),
    Column("state", String(16), nullable=False),
    Column("generation", Integer, nullable=False, default=0),
    Column("placement", Text, nullable=False),
    Column("updated_at", String(32), nullable=False),
)
"""`live_guest` is the guest's name while the claim lives, else NULL: two live claims never share one.
`generation` fences: a transition names the one it saw."""

cpu_claim_table = Table(
    "cpu_claim",
    metadata,
    Column("host", String(63), ForeignKey("host.name"), primary_key=True),
    Column("cpu", Integer, primary_key=True),
    Column("claim", String(36), ForeignKey("claim.id"), nullable=False),
)
"""A dedicated pCPU: the primary key is what keeps it from a second guest."""

amount_table = Table(
    "amount",
    metadata,
    Column("host", String(63), ForeignKey("host.name"), primary_key=True),
    Column("node", Integer, primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("capacity", Integer, nullable=False),
    Column("used", Integer, nullable=False),
    CheckConstraint("used >= 0", name="nothing_negative"),
    CheckConstraint("used <= capacity", name="nothing_promised_twice"),
)
"""What a node may promise in all and has promised: KiB of pages of one size ("pages-4",
"pages-2048", …) or shared vCPUs ("shared"). Node -1 is the host's sum, for unpinned guests."""

amount_claim_table = Table(
    "amount_claim",
    metadata,
    Column("claim", String(36), ForeignKey("claim.id"), primary_key=True),
    Column("node", Integer, primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("amount", Integer, nullable=False),
)

event_table = Table(
    "event",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("at", String(32), nullable=False),
    Column("claim", String(36), nullable=False),
    Column("guest", String(63), nullable=False),
    Column("host", String(63), nullable=False),
    Column("state", String(16), nullable=False),
    Column("detail", Text, nullable=False),
)
"""What happened, append-only. The other tables equal the fold over it (`scheduler.ledger.fold`)."""
