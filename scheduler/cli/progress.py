"""Progress on stderr for what takes longer than a second; silent where nobody looks."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_QUIET_S = 1.0
"""Nothing is shown before this: most calls are done by then."""


@contextmanager
def progress(what: str, *, total: int | None = None) -> Iterator[Callable[[], None]]:
    """Show that `what` is under way, and how far; yields a function to call after each part.

    On a terminal one line is redrawn twice a second; elsewhere nothing is written.
    """
    done = threading.Event()
    count = [0]
    began = time.monotonic()

    def draw() -> None:
        while not done.wait(_QUIET_S if time.monotonic() - began < _QUIET_S else 0.5):
            far = f" {count[0]}/{total}" if total else ""
            sys.stderr.write(f"\r\x1b[K{what} …{far} {time.monotonic() - began:.0f}s")
            sys.stderr.flush()

    def step() -> None:
        count[0] += 1

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
