"""Progress on stderr for what takes longer than a second; silent where nobody looks."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from scheduler.cli.output import terminal_width

_QUIET_S = 1.0
"""Nothing is shown before this: most calls are done by then."""


class Steps:
    """How far something is. Called after each part; several threads may do so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, str] = {}
        self.count = 0

    def __call__(self) -> None:
        with self._lock:
            self.count += 1

    def tell(self, where: str, what: str) -> None:
        """Say what is under way at one of several places; "" for nothing more."""
        with self._lock:
            self._under_way[where] = what

    @property
    def under_way(self) -> str:
        with self._lock:
            return " · ".join(f"{where}: {what}" for where, what in self._under_way.items() if what)


@contextmanager
def progress(what: str, *, total: int | None = None) -> Iterator[Steps]:
    """Show that `what` is under way, and how far; yields what to call after each part.

    On a terminal one line is redrawn twice a second; elsewhere nothing is written.
    """
    done = threading.Event()
    step = Steps()
    began = time.monotonic()

    def draw() -> None:
        while not done.wait(_QUIET_S if time.monotonic() - began < _QUIET_S else 0.5):
            far = f" {step.count}/{total}" if total else ""
            line = f"{what} …{far} {time.monotonic() - began:.0f}s  {step.under_way}".rstrip()
            sys.stderr.write(f"\r\x1b[K{line[: terminal_width() - 1]}")
            sys.stderr.flush()

    if not sys.stderr.isatty():
        yield step
        return
    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        yield step
    finally:
        done.set()
        thread.join()
        if time.monotonic() - began >= _QUIET_S:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
