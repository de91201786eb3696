"""`numaplace cordon` and `uncordon`: close hosts and nodes for new guests, and open them again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from scheduler.cli.options import ledger_option
from scheduler.cli.output import emit, output_option

if TYPE_CHECKING:
    from scheduler.files.hosts_file import HostConfig
    from scheduler.ledger import Ledger


class _Place(NamedTuple):
    """What one word of the command line names; node None: the whole host."""

    host: str
    node: int | None

    def __str__(self) -> str:
        return self.host if self.node is None else f"node {self.node} of {self.host}"


def _hosts_of_file(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """For shell completion."""
    from probe.errors import NumaplaceError
    from scheduler.cli.sources import read_configs

    del param
    try:
        return [c.name for c in read_configs((), ctx.params.get("hosts_path")) if c.name.startswith(incomplete)]
    except NumaplaceError:
        return []


_PLACES = click.argument("places", nargs=-1, required=True, metavar="HOST[:NODE]...", shell_complete=_hosts_of_file)
_HOSTS = click.option(
    "--hosts",
    "hosts_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Hosts file. Default: $NUMAPLACE_HOSTS, ./hosts.yaml, ~/.config/numaplace/hosts.yaml",
)


@click.command()
@_PLACES
@_HOSTS
@ledger_option
@click.option("--dry-run", is_flag=True, help="Say what would be closed.")
@output_option
def cordon(places: tuple[str, ...], hosts_path: Path | None, ledger: str | None, dry_run: bool, output: str) -> None:
    """Close hosts, or single nodes, for new guests. Who is there stays.

    A cordoned node offers neither CPUs nor memory; `plan` says so where it refuses a guest.
    """
    from scheduler.ledger import open_ledger

    named = _named(places, hosts_path, check_nodes=True)
    _carry_out(open_ledger(ledger), named, closing=True, dry_run=dry_run, output=output)


@click.command()
@_PLACES
@_HOSTS
@ledger_option
@click.option("--dry-run", is_flag=True, help="Say what would be opened.")
@output_option
def uncordon(places: tuple[str, ...], hosts_path: Path | None, ledger: str | None, dry_run: bool, output: str) -> None:
    """Open hosts or nodes for new guests again. A node that was closed by itself is opened by itself."""
    from scheduler.ledger import open_ledger

    named = _named(places, hosts_path, check_nodes=False)
    _carry_out(open_ledger(ledger), named, closing=False, dry_run=dry_run, output=output)


def _named(places: tuple[str, ...], hosts_path: Path | None, *, check_nodes: bool) -> list[_Place]:
    """The places, each of a host of the hosts file, and of a node that it has.

    Raises:
        BadInputError: there is no such host, or no such node.
    """
    from probe.errors import BadInputError
    from scheduler.cli.sources import read_configs

    configs = {str(config.name): config for config in read_configs((), hosts_path)}
    named = []
    for text in places:
        host, colon, node = text.partition(":")
        if colon and not (node.isascii() and node.isdecimal()):
            raise BadInputError(f"{text!r}: expected HOST or HOST:NODE, and a node is a number.")
        if host not in configs:
            raise BadInputError(f"{text!r}: no host of this name in the hosts file; it has {', '.join(configs)}.")
        place = _Place(host, int(node) if colon else None)
        if check_nodes and place.node is not None:
            _node_is_there(configs[host], place.node)
        named.append(place)
    return named


def _node_is_there(config: HostConfig, node: int) -> None:
    """Raises `BadInputError` where the host has no such node; one that does not answer is believed."""
    from probe.errors import BadInputError
    from scheduler.cli.sources import read_all

    snapshot = read_all([config], need_one=False).snapshots.get(config.name)
    if snapshot is not None and node not in snapshot.topology.node_ids:
        raise BadInputError(f"{config.name} has no node {node}; it has {snapshot.topology.node_ids}.")


def _carry_out(books: Ledger, places: list[_Place], *, closing: bool, dry_run: bool, output: str) -> None:
    from scheduler.ledger import WHOLE_HOST

    rows = []
    for place in places:
        node = WHOLE_HOST if place.node is None else place.node
        was_closed = any((c.host, c.node) == (place.host, node) for c in books.cordons.all())
        if not dry_run:
            (books.cordons.close if closing else books.cordons.open)(place.host, node)
        rows.append({"host": place.host, "node": place.node, "changed": was_closed is not closing and not dry_run})
    document = {"schema": 1, "dry_run": dry_run, "cordoned": cordons_to_json(books), "places": rows}
    emit(document, output, lambda: _table(books, places, closing=closing, dry_run=dry_run))


def _table(books: Ledger, places: list[_Place], *, closing: bool, dry_run: bool) -> str:
    word = f"would be {'closed' if closing else 'opened'}" if dry_run else "cordoned" if closing else "open"
    lines = [f"{place}: {word}" for place in places]
    hosts = {place.host for place in places}
    kept = [f"{cordon} is cordoned" for cordon in books.cordons.all() if cordon.host in hosts]
    return "\n".join([*lines, *([] if closing else kept)])


def cordons_to_json(books: Ledger) -> list[dict[str, object]]:
    """Everything that is closed; node null: the whole host."""
    from scheduler.ledger import WHOLE_HOST

    return [
        {
            "host": cordon.host,
            "node": None if cordon.node == WHOLE_HOST else cordon.node,
            "since": cordon.since.isoformat(),
        }
        for cordon in books.cordons.all()
    ]


def cordon_lines(books: Ledger, hosts: set[str]) -> list[str]:
    """For people: what is closed on these hosts."""
    return [f"{cordon} is cordoned: no new guests" for cordon in books.cordons.all() if cordon.host in hosts]
