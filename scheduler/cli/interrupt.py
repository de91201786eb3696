"""Ctrl-C in the midst of work that must not be torn: stop after the current step."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

INTERRUPTED = 130
"""Exit status of a command that was interrupted: 128 + SIGINT, as shells have it."""

_SAYS = b"\nstopping after the current steps; Ctrl-C again stops at once, and status --reconcile cleans up\n"


@contextmanager
def stop_on_interrupt() -> Iterator[Event]:
    """Within, the first Ctrl-C sets the event, and a second one ends the process like a kill."""
    stop = Event()

    def first(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.write(2, _SAYS)

    before = signal.signal(signal.SIGINT, first)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
