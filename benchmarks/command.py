"""`numaplace bench`: how fast we start, and how good and fast guests are placed, beside others too."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from scheduler.cli.output import columns, emit, output_option

LATER: Mapping[str, str] = {
    "batches": "benchmarks.cli.batches:batches",
    "compare": "benchmarks.cli.compare:compare",
    "list": "benchmarks.cli.list:list_scenarios",
    "locality": "benchmarks.cli.locality:locality",
    "memory": "benchmarks.cli.memory:memory",
    "report": "benchmarks.cli.report:report",
    "run": "benchmarks.cli.run:run",
}
"""Commands that are imported when they are called: `numaplace --help` asks for the first line of `bench` only."""


class Bench(click.Group):
    """The commands of this module, and those of `LATER`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *LATER})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in LATER:
            return super().get_command(ctx, cmd_name)
        module, _, name = LATER[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=Bench)
def bench() -> None:
    """Measure: ratios side by side in one run, because machines are shared and noisy."""


@bench.command()
@click.option(
    "--repeat",
    type=click.IntRange(1, 1000),
    default=15,
    show_default=True,
    help="Runs of each; the least counts.",
)
@output_option
def startup(repeat: int, output: str) -> int:
    """How long `--help` and `probe` take as whole processes, against `python -c pass`.

    Exit status 1 when a ratio is over its limit (10 for --help, 20 for probe).
    """
    from benchmarks.startup import measure_startup

    rows = measure_startup(repeat)
    emit(
        {"schema": 1, "rows": rows},
        output,
        lambda: columns(
            ("COMMAND", "MS", "RATIO", "LIMIT"),
            [(r["command"], f"{r['wall_s'] * 1000:.0f}", f"{r['ratio']:.1f}", r["limit"]) for r in rows],
        ),
    )
    return 1 if any(row["limit"] is not None and row["ratio"] > row["limit"] for row in rows) else 0


@bench.command()
@output_option
def peers(output: str) -> int:
    """Our solver and every other policy on the same batches; only sound placements count.

    Placements that break a rule are dropped: also of guests bound to nothing, which may use every node of their host,
    where they may span fewer.

    Exit status 1 when another places more guests, or as many on fewer or nearer nodes.
    """
    from benchmarks.peers import measure_peers

    rows = []
    for measured in measure_peers():
        click.echo(f"{measured[0]['case']} …", err=True)
        rows += measured
    emit({"schema": 1, "rows": rows}, output, lambda: _peers_table(rows))
    return 1 if any(row["missed"] for row in rows) else 0


def _peers_table(rows: list[dict[str, Any]]) -> str:
    def cells(row: dict[str, Any]) -> tuple[object, ...]:
        counts = (row[key] for key in ("guests", "placed", "violations", "dropped", "nodes"))
        verdict = "; ".join(row["missed"]) or "ok"
        return row["case"], row["policy"], *counts, f"{row['distance']:.2f}", f"{row['wall_s']:.2f}", verdict

    head = (
        "CASE",
        "POLICY",
        "GUESTS",
        "PLACED",
        "BROKEN",
        "DROPPED",
        "NODES",
        "DISTANCE",
        "S",
        "VERDICT",
    )
    return columns(head, [cells(row) for row in rows])


@bench.command("one-guest")
@click.option("--guests", type=click.IntRange(1, 100_000), default=60, show_default=True, help="Guests of each case.")
@output_option
def one_guest(guests: int, output: str) -> int:
    """Place one guest on one host of 8, 16 or 64 nodes, exactly and with proof, beside `best-fit`.

    Exit status 1 when the median takes over 50 ms, that of `best-fit` over 1 ms, or a refusal over 5 ms; or when an
    answer is not proven, 8 cells on 64 nodes aside: there the search is stopped, and the gap is shown.
    """
    from benchmarks.one_guest import CASES, measure_one_guest, measure_refusals

    rows = [measure_one_guest(case, guests) for case in CASES]
    rows.append(measure_refusals(guests))
    emit({"schema": 1, "rows": rows}, output, lambda: _one_guest_table(rows))
    return 1 if any(row["missed"] for row in rows) else 0


def _one_guest_table(rows: list[dict[str, Any]]) -> str:
    def cells(row: dict[str, Any]) -> tuple[object, ...]:
        counts = (row[key] for key in ("guests", "placed", "proven"))
        exact, greedy = (
            (f"{row[f'{of}_median_ms']:.2f}", f"{row[f'{of}_p99_ms']:.2f}", row[f"{of}_limit_ms"] or "-")
            for of in ("exact", "greedy")
        )
        gap = f"{row['mean_gap']:.1%}/{row['largest_gap']:.1%}"
        proof = f"{row['proof_median_ms']:.1f}/{row['proof_most_ms']:.1f}"
        return row["case"], *counts, *exact, *greedy, gap, proof, "; ".join(row["missed"]) or "ok"

    head = ("CASE", "GUESTS", "PLACED", "PROVEN", "MEDIAN MS", "P99 MS", "LIMIT")
    more = ("BEST-FIT MS", "P99 MS", "LIMIT", "GAP MEAN/MOST", "PROOF MS MEDIAN/MOST", "VERDICT")
    table = columns((*head, *more), [cells(row) for row in rows])
    return "\n".join([table, *(f"{row['case']}: {row['reason']}" for row in rows if row["reason"])])


@bench.command()
@click.option("--hosts", type=click.IntRange(1, 100_000), default=10_000, show_default=True, help="Hosts of the fleet.")
@click.option("--guests", type=click.IntRange(1, 1_000_000), default=2000, show_default=True, help="Guests of a kind.")
@click.option(
    "--nova",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A Python whose environment has OpenStack's package `nova` (`make nova`): measured on the same hosts.",
)
@click.option("--nova-hosts", type=click.IntRange(1, 100_000), default=100_000, help="Most hosts that Nova is given.")
@output_option
def online(hosts: int, guests: int, nova: Path | None, nova_hosts: int, output: str) -> int:
    """Place one arriving guest after the other on a fleet at 70 % load, beside OpenStack Nova's own code.

    Where Nova is given fewer hosts than there are, its time is scaled up to all of them. Exit status 1 when a
    place takes over 5 ms at the 99th percentile, or Nova's median is less than 1000 times ours.
    """
    from benchmarks.online import KINDS, measure_online

    rows = []
    for kind in KINDS:
        click.echo(f"{kind.name} …", err=True)
        rows.append(measure_online(kind, hosts, guests, nova=nova, most_nova_hosts=nova_hosts))
    emit({"schema": 1, "rows": rows}, output, lambda: _online_table(rows))
    return 1 if any(row["missed"] for row in rows) else 0


def _online_table(rows: list[dict[str, Any]]) -> str:
    def cells(row: dict[str, Any]) -> tuple[object, ...]:
        least = ">" * row["nova_stopped"]
        nova = ("-", "-", "-")
        if row["ratio"] is not None:
            nova = f"{row['nova_hosts']:,}", f"{least}{row['nova_median_ms']:,.0f}", f"{least}{row['ratio']:,.0f}"
        counts = (f"{row[key]:,}" for key in ("hosts", "guests", "placed"))
        times = (f"{row[key]:.2f}" for key in ("median_ms", "p99_ms", "first_of_class_ms"))
        return row["case"], *counts, *times, *nova, "; ".join(row["missed"]) or "ok"

    ours = ("CASE", "HOSTS", "GUESTS", "PLACED", "MEDIAN MS", "P99 MS", "FIRST MS")
    return columns((*ours, "NOVA'S HOSTS", "NOVA MS", "RATIO", "VERDICT"), [cells(row) for row in rows])
