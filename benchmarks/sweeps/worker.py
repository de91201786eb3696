"""What a worker does, in whatever process and on whatever machine: a task's text becomes a row's text."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.scenarios import Scenario, load_scenario
from benchmarks.scenarios.scenario import parse_scenario
from benchmarks.simulator.options import Options
from benchmarks.simulator.run import measure_row
from benchmarks.sweeps.engine import Tell
from benchmarks.sweeps.task import Setting, Task, task_of
from policies.rebalance.question import Budget
from probe.errors import BadInputError

_ONE_AT_A_TIME = threading.Lock()
"""Rows side by side in one process would measure each other; a Dask worker may have several threads."""
_OF_BUDGET = ("most_moves", "most_memory_kib")


def measure(text: str, tell: Tell) -> str:
    """The row of a task.

    Raises:
        BadInputError: the scenario or the policy is none, or the data that it needs are others here.
    """
    task = task_of(text)
    scenario = _scenario(task)
    with _ONE_AT_A_TIME, _policy(task) as policy:
        row = measure_row(
            scenario,
            policy,
            task.seed,
            options_of(task.settings),
            on_progress=lambda done, count: tell(f"{done:,}/{count:,} events" if count else f"{done:,} events"),
            checkpoint=Path(task.checkpoint) if task.checkpoint else None,
        )
    row = replace(row, policy=task.policy, command=task.command, versions={**row.versions, **task.versions})
    return json.dumps(row.to_json())


def options_of(settings: Mapping[str, Setting]) -> Options:
    """The options of measuring, from those that were given on the command line."""
    budget = {name: value for name, value in settings.items() if name in _OF_BUDGET}
    plain = {name: value for name, value in settings.items() if name not in _OF_BUDGET}
    return Options(budget=Budget(**budget), **plain)  # type: ignore[arg-type]


def _scenario(task: Task) -> Scenario:
    if task.scenario_text:
        scenario = parse_scenario(task.scenario_text, origin=Path(task.scenario), name=task.scenario)
    else:
        scenario = load_scenario(task.scenario)
    if (found := scenario.digest) != task.digest:
        raise BadInputError(
            f"scenario {task.scenario}: expected digest {task.digest[:12]}, got {found[:12]}: this worker has other "
            "data files, or another version of numaplace"
        )
    return scenario


@contextmanager
def _policy(task: Task) -> Iterator[str]:
    """The policy's name here: a file of the user's is written for as long as it is needed."""
    if not task.policy_text:
        yield task.policy
        return
    path, _, name = task.policy.rpartition(":")
    with tempfile.TemporaryDirectory(prefix="numaplace-policy-") as folder:
        here = Path(folder) / Path(path).name
        here.write_text(task.policy_text, encoding="utf-8")
        yield f"{here}:{name}"
