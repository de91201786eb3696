"""From what was asked for to a question that can be carried out, and to what people are told before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.locality.course import Question
from benchmarks.locality.fill import Fill, check_fill, fillers, told
from benchmarks.locality.looking import pages_are_seen
from benchmarks.locality.ways import hypervisors_ways, touching_guests
from benchmarks.simulator.versions import versions
from policies.registry import load_policy
from policies.request import GUEST_NAME, GuestName, GuestRequest
from probe.errors import BadInputError
from probe.snapshot import HostSnapshot
from probe.units import format_kib_rounded
from scheduler.definitions.size_of import template_size
from scheduler.executors.port import DefinitionKind
from scheduler.files.fleet_file import DEFAULT_OVERHEAD_KIB, FleetGuest, read_fleet
from scheduler.files.hosts_file import HostConfig
from scheduler.guest_template import check_templates
from scheduler.reading import Reading
from scheduler.sites import Sites

_MIB = 1024
_MOST_OWN_KIB = 4 * 1024 * 1024
"""A built-in guest is no larger: its memory is written to before it runs, which takes its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of the command."""

    fleet: Path | None
    policies: tuple[str, ...]
    fills: tuple[str, ...]
    seeds: tuple[int, ...]
    patience_s: float
    prefix: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What will be done, and how people are told."""

    question: Question
    told: str

    @property
    def rows(self) -> int:
        return len(self.question.fills) * len(self.question.seeds) * len(self.question.ways)


def prepared(asked: Asked, configs: Sequence[HostConfig], reading: Reading, sites: Sites) -> Prepared:
    """Check all that can be checked before anything is created.

    Raises:
        BadInputError: a bad fleet, fill, policy or prefix, or a host where nobody could count pages.
    """
    for error in sites.unreached.values():
        raise error
    kinds = {name: site.executor.kind for name, site in sites.open.items()}
    for config in configs:
        pages_are_seen(config, kinds[config.name])
    for policy in asked.policies:
        load_policy(policy)
    fills = tuple(dict.fromkeys(str(Fill.parse(text)) for text in asked.fills))
    guests, templates = _guests(asked, reading.snapshots, kinds)
    question = Question(
        guests=tuple(_named(guest, asked.prefix) for guest in guests),
        templates=templates,
        configs=tuple(configs),
        ways=(*hypervisors_ways(kinds, configs), *dict.fromkeys(asked.policies)),
        homes_by=asked.policies[0],
        fills=tuple(map(Fill.parse, fills)),
        prefix=asked.prefix,
        seeds=asked.seeds,
        patience_s=asked.patience_s,
        versions=versions(),
        command=asked.command,
    )
    for fill in question.fills:
        check_fill(fill, reading.snapshots)
    return Prepared(question=question, told=_told(question, reading.snapshots))


def _guests(
    asked: Asked, snapshots: Mapping[str, HostSnapshot], kinds: Mapping[str, DefinitionKind]
) -> tuple[tuple[FleetGuest, ...], dict[str, str]]:
    if asked.fleet is None:
        requests = [request for host, snapshot in snapshots.items() for request in own_requests(host, snapshot)]
        return touching_guests(requests, kinds)
    guests, templates = read_fleet(asked.fleet, template_size)
    check_templates(guests, templates)
    return guests, templates


def own_requests(host: str, snapshot: HostSnapshot) -> list[GuestRequest]:
    """Two guests for each node with CPUs and memory, each of an eighth of what is available there.

    Of its pCPUs, where they are three or more, they leave one to a guest that fills the node.
    """
    requests = []
    for node in snapshot.topology.nodes:
        available = snapshot.memory_of(node.node_id).available_kib or 0
        kib = min(_MOST_OWN_KIB, available // 8) // _MIB * _MIB
        if node.cpus and kib > 0:
            requests += [
                GuestRequest(
                    name=GuestName(f"{host}-{node.node_id}{letter}"),
                    vcpus=max(1, (len(node.cpus) - 1) // 2),
                    memory_kib=kib,
                    overhead_kib=DEFAULT_OVERHEAD_KIB,
                )
                for letter in "ab"
            ]
    return requests


def _named(guest: FleetGuest, prefix: str) -> FleetGuest:
    """Under a name of ours. Raises `BadInputError` where that is none."""
    name = f"{prefix}{guest.request.name}"
    if not prefix or GUEST_NAME.fullmatch(name) is None:
        raise BadInputError(
            f"--prefix {prefix!r}: {name!r} is no name for a guest: it has letters, digits and . _ + @ - only, begins"
            " with a letter or a digit, and has at most 63."
        )
    return replace(guest, request=replace(guest.request, name=GuestName(name)))


def _told(question: Question, snapshots: Mapping[str, HostSnapshot]) -> str:
    """What will be created and ended, by and beside whom."""
    kib = sum(guest.request.memory_kib for guest in question.guests)
    times = len(question.fills) * len(question.seeds) * len(question.ways)
    lines = [
        f"On {', '.join(snapshots)}: creates {len(question.guests)} guests called {question.prefix}…"
        f" ({format_kib_rounded(kib)} in all), {times} times, and ends them again each time.",
        f"Placed by: {', '.join(question.ways)}. Seeds: {', '.join(map(str, question.seeds))}.",
    ]
    for fill in question.fills:
        placements = [p for host, each in snapshots.items() for p in fillers(fill, host, each, question.prefix)]
        what = told(fill, placements) if fill.left_kib else "idle: fills nothing"
        lines.append(f"Scenario {fill.scenario!r}, {what}.")
    for host, snapshot in snapshots.items():
        others = [occupant.guest for occupant in snapshot.occupants if occupant.state.holds_memory]
        if others:
            some = f"{', '.join(others[:5])}{' …' * (len(others) > 5)}"
            lines.append(f"On {host} {len(others)} guests of others run and are left alone: {some}.")
    return "\n".join(lines)
