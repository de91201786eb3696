"""The tables of the books. Their constraints, not anybody's reads, keep a promise from being made twice.

Plain SQL types only, so that PostgreSQL takes the same tables.
"""

from __future__ import annotations

from itertools import product

from sqlalchemy import (
    DDL,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    event,
    text,
)

from scheduler.ledger.values import State

SCHEMA = 2
"""Version of these tables. A ledger of a newer one is refused; an older one is brought up to it."""

UPGRADES = {1: "ALTER TABLE claim ADD COLUMN adopted INTEGER NOT NULL DEFAULT 0"}
"""Version to what makes its tables those of the next one; tables that are new are made besides."""

metadata = MetaData()
_STATES = ", ".join(f"'{state.value}'" for state in State)
_LIVE = "state NOT IN ('released', 'failed')"

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
    Column("generation", Integer, nullable=False),
)
"""A row per host, locked before any other row of the host; it counts the changes of promises there."""

claim_table = Table(
    "claim",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("guest", String(63), nullable=False),
    Column("host", String(63), ForeignKey("host.name"), nullable=False),
    Column("uuid", String(36), nullable=False),
    Column("state", String(16), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("step", String(32), nullable=False),
    Column("owner", String(128), nullable=False),
    Column("lease_s", Integer, nullable=False),
    Column("plan_hash", String(64), nullable=False),
    Column("adopted", Integer, nullable=False, server_default="0"),
    Column("placement", Text, nullable=False),
    Column("created_seq", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint(f"state IN ({_STATES})", name="state_is_known"),
)
Index(
    "one_live_claim_per_guest",
    claim_table.c.guest,
    unique=True,
    sqlite_where=text(_LIVE),
    postgresql_where=text(_LIVE),
)

cpu_claim_table = Table(
    "cpu_claim",
    metadata,
    Column("host", String(63), ForeignKey("host.name"), primary_key=True),
    Column("cpu", Integer, primary_key=True),
    Column("claim", String(36), ForeignKey("claim.id")),
    Column("floating", Integer, nullable=False),
    CheckConstraint("(claim IS NULL) = (floating > 0)", name="dedicated_or_shared"),
)
"""A pCPU in use: dedicated to `claim`, or with `floating` claims on it. The primary key keeps it
from a second owner; the check keeps guests off a pCPU that is dedicated, and owners off one where
a guest may run."""

cpu_float_table = Table(
    "cpu_float",
    metadata,
    Column("claim", String(36), ForeignKey("claim.id"), primary_key=True),
    Column("cpu", Integer, primary_key=True),
)
"""The claims that `cpu_claim.floating` counts."""

page_counter_table = Table(
    "page_counter",
    metadata,
    Column("host", String(63), ForeignKey("host.name"), primary_key=True),
    Column("node", Integer, primary_key=True),
    Column("page_kib", Integer, primary_key=True),
    Column("used_kib", BigInteger, nullable=False),
    Column("capacity_kib", BigInteger, nullable=False),
    CheckConstraint("0 <= used_kib AND used_kib <= capacity_kib", name="no_page_is_promised_twice"),
)
"""Memory of a node in pages of one size: promised, and what may be promised in all. Node -1 is the
whole host (`WHOLE_HOST`)."""

page_claim_table = Table(
    "page_claim",
    metadata,
    Column("claim", String(36), ForeignKey("claim.id"), primary_key=True),
    Column("node", Integer, primary_key=True),
    Column("page_kib", Integer, primary_key=True),
    Column("kib", BigInteger, nullable=False),
    CheckConstraint("kib > 0", name="a_page_claim_is_of_something"),
)

shared_counter_table = Table(
    "shared_counter",
    metadata,
    Column("host", String(63), ForeignKey("host.name"), primary_key=True),
    Column("node", Integer, primary_key=True),
    Column("used", Integer, nullable=False),
    Column("others", Integer, nullable=False),
    Column("cpus", Integer, nullable=False),
    Column("overcommit_numerator", Integer, nullable=False),
    Column("overcommit_denominator", Integer, nullable=False),
    CheckConstraint("used >= 0", name="shared_vcpus_are_counted_from_zero"),
    CheckConstraint(
        "(used + others) * overcommit_denominator <= cpus * overcommit_numerator",
        name="shared_cpus_are_within_overcommit",
    ),
)
"""Shared vCPUs of a node: ours (`used`) and those that are in no claim (`others`). Node -1 as above."""

shared_claim_table = Table(
    "shared_claim",
    metadata,
    Column("claim", String(36), ForeignKey("claim.id"), primary_key=True),
    Column("node", Integer, primary_key=True),
    Column("vcpus", Integer, nullable=False),
    CheckConstraint("vcpus > 0", name="a_shared_claim_is_of_something"),
)

event_table = Table(
    "event",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("claim", String(36), ForeignKey("claim.id"), nullable=False),
    Column("guest", String(63), nullable=False),
    Column("host", String(63), nullable=False),
    Column("uuid", String(36), nullable=False),
    Column("step", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("note", Text, nullable=False),
    Column("body", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""What happened. The other tables equal the fold over it (`scheduler.ledger.fold`)."""

cordon_table = Table(
    "cordon",
    metadata,
    Column("host", String(63), primary_key=True),
    Column("node", Integer, primary_key=True),
    Column("since", DateTime(timezone=True), nullable=False),
)
"""What is closed for new guests. Node -1 as above."""

cordon_event_table = Table(
    "cordon_event",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("host", String(63), nullable=False),
    Column("node", Integer, nullable=False),
    Column("closed", Integer, nullable=False),
    sqlite_autoincrement=True,
)
"""Hosts and nodes closed (1) and opened (0); they are of no claim. `cordon` equals the fold over it."""

for _table, _verb in product((event_table, cordon_event_table), ("UPDATE", "DELETE")):
    event.listen(
        _table,
        "after_create",
        DDL(  # type: ignore[no-untyped-call]
            f"CREATE TRIGGER {_table.name}_no_{_verb.lower()} BEFORE {_verb} ON {_table.name}"
            " BEGIN SELECT RAISE(ABORT, 'events are only appended'); END"
        ).execute_if(dialect="sqlite"),
    )
