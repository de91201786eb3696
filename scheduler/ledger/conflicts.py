"""What a constraint refused, in words: which pCPU or node, and whose claim is in the way."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, select

from policies.plan import Placement
from probe.cpuset import CpuSet
from probe.units import format_kib
from scheduler.ledger.schema import (
    claim_table as claims,
    cpu_claim_table as cpus,
    cpu_float_table as floats,
    page_claim_table,
    page_counter_table as pages,
    shared_claim_table,
    shared_counter_table as shared,
)
from scheduler.ledger.values import WHOLE_HOST, ConflictError, Holding, Limits

Found = tuple[str, frozenset[str]]
"""What is in the way, and the guests that hold it."""


def explained(connection: Connection, placement: Placement, holding: Holding, limits: Limits) -> ConflictError:
    """Look who holds what could not be reserved. It may be given back by now; then it says so."""
    found = [
        *_pcpus(connection, placement.host, holding),
        *_memory(connection, placement.host, holding, limits),
        *_shared_vcpus(connection, placement.host, holding, limits),
    ]
    others = sorted(frozenset[str]().union(*(guests for _, guests in found)))
    what = "; ".join(text for text, _ in found) or f"what it needs of {placement.host} was promised to others just now"
    return ConflictError(
        f"guest {placement.guest}: {what}.",
        host=placement.host,
        others=tuple(others),
        advice="Maybe plan again: somebody else was faster.",
    )


def _pcpus(connection: Connection, host: str, holding: Holding) -> Iterator[Found]:
    wanted = holding.own_cpus | holding.floating_cpus
    query = (
        select(cpus.c.cpu, claims.c.guest)
        .join(claims, claims.c.id == cpus.c.claim)
        .where(cpus.c.host == host, cpus.c.cpu.in_(wanted))
        .order_by(claims.c.guest)
    )
    yield from _by_guest(connection.execute(query).all(), host, "dedicated to")
    query = (
        select(floats.c.cpu, claims.c.guest)
        .join(claims, claims.c.id == floats.c.claim)
        .where(claims.c.host == host, floats.c.cpu.in_(holding.own_cpus))
        .order_by(claims.c.guest)
    )
    yield from _by_guest(connection.execute(query).all(), host, "used by shared guest")


def _by_guest(rows: object, host: str, how: str) -> Iterator[Found]:
    taken: dict[str, set[int]] = {}
    for cpu, guest in rows:  # type: ignore[attr-defined]
        taken.setdefault(guest, set()).add(cpu)
    for guest, ids in taken.items():
        yield f"pCPUs {CpuSet(frozenset(ids))} of {host} are {how} {guest}", frozenset({guest})


def _memory(connection: Connection, host: str, holding: Holding, limits: Limits) -> Iterator[Found]:
    for (node, page_kib), kib in sorted(holding.memory_kib.items()):
        place = (pages.c.host == host) & (pages.c.node == node) & (pages.c.page_kib == page_kib)
        used = connection.execute(select(pages.c.used_kib).where(place)).scalar() or 0
        left = limits.memory_kib[node, page_kib] - used
        if kib <= left:
            continue
        held = (page_claim_table.c.node == node) & (page_claim_table.c.page_kib == page_kib)
        query = (
            select(claims.c.guest)
            .join(page_claim_table, page_claim_table.c.claim == claims.c.id)
            .where(claims.c.host == host, held)
        )
        amounts = f"{format_kib(max(0, left))} left in pages of {format_kib(page_kib)}, {format_kib(kib)} are needed"
        yield f"{_place(host, node)} has {amounts}", frozenset(connection.scalars(query))


def _shared_vcpus(connection: Connection, host: str, holding: Holding, limits: Limits) -> Iterator[Found]:
    for node, limit in sorted(limits.shared.items(), key=lambda item: item[0]):
        vcpus = holding.shared_vcpus.get(node, 0)
        place = (shared.c.host == host) & (shared.c.node == node)
        used = connection.execute(select(shared.c.used).where(place)).scalar() or 0
        room = int(limit.overcommit * limit.cpus) - limit.others - used
        if vcpus <= room:
            continue
        query = (
            select(claims.c.guest)
            .join(shared_claim_table, shared_claim_table.c.claim == claims.c.id)
            .where(claims.c.host == host, shared_claim_table.c.node == node)
        )
        text = f"{_place(host, node)} has room for {max(0, room)} shared vCPUs, {vcpus} are needed"
        if not vcpus:
            text = f"{_place(host, node)} has {used} shared vCPUs, too many for the pCPUs that it would leave"
        yield text, frozenset(connection.scalars(query))


def _place(host: str, node: int) -> str:
    return host if node == WHOLE_HOST else f"node {node} of {host}"
