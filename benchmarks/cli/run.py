"""`numaplace bench run`: measure policies in scenarios, on this machine or on many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.cli.engine import engine_options
from scheduler.cli.interrupt import INTERRUPTED
from scheduler.cli.options import SecondsType, SizeType
from scheduler.cli.output import columns, emit, output_option

if TYPE_CHECKING:
    from benchmarks.sweeps.sweep import Swept
    from benchmarks.sweeps.where import Where

MOST_SEEDS = 10_000
CHECKPOINTS = ".checkpoints"
"""Below the results: files from which long rows go on that were stopped."""


class SeedsType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2
    """Seeds as people write sets of numbers: "1-5,8"."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """All of them, in order."""
        from probe.cpuset import CpuSet

        if isinstance(value, tuple):
            return value
        try:
            seeds = tuple(sorted(CpuSet.parse(str(value)).ids))
        except ValueError:
            return self.fail(f"expected seeds like 1-5,8, got {value!r}.", param, ctx)
        if not 0 < len(seeds) <= MOST_SEEDS:
            return self.fail(f"expected 1 to {MOST_SEEDS:,} seeds, got {len(seeds):,}.", param, ctx)
        return seeds


@click.command()
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO]...")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    default=("unpinned", "solver"),
    show_default=True,
    metavar="NAME|FILE.py:NAME",
    help="Who decides, more than once for several; also `place-one`, the online book.",
)
@click.option("--seeds", type=SeedsType(), default="1-3", show_default=True, help="The same events for each policy.")
@click.option(
    "--results", type=click.Path(file_okay=False, path_type=Path), required=True, help="The folder of the rows."
)
@click.option("--again", is_flag=True, help="Measure all rows, also those that are there.")
@engine_options(usually_all=True)
@click.option("--sample-every", type=click.IntRange(min=1), help="Events from one sample of the fleet to the next.")
@click.option("--rebalance-every", type=click.IntRange(min=1), help="Rebalance after so many events.")
@click.option("--most-moves", type=click.IntRange(min=0), help="Most steps of a rebalancing.")
@click.option("--most-memory", "most_memory_kib", type=SizeType(), metavar="SIZE", help="That a rebalancing copies.")
@click.option("--deterministic", "deterministic_limit", type=SecondsType(), help="Effort of a policy that searches.")
@click.option("--time-limit", "time_limit_s", type=SecondsType(), help="Wall clock limit of each question.")
@click.option("--no-regret", is_flag=True, help="Leave out the plan that knows everything beforehand.")
@output_option
def run(
    scenarios: tuple[str, ...],
    policies: tuple[str, ...],
    seeds: tuple[int, ...],
    results: Path,
    again: bool,
    where: Where,
    no_regret: bool,
    output: str,
    **settings: int | float | None,
) -> int:
    """Measure every POLICY in every SCENARIO (`bench list`, or a file) with every seed: a row each.

    Without SCENARIO the small ones whose data is here.
    Each row is a Parquet file in the folder of results as soon as it ends. What is there already under the same
    scenario, policy and options is not measured again, so a run that was stopped goes on by the same command.
    Exit status 1 when a row failed; the others go on.
    """
    from benchmarks.sweeps.grid import grid, with_checkpoints
    from benchmarks.sweeps.sweep import Swept, missing_tasks, sweep
    from benchmarks.sweeps.watching import watching
    from benchmarks.sweeps.where import engine_of
    from benchmarks.sweeps.worker import measure

    scenarios = scenarios or _small_ones()
    given = {name: value for name, value in settings.items() if value is not None}
    tasks = grid(scenarios, policies, seeds, given | ({"regret": False} if no_regret else {}))
    missing = tasks if again else missing_tasks(tasks, results)
    swept = Swept(missing=0)
    if missing:
        made_folder(results)
        if not where.cluster:
            made_folder(results / CHECKPOINTS)
            missing = with_checkpoints(missing, results / CHECKPOINTS)
        engine = engine_of(where, afresh=True, preload=["benchmarks.sweeps.worker"])
        with engine, watching(missing, len(tasks) - len(missing)) as watch:
            swept = sweep(missing, results, engine, work=measure, watch=watch)
    counts = len(tasks), len(missing)
    emit(_summary(swept, *counts, results), output, lambda: _told(swept, *counts, results))
    return _status(swept)


def _small_ones() -> tuple[str, ...]:
    """The small scenarios that can be played here; which cannot is said."""
    from benchmarks.scenarios import small_scenarios

    here, missing = small_scenarios()
    if missing:
        click.echo(f"Left out, as their data is not here (numaplace bench list): {', '.join(missing)}", err=True)
    return here


def made_folder(path: Path) -> None:
    """The folder is there. Raises `BadInputError` where it cannot be made."""
    from probe.errors import BadInputError

    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(f"{path}: cannot be made: {error.strerror or error}.") from error


def _summary(swept: Swept, rows: int, missing: int, results: Path) -> dict[str, Any]:
    failed = [{**key._asdict(), "error": why} for key, why in swept.failed.items()]
    return {
        "schema": 1,
        "results": str(results),
        "rows": rows,
        "kept": rows - missing,
        "measured": swept.measured,
        "failed": failed,
        "missing": swept.missing,
        "stopped_by": None if swept.stopped_by is None else str(swept.stopped_by) or "interrupted",
    }


def _told(swept: Swept, rows: int, missing: int, results: Path) -> str:
    there = f"{rows - missing + swept.measured} of {rows} rows are in {results}"
    lines = [f"{there}: {swept.measured} measured now, {rows - missing} there already."]
    if swept.failed:
        cells = [(*key[:3], why) for key, why in swept.failed.items()]
        lines += ["", columns(("SCENARIO", "POLICY", "SEED", "FAILED"), cells)]
    if swept.stopped_by is not None:
        why = str(swept.stopped_by) or "Interrupted."
        lines += ["", why, f"{swept.missing} rows are missing: the same command goes on with them."]
    elif swept.measured or not missing:
        lines += [f"Compare them: numaplace bench compare {results}"]
    return "\n".join(lines)


def _status(swept: Swept) -> int:
    if isinstance(swept.stopped_by, KeyboardInterrupt):
        return INTERRUPTED
    if swept.stopped_by is not None:
        return swept.stopped_by.exit_status
    return 1 if swept.failed else 0
