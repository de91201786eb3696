"""`numaplace status`: the books beside what really runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scheduler.cli.cordon import cordon_lines, cordons_to_json
from scheduler.cli.options import hosts_options, ledger_option
from scheduler.cli.output import columns, emit, output_option, terminal_width, wants_colour, worst_status, write_file
from scheduler.cli.pictures import booked_on

if TYPE_CHECKING:
    from probe.errors import NumaplaceError
    from probe.picture.layout import Booked
    from probe.snapshot import HostSnapshot
    from scheduler.status import Standing


@click.command()
@hosts_options
@ledger_option
@click.option("--reconcile", "do_reconcile", is_flag=True, help="Record in the books what is found.")
@click.option("--memory", is_flag=True, help="Count pages on Xen too: all its CPUs wait while it does.")
@click.option("--svg", type=click.Path(path_type=Path), help="Draw the hosts as one picture (SVG).")
@output_option
def status(
    hosts: tuple[str, ...],
    hosts_path: Path | None,
    ledger: str | None,
    do_reconcile: bool,
    memory: bool,
    svg: Path | None,
    output: str,
) -> int:
    """Show for every guest in the books where its threads and memory are. Exit status 4: not where planned."""
    from scheduler.cli.progress import progress
    from scheduler.cli.sources import read_all, read_configs
    from scheduler.executors.port import DefinitionKind
    from scheduler.ledger import open_ledger
    from scheduler.reconcile import reconcile
    from scheduler.sites import open_sites
    from scheduler.status import standings

    books = open_ledger(ledger)
    configs = [config for config in read_configs(hosts, hosts_path) if config.executor]
    reading = read_all(configs, need_one=False)
    with open_sites(configs, reading) as (sites, unreached), progress("looking at the guests"):
        changed = reconcile(books, sites) if do_reconcile else ()
        found = standings(books, sites, unreached, snapshots=reading.snapshots, memory=memory)
    statuses = [_exit_status(standing, unreached) for standing in found] + [6] * bool(unreached)
    booked = booked_on(standing.claim.placement for standing in found)
    document = {
        "schema": 1,
        "guests": [_row(standing) for standing in found],
        "reconciled": [{"guest": claim.guest, "state": claim.state.value} for claim in changed],
        "cordoned": cordons_to_json(books),
        "unreached": {host: str(error) for host, error in unreached.items()},
        "exit_statuses": sorted({*statuses} - {0}),
    }
    emit(document, output, lambda: _table(found, len(changed) if do_reconcile else None))
    if output == "table":
        if not memory and any(site.executor.kind is DefinitionKind.XL_CFG for site in sites.values()):
            click.echo("pages of Xen's guests were not counted: numaplace status --memory")
        for line in cordon_lines(books, {config.name for config in configs}):
            click.echo(line)
        _pictures(reading.snapshots, booked)
    if svg:
        from probe.picture.svg import hosts_svg

        write_file(svg, hosts_svg(reading.snapshots, booked))
        click.echo(f"wrote {svg}", err=True)
    return worst_status(statuses)


def _pictures(snapshots: Mapping[str, HostSnapshot], booked: Mapping[str, Mapping[str, Booked]]) -> None:
    """Every host, with each guest drawn alike on all of them."""
    from probe.picture.layout import guests_shown
    from probe.picture.terminal import host_picture

    width, colour, guests = terminal_width(), wants_colour(), guests_shown(snapshots.values(), booked.values())
    for name, snapshot in snapshots.items():
        its = booked.get(name, {})
        picture = host_picture(snapshot, width=width, colour=colour, guests=guests, booked=its)
        click.echo("\n".join(["", f"{name}:", *picture]))


def _exit_status(standing: Standing, unreached: Mapping[str, NumaplaceError]) -> int:
    if standing.claim.host in unreached:
        return 6
    if standing.claim.state.value == "unknown":
        return 8
    return 4 if standing.problems else 0


def _row(standing: Standing) -> dict[str, object]:
    claim, figures = standing.claim, standing.figures
    return {
        "guest": claim.guest,
        "host": claim.host,
        "state": claim.state.value,
        "domain": standing.domain.value if standing.domain else None,
        "claim": claim.claim_id,
        "adopted": claim.adopted,
        "cpus": str(claim.placement.cpus) if claim.placement.cpus is not None else None,
        "memory_nodes": str(claim.placement.memory_nodes),
        "binding_ok": figures.binding_ok if figures else None,
        "on_plan_ratio": figures.on_plan_ratio if figures else None,
        "locality_ratio": figures.locality_ratio if figures else None,
        "resident_ratio": figures.resident_ratio if figures else None,
        "memory_guarantee": standing.memory_guarantee and standing.memory_guarantee.value,
        "problems": list(standing.problems),
    }


def _table(found: tuple[Standing, ...], reconciled: int | None) -> str:
    if not found:
        return "no guests in the books"
    placed = ("GUEST", "HOST", "STATE", "DOMAIN", "CPUS", "NODE")
    header = (*placed, "BOUND", "ON PLAN", "LOCAL", "RESIDENT", "MEMORY", "PROBLEM")
    rows = []
    for standing in found:
        row = _row(standing)
        bound = {True: "yes", False: "NO", None: None}[row["binding_ok"]]  # type: ignore[index]
        ratios = [_percent(row[key]) for key in ("on_plan_ratio", "locality_ratio", "resident_ratio")]
        head = [row[key] for key in ("guest", "host", "state", "domain", "cpus", "memory_nodes")]
        guarantee = standing.memory_guarantee and standing.memory_guarantee.short
        rows.append([*head, bound, *ratios, guarantee, "; ".join(standing.problems)])
    lines = [columns(header, rows)]
    if reconciled is not None:
        lines.append(f"{reconciled} claim{'s' * (reconciled != 1)} changed by looking")
    return "\n".join(lines)


def _percent(ratio: object) -> str | None:
    """A ratio for people; "?" is not yet known, never 100 %."""
    return "?" if ratio is None else f"{float(str(ratio)):.0%}"
