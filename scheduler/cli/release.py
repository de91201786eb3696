"""`numaplace release`: guests of ours leave the books, and run on."""

from __future__ import annotations

from pathlib import Path

import click

from scheduler.cli.options import hosts_options, known_guests, ledger_option
from scheduler.cli.output import emit, output_option, worst_status


@click.command()
@click.argument("guests", nargs=-1, required=True, shell_complete=known_guests)
@hosts_options
@ledger_option
@click.option("--dry-run", is_flag=True, help="Say what would be let go.")
@output_option
def release(
    guests: tuple[str, ...],
    hosts: tuple[str, ...],
    hosts_path: Path | None,
    ledger: str | None,
    dry_run: bool,
    output: str,
) -> int:
    """Give back what GUESTS were promised and take our mark out of them. They run on as they are.

    From then on they count as strangers. `numaplace destroy` ends a guest instead.
    """
    from scheduler.cli.progress import progress
    from scheduler.cli.sources import read_all, read_configs
    from scheduler.ledger import open_ledger
    from scheduler.release import release_guests
    from scheduler.sites import open_sites

    books = open_ledger(ledger)
    claims = [books.claim_of(guest) for guest in guests]
    needed = {claim.host for claim in claims if claim}
    configs = [config for config in read_configs(hosts, hosts_path) if config.name in needed]
    with open_sites(configs, read_all(configs, need_one=False)) as (sites, _), progress("letting guests go"):
        done = release_guests(books, sites, guests, dry_run=dry_run)
    word = "would be let go" if dry_run else "let go"
    rows = [
        {"guest": each.guest, "done": not each.error and not dry_run, "note": each.note, "why": str(each.error or "")}
        for each in done
    ]
    statuses = [each.error.exit_status for each in done if each.error]
    emit(
        {"schema": 1, "dry_run": dry_run, "guests": rows, "exit_statuses": sorted(set(statuses))},
        output,
        lambda: "\n".join(
            f"{each.guest}: {each.error or word}{f'; {each.note}' if each.note else ''}" for each in done
        ),
    )
    return worst_status(statuses)
