"""The books as the fold over their events: a test proves that the tables say the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scheduler.ledger.values import Event, Rows, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the tables hold, apart from capacities.

    Attributes:
        states: claim id to its state, ended claims included.
        cpus: (host, cpu) to the claim that owns it.
        used: (host, node, kind) to what is promised; nothing that is 0.
    """

    states: Mapping[str, State]
    cpus: Mapping[tuple[str, int], str]
    used: Mapping[tuple[str, int, str], int]


def fold(events: Iterable[Event]) -> Books:
    """The last event of each claim decides; a claim that ended holds nothing."""
    last: dict[str, Event] = {event.claim_id: event for event in events}
    cpus: dict[tuple[str, int], str] = {}
    used: Counter[tuple[str, int, str]] = Counter()
    for event in last.values():
        rows = event.rows if event.state.is_live else Rows()
        cpus.update({(event.host, cpu): event.claim_id for cpu in rows.cpus})
        for (node, kind), amount in rows.amounts.items():
            used[event.host, node, kind] += amount
    return Books(
        states={claim: event.state for claim, event in last.items()},
        cpus=cpus,
        used={key: amount for key, amount in used.items() if amount},
    )
