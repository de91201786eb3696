"""`numaplace probe`: what is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from probe.sources.registry import KINDS
from scheduler.cli.cordon import cordon_lines
from scheduler.cli.options import ledger_option
from scheduler.cli.output import emit, output_option, terminal_width, wants_colour, write_file
from scheduler.cli.pictures import booked_on

if TYPE_CHECKING:
    from scheduler.ledger import Ledger

_SOURCES = "\b\nSources:\n" + "\n".join(
    f"  {kind.example}\n      {kind.meaning}" for kind in dict.fromkeys(KINDS.values())
)


@click.command(epilog=_SOURCES)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="SOURCE",
    help="Source to read; several describe one host. A NAME of the hosts file works too. Default: sysfs:",
)
@click.option("--hosts", "hosts_path", type=click.Path(path_type=Path), help="Hosts file, for --host NAME.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write the snapshot to a JSON file.")
@click.option("--svg", type=click.Path(path_type=Path), help="Draw the host as a picture (SVG) that fits a ticket.")
@click.option("--graph", type=click.Path(path_type=Path), help="Write the topology graph (node-link JSON, networkx).")
@ledger_option
@output_option
def probe(
    hosts: tuple[str, ...],
    hosts_path: Path | None,
    out: Path | None,
    svg: Path | None,
    graph: Path | None,
    ledger: str | None,
    output: str,
) -> None:
    """Show what a host has: its NUMA nodes, their CPUs and memory, and the guests that are there.

    Of a host of the hosts file also which CPUs the books promise to whom. Nothing is changed and nothing is installed
    on the host.
    """
    from probe.picture.terminal import host_picture, host_table
    from probe.snapshot_json import snapshot_to_json
    from scheduler.cli.sources import read_one

    snapshot = read_one(hosts or ("sysfs:",), hosts_path)
    books = _books(hosts, ledger)
    booked = booked_on(claim.placement for claim in books.claims()).get(hosts[0], {}) if books else {}
    document = snapshot_to_json(snapshot)
    if out:
        import json

        write_file(out, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    if svg:
        from probe.picture.svg import hosts_svg

        title = snapshot.hostname or snapshot.sources[0]
        write_file(svg, hosts_svg({title: snapshot}, {title: booked}))
    if graph:
        from probe.graph import graph_to_json

        write_file(graph, graph_to_json(snapshot))
    emit(
        document,
        output,
        lambda: "\n".join(
            [
                host_table(snapshot),
                "",
                *host_picture(snapshot, width=terminal_width(), colour=wants_colour(), booked=booked),
                *(cordon_lines(books, {hosts[0]}) if books else []),
            ]
        ),
    )
    for path in filter(None, (out, svg, graph)):
        click.echo(f"wrote {path}", err=True)


def _books(hosts: tuple[str, ...], ledger: str | None) -> Ledger | None:
    """The books, for a host of the hosts file; None of another, and where there are none yet."""
    from scheduler.cli.sources import is_name

    if len(hosts) != 1 or not is_name(hosts[0]):
        return None
    from scheduler.ledger import ledger_path, open_ledger

    path = ledger_path(ledger)
    return open_ledger(path) if path.is_file() else None
