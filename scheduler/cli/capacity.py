"""`numaplace capacity`: how many more guests of each flavour fit, and what is stranded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scheduler.cli.options import hosts_options, ledger_option
from scheduler.cli.output import columns, emit, output_option

if TYPE_CHECKING:
    from policies.headroom import Fits, Stranded


@click.command()
@click.option(
    "--flavours",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A fleet file: each kind of guest in it is a flavour, how many of them does not matter.",
)
@hosts_options
@ledger_option
@output_option
def capacity(flavours: Path, hosts: tuple[str, ...], hosts_path: Path | None, ledger: str | None, output: str) -> int:
    """How many more guests of each flavour fit, each flavour as if it were alone, and what none of them can use.

    Guests that are there, promises in the books and cordons count; groups do not. Exit status 6 when
    some host could not be reached and was left out.
    """
    from policies.fleet import Fleet
    from policies.headroom import how_many, stranded
    from scheduler.cli.progress import progress
    from scheduler.cli.sources import read_all, read_configs
    from scheduler.definitions.size_of import template_size
    from scheduler.files.fleet_file import kinds_of, read_fleet
    from scheduler.ledger import open_ledger
    from scheduler.planning import view_hosts

    guests, _ = read_fleet(flavours, template_size)
    kinds = kinds_of([guest.request for guest in guests])
    configs = read_configs(hosts, hosts_path)
    reading = read_all(configs)
    fleet = Fleet.of([view.capacity for view in view_hosts(configs, reading.snapshots, open_ledger(ledger))])
    with progress(f"counting {len(kinds)} flavours on {len(fleet)} hosts"):
        fits = {name: how_many(request, fleet) for name, request in kinds.items()}
    unused = [stranded(list(kinds.values()), host) for host in fleet]
    names = [host.name for host in fleet]
    emit(_document(names, fits, unused), output, lambda: _table(names, fits, unused))
    return 6 if reading.unreached else 0


def _document(names: Sequence[str], fits: Mapping[str, Sequence[Fits]], unused: Sequence[Stranded]) -> dict[str, Any]:
    hosts = [
        {
            "host": name,
            "fits": {flavour: _fits_to_json(counts[i]) for flavour, counts in fits.items()},
            "stranded": {
                "vcpus_without_memory": unused[i].vcpus,
                "memory_without_cpus_kib": {str(page): kib for page, kib in unused[i].memory_kib.items()},
                "odd_pages_kib": {str(page): kib for page, kib in unused[i].odd_pages_kib.items()},
            },
        }
        for i, name in enumerate(names)
    ]
    return {"schema": 1, "fleet": {f: _fits_to_json(_sum(counts)) for f, counts in fits.items()}, "hosts": hosts}


def _fits_to_json(fits: Fits) -> dict[str, int]:
    return {"count": fits.count, "bound": fits.bound}


def _sum(counts: Sequence[Fits]) -> Fits:
    from policies.headroom import Fits

    return sum(counts, start=Fits(0, 0))


def _table(names: Sequence[str], fits: Mapping[str, Sequence[Fits]], unused: Sequence[Stranded]) -> str:
    rows = [
        (name, *(_text(counts[i]) for counts in fits.values()), _stranded_text(unused[i]))
        for i, name in enumerate(names)
    ]
    rows.append(("all", *(_text(_sum(counts)) for counts in fits.values()), ""))
    return columns(("HOST", *fits, "STRANDED"), rows)


def _text(fits: Fits) -> str:
    return str(fits.count) if fits.count == fits.bound else f"{fits.count} to {fits.bound}"


def _stranded_text(unused: Stranded) -> str:
    from probe.units import format_kib_rounded as size

    parts = [f"room for {unused.vcpus} vCPUs without memory"] if unused.vcpus else []
    parts += [f"{size(kib)}{_pages(page)} without pCPUs" for page, kib in unused.memory_kib.items()]
    parts += [f"{size(kib)}{_pages(page)} that none asks for" for page, kib in unused.odd_pages_kib.items()]
    return ", ".join(parts)


def _pages(page_kib: int) -> str:
    from probe.units import format_kib

    return "" if page_kib == 4 else f" in {format_kib(page_kib)} pages"
