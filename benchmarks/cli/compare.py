"""`numaplace bench compare`: who is better, by how much and how surely, in the terminal."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.metrics import METRICS
from scheduler.cli.output import emit, output_option


@click.command()
@click.argument("rows", metavar="DIR", type=click.Path(exists=True, path_type=Path))
@click.option("--base", default="unpinned", show_default=True, help="The policy that the others are compared with.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Compare this figure, more than once for several; `all` for all. Default: placed, broken, local_ratio, "
    "mean_distance.",
)
@output_option
def compare(rows: Path, base: str, metrics: tuple[str, ...], output: str) -> None:
    """Compare the policies in the results DIR (or a file of JSON Lines), pair by pair on the same events.

    First whether each is better than unpinned; then who wins which figure by how much; then every difference from the
    base with its 95 % interval over the seeds.
    """
    from benchmarks.report.reading import read_rows
    from benchmarks.report.results import results_of
    from benchmarks.report.terminal import SHOWN, document, tables

    results = results_of(read_rows(rows))
    base = results.base(base)
    chosen = _chosen(metrics or SHOWN, results.metrics)
    if output == "table":
        click.echo(tables(results, base, chosen))
    else:
        emit(document(results, base, chosen), output, str)


def _chosen(wanted: tuple[str, ...], there: tuple[str, ...]) -> tuple[str, ...]:
    """The figures of the rows that are wanted; `refused` is meant with all its reasons.

    Raises:
        click.BadParameter: no metric has the name.
    """
    unknown = [name for name in wanted if name != "all" and name.partition("[")[0] not in METRICS]
    if unknown:
        raise click.BadParameter(f"no metric is called {unknown[0]!r}; there are: {', '.join(METRICS)}, all.")
    return tuple(name for name in there if "all" in wanted or {name, name.partition("[")[0]} & {*wanted})
