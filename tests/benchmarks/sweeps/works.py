"""Work for the engines' tests: functions of a module, as workers look for them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from benchmarks.sweeps.engine import Tell
from probe.errors import BadInputError


def doubled(item: int, tell: Tell) -> int:
    """Twice the item."""
    tell(f"at {item}")
    return 2 * item


def twice(item: int) -> int:
    """Twice the item, for `map`."""
    return 2 * item


def odd_ones_fail(item: int, tell: Tell) -> int:
    """Even items double; odd ones are bad input, and the fifth is a bug of ours."""
    if item == 5:
        raise ZeroDivisionError("five")
    if item % 2:
        raise BadInputError(f"{item} is odd.")
    return 2 * item


def kills_once(item: tuple[str, int], tell: Tell) -> int:
    """Each item dies like a process that is killed, the first time that it is tried; each try is a file."""
    folder, number = item
    tries = len(list(Path(folder).glob(f"{number}.*")))
    (Path(folder) / f"{number}.{tries}").touch()
    if not tries:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def kills_always(item: int, tell: Tell) -> int:
    """Item 2 always dies."""
    if item == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * item


def process_of(item: int, tell: Tell) -> int:
    """Which process it was."""
    time.sleep(0.01)
    return os.getpid()


def slowly(item: int, tell: Tell) -> int:
    """Twice the item, after a while."""
    time.sleep(0.15)
    return 2 * item
