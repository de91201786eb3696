"""`numaplace apply`: create the guests of a plan where it says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scheduler.cli.options import hosts_options, ledger_option
from scheduler.cli.output import columns, emit, output_option, worst_status

if TYPE_CHECKING:
    from scheduler.apply import Outcome
    from scheduler.ledger import State


@click.command()
@click.argument("plan", type=click.Path(path_type=Path, dir_okay=False))
@hosts_options
@ledger_option
@click.option("--share", is_flag=True, help="Also on hosts whose guests are in another ledger's books.")
@click.option("--dry-run", is_flag=True, help="Check the plan, the hosts and every definition; create nothing.")
@output_option
def apply(
    plan: Path,
    hosts: tuple[str, ...],
    hosts_path: Path | None,
    ledger: str | None,
    share: bool,
    dry_run: bool,
    output: str,
) -> int:
    """Create the guests of PLAN (what `numaplace plan -o` wrote), verify them, keep the books.

    Each guest is started paused, looked at, and only then let run. Run it again after a crash: it
    goes on where the books say it was. On a host where a domain bears another ledger's mark it
    creates nothing (exit status 5), unless --share.
    """
    from scheduler.applying import apply_plan
    from scheduler.cli.progress import progress
    from scheduler.cli.sources import read_all, read_configs
    from scheduler.ledger import open_ledger
    from scheduler.plan_file import read_plan_file

    file = read_plan_file(plan)
    planned_on = {placement.host for placement in file.plan.placements}
    configs = [config for config in read_configs(hosts, hosts_path) if config.name in planned_on]
    books = open_ledger(ledger)
    reading = read_all(configs, need_one=False)
    with progress("creating guests", total=len(file.plan.placements)) as step:

        def report(guest: str, state: State) -> None:
            del guest
            if state.value in ("active", "drifted"):
                step()

        outcomes = apply_plan(file, configs, reading, books, report, dry_run=dry_run, share=share)
    refused = [str(rejection.guest) for rejection in file.plan.rejections]
    statuses = [outcome.exit_status for outcome in outcomes] + [3] * bool(refused)
    rows = [
        {"guest": o.guest, "host": o.host, "state": o.state.value, "exit_status": o.exit_status, "note": o.note}
        for o in outcomes
    ]
    document = {
        "schema": 1,
        "dry_run": dry_run,
        "guests": rows,
        "not_placed": refused,
        "exit_statuses": sorted({*statuses} - {0}),
    }
    emit(document, output, lambda: _table(outcomes, refused, dry_run=dry_run))
    return worst_status(statuses)


def _table(outcomes: tuple[Outcome, ...], refused: list[str], *, dry_run: bool) -> str:
    rows = [(o.guest, o.host, o.state.value, o.note.partition("\n")[0]) for o in outcomes]
    lines = [columns(("GUEST", "HOST", "STATE", "NOTE"), rows)] if rows else []
    if refused:
        lines.append(f"not created, because the plan has no place for them: {', '.join(refused)}")
    if dry_run:
        lines.append("dry run: nothing was created")
    return "\n".join(lines)
