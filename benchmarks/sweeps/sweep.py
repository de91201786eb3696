"""A grid of rows: what is there is kept, the rest is measured by an engine, and each row is written when it ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.rows import Key, Row, row_from_json
from benchmarks.sweeps.engine import Ended, Engine, EngineLostError, Watch, Work
from benchmarks.sweeps.results import FolderUnwritableError, read_results, write_row
from benchmarks.sweeps.task import Task
from probe.errors import BadInputError, NumaplaceError


class SweepWatch(Watch, Protocol):
    """Who looks on while rows are measured."""

    def ended(self, number: int, failure: str) -> None:
        """Row `number` of those that are measured is written, or failed."""


@dataclass(slots=True, kw_only=True)
class Swept:
    """What became of the rows that were missing.

    Attributes:
        measured: those that are there now.
        failed: why those failed that did.
        missing: those that are neither, because it was stopped.
        stopped_by: what ended it before its time; None where nothing did.
    """

    missing: int
    measured: int = 0
    failed: dict[Key, str] = field(default_factory=dict)
    stopped_by: KeyboardInterrupt | EngineLostError | None = None


def missing_tasks(tasks: Sequence[Task], folder: Path) -> list[Task]:
    """Those whose rows are not in the folder; a row of another digest, or of another text of the policy, is none.

    Raises:
        BadInputError: a file of the folder is no result.
    """
    there = {row.key: row for row in read_results(folder)} if folder.exists() else {}
    return [task for task in tasks if task.key not in there or not task.is_measured_by(there[task.key])]


def sweep(tasks: Sequence[Task], folder: Path, engine: Engine, *, work: Work[str, str], watch: SweepWatch) -> Swept:
    """Measure these rows into the folder. The failure of one row is that row's; Ctrl-C and a lost engine end it.

    Raises:
        FolderUnwritableError: rows cannot be written there.
    """
    swept = Swept(missing=len(tasks))
    try:
        for ended in engine.run(work, [task.to_text() for task in tasks], watch):
            failure = _settle(tasks[ended.number], ended, folder)
            swept.missing -= 1
            if failure:
                swept.failed[tasks[ended.number].key] = failure
            else:
                swept.measured += 1
            watch.ended(ended.number, failure)
    except (KeyboardInterrupt, EngineLostError) as stopped:
        swept.stopped_by = stopped
    return swept


def _settle(task: Task, ended: Ended, folder: Path) -> str:
    """Write the row; why there is none, or "" where there is."""
    if ended.failure:
        return ended.failure
    try:
        write_row(folder, _row(ended.value, task))
    except FolderUnwritableError:
        raise
    except NumaplaceError as error:
        return error.message
    return ""


def _row(text: str, task: Task) -> Row:
    """What a worker has sent. Raises `BadInputError` where it is not what it was asked for."""
    try:
        said = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInputError(f"the worker's row: expected JSON, got {str(text)[:80]!r}.") from error
    row = row_from_json(said, origin="the worker's row")
    if not task.is_measured_by(row):
        raise BadInputError(f"the worker's row: expected {task.key}, got {row.key} of digest {row.digest[:12]}.")
    return row
