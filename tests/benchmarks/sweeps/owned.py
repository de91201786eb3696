"""A scenario and a policy of a user's own, small enough to be measured in a moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.metrics import metric_of
from benchmarks.rows import Row
from benchmarks.sweeps.grid import grid
from benchmarks.sweeps.task import Task

SCENARIO = """
title: three small hosts
hosts: [{count: 3, shape: two-socket-small}]
guests:
  stream:
    events: 25
    load: 70
    lifetime: {mean: 2h}
    flavours: [{name: small, vcpus: 2, memory: 4GiB}, {name: large, vcpus: 8, memory: 16GiB}]
"""
POLICY = """
from policies.one_by_one import one_by_one
from policies.places import all_ways, placed


def last_host(request, book):
    for host in reversed([*book.fleet]):
        for way in all_ways(request, book, host):
            if (placement := placed(request, book, host, way)) is not None:
                return placement


own = one_by_one(last_host)
"""


def written(folder: Path) -> tuple[str, str]:
    """Both as files: the scenario's path, and the policy's name."""
    (folder / "own.yaml").write_text(SCENARIO)
    (folder / "mine.py").write_text(POLICY)
    return str(folder / "own.yaml"), f"{folder}/mine.py:own"


def asked(folder: Path) -> list[Task]:
    """Six rows: three policies and two seeds. The files are gone: another machine has neither."""
    scenario, policy = written(folder)
    tasks = grid([scenario], ["unpinned", policy, "place-one"], [1, 2], {"regret": False})
    for name in ("own.yaml", "mine.py"):
        (folder / name).unlink()
    return tasks


def without_times(rows: Sequence[Row]) -> list[Row]:
    """What a second run must have in common with the first."""
    return [
        replace(row, metrics={name: value for name, value in row.metrics.items() if not metric_of(name).is_time})
        for row in rows
    ]
