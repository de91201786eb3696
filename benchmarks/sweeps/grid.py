"""The tasks of a sweep: scenario × policy × seed."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.scenarios import load_scenario, scenario_names
from benchmarks.simulator.deciders import PLACE_ONE
from benchmarks.sweeps.task import Setting, Task
from benchmarks.sweeps.worker import options_of
from policies.registry import is_in_a_file, load_policy

FLAGS: Mapping[str, str] = {
    "sample_every": "--sample-every",
    "rebalance_every": "--rebalance-every",
    "most_moves": "--most-moves",
    "most_memory_kib": "--most-memory",
    "deterministic_limit": "--deterministic",
    "time_limit_s": "--time-limit",
    "regret": "--no-regret",
}
"""Settings, and the options of `numaplace bench run` that make them."""


def grid(
    scenarios: Sequence[str], policies: Sequence[str], seeds: Sequence[int], settings: Mapping[str, Setting]
) -> list[Task]:
    """One task for each; all of a seed before the next one, so that what is there can be compared early.

    Raises:
        BadInputError: there is no such scenario or policy, or a setting is none.
    """
    options = options_of(settings).told()
    flags = "".join(_flag(name, value) for name, value in settings.items())
    texts = {policy: _text_of_policy(policy) for policy in dict.fromkeys(policies)}
    of_scenarios = [_of_scenario(name) for name in dict.fromkeys(scenarios)]
    return [
        replace(
            task,
            policy=policy,
            policy_text=texts[policy],
            seed=seed,
            settings=settings,
            options=options,
            command=f"numaplace bench run {shlex.quote(task.scenario)} --policy {shlex.quote(policy)} --seeds {seed}"
            f"{flags} --results DIR",
        )
        for seed in dict.fromkeys(seeds)
        for task in of_scenarios
        for policy in texts
    ]


def with_checkpoints(tasks: Sequence[Task], folder: Path) -> list[Task]:
    """The same, each with a file below the folder from which it goes on; only for workers that see the folder."""
    return [replace(task, checkpoint=str(folder / f"{_fingerprint(task)}.checkpoint")) for task in tasks]


def _of_scenario(name: str) -> Task:
    scenario = load_scenario(name)
    text = "" if name in scenario_names() else scenario.text
    return Task(scenario=name, scenario_text=text, digest=scenario.digest, policy="", seed=0)


def _text_of_policy(policy: str) -> str:
    """Of the user's own file; "" where it is in none. Raises `BadInputError` where there is no such policy."""
    if policy == PLACE_ONE:
        return ""
    load_policy(policy)
    return Path(policy.rpartition(":")[0]).read_text(encoding="utf-8") if is_in_a_file(policy) else ""


def _flag(name: str, value: Setting) -> str:
    """As it is given to the command."""
    flag = FLAGS[name]
    return f" {flag}" if value is False else f" {flag} {value}{'KiB' * name.endswith('_kib')}"


def _fingerprint(task: Task) -> str:
    """Equal for the same row of the same inputs only."""
    return hashlib.sha256(repr((task.key, task.digest, task.versions)).encode()).hexdigest()[:32]
