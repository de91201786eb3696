"""`numaplace probe`: what is there."""

from __future__ import annotations

from pathlib import Path

import click

from probe.sources.registry import KINDS
from scheduler.cli.options import ledger_option
from scheduler.cli.output import emit, output_option, terminal_width, wants_colour, write_file

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

    Nothing is changed and nothing is installed on the host.
    """
    from probe.picture.terminal import host_picture, host_table
    from probe.snapshot_json import snapshot_to_json
    from scheduler.cli.sources import read_one

    snapshot = read_one(hosts or ("sysfs:",), hosts_path)
    document = snapshot_to_json(snapshot)
    if out:
        import json

        write_file(out, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    if svg:
        from probe.picture.svg import hosts_svg

        write_file(svg, hosts_svg({snapshot.hostname or snapshot.sources[0]: snapshot}))
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
                *host_picture(snapshot, width=terminal_width(), colour=wants_colour()),
                *_cordons(hosts, ledger),
            ]
        ),
    )
    for path in filter(None, (out, svg, graph)):
        click.echo(f"wrote {path}", err=True)


def _cordons(hosts: tuple[str, ...], ledger: str | None) -> list[str]:
    """What is closed on a host of the hosts file; nothing where there are no books yet."""
    from scheduler.cli.sources import is_name

    if len(hosts) != 1 or not is_name(hosts[0]):
        return []
    from scheduler.cli.cordon import cordon_lines
    from scheduler.ledger import ledger_path, open_ledger

    path = ledger_path(ledger)
    return cordon_lines(open_ledger(path), {hosts[0]}) if path.is_file() else []
