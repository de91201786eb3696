"""What was run on what, and how it is run again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from benchmarks.report.results import Results
from benchmarks.report.words import plural
from benchmarks.rows import Row


def facts(results: Results) -> list[tuple[str, str]]:
    """Of all rows: what there is of them, and each version with all its values."""
    rows = results.all_rows()
    found = [("rows", size(results)), ("seeds", _numbers(row.seed for row in rows))]
    if results.shared:
        found.append(("all measured with", ", ".join(f"{name}={value}" for name, value in results.shared)))
    for name in sorted({name for row in rows for name in row.versions}):
        values = sorted({row.versions[name] for row in rows if name in row.versions})
        found.append((name.replace("_", " "), "; ".join(values)))
    return found


def size(results: Results) -> str:
    """`12 policies in 8 scenarios, 3 seeds: 288 rows`."""
    rows = results.all_rows()
    policies, scenarios = plural(results.contenders, "policy", "policies"), plural(results.scenarios, "scenario")
    return f"{policies} in {scenarios}, {plural({row.seed for row in rows}, 'seed')}: {plural(rows, 'row')}"


def measured_on(results: Results) -> str:
    """`2026-11-29, x86_64, 2 CPUs, numaplace 0.1.0`: of what the rows tell."""
    told = []
    for name, label in (("day", ""), ("machine", ""), ("numaplace", "numaplace ")):
        values = sorted({row.versions[name] for row in results.all_rows() if name in row.versions})
        if values:
            told.append(
                label + (f"{values[0]} to {values[-1]}" if name == "day" and values[1:] else " and ".join(values))
            )
    return ", ".join(told)


def commands(results: Results) -> list[str]:
    """As few as measure all of the rows again: rows whose commands differ only in what is in their keys are one."""
    grids: dict[str, list[Row]] = {}
    alone: list[str] = []
    for row in results.all_rows():
        start = f"numaplace bench run {row.scenario} --policy {row.policy} --seeds {row.seed}"
        if row.command.startswith(start) and row.command[len(start) :][:1] in ("", " "):
            grids.setdefault(row.command[len(start) :], []).append(row)
        elif row.command:
            alone.append(row.command)
    return [*(_grid(rows, options) for options, rows in sorted(grids.items())), *sorted({*alone})]


def _grid(rows: list[Row], options: str) -> str:
    scenarios = dict.fromkeys(shlex.quote(row.scenario) for row in rows)
    policies = dict.fromkeys(f"--policy {shlex.quote(row.policy)}" for row in rows)
    seeds = _numbers(row.seed for row in rows)
    folder = "" if "--results" in options else " --results DIR"
    return f"numaplace bench run {' '.join(scenarios)} {' '.join(policies)} --seeds {seeds}{options}{folder}"


def _numbers(found: Iterable[int]) -> str:
    """`1-3,7`."""
    runs: list[list[int]] = []
    for number in sorted(set(found)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
