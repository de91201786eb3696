"""Each constraint refuses something that nothing else refuses: without it the same rows are taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from sqlalchemy import CheckConstraint, Connection, Index, MetaData, create_engine, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import CreateTable

from probe.cpuset import CpuSet
from scheduler.ledger import Holding, Limits
from scheduler.ledger.rows import hold, know_host, let_go
from scheduler.ledger.schema import claim_table, cpu_claim_table, metadata, page_claim_table, shared_claim_table
from scheduler.ledger.values import SharedLimit

ROOMY = Limits(
    memory_kib={(0, 4): 100},
    shared={0: SharedLimit(cpus=4, others=0, overcommit=Fraction(3, 2))},
)


@contextmanager
def tables(*, without: str = "") -> Iterator[Connection]:
    """The ledger's tables in memory, perhaps one constraint short, with three claims on host h1."""
    schema = MetaData()
    for table in metadata.sorted_tables:
        copy = table.to_metadata(schema)
        copy.constraints -= {c for c in copy.constraints if isinstance(c, CheckConstraint) and c.name == without}
        copy.indexes -= {index for index in copy.indexes if isinstance(index, Index) and index.name == without}
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        schema.create_all(connection)
        if without == "primary key of cpu_claim":
            text = str(CreateTable(schema.tables["cpu_claim"]).compile(engine))
            connection.exec_driver_sql("DROP TABLE cpu_claim")
            connection.exec_driver_sql(text.replace("PRIMARY KEY (host, cpu), ", ""))
        know_host(connection, "h1")
        for number in range(3):
            connection.execute(insert(claim_table).values(claim_row(number)))
        yield connection
    engine.dispose()


def claim_row(number: int, **changes: object) -> Mapping[str, object]:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    row = {
        "id": f"c{number}", "guest": f"g{number}", "host": "h1", "uuid": f"u{number}", "state": "planned",
        "generation": 0, "step": "accept", "owner": "", "lease_s": 0, "plan_hash": "", "placement": "{}",
        "created_seq": number, "created_at": at, "updated_at": at,
    }  # fmt: skip
    return {**row, **changes}


def holds(number: int, **holding: object) -> Callable[[Connection], None]:
    def act(connection: Connection) -> None:
        hold(connection, "h1", f"c{number}", Holding(**holding), ROOMY)  # type: ignore[arg-type]

    return act


def lets_go(**holding: object) -> Callable[[Connection], None]:
    """Give back what was never held."""

    def act(connection: Connection) -> None:
        let_go(connection, "h1", "c0", Holding(**holding))  # type: ignore[arg-type]

    return act


def inserts(table: object, row: Mapping[str, object]) -> Callable[[Connection], None]:
    return lambda connection: connection.execute(insert(table).values(row)) and None  # type: ignore[call-overload]


CASES: Mapping[str, tuple[Callable[[Connection], None], ...]] = {
    "primary key of cpu_claim": (
        inserts(cpu_claim_table, {"host": "h1", "cpu": 1, "claim": "c0", "floating": 0}),
        inserts(cpu_claim_table, {"host": "h1", "cpu": 1, "claim": "c1", "floating": 0}),
    ),
    "dedicated_or_shared": (holds(0, own_cpus=CpuSet.of(1)), holds(1, floating_cpus=CpuSet.of(0, 1))),
    "no_page_is_promised_twice": (holds(0, memory_kib={(0, 4): 60}), holds(1, memory_kib={(0, 4): 41})),
    "shared_cpus_are_within_overcommit": (holds(0, shared_vcpus={0: 4}), holds(1, shared_vcpus={0: 3})),
    "shared_vcpus_are_counted_from_zero": (holds(0, shared_vcpus={0: 1}), lets_go(shared_vcpus={0: 2})),
    "one_live_claim_per_guest": (inserts(claim_table, claim_row(3, guest="g0")),),
    "state_is_known": (inserts(claim_table, claim_row(3, state="created")),),
    "a_page_claim_is_of_something": (
        inserts(page_claim_table, {"claim": "c0", "node": 0, "page_kib": 4, "kib": 0}),
    ),
    "a_shared_claim_is_of_something": (inserts(shared_claim_table, {"claim": "c0", "node": 0, "vcpus": -1}),),
}  # fmt: skip


@pytest.mark.parametrize("constraint", sorted(CASES))
def test_each_constraint_refuses_what_only_it_refuses(constraint: str) -> None:
    """The last act breaks the constraint, and goes through where the constraint is taken away."""
    *before, last = CASES[constraint]
    with tables() as connection:
        for act in before:
            act(connection)
        with pytest.raises(IntegrityError):
            last(connection)
    with tables(without=constraint) as connection:
        for act in (*before, last):
            act(connection)


def test_every_check_has_a_case() -> None:
    """Nobody adds a constraint without showing that it does something."""
    named = {str(c.name) for t in metadata.sorted_tables for c in t.constraints if isinstance(c, CheckConstraint)}
    named |= {str(index.name) for t in metadata.sorted_tables for index in t.indexes}
    assert named == {case for case in CASES if not case.startswith("primary key")}


def test_an_owner_stays_off_a_pcpu_where_a_guest_floats() -> None:
    """The primary key serves this order too; once nobody floats there, the pCPU is free."""
    with tables() as connection:
        both = CpuSet.of(0, 1)
        holds(0, floating_cpus=both)(connection)
        holds(1, floating_cpus=both)(connection)
        let_go(connection, "h1", "c0", Holding(floating_cpus=both))
        with pytest.raises(IntegrityError), connection.begin_nested():
            holds(2, own_cpus=CpuSet.of(1))(connection)
        let_go(connection, "h1", "c1", Holding(floating_cpus=both))
        holds(2, own_cpus=CpuSet.of(1))(connection)


def test_less_than_nothing_is_never_promised() -> None:
    """Giving back what was not promised is refused: the counter would fall below 0."""
    with tables() as connection:
        holds(0, memory_kib={(0, 4): 60})(connection)
        with pytest.raises(IntegrityError):
            lets_go(memory_kib={(0, 4): 61})(connection)
