"""`numaplace repair`: guests that drifted go back to where the plan says, while they run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scheduler.cli.options import hosts_options, known_guests, ledger_option
from scheduler.cli.output import columns, emit, output_option, worst_status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scheduler.repair import Repair
    from scheduler.verify import Figures


@click.command()
@click.argument("guests", nargs=-1, shell_complete=known_guests)
@hosts_options
@ledger_option
@click.option("--all", "everybody", is_flag=True, help="All guests of the hosts that were created or adopted.")
@click.option("--dry-run", is_flag=True, help="Say what is not as planned; change nothing.")
@output_option
def repair(
    guests: tuple[str, ...],
    hosts: tuple[str, ...],
    hosts_path: Path | None,
    ledger: str | None,
    everybody: bool,
    dry_run: bool,
    output: str,
) -> int:
    """Bind the threads of GUESTS as planned again, and let their memory follow. They run on meanwhile.

    Memory moves on KVM only, with cgroup v2, where its mode is `restrictive` (what numaplace makes)
    or none was given; for the others it is said what forbids it. Exit status 4: not all is as planned.
    """
    if bool(guests) == everybody:
        raise click.UsageError("expected GUESTS, or --all, and not both.")
    from scheduler.adopting import present_hosts
    from scheduler.cli.progress import progress
    from scheduler.cli.sources import read_all, read_configs
    from scheduler.ledger import open_ledger
    from scheduler.repair import repair_guests
    from scheduler.sites import open_sites

    books = open_ledger(ledger)
    needed = {claim.host for claim in books.claims() if everybody or claim.guest in guests}
    configs = [config for config in read_configs(hosts, hosts_path) if config.name in needed]
    with (
        open_sites(configs, read_all(configs, need_one=False)) as (sites, unreached),
        progress("repairing guests", total=len(guests) or None) as step,
    ):
        done = repair_guests(books, present_hosts(configs, sites), None if everybody else guests, step, dry_run=dry_run)
    statuses = [each.exit_status for each in done] + [6] * bool(everybody and unreached)
    document = {
        "schema": 1,
        "dry_run": dry_run,
        "guests": [_row(each) for each in done],
        "unreached": {host: str(error) for host, error in unreached.items()},
        "exit_statuses": sorted({*statuses} - {0}),
    }
    emit(document, output, lambda: _table(done, dry_run=dry_run))
    return worst_status(statuses)


def _row(each: Repair) -> dict[str, object]:
    return {
        "guest": each.guest,
        "host": each.host,
        "before": _seen(each.before),
        "after": _seen(each.after),
        "cannot": each.cannot,
        "why": str(each.error or ""),
    }


def _seen(figures: Figures | None) -> dict[str, object] | None:
    if figures is None:
        return None
    return {
        "binding_ok": figures.binding_ok,
        "on_plan_ratio": figures.on_plan_ratio,
        "locality_ratio": figures.locality_ratio,
        "problems": list(figures.problems),
    }


def _table(done: Sequence[Repair], *, dry_run: bool) -> str:
    rows = []
    for each in done:
        left = each.after or each.before
        notes = [each.cannot] if each.cannot else []
        notes += [str(each.error)] if each.error else list(left.problems) if left else []
        rows.append((each.guest, each.host, _change(each.before, each.after), "; ".join(notes) or "as planned"))
    lines = [columns(("GUEST", "HOST", "BOUND, ON PLAN", "NOTE"), rows)] if rows else ["no guests to repair"]
    if dry_run:
        lines.append("dry run: nothing was changed")
    return "\n".join(lines)


def _change(before: Figures | None, after: Figures | None) -> str:
    """What was seen, and what is seen now where that differs: `no 40% → yes 100%`."""
    told = [_word(seen) for seen in (before, after) if seen is not None]
    return " → ".join(dict.fromkeys(told))


def _word(seen: Figures) -> str:
    ratio = "?" if seen.on_plan_ratio is None else f"{seen.on_plan_ratio:.0%}"
    return f"{'yes' if seen.binding_ok else 'NO'} {ratio}"
