"""The events of a scenario one after the other, and the row that comes of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rows import Row
from benchmarks.simulator.checkpoint import read_checkpoint, write_checkpoint
from benchmarks.simulator.options import OnProgress, Options
from benchmarks.simulator.playing import Run, Scenario

PROGRESS_EVERY_S = 0.5


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Without garbage being looked for after every 700 objects: tens of thousands of guests are none, and a look at
    all of them took a quarter of the time.
    """
    before = gc.get_threshold()
    gc.set_threshold(100_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _silent(done: int, count: int | None) -> None: ...


def measure_row(
    scenario: Scenario,
    policy: str,
    seed: int,
    options: Options,
    *,
    on_progress: OnProgress = _silent,
    checkpoint: Path | None = None,
) -> Row:
    """Play the scenario against the policy; the figures are those of `benchmarks.metrics`.

    Args:
        policy: as `--policy` takes it, or `place-one`.
        on_progress: is told now and then.
        checkpoint: a file from which the row goes on where it is of the same row and versions; gone at the end.

    Raises:
        BadInputError: there is no such policy, or the file is none of ours.
    """
    with seldom_collected():
        run = Run(scenario, policy, seed, options)
        events = run.play.events()
        if checkpoint is not None and (kept := read_checkpoint(checkpoint, run.about())) is not None:
            run.go_on(kept, events, origin=str(checkpoint))
        told = written = time.monotonic()
        for event in events:
            run.step(event)
            now = time.monotonic()
            if now - told > PROGRESS_EVERY_S:
                told = now
                on_progress(run.done, run.play.count)
            if checkpoint is not None and now - written > options.checkpoint_every_s:
                write_checkpoint(checkpoint, run.to_json())
                written = time.monotonic()
        on_progress(run.done, run.play.count)
        row = run.row()
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return row
