"""A run whose process is killed goes on, and ends with the row that it would have ended with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.metrics import metric_of
from benchmarks.rows import Row
from benchmarks.simulator.checkpoint import read_checkpoint, write_checkpoint
from benchmarks.simulator.options import Options
from benchmarks.simulator.playing import Run
from benchmarks.simulator.run import measure_row
from probe.errors import BadInputError
from tests.benchmarks.plays import hosts, streamed

SCENARIO = streamed(hosts(2), 160, here=30)
OFTEN = Options(sample_every=5, checkpoint_every_s=0.0)


def without_times(row: Row) -> Row:
    kept = {name: value for name, value in row.metrics.items() if not metric_of(name).is_time}
    return replace(row, metrics=kept)


def until_killed(policy: str, checkpoint: Path) -> None:
    """Called in a process of its own: writes after each event, and waits for its end in the middle."""
    from benchmarks.simulator import run

    def slow(done: int, _: int | None) -> None:
        if done >= 100:
            (checkpoint.parent / "waiting").touch()
            time.sleep(60)

    run.PROGRESS_EVERY_S = -1.0
    measure_row(SCENARIO, policy, 1, OFTEN, on_progress=slow, checkpoint=checkpoint)


@pytest.mark.parametrize("policy", ["place-one", "round-robin", "unpinned"])
def test_a_killed_run_goes_on_to_the_same_row(policy: str, tmp_path: Path) -> None:
    checkpoint = tmp_path / "row.json"
    code = f"from tests.benchmarks.test_simulator_resume import *; until_killed({policy!r}, Path({str(checkpoint)!r}))"
    there = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], env=there) as run:
        deadline = time.monotonic() + 120
        while not (tmp_path / "waiting").exists() and time.monotonic() < deadline and run.poll() is None:
            time.sleep(0.05)
        run.send_signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
    row = measure_row(SCENARIO, policy, 1, OFTEN, checkpoint=checkpoint)
    assert without_times(row) == without_times(measure_row(SCENARIO, policy, 1, OFTEN))
    assert not checkpoint.exists()


def test_a_run_goes_on_where_it_was_and_not_from_the_beginning(tmp_path: Path) -> None:
    checkpoint = tmp_path / "row.json"
    run = Run(SCENARIO, "place-one", 1, OFTEN)
    events = run.play.events()
    for _ in range(100):
        run.step(next(events))
    write_checkpoint(checkpoint, run.to_json())
    other = Run(SCENARIO, "place-one", 1, OFTEN)
    kept = read_checkpoint(checkpoint, other.about())
    assert kept is not None
    its_events = other.play.events()
    other.go_on(kept, its_events, origin="here")
    assert (other.done, next(its_events)) == (100, next(events))
    assert list(other.world.book.taken.items()) == list(run.world.book.taken.items())
    assert other.world.left() == run.world.left()


def test_a_checkpoint_of_another_row_is_not_gone_on_from(tmp_path: Path) -> None:
    checkpoint = tmp_path / "row.json"
    run = Run(SCENARIO, "place-one", 2, OFTEN)
    write_checkpoint(checkpoint, run.to_json())
    row = measure_row(SCENARIO, "place-one", 1, OFTEN, checkpoint=checkpoint)
    assert without_times(row) == without_times(measure_row(SCENARIO, "place-one", 1, OFTEN))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2}', "[" * 100_000])
def test_a_file_that_is_no_checkpoint_is_not_written_over(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text(text)
    with pytest.raises(BadInputError, match="mine"):
        measure_row(SCENARIO, "place-one", 1, OFTEN, checkpoint=file)
    assert file.read_text() == text


@pytest.mark.parametrize("hole", ["there", "tally", "means", "took"])
def test_a_checkpoint_with_a_hole_is_told(hole: str) -> None:
    kept = Run(SCENARIO, "place-one", 1, OFTEN).to_json()
    broken = {**kept, hole: [1]}
    run = Run(SCENARIO, "place-one", 1, OFTEN)
    with pytest.raises(BadInputError, match="checkpoint"):
        run.go_on(broken, run.play.events(), origin="row.json")
