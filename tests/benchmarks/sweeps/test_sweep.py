"""A sweep goes on where it was, tells what failed, and comes to the same table on every engine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.rows import Key, Row
from benchmarks.sweeps.engine import NOBODY, Ended, Engine, EngineLostError, Serial, Tell, Watch, Work
from benchmarks.sweeps.processes import Processes
from benchmarks.sweeps.results import read_results
from benchmarks.sweeps.sweep import Swept, missing_tasks, sweep
from benchmarks.sweeps.task import Task, task_of
from benchmarks.sweeps.worker import measure
from probe.errors import BadInputError
from tests.benchmarks.sweeps.owned import asked, without_times

TASKS = [Task(scenario="small", digest="d", policy=p, seed=s) for s in (1, 2) for p in ("first-fit", "mine.py:own")]


class Counter:
    """Who looks on: what began and what ended."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.failures: list[str] = []

    def tell(self, number: int, where: str, text: str) -> None:
        self.began += [] if text else [number]

    def ended(self, number: int, failure: str) -> None:
        self.failures.append(failure)


def pretend(text: str, tell: Tell) -> str:
    """A row without a simulator: seed 2 of the own policy fails."""
    task = task_of(text)
    if task.policy == "mine.py:own" and task.seed == 2:
        raise BadInputError("own has no answer.")
    return json.dumps(row_of(task).to_json())


def row_of(task: Task) -> Row:
    return Row(
        scenario=task.scenario, policy=task.policy, seed=task.seed, digest=task.digest, options=task.options,
        metrics={"placed": float(task.seed)}, versions=task.versions,
    )  # fmt: skip


def swept(tasks: Sequence[Task], folder: Path, engine: Engine, work: Work[str, str] = pretend) -> tuple[Swept, Counter]:
    watch = Counter()
    with engine:
        return sweep(tasks, folder, engine, work=work, watch=watch), watch


@pytest.mark.parametrize("engine", [Serial(), Processes(2)], ids=["serial", "processes"])
def test_what_fails_is_told_and_the_rest_is_there(engine: Engine, tmp_path: Path) -> None:
    """Three rows are written, the fourth says why not; it alone is missing afterwards."""
    done, watch = swept(TASKS, tmp_path, engine)
    assert (3, 0, {Key("small", "mine.py:own", 2): "own has no answer"}) == (done.measured, done.missing, done.failed)
    assert {task.key: row_of(task) for task in TASKS[:3]} == {row.key: row for row in read_results(tmp_path)}
    assert [0, 1, 2, 3] == sorted(watch.began)
    assert ["", "", "", "own has no answer"] == sorted(watch.failures)
    assert [TASKS[3]] == missing_tasks(TASKS, tmp_path)


def test_only_the_very_same_row_is_kept(tmp_path: Path) -> None:
    """Another digest, other options or another text of the user's policy is another row; another folder has none."""
    swept(TASKS[:2], tmp_path, Serial())
    assert [] == missing_tasks(TASKS[:2], tmp_path)
    for change in ({"digest": "e"}, {"options": {"rebalance_every": "5"}}, {"policy_text": "own = None"}):
        other = [replace(task, **change) for task in TASKS[:2]]
        assert other == missing_tasks(other, tmp_path)
    assert TASKS[:2] == missing_tasks(TASKS[:2], tmp_path / "elsewhere")


class StopsAfterTwo(Engine):
    """Two items end, then something happens."""

    def __init__(self, then: BaseException) -> None:
        self.then = then

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, work: Work, items: Sequence, watch: Watch = NOBODY) -> Iterator[Ended]:  # type: ignore[type-arg]
        yield from Serial().run(work, items[:2], watch)
        raise self.then


@pytest.mark.parametrize("then", [KeyboardInterrupt(), EngineLostError("the scheduler is gone.")])
def test_a_sweep_that_is_stopped_goes_on_where_it_was(tmp_path: Path, then: BaseException) -> None:
    """What has ended is there; the second run measures the other two only, and the table is that of one run."""
    done, _ = (
        swept(TASKS, tmp_path / "two runs", StopsAfterTwo(then)) if (tmp_path / "two runs").mkdir() is None else ()
    )
    assert (2, 2, then) == (done.measured, done.missing, done.stopped_by)
    missing = missing_tasks(TASKS, tmp_path / "two runs")
    assert TASKS[2:] == missing
    swept(missing, tmp_path / "two runs", Serial())
    (tmp_path / "one run").mkdir()
    swept(TASKS, tmp_path / "one run", Serial())
    assert read_results(tmp_path / "one run") == read_results(tmp_path / "two runs")


@pytest.mark.parametrize(
    "answer", ["no JSON", "[]", json.dumps(row_of(replace(TASKS[0], seed=9)).to_json()),
               json.dumps(replace(row_of(TASKS[0]), metrics={"luck": 1}).to_json())]
)  # fmt: skip
def test_what_a_worker_sends_is_looked_at(tmp_path: Path, answer: str) -> None:
    """Junk, a row that was not asked for, a figure that nobody knows: that row failed, and nothing is written."""
    done, _ = swept(TASKS[:1], tmp_path, Serial(), lambda text, tell: answer)
    assert [TASKS[0].key] == [*done.failed]
    assert [] == read_results(tmp_path)


def test_a_folder_that_takes_nothing_ends_the_sweep(tmp_path: Path) -> None:
    """No row would be kept: that is no failure of a row."""
    with pytest.raises(BadInputError, match="cannot be written"):
        swept(TASKS, tmp_path / "not there", Serial())


def test_a_task_is_a_text() -> None:
    """It goes to other machines as JSON and comes back as it was."""
    task = replace(TASKS[1], policy_text="own = 1", settings={"regret": False, "sample_every": 3}, checkpoint="/x")
    assert task == task_of(task.to_text())


def test_processes_measure_what_this_process_measures(tmp_path: Path) -> None:
    """The same table, times aside; and each row says what measures it again."""
    tasks, tables = asked(tmp_path), []
    for name, engine in (("serial", Serial()), ("processes", Processes(2, afresh=True))):
        (tmp_path / name).mkdir()
        done, _ = swept(tasks, tmp_path / name, engine, measure)
        assert {} == done.failed
        tables.append(without_times(read_results(tmp_path / name)))
    assert 6 == len(tables[0])
    assert tables[0] == tables[1]
    row = next(row for row in tables[0] if row.policy.endswith("mine.py:own") and row.seed == 2)
    assert {"regret": "False"} == row.options
    assert row.command.endswith(f"own.yaml --policy {tmp_path}/mine.py:own --seeds 2 --no-regret --results DIR")
    assert 16 == len(row.versions["policy_file"])


def test_a_worker_with_other_data_does_not_measure(tmp_path: Path) -> None:
    """The digest of the sweep is not that of the worker's scenario: its figures would not be comparable."""
    task = asked(tmp_path)[0]
    done, _ = swept([replace(task, digest="0" * 64)], tmp_path, Serial(), measure)
    assert "other data files" in done.failed[task.key]
