"""Our own books once more: who came and who went, as the ledger tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from benchmarks.scenarios.traces.coming import Coming
from policies.as_placed import request_as_placed
from policies.request import GuestName
from probe.errors import BadInputError
from scheduler.ledger.values import Event as LedgerEvent

_MOST_NODES = 4096
"""Over so many a guest of the books may spread that is bound to none: over all of its host."""


def read_replay(path: Path) -> tuple[Coming, ...]:
    """The guests of a ledger in the order in which they were accepted, in seconds since the first.

    A guest comes when its claim was accepted and goes when that was released or failed. It asks for what its
    placement tells (`policies.as_placed`): hosts that it was allowed, a priority, a lifetime are not in the books.
    Their clock counts whole seconds: those of one second are one batch, and who came and went within one is left out.

    Raises:
        BadInputError: there is no such file.
        LedgerUnreachableError: it is no ledger, or cannot be read.
    """
    if not path.is_file():
        raise BadInputError(f"{path}: there is no such ledger.", advice="Maybe $NUMAPLACE_LEDGER tells where it is.")
    from scheduler.ledger import open_ledger

    ledger = open_ledger(path)
    try:
        return comings_of(ledger.events())
    finally:
        ledger.close()


def comings_of(events: Iterable[LedgerEvent]) -> tuple[Coming, ...]:
    """The guests of a ledger's events, oldest first. A name that comes again gets a number: `db`, `db.2`, …"""
    came: dict[str, Coming] = {}
    times: Counter[str] = Counter()
    began = None
    for event in events:
        began = event.at if began is None else began
        at_s = (event.at - began).total_seconds()
        if event.placement is not None:
            times[event.guest] += 1
            request = request_as_placed(event.placement, most_nodes=_MOST_NODES)
            name = GuestName(event.guest if times[event.guest] == 1 else f"{event.guest[:55]}.{times[event.guest]}")
            came[event.claim_id] = Coming(request=replace(request, name=name), at_s=at_s)
        elif not event.state.is_live and event.claim_id in came:
            came[event.claim_id] = replace(came[event.claim_id], until_s=at_s)
    return tuple(came.values())
