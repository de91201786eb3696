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
    "ledger_path",
    "open_ledger",
    "shortages",
]


def open_ledger(path: str | Path | None = None) -> Ledger:
    """The books at `ledger_path(path)`; made where there are none.

    Raises:
        LedgerUnreachableError: they cannot be opened.
    """
    return Ledger(ledger_path(path))


def ledger_path(path: str | Path | None = None) -> Path:
    """`path`, else $NUMAPLACE_LEDGER, else in the user's state folder."""
    if path is None:
        state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        path = os.environ.get("NUMAPLACE_LEDGER") or f"{state}/numaplace/ledger.sqlite"
    return Path(path).expanduser()
