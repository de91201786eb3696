"""The course of a measurement: nodes filled, guests created in each way, looked at once they have touched their memory,
and ended again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import uuid4

from benchmarks.locality.by_policy import created_by_policy
from benchmarks.locality.created import Created, nobody_has_our_names
from benchmarks.locality.figures import GuestSeen, distances_of, guest_seen, metrics_of
from benchmarks.locality.fill import Fill, fillers, for_hypervisor
from benchmarks.locality.looking import Running, settled
from benchmarks.locality.ways import AUTO, DEFAULT, TOUCHING_KVM, loose_placement, told_by
from benchmarks.rows import Row
from policies.plan import Placement
from policies.request import HostName
from probe.errors import NumaplaceError
from probe.snapshot import HostSnapshot
from scheduler.definitions.identity import Identity
from scheduler.definitions.render import render
from scheduler.definitions.template import Template, default_template
from scheduler.executors.port import DefinitionKind, DomainDefinition, OutcomeUnknownError
from scheduler.files.fleet_file import FleetGuest
from scheduler.files.hosts_file import HostConfig
from scheduler.guest_template import template_of
from scheduler.reading import read_hosts_of
from scheduler.steps import Site

_LEDGER = "numaplace-bench"
"""What stands in the mark of guests that are in no books: to everybody they are somebody else's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is measured.

    Attributes:
        guests, templates: as `read_fleet` gives them, under names of ours (`named`).
        ways: `default`, `auto` and names of policies, in the order of the table.
        homes_by: the policy that tells which host a guest is on that a hypervisor places: none of them chooses hosts.
        patience_s: how long guests are waited for until they have touched their memory.
        versions, command: of the rows.
    """

    guests: tuple[FleetGuest, ...]
    templates: Mapping[str, str]
    configs: tuple[HostConfig, ...]
    ways: tuple[str, ...]
    homes_by: str
    fills: tuple[Fill, ...]
    prefix: str
    seeds: tuple[int, ...] = (1,)
    patience_s: float = 300.0
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One row with what it was made from."""

    row: Row
    guests: tuple[GuestSeen, ...]


Tell = Callable[[str], None]
"""Told in a few words what is under way."""


def measure_locality(
    question: Question, sites: Mapping[str, Site], tell: Tell, on_row: Callable[[Measured], None]
) -> None:
    """Measure each way in each scenario with each seed; whatever is created is ended, also when this is interrupted.

    Raises:
        ConflictError: guests with our prefix exist already; nothing was done.
        LeftBehindError: some of ours could not be ended.
    """
    nobody_has_our_names(sites, question.prefix)
    created = Created(sites)
    for fill in question.fills:
        with created.ended():
            _fill_nodes(question, fill, created, tell)
            for seed in question.seeds:
                for way in question.ways:
                    tell(f"{fill.scenario}, {way}, seed {seed}: creating {len(question.guests)} guests")
                    on_row(_measured(question, fill, created, way, seed))


def _fill_nodes(question: Question, fill: Fill, created: Created, tell: Tell) -> None:
    if not fill.left_kib:
        return
    snapshots = _read(question)
    for host, site in created.sites.items():
        for placement in fillers(fill, host, snapshots[host], question.prefix):
            tell(f"{fill.scenario}: filling node {placement.memory_nodes} of {host}")
            created.create(host, _filler(placement, site, question), paused=True)


def _filler(placement: Placement, site: Site, question: Question) -> DomainDefinition:
    """The variables of the first guest say what runs there, such as the kernel on Xen."""
    kind = site.executor.kind
    own = default_template(kind, question.guests[0].variables)
    text = TOUCHING_KVM if kind is DefinitionKind.KVM_XML else own.text
    template = Template(text=text, origin=own.origin, variables=own.variables)
    return render(for_hypervisor(placement, kind), kind, _identity(), template=template, topology=site.topology)


def _identity() -> Identity:
    return Identity(uuid=str(uuid4()), ledger=_LEDGER, claim=_LEDGER)


def _read(question: Question) -> Mapping[str, HostSnapshot]:
    reading = read_hosts_of(question.configs)
    for error in reading.unreached.values():
        raise error
    return reading.snapshots


def _measured(question: Question, fill: Fill, created: Created, way: str, seed: int) -> Measured:
    began = time.monotonic()
    with created.ended():
        running, refused = _created(question, created, way, seed)
        looks, in_time = settled(question.configs, created.sites, running, patience_s=question.patience_s)
        found: dict[str, GuestSeen] = {
            one.placement.guest: guest_seen(one.placement, looks[one.uuid], created.sites[one.placement.host].topology)
            for one in running
            if one.uuid in looks
        }
    found |= refused | {
        one.placement.guest: GuestSeen(
            guest=one.placement.guest, host=one.placement.host, note="was created, and ended by itself"
        )
        for one in running
        if one.uuid not in looks
    }
    guests = tuple(found[guest.request.name] for guest in question.guests)
    row = Row(
        scenario=fill.scenario,
        policy=way,
        seed=seed,
        digest=_digest(question, created.sites, fill),
        metrics={**metrics_of(guests), "wall_s": round(time.monotonic() - began, 1)},
        distances=distances_of(guests),
        options={"fill": str(fill)} if fill.left_kib else {},
        limited_by_clock=not in_time,
        versions=question.versions,
        command=question.command,
    )
    return Measured(row=row, guests=guests)


def _created(question: Question, created: Created, way: str, seed: int) -> tuple[list[Running], dict[str, GuestSeen]]:
    """The guests that were created, and those that were not."""
    if way not in (DEFAULT, AUTO):
        return created_by_policy(question.guests, question.templates, question.configs, created, way, seed)
    homes = _homes(question, seed)
    running: list[Running] = []
    refused: dict[str, GuestSeen] = {}
    for guest in question.guests:
        host = homes.get(guest.request.name, next(iter(created.sites)))
        placement = loose_placement(guest.request, HostName(host))
        try:
            definition = _loose(placement, guest, question, created.sites[host], way)
            created.create(host, definition)
            running.append(Running(uuid=definition.uuid, placement=placement))
        except OutcomeUnknownError:
            raise
        except NumaplaceError as error:
            refused[placement.guest] = GuestSeen(guest=placement.guest, host=host, note=error.message)
    return running, refused


def _homes(question: Question, seed: int) -> Mapping[str, str]:
    """Guest to host, as a policy has it; with one host there is nothing to ask."""
    if len(question.configs) == 1:
        return {}
    from benchmarks.locality.by_policy import planned

    plan = planned(question.guests, question.templates, question.configs, _read(question), question.homes_by, seed)
    return {placement.guest: placement.host for placement in plan.plan.placements}


def _loose(placement: Placement, guest: FleetGuest, question: Question, site: Site, way: str) -> DomainDefinition:
    kind = site.executor.kind
    if guest.template is None:
        template = default_template(kind, guest.variables)
    else:
        template = template_of(guest, guest.template, question.templates)
    bound_to_nothing = render(placement, kind, _identity(), template=template, topology=site.topology)
    return DomainDefinition(
        guest=bound_to_nothing.guest,
        uuid=bound_to_nothing.uuid,
        kind=kind,
        text=told_by(way, kind, bound_to_nothing.text),
    )


def _digest(question: Question, sites: Mapping[str, Site], fill: Fill) -> str:
    """Of the guests, the hosts' shapes and the fill."""
    told = [
        [f"{guest.request!r}" for guest in question.guests],
        {host: site.topology.fingerprint() for host, site in sites.items()},
        str(fill),
    ]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
