"""The books as the fold over their events. Pure; a test proves that the tables say the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from policies.plan import Placement
from scheduler.ledger.values import ADOPTED, Event, Holding, Limits, SharedLimit, State


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldedClaim:
    """A claim's row, its clock and its owner left out."""

    guest: str
    host: str
    uuid: str
    state: State
    generation: int
    step: str
    placement: Placement
    adopted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the tables hold.

    Attributes:
        generations: host to how often its promises changed.
        claims: by claim id; those that ended too.
        holdings: claim id to what it holds; claims that hold nothing are not there.
        owners: (host, pCPU) to the claim that owns it.
        floating: (host, pCPU) to the number of claims that may run there.
        memory: (host, node, page size) to KiB (promised, may be promised in all).
        shared: (host, node) to (shared vCPUs promised, their limit).
    """

    generations: Mapping[str, int] = field(default_factory=dict)
    claims: Mapping[str, FoldedClaim] = field(default_factory=dict)
    holdings: Mapping[str, Holding] = field(default_factory=dict)
    owners: Mapping[tuple[str, int], str] = field(default_factory=dict)
    floating: Mapping[tuple[str, int], int] = field(default_factory=dict)
    memory: Mapping[tuple[str, int, int], tuple[int, int]] = field(default_factory=dict)
    shared: Mapping[tuple[str, int], tuple[int, SharedLimit]] = field(default_factory=dict)


def fold(events: Iterable[Event]) -> Books:
    """What the tables must hold after these events, oldest first."""
    books = Books()
    for event in events:
        books = _after(books, event)
    return books


def _after(books: Books, event: Event) -> Books:
    known = books.claims.get(event.claim_id)
    placement = event.placement if known is None else known.placement
    if placement is None:
        raise ValueError(f"event {event.seq} is of a claim that was never accepted.")
    claim = FoldedClaim(
        guest=event.guest,
        host=event.host,
        uuid=event.uuid,
        state=event.state,
        generation=event.generation,
        step=event.step,
        placement=placement,
        adopted=event.step == ADOPTED if known is None else known.adopted,
    )
    books = replace(
        books,
        claims={**books.claims, event.claim_id: claim},
        generations={**books.generations, event.host: books.generations.get(event.host, 0)},
    )
    if event.holding is not None and event.limits is not None:
        return _reserved(books, event, event.holding, event.limits)
    if not event.state.is_live and event.claim_id in books.holdings:
        return _released(books, event)
    return books


def _reserved(books: Books, event: Event, holding: Holding, limits: Limits) -> Books:
    host = event.host
    memory, shared, floating = dict(books.memory), dict(books.shared), dict(books.floating)
    for (node, page_kib), kib in holding.memory_kib.items():
        used, _ = memory.get((host, node, page_kib), (0, 0))
        memory[host, node, page_kib] = (used + kib, limits.memory_kib[node, page_kib])
    for node, limit in limits.shared.items():
        vcpus = holding.shared_vcpus.get(node, 0)
        if vcpus or (host, node) in shared:
            before = shared[host, node][0] if (host, node) in shared else 0
            shared[host, node] = (before + vcpus, limit)
    for cpu in holding.floating_cpus:
        floating[host, cpu] = floating.get((host, cpu), 0) + 1
    return replace(
        books,
        generations={**books.generations, host: books.generations[host] + 1},
        holdings={**books.holdings, event.claim_id: holding},
        owners={**books.owners, **{(host, cpu): event.claim_id for cpu in holding.own_cpus}},
        floating=floating,
        memory=memory,
        shared=shared,
    )


def _released(books: Books, event: Event) -> Books:
    host, holding = event.host, books.holdings[event.claim_id]
    memory, shared, floating = dict(books.memory), dict(books.shared), dict(books.floating)
    for (node, page_kib), kib in holding.memory_kib.items():
        used, capacity = memory[host, node, page_kib]
        memory[host, node, page_kib] = (used - kib, capacity)
    for node, vcpus in holding.shared_vcpus.items():
        before, limit = shared[host, node]
        shared[host, node] = (before - vcpus, limit)
    for cpu in holding.floating_cpus:
        floating[host, cpu] -= 1
    return replace(
        books,
        generations={**books.generations, host: books.generations[host] + 1},
        holdings={claim: held for claim, held in books.holdings.items() if claim != event.claim_id},
        owners={place: claim for place, claim in books.owners.items() if claim != event.claim_id},
        floating={place: count for place, count in floating.items() if count},
        memory=memory,
        shared=shared,
    )
