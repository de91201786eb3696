"""A sweep as people see it on stderr: rows done of all, what runs now, and how long it may still take."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from benchmarks.sweeps.sweep import SweepWatch
from benchmarks.sweeps.task import Task

_A_DAY_S = 24 * 3600.0
"""Rows may take hours: all that ended since then tell how long the others will take."""
_SHOWN = 16
"""So many rows that run now are shown."""


@contextmanager
def watching(tasks: Sequence[Task], kept: int) -> Iterator[SweepWatch]:
    """Tell of these tasks while they are measured; `kept` others were there already.

    On a terminal it is redrawn; elsewhere each row that ends is a line.
    """
    if not sys.stderr.isatty():
        yield Lines(tasks)
        return
    screen = Screen(tasks, kept)
    live = Live(console=Console(stderr=True), get_renderable=screen.drawn, transient=True, refresh_per_second=2)
    with live:
        yield screen
        live.update(Text(""), refresh=True)


def told(task: Task) -> str:
    """Which row it is."""
    return ", ".join([task.scenario, task.policy, f"seed {task.seed}", *filter(None, [task.key.options])])


class Lines:
    """Where nobody looks: a line for each row that ends."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks, self._ended = tasks, 0

    def tell(self, number: int, where: str, text: str) -> None:
        """Nothing: only ends are told."""

    def ended(self, number: int, failure: str) -> None:
        """Print the line."""
        self._ended += 1
        line = f"{self._ended}/{len(self._tasks)} {told(self._tasks[number])}"
        print(f"{line}: failed: {failure}" if failure else line, file=sys.stderr, flush=True)


class Screen:
    """On a terminal: a bar for all rows, and a line for each that runs."""

    def __init__(self, tasks: Sequence[Task], kept: int) -> None:
        self._tasks, self._lock = tasks, threading.Lock()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        left = (TextColumn("left"), TimeRemainingColumn())
        self._bar = Progress(*columns, *left, speed_estimate_period=_A_DAY_S)
        self._all = self._bar.add_task(f"rows ({kept} there already)" if kept else "rows", total=len(tasks))
        self._running: dict[int, str] = {}
        self._ended: set[int] = set()
        self._failed: list[str] = []

    def tell(self, number: int, where: str, text: str) -> None:
        """Show the row, where it runs and how far it is."""
        with self._lock:
            if number not in self._ended:  # what another machine tells may come late
                self._running[number] = "  ".join(filter(None, [told(self._tasks[number]), where, text]))

    def ended(self, number: int, failure: str) -> None:
        """Count it."""
        with self._lock:
            self._ended.add(number)
            self._running.pop(number, None)
            self._bar.advance(self._all)
            if failure:
                self._failed.append(f"{told(self._tasks[number])}: failed: {failure}")

    def drawn(self) -> RenderableType:
        """As it is now."""
        with self._lock:
            rows = [*self._running.values()][:_SHOWN]
            failed = self._failed[-3:]
        texts = [Text(f"  {line}", no_wrap=True, overflow="ellipsis") for line in rows]
        return Group(self._bar, *texts, *(Text(line, style="red") for line in failed))
