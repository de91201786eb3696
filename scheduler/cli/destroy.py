"""`numaplace destroy`: end guests of ours."""

from __future__ import annotations

from pathlib import Path

import click

from scheduler.cli.options import hosts_options, known_guests, ledger_option
from scheduler.cli.output import emit, output_option, worst_status


@click.command()
@click.argument("guests", nargs=-1, required=True, shell_complete=known_guests)
@hosts_options
@ledger_option
@click.option("--dry-run", is_flag=True, help="Say what would be destroyed.")
@output_option
def destroy(
    guests: tuple[str, ...],
    hosts: tuple[str, ...],
    hosts_path: Path | None,
    ledger: str | None,
    dry_run: bool,
    output: str,
) -> int:
    """Destroy and undefine GUESTS, and give back what they were promised.

    Only domains that bear the mark of our books are touched, and those that were adopted where no
    mark can be set. `numaplace release` lets a guest go instead.
    """
    from scheduler.cli.sources import read_all, read_configs
    from scheduler.destroy import destroy_guests
    from scheduler.ledger import open_ledger
    from scheduler.sites import open_sites

    books = open_ledger(ledger)
    claims = [books.claim_of(guest) for guest in guests]
    needed = {claim.host for claim in claims if claim}
    configs = [config for config in read_configs(hosts, hosts_path) if config.name in needed]
    with open_sites(configs, read_all(configs, need_one=False)) as (sites, _):
        done = destroy_guests(books, sites, guests, dry_run=dry_run)
    word = "would be destroyed" if dry_run else "destroyed"
    rows = [{"guest": guest, "done": not why and not dry_run, "why": str(why or "")} for guest, why in done.items()]
    statuses = [why.exit_status for why in done.values() if why]
    emit(
        {"schema": 1, "dry_run": dry_run, "guests": rows, "exit_statuses": sorted(set(statuses))},
        output,
        lambda: "\n".join(f"{guest}: {why or word}" for guest, why in done.items()),
    )
    return worst_status(statuses)
