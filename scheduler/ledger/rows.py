"""Rows of the tables, written and read. Every function runs inside a transaction of its caller.

Order of locks: a host's row before any other row of that host (`lock_host`).
"""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from probe.cpuset import CpuSet
from scheduler.ledger.schema import (
    cpu_claim_table as cpus,
    cpu_float_table as floats,
    host_table as hosts,
    page_claim_table as pages_held,
    page_counter_table as pages,
    shared_claim_table as shared_held,
    shared_counter_table as shared,
)
from scheduler.ledger.values import Booked, Holding, Limits, SharedLimit


def know_host(connection: Connection, host: str) -> None:
    """Make the host's row where there is none."""
    values = {"name": host, "generation": 0}
    connection.execute(_insert(connection)(hosts).values(values).on_conflict_do_nothing())


def lock_host(connection: Connection, host: str) -> None:
    """Lock the host's row, by counting the change of its promises that is about to be made."""
    change = update(hosts).where(hosts.c.name == host).values(generation=hosts.c.generation + 1)
    connection.execute(change)


def hold(connection: Connection, host: str, claim_id: str, holding: Holding, limits: Limits) -> None:
    """Write what a claim holds. A constraint raises `IntegrityError` for what is promised already."""
    if holding.own_cpus:
        owned = [{"host": host, "cpu": cpu, "claim": claim_id, "floating": 0} for cpu in holding.own_cpus]
        connection.execute(insert(cpus), owned)
    if holding.floating_cpus:
        _float(connection, host, claim_id, holding.floating_cpus)
    for (node, page_kib), kib in sorted(holding.memory_kib.items()):
        _hold_pages(connection, (host, node, page_kib), kib, limits.memory_kib[node, page_kib])
        row = {"claim": claim_id, "node": node, "page_kib": page_kib, "kib": kib}
        connection.execute(insert(pages_held).values(row))
    for node, limit in sorted(limits.shared.items(), key=lambda item: item[0]):
        if vcpus := holding.shared_vcpus.get(node, 0):
            _hold_shared(connection, (host, node), vcpus, limit)
            connection.execute(insert(shared_held).values(claim=claim_id, node=node, vcpus=vcpus))
        else:
            here = (shared.c.host == host) & (shared.c.node == node)
            connection.execute(update(shared).where(here).values(_columns(limit)))


def let_go(connection: Connection, host: str, claim_id: str, holding: Holding) -> None:
    """Give back what a claim holds."""
    connection.execute(delete(cpus).where(cpus.c.claim == claim_id))
    connection.execute(delete(floats).where(floats.c.claim == claim_id))
    here = (cpus.c.host == host) & cpus.c.cpu.in_(sorted(holding.floating_cpus.ids))
    connection.execute(delete(cpus).where(here, cpus.c.floating == 1))
    connection.execute(update(cpus).where(here).values(floating=cpus.c.floating - 1))
    for (node, page_kib), kib in sorted(holding.memory_kib.items()):
        place = (pages.c.host == host) & (pages.c.node == node) & (pages.c.page_kib == page_kib)
        connection.execute(update(pages).where(place).values(used_kib=pages.c.used_kib - kib))
    for node, vcpus in sorted(holding.shared_vcpus.items()):
        spot = (shared.c.host == host) & (shared.c.node == node)
        connection.execute(update(shared).where(spot).values(used=shared.c.used - vcpus))
    connection.execute(delete(pages_held).where(pages_held.c.claim == claim_id))
    connection.execute(delete(shared_held).where(shared_held.c.claim == claim_id))


def read_holding(connection: Connection, claim_id: str) -> Holding:
    """What a claim holds."""
    owned = select(cpus.c.cpu).where(cpus.c.claim == claim_id)
    floating = select(floats.c.cpu).where(floats.c.claim == claim_id)
    memory = select(pages_held.c.node, pages_held.c.page_kib, pages_held.c.kib).where(pages_held.c.claim == claim_id)
    vcpus = select(shared_held.c.node, shared_held.c.vcpus).where(shared_held.c.claim == claim_id)
    return Holding(
        own_cpus=CpuSet(frozenset(connection.scalars(owned))),
        floating_cpus=CpuSet(frozenset(connection.scalars(floating))),
        memory_kib={(node, page_kib): kib for node, page_kib, kib in connection.execute(memory)},
        shared_vcpus={row.node: row.vcpus for row in connection.execute(vcpus)},
    )


def booked(connection: Connection, host: str, counted: Collection[str]) -> Booked:
    """What the books say of a host now; `counted` are the claims that a look has taken off."""
    owned = select(cpus.c.cpu).where(cpus.c.host == host, cpus.c.claim.is_not(None))
    used = select(shared.c.node, shared.c.used).where(shared.c.host == host)
    return Booked(
        counted=_sum_of(connection, counted),
        own_cpus=CpuSet(frozenset(connection.scalars(owned))),
        shared_vcpus={row.node: row.used for row in connection.execute(used)},
    )


def _sum_of(connection: Connection, claim_ids: Collection[str]) -> Holding:
    """What these claims hold together, memory and shared vCPUs."""
    memory = (
        select(pages_held.c.node, pages_held.c.page_kib, func.sum(pages_held.c.kib))
        .where(pages_held.c.claim.in_(sorted(claim_ids)))
        .group_by(pages_held.c.node, pages_held.c.page_kib)
    )
    vcpus = (
        select(shared_held.c.node, func.sum(shared_held.c.vcpus))
        .where(shared_held.c.claim.in_(sorted(claim_ids)))
        .group_by(shared_held.c.node)
    )
    return Holding(
        memory_kib={(node, page_kib): int(kib) for node, page_kib, kib in connection.execute(memory)},
        shared_vcpus={node: int(count) for node, count in connection.execute(vcpus)},
    )


def shared_limit(cpu_count: int, others: int, numerator: int, denominator: int) -> SharedLimit:
    """A row of `shared_counter` as a value."""
    return SharedLimit(cpus=cpu_count, others=others, overcommit=Fraction(numerator, denominator))


def _float(connection: Connection, host: str, claim_id: str, on: CpuSet) -> None:
    """Count the claim on each pCPU; on one that is dedicated the check refuses it."""
    rows = [{"host": host, "cpu": cpu, "claim": None, "floating": 1} for cpu in on]
    one_more = _insert(connection)(cpus).on_conflict_do_update(
        index_elements=[cpus.c.host, cpus.c.cpu], set_={"floating": cpus.c.floating + 1}
    )
    connection.execute(one_more, rows)
    connection.execute(insert(floats), [{"claim": claim_id, "cpu": cpu} for cpu in on])


def _hold_pages(connection: Connection, place: tuple[str, int, int], kib: int, capacity_kib: int) -> None:
    host, node, page_kib = place
    row = {"host": host, "node": node, "page_kib": page_kib, "used_kib": kib, "capacity_kib": capacity_kib}
    more = {"used_kib": pages.c.used_kib + kib, "capacity_kib": capacity_kib}
    key = [pages.c.host, pages.c.node, pages.c.page_kib]
    statement = _insert(connection)(pages).values(row).on_conflict_do_update(index_elements=key, set_=more)
    connection.execute(statement)


def _hold_shared(connection: Connection, place: tuple[str, int], vcpus: int, limit: SharedLimit) -> None:
    row = {"host": place[0], "node": place[1], "used": vcpus, **_columns(limit)}
    more = {"used": shared.c.used + vcpus, **_columns(limit)}
    key = [shared.c.host, shared.c.node]
    statement = _insert(connection)(shared).values(row).on_conflict_do_update(index_elements=key, set_=more)
    connection.execute(statement)


def _columns(limit: SharedLimit) -> dict[str, int]:
    return {
        "others": limit.others,
        "cpus": limit.cpus,
        "overcommit_numerator": limit.overcommit.numerator,
        "overcommit_denominator": limit.overcommit.denominator,
    }


def _insert(connection: Connection):  # type: ignore[no-untyped-def]  # the two functions share no type
    """INSERT with ON CONFLICT, which SQLite and PostgreSQL write alike."""
    return postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
