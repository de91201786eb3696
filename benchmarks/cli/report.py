"""`numaplace bench report`: the results of a sweep as a page, as Markdown, or as rows for scripts."""

from __future__ import annotations

from pathlib import Path

import click

from scheduler.cli.output import write_file


@click.command()
@click.argument("rows", metavar="DIR", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write this file. Default: report.html; Markdown and JSON Lines are printed.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["html", "markdown", "jsonl"]),
    default="html",
    show_default=True,
    help="A page with plots, tables to paste, or the rows without their samples.",
)
@click.option("--base", default="unpinned", show_default=True, help="The policy that the others are compared with.")
@click.option(
    "--into",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Put the Markdown between the marks in this file, as in numaplace's own README.",
)
def report(rows: Path, out: Path | None, kind: str, base: str, into: Path | None) -> None:
    """Write a report of the results DIR (or of a file of JSON Lines).

    The page needs no network and nothing beside it, and is the same for the same rows (needs numaplace[report]).
    """
    if into is not None and (kind != "markdown" or out is not None):
        raise click.UsageError("--into goes with --format markdown, and without -o.")
    from benchmarks.report.reading import read_rows
    from benchmarks.report.results import results_of

    results = results_of(read_rows(rows))
    if kind == "jsonl":
        from benchmarks.report.json_lines import json_lines

        _told(json_lines(results), out)
        return
    base = results.base(base)
    if kind == "html":
        from benchmarks.report.page import page

        path = out or Path("report.html")
        write_file(path, page(results, base))
        click.echo(f"{path}: {len(results.all_rows()):,} rows.", err=True)
        return
    from benchmarks.report.markdown import markdown, write_between

    text = markdown(results, base)
    if into is not None:
        write_between(into, text)
    else:
        _told(text, out)


def _told(text: str, out: Path | None) -> None:
    if out is None:
        click.echo(text, nl=False)
    else:
        write_file(out, text)
