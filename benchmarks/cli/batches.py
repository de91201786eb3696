"""`numaplace bench batches`: whole batches against their bounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.cli.engine import engine_options
from scheduler.cli.output import columns, emit, output_option

if TYPE_CHECKING:
    from benchmarks.sweeps.where import Where


@click.command()
@click.argument("cases", nargs=-1, metavar="[CASE]...")
@click.option("--full", is_flag=True, help="The large cases too.")
@click.option(
    "--results",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep the rows in this file; rows that are there are not measured again.",
)
@click.option("--again", is_flag=True, help="Measure all rows, also those in the results file.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw seconds against hosts of the random batches into this SVG file (needs numaplace[report]).",
)
@engine_options(usually_all=False)
@output_option
def batches(
    cases: tuple[str, ...],
    full: bool,
    results: Path | None,
    again: bool,
    plot: Path | None,
    where: Where | None,
    output: str,
) -> int:
    """Place whole batches: the guests placed against a proven bound, time and memory, each checked rule by rule.

    Without CASE all small ones. With --workers or --cluster the parts of each are answered there, and the answer is
    the same. Exit status 1 when one misses what it must reach.
    """
    from benchmarks.batches import CASES, machine, measure_apart

    if where is not None and results is not None:
        raise click.UsageError("--results keeps rows of one process: leave --workers and --cluster away.")

    unknown = [name for name in cases if name not in CASES]
    if unknown:
        raise click.BadParameter(f"no case is called {unknown[0]!r}; there are: {', '.join(CASES)}.")
    names = cases or tuple(name for name, case in CASES.items() if full or not case.full)
    kept = _kept_rows(results) if results is not None and not again else {}
    rows = []
    for name in names:
        if name not in kept:
            click.echo(f"{name} …", err=True)
            kept[name] = measure_apart(name, where)
            if results is not None:
                results.write_text(
                    json.dumps({**machine(), "rows": [*kept.values()]}, indent=1) + "\n", encoding="utf-8"
                )
        rows.append(kept[name])
    emit({"schema": 1, **machine(), "rows": rows}, output, lambda: _table(rows))
    if plot is not None:
        from benchmarks.scaling import draw_scaling

        draw_scaling(rows, plot)
    return 1 if any(row["missed"] for row in rows) else 0


def _kept_rows(results: Path) -> dict[str, dict[str, Any]]:
    """The rows of an earlier run, by case."""
    if not results.is_file():
        return {}
    return {row["case"]: row for row in json.loads(results.read_text(encoding="utf-8"))["rows"]}


def _table(rows: list[dict[str, Any]]) -> str:
    def cells(row: dict[str, Any]) -> tuple[object, ...]:
        kept = "-" if row["kept"] is None else f"{row['kept']}/{row['kept_bound']}"
        verdict = "; ".join(row["missed"]) or "ok"
        sizes = f"{row['hosts']:,}", f"{row['guests']:,}", f"{row['placed']:,}"
        return row["case"], *sizes, f"{row['gap']:.3%}", kept, f"{row['wall_s']:.1f}", row["peak_mib"], verdict

    head = ("CASE", "HOSTS", "GUESTS", "PLACED", "GAP", "KEPT/BOUND", "S", "MIB", "VERDICT")
    return columns(head, [cells(row) for row in rows])
