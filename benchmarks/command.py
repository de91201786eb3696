"""`numaplace bench`: what the comparison of policies will grow from; today, how fast we start."""

from __future__ import annotations

import click

from scheduler.cli.output import columns, emit, output_option


@click.group()
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
