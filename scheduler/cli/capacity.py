"""`numaplace capacity`: how many more guests of each flavour fit, and what is stranded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from scheduler.cli.options import hosts_options, ledger_option, what_if_option
from scheduler.cli.output import columns, emit, output_option, worst_status

if TYPE_CHECKING:
    from policies.headroom import Fits, Stranded
    from policies.plan import Rejection
    from policies.request import GuestRequest
    from scheduler.what_if.change import Change, LoseEach
    from scheduler.what_if.supposed import Supposed


@click.command()
@click.option(
    "--flavours",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A fleet file: each kind of guest in it is a flavour, how many of them does not matter.",
)
@hosts_options
@ledger_option
@what_if_option
@output_option
def capacity(
    flavours: Path,
    hosts: tuple[str, ...],
    hosts_path: Path | None,
    ledger: str | None,
    what_if: tuple[str, ...],
    output: str,
) -> int:
    """How many more guests of each flavour fit, each flavour as if it were alone, and what none of them can use.

    Guests that are there, promises in the books and cordons count; groups do not. With --what-if, guests
    that lose their place by it are placed elsewhere first. Exit status 3 when one of these finds no place,
    6 when some host could not be reached and was left out.
    """
    from policies.policy import Effort
    from scheduler.cli.progress import progress
    from scheduler.cli.sources import read_all, read_configs
    from scheduler.definitions.size_of import template_size
    from scheduler.files.fleet_file import kinds_of, read_fleet
    from scheduler.ledger import open_ledger
    from scheduler.what_if import each_lost, rehoused, suppose
    from scheduler.what_if.change import one_by_one, parse_changes
    from scheduler.what_if.supposed import Supposed

    asked = parse_changes(what_if)
    changes, each = one_by_one(asked)
    guests, _ = read_fleet(flavours, template_size)
    kinds = kinds_of([guest.request for guest in guests])
    configs = read_configs(hosts, hosts_path)
    reading = read_all(configs)
    supposed = suppose(Supposed.as_it_is((), configs, reading.snapshots, open_ledger(ledger)), changes)
    cases = {"": supposed, **(dict(each_lost(supposed)) if each else {})}
    rooms = {}
    with progress(f"counting {len(kinds)} flavours on {len(supposed.views)} hosts", total=len(cases)) as step:
        for lost, case in cases.items():
            settled, homeless = rehoused(case, "solver", Effort())
            rooms[lost] = _room(kinds, settled, homeless)
            step()
    emit(_document(rooms, asked), output, lambda: _table(rooms, asked))
    lacking = any(room.homeless or room.supposed.not_planned for room in rooms.values())
    return worst_status([3] * lacking + [6] * bool(reading.unreached))


class _Room(NamedTuple):
    """What hosts have room for: per host and flavour, and what none can use.

    `homeless` are guests who lost their place by what is supposed, and find no other.
    """

    hosts: Sequence[str]
    fits: Mapping[str, Sequence[Fits]]
    unused: Sequence[Stranded]
    supposed: Supposed
    homeless: Sequence[Rejection]


def _room(kinds: Mapping[str, GuestRequest], supposed: Supposed, homeless: Sequence[Rejection]) -> _Room:
    from policies.fleet import Fleet
    from policies.headroom import how_many, stranded

    fleet = Fleet.of([view.capacity for view in supposed.views])
    return _Room(
        hosts=[host.name for host in fleet],
        fits={name: how_many(request, fleet) for name, request in kinds.items()},
        unused=[stranded(list(kinds.values()), host) for host in fleet],
        supposed=supposed,
        homeless=homeless,
    )


def _document(rooms: Mapping[str, _Room], asked: Sequence[Change | LoseEach]) -> dict[str, Any]:
    """Of the whole fleet; and beside it what is supposed, and the room where each host is lost."""
    from scheduler.cli.what_if import what_if_to_json

    whole, losses = rooms[""], [(lost, room) for lost, room in rooms.items() if lost]
    document = {"schema": 1, "fleet": _sums(whole), "hosts": _hosts_to_json(whole)}
    if asked:
        document |= {
            "hypothetical": [str(change) for change in asked],
            "what_if": what_if_to_json(whole.supposed),
            "no_place": _homeless(whole),
        }
    if losses:
        document["losses"] = [
            {"host": lost, "fleet": _sums(room), "no_place": _homeless(room)} | what_if_to_json(room.supposed)
            for lost, room in losses
        ]
    return document


def _sums(room: _Room) -> dict[str, Any]:
    return {flavour: _fits_to_json(_sum(counts)) for flavour, counts in room.fits.items()}


def _homeless(room: _Room) -> list[dict[str, Any]]:
    from policies.plan_json import decision_to_json

    return [decision_to_json(rejection) for rejection in room.homeless]


def _hosts_to_json(room: _Room) -> list[dict[str, Any]]:
    return [
        {
            "host": name,
            "fits": {flavour: _fits_to_json(counts[i]) for flavour, counts in room.fits.items()},
            "stranded": {
                "vcpus_without_memory": room.unused[i].vcpus,
                "memory_without_cpus_kib": {str(page): kib for page, kib in room.unused[i].memory_kib.items()},
                "odd_pages_kib": {str(page): kib for page, kib in room.unused[i].odd_pages_kib.items()},
            },
        }
        for i, name in enumerate(room.hosts)
    ]


def _fits_to_json(fits: Fits) -> dict[str, int]:
    return {"count": fits.count, "bound": fits.bound}


def _sum(counts: Sequence[Fits]) -> Fits:
    from policies.headroom import Fits

    return sum(counts, start=Fits(0, 0))


def _table(rooms: Mapping[str, _Room], asked: Sequence[Change | LoseEach]) -> str:
    from scheduler.cli.what_if import around, headline

    if list(rooms) == [""]:
        whole = rooms[""]
        return around("\n\n".join(filter(None, [_by_host(whole), _no_place(whole)])), whole.supposed)
    rows = [
        (lost or "none", len(room.homeless), *(_text(_sum(counts)) for counts in room.fits.values()))
        for lost, room in rooms.items()
    ]
    lines = [_no_place(room, f"Without {lost}, " if lost else "") for lost, room in rooms.items()]
    table = columns(("LOST", "NO PLACE", *rooms[""].fits), rows)
    return "\n\n".join(filter(None, [headline(asked), table, "\n".join(filter(None, lines))]))


def _by_host(room: _Room) -> str:
    rows = [
        (name, *(_text(counts[i]) for counts in room.fits.values()), _stranded_text(room.unused[i]))
        for i, name in enumerate(room.hosts)
    ]
    rows.append(("all", *(_text(_sum(counts)) for counts in room.fits.values()), ""))
    return columns(("HOST", *room.fits, "STRANDED"), rows)


def _no_place(room: _Room, start: str = "") -> str:
    from scheduler.cli.plan import refusal_line

    return "\n".join(f"{start}{refusal_line(rejection)}" for rejection in room.homeless)


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
