"""`numaplace bench locality`: where guests really are, by the hypervisor's own placement and by ours."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scheduler.cli.options import SecondsType, hosts_options
from scheduler.cli.output import columns, emit, output_option

if TYPE_CHECKING:
    from benchmarks.locality.course import Measured
    from benchmarks.locality.preparing import Prepared
    from scheduler.steps import Site

_HEAD = ("SCENARIO", "PLACED BY", "SEED", "RAN", "LOCAL", "WORST", "100 %", "NODES", "DISTANCE", "RESIDENT", "S")


@click.command()
@hosts_options
@click.option(
    "--fleet",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The guests, as for `numaplace plan`; what runs in them should write to its memory. Default: two for each "
    "node with CPUs, of nearly half its pCPUs and an eighth of its memory, which is filled before they run.",
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    default=("solver",),
    show_default=True,
    metavar="NAME|FILE.py:NAME",
    help="Ours, beside the hypervisor's default and its automatic placement. Repeatable.",
)
@click.option(
    "--fill",
    "fills",
    multiple=True,
    default=("idle",),
    show_default=True,
    metavar="idle|[HOST:]NODE=SIZE,…",
    help="Leave only so much available on these nodes, before the guests come. Repeatable: each is a scenario.",
)
@click.option(
    "--repeat", type=click.IntRange(1, 1000), default=1, show_default=True, help="Runs of each, as seeds 1, 2, …"
)
@click.option(
    "--wait",
    "patience_s",
    type=SecondsType(),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How long guests may take to touch their memory.",
)
@click.option("--prefix", default="npbench-", show_default=True, help="What the names of the guests begin with.")
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the rows in this folder (for these hosts only), for `bench report`, `bench compare --base default`.",
)
@click.option("--yes", is_flag=True, help="Do not ask before guests are created.")
@click.option("--dry-run", is_flag=True, help="Say what would be created, and create nothing.")
@output_option
def locality(
    hosts: tuple[str, ...],
    hosts_path: Path | None,
    fleet: Path | None,
    policies: tuple[str, ...],
    fills: tuple[str, ...],
    repeat: int,
    patience_s: float,
    prefix: str,
    results: Path | None,
    yes: bool,
    dry_run: bool,
    output: str,
) -> int:
    """Create guests on real hosts in several ways, and count how much of their memory is local to them.

    In turn by the hypervisor's default, by its automatic placement (numad on KVM, libxl's own on Xen) and by each
    --policy: the guests are created, waited for, looked at through the kernel or Xen, and ended again. Ends only what
    it created, also on Ctrl-C, and does not start where guests with its prefix exist. Guests of others are left alone.
    """
    from benchmarks.locality.preparing import Asked, prepared
    from scheduler.cli.interrupt import INTERRUPTED
    from scheduler.cli.progress import progress
    from scheduler.cli.sources import read_configs
    from scheduler.reading import read_hosts_of
    from scheduler.sites import open_sites

    configs = read_configs(hosts, hosts_path)
    with progress(f"reading {len(configs)} hosts", total=len(configs)) as step:
        reading = read_hosts_of(configs, step)
    asked = Asked(
        fleet=fleet,
        policies=policies,
        fills=fills,
        seeds=tuple(range(1, repeat + 1)),
        patience_s=patience_s,
        prefix=prefix,
        command=_this_command(),
    )
    with open_sites(configs, reading) as sites:
        ready = prepared(asked, configs, reading, sites)
        if output == "table" or not dry_run:
            click.echo(ready.told, err=not dry_run)
        if dry_run:
            if output != "table":
                emit(_plan_document(ready), output, str)
            return 0
        if not yes:
            _confirm()
        rows, finished = _measured(ready, sites.open, results)
    emit(_document(rows), output, lambda: table(rows))
    return 0 if finished else INTERRUPTED


def _this_command() -> str:
    """As it was called; "" where it was not called as a command."""
    words = sys.argv[sys.argv.index("bench") :] if "bench" in sys.argv else []
    return shlex.join(["numaplace", *words]) if words else ""


def _measured(ready: Prepared, sites: Mapping[str, Site], results: Path | None) -> tuple[list[Measured], bool]:
    """The rows, each kept in the folder of results as soon as it is there; False: interrupted before the last."""
    from benchmarks.cli.run import made_folder
    from benchmarks.locality.course import measure_locality
    from benchmarks.locality.created import terminated_like_interrupted
    from benchmarks.sweeps.results import write_row
    from scheduler.cli.progress import progress

    if results is not None:
        made_folder(results)
    rows: list[Measured] = []
    try:
        with terminated_like_interrupted(), progress("measuring", total=ready.rows) as step:

            def on_row(measured: Measured) -> None:
                rows.append(measured)
                if results is not None:
                    write_row(results, measured.row)
                step()

            measure_locality(ready.question, sites, lambda what: step.tell("", what), on_row)
    except KeyboardInterrupt:
        click.echo("interrupted; the guests that were created were ended", err=True)
        return rows, False
    return rows, True


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: give --yes once you have read what --dry-run says.")
    click.confirm("Create them, measure, and end them again?", abort=True, err=True)


def _plan_document(ready: Prepared) -> dict[str, object]:
    question = ready.question
    return {
        "schema": 1,
        "dry_run": True,
        "guests": [guest.request.name for guest in question.guests],
        "ways": list(question.ways),
        "scenarios": [fill.scenario for fill in question.fills],
        "told": ready.told,
    }


def _document(rows: list[Measured]) -> dict[str, object]:
    return {
        "schema": 1,
        "rows": [measured.row.to_json() for measured in rows],
        "guests": [
            {
                "scenario": m.row.scenario,
                "policy": m.row.policy,
                "seed": m.row.seed,
                **asdict(guest),
                "runs": guest.runs,
            }
            for m in rows
            for guest in m.guests
        ],
    }


def table(rows: list[Measured]) -> str:
    """One line for each row, and why guests did not run."""
    lines = [columns(_HEAD, [_cells(measured) for measured in rows])]
    for measured in rows:
        row = measured.row
        lines += [
            f"{row.scenario}, {row.policy}, seed {row.seed}: {guest.guest} does not run: {guest.note.splitlines()[0]}"
            for guest in measured.guests
            if not guest.runs and guest.note
        ]
        if row.limited_by_clock:
            lines.append(f"{row.scenario}, {row.policy}, seed {row.seed}: not all memory was touched in time (--wait)")
    return "\n".join(lines)


def _cells(measured: Measured) -> tuple[object, ...]:
    row, metrics = measured.row, measured.row.metrics
    ran = f"{metrics['placed']:.0f}/{metrics['placed'] + metrics['refused']:.0f}"
    if "local_ratio" not in metrics:
        return row.scenario, row.policy, row.seed, ran, *["-"] * 6, f"{metrics['wall_s']:.0f}"
    return (
        *(row.scenario, row.policy, row.seed, ran),
        *(f"{metrics[name]:.1%}" for name in ("local_ratio", "least_local_ratio")),
        *(f"{metrics['wholly_local']:.0f}", f"{metrics['mean_nodes']:.1f}", f"{metrics['mean_distance']:.1f}"),
        *(f"{metrics['resident_ratio']:.0%}", f"{metrics['wall_s']:.0f}"),
    )
