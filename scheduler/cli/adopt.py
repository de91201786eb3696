"""`numaplace adopt`: guests that are there come into the books, unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scheduler.cli.options import hosts_options, ledger_option
from scheduler.cli.output import columns, emit, output_option, worst_status

if TYPE_CHECKING:
    from scheduler.adopt import Adoption


def _guests_of_hosts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Guests on the hosts that are in no books yet, for shell completion."""
    from probe.errors import NumaplaceError
    from scheduler.cli.sources import read_configs
    from scheduler.reading import read_hosts_of

    del param
    try:
        configs = read_configs(ctx.params.get("hosts") or (), ctx.params.get("hosts_path"))
        snapshots = read_hosts_of(configs).snapshots.values()
    except NumaplaceError:
        return []
    strangers = {o.guest for snapshot in snapshots for o in snapshot.occupants if o.ledger is None}
    return sorted(guest for guest in strangers if guest.startswith(incomplete))


@click.command()
@click.argument("guests", nargs=-1, shell_complete=_guests_of_hosts)
@hosts_options
@ledger_option
@click.option("--all", "everybody", is_flag=True, help="All guests of the hosts that are in no books.")
@click.option("--dry-run", is_flag=True, help="Say what would be taken into the books.")
@output_option
def adopt(
    guests: tuple[str, ...],
    hosts: tuple[str, ...],
    hosts_path: Path | None,
    ledger: str | None,
    everybody: bool,
    dry_run: bool,
    output: str,
) -> int:
    """Take GUESTS, running or only defined, into the books with what they really have.

    Nothing of them is changed, but for our mark in their metadata. A guest has dedicated CPUs only
    where each of its vCPUs is pinned to one CPU that nobody else may use.
    """
    if bool(guests) == everybody:
        raise click.UsageError("expected GUESTS, or --all, and not both.")
    from scheduler.adopt import Hosts, adopt_guests
    from scheduler.adopting import present_hosts
    from scheduler.cli.progress import progress
    from scheduler.cli.sources import read_all, read_configs
    from scheduler.ledger import open_ledger
    from scheduler.sites import open_sites

    books = open_ledger(ledger)
    configs = [config for config in read_configs(hosts, hosts_path) if config.executor]
    reading = read_all(configs, need_one=False)
    with (
        open_sites(configs, reading) as (sites, unreached),
        progress("adopting guests", total=len(guests) or None) as step,
    ):
        known = Hosts(present=present_hosts(configs, sites), unreached=unreached)
        done = adopt_guests(books, known, None if everybody else guests, step, dry_run=dry_run)
    statuses = [each.error.exit_status for each in done if each.error] + [6] * bool(everybody and unreached)
    document = {
        "schema": 1,
        "dry_run": dry_run,
        "guests": [_row(each) for each in done],
        "unreached": {host: str(error) for host, error in unreached.items()},
        "exit_statuses": sorted(set(statuses)),
    }
    emit(document, output, lambda: _table(done, dry_run=dry_run))
    return worst_status(statuses)


def _row(each: Adoption) -> dict[str, object]:
    from policies.plan_json import decision_to_json

    return {
        "guest": each.guest,
        "host": each.host,
        "adopted": each.error is None,
        "placement": None if each.placement is None else decision_to_json(each.placement),
        "note": each.note,
        "why": str(each.error or ""),
    }


def _table(done: Sequence[Adoption], *, dry_run: bool) -> str:
    from scheduler.cli.plan import placement_rows

    if not done:
        return "no guests that are in no books"
    rows = [
        (*cells, each.note if i == 0 else "")
        for each in done
        if each.placement is not None
        for i, cells in enumerate(placement_rows(each.placement))
    ]
    lines = [columns(("GUEST", "HOST", "NODES", "CPUS", "", "MEMORY", "MODE", "NOTE"), rows)] if rows else []
    lines += [f"not adopted: {each.error}" for each in done if each.error]
    if dry_run:
        lines.append("dry run: nothing was taken into the books")
    return "\n".join(lines)
