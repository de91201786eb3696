"""`numaplace apply`: create the guests of a plan where it says."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scheduler.cli.options import hosts_options, ledger_option
from scheduler.cli.output import columns, emit, output_option, worst_status

if TYPE_CHECKING:
    from scheduler.apply import Outcome
    from scheduler.ledger import Claim


@click.command()
@click.argument("plan", type=click.Path(path_type=Path, dir_okay=False))
@hosts_options
@ledger_option
@click.option(
    "--retries",
    type=click.IntRange(0, 100),
    default=2,
    show_default=True,
    metavar="N",
    help="How often a guest is planned again whose place was taken since it was planned.",
)
@click.option("--share", is_flag=True, help="Also on hosts whose guests are in another ledger's books.")
@click.option("--dry-run", is_flag=True, help="Check the plan, the hosts and every definition; create nothing.")
@output_option
def apply(
    plan: Path,
    hosts: tuple[str, ...],
    hosts_path: Path | None,
    ledger: str | None,
    retries: int,
    share: bool,
    dry_run: bool,
    output: str,
) -> int:
    """Create the guests of PLAN (what `numaplace plan -o` wrote), verify them, keep the books.

    Each guest is started paused, looked at, and only then let run. Run it again after a crash: it
    goes on where the books say it was. On a host where a domain bears another ledger's mark it
    creates nothing (exit status 5), unless --share. A guest whose place is gone meanwhile is planned
    again, it alone, on the hosts that the plan was made for. Ctrl-C stops after the current steps.
    """
    from scheduler.apply import Course
    from scheduler.applying import apply_plan
    from scheduler.cli.interrupt import INTERRUPTED, stop_on_interrupt
    from scheduler.cli.progress import progress
    from scheduler.cli.sources import read_all, read_configs
    from scheduler.ledger import open_ledger
    from scheduler.plan_file import read_plan_file

    file = read_plan_file(plan)
    planned_on = {host.name for host in file.hosts} | {placement.host for placement in file.plan.placements}
    configs = [config for config in read_configs(hosts, hosts_path) if config.name in planned_on]
    books = open_ledger(ledger)
    reading = read_all(configs, need_one=False)
    with progress("creating guests", total=len(file.plan.placements)) as step, stop_on_interrupt() as stop:

        def report(claim: Claim) -> None:
            rests = not claim.state.is_under_way
            step.tell(claim.host, "" if rests else f"{claim.guest} {claim.state.value}")
            if rests:
                step()

        course = Course(report=report, retries=retries, stop=stop)
        outcomes = apply_plan(file, configs, reading, books, course, dry_run=dry_run, share=share)
    refused = [str(rejection.guest) for rejection in file.plan.rejections]
    statuses = [outcome.exit_status for outcome in outcomes] + [3] * bool(refused)
    document = {
        "schema": 1,
        "dry_run": dry_run,
        "guests": [_row(outcome) for outcome in outcomes],
        "not_placed": refused,
        "exit_statuses": sorted({*statuses} - {0}),
    }
    emit(document, output, lambda: _table(outcomes, refused, dry_run=dry_run))
    return INTERRUPTED if stop.is_set() else worst_status(statuses)


def _row(outcome: Outcome) -> dict[str, object]:
    return {
        "guest": outcome.guest,
        "host": outcome.host,
        "state": outcome.state.value,
        "exit_status": outcome.exit_status,
        "note": outcome.note,
        "memory_guarantee": outcome.memory_guarantee and outcome.memory_guarantee.value,
        "moves": [asdict(move) for move in outcome.moves],
    }


def _table(outcomes: tuple[Outcome, ...], refused: list[str], *, dry_run: bool) -> str:
    header = ("GUEST", "HOST", "STATE", "MEMORY", "NOTE")
    rows = [
        (o.guest, o.host, o.state.value, o.memory_guarantee and o.memory_guarantee.short, o.note.partition("\n")[0])
        for o in outcomes
    ]
    lines = [columns(header, rows)] if rows else []
    lines += [f"{o.guest}: {move}, because {move.why}" for o in outcomes for move in o.moves]
    if refused:
        lines.append(f"not created, because the plan has no place for them: {', '.join(refused)}")
    if dry_run:
        lines.append("dry run: nothing was created")
    return "\n".join(lines)
