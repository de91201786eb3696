"""The books: who was promised what, in database constraints and events."""

from __future__ import annotations

import os
from pathlib import Path

from scheduler.ledger.cordons import Cordon, CordonEvent, fold_cordons
from scheduler.ledger.fold import Books, fold
from scheduler.ledger.holding import shortages
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.values import (
    TRANSITIONS,
    WHOLE_HOST,
    Claim,
    ConflictError,
    Event,
    Holding,
    LedgerUnreachableError,
    Limits,
    State,
)

__all__ = [
    "TRANSITIONS",
    "WHOLE_HOST",
    "Books",
    "Claim",
    "ConflictError",
    "Cordon",
    "CordonEvent",
    "Event",
    "Holding",
    "Ledger",
    "LedgerUnreachableError",
    "Limits",
    "State",
    "fold",
    "fold_cordons",
    "open_ledger",
    "shortages",
]


def open_ledger(path: str | Path | None = None) -> Ledger:
    """The books at `path`, else at $NUMAPLACE_LEDGER, else in the user's state folder.

    Raises:
        LedgerUnreachableError: they cannot be opened.
    """
    if path is None:
        state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        path = os.environ.get("NUMAPLACE_LEDGER") or f"{state}/numaplace/ledger.sqlite"
    return Ledger(Path(path).expanduser())
