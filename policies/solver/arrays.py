"""A fleet and requests in arrays, for the pattern placer; not every request can be put so."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from policies.asked import EmulatorPolicy, SmtPolicy
from policies.candidates import Kind, kinds_of_parts
from policies.capacity import HostCapacity
from policies.fleet import Fleet
from policies.groups import LEVELS_OF_A_HOST, LEVELS_WITHIN_A_HOST
from policies.homes import Home, far_homes, homes, part_counts, refusal
from policies.objective import Objective, Term
from policies.patterns.question import Batch, Flavour, Form, GroupOf, Ints, Mask, Supply
from policies.request import Group, GroupRule, GuestName, GuestRequest
from policies.solver.counting import Counting, counting_of
from probe.topology import UNREACHABLE_DISTANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A fleet and requests as arrays.

    Attributes:
        hosts: those that take guests.
        kinds: what the flavours are of; their names and groups mean nothing.
        homes: (rows,) the home of each row.
        all_homes: whether every home is a row; if not, bounds are of no use.
    """

    supply: Supply
    batch: Batch
    hosts: tuple[HostCapacity, ...]
    kinds: tuple[GuestRequest, ...]
    homes: tuple[Home, ...]
    all_homes: bool


def as_arrays(requests: Sequence[GuestRequest], fleet: Fleet, objective: Objective) -> Asked | None:
    """The question in arrays; None where it cannot be put so."""
    if len(for_arrays(requests, fleet)) < len(requests):
        return None
    kinds, flavour_of = _kinds(requests)
    open_hosts = [host for host in fleet if host.is_open]
    hosts = tuple(host for host in open_hosts if _rows(host))
    reference = tuple(replace(kind, groups=()) for kind in objective.reference(requests))
    if not hosts or not requests or any(_is_beyond_arrays(kind, fleet) for kind in reference):
        return None
    rows = [(host, home) for host in hosts for home in _rows(host)]
    groups = tuple(_groups(requests))
    supply, counting = _supply((*kinds, *reference), fleet, hosts, rows, {group.level for group in groups})
    batch = Batch(
        flavours=(
            *(_flavour(kind, hosts, supply, counting) for kind in kinds),
            *(replace(_flavour(kind, hosts, supply, counting), weight=0) for kind in reference),
        ),
        flavour_of=flavour_of,
        groups=groups,
        fewest_hosts=Term.FEWEST_HOSTS in objective.terms,
    )
    if not any(flavour.forms for flavour in batch.flavours):
        return None
    return Asked(
        supply=supply,
        batch=batch,
        hosts=hosts,
        kinds=kinds,
        homes=tuple(home for _, home in rows),
        all_homes=len(rows) == sum(len(homes(host)) for host in open_hosts),
    )


def for_arrays(requests: Sequence[GuestRequest], fleet: Fleet) -> list[GuestRequest]:
    """Those of the requests that can be put in arrays, in their order."""
    there = {member.group.name for host in fleet for resident in host.residents for member in resident.groups}
    known: dict[GuestRequest, bool] = {}
    found = []
    for request in requests:
        kind = _kind(request)
        if kind not in known:
            known[kind] = not _is_beyond_arrays(kind, fleet)
        if known[kind] and not _has_odd_groups(request, there):
            found.append(request)
    return found


def _kind(request: GuestRequest) -> GuestRequest:
    """Equal for requests of one flavour."""
    return replace(request, name=GuestName("any"), groups=(), lifetime_s=None)


def _kinds(requests: Sequence[GuestRequest]) -> tuple[tuple[GuestRequest, ...], Ints]:
    """What the flavours are of, in the order of their first guest, and (guests,) the flavour of each guest."""
    number: dict[GuestRequest, int] = {}
    flavour_of = [number.setdefault(_kind(request), len(number)) for request in requests]
    return tuple(number), np.array(flavour_of, dtype=np.int64)


def _rows(host: HostCapacity) -> list[Home]:
    """The homes that are one node: those that the arrays know."""
    return [home for home in homes(host) if home.cpu_node == home.memory_node]


def _has_odd_groups(request: GuestRequest, there: Collection[str]) -> bool:
    """Whether it is in groups that the arrays have no word for."""
    groups = [member.group for member in request.groups if member.group.hard]
    return len(groups) > 1 or any(
        group.rule is GroupRule.ALL_OR_NOTHING or group.level in LEVELS_WITHIN_A_HOST or group.name in there
        for group in groups
    )


def _is_beyond_arrays(kind: GuestRequest, fleet: Fleet) -> bool:
    """Whether a guest asks for what patterns do not look at: distances, odd cells, pages, far memory, cores, places."""
    of_memory = kind.max_distance is not None or bool(kind.cell_sizes) or kind.stack_cells or kind.largest_pages
    of_cpus = kind.smt is not SmtPolicy.PREFER or kind.emulator is EmulatorPolicy.HOUSEKEEPING
    if kind.devices or of_memory or of_cpus:
        return True
    hosts = [host for host in fleet if host.is_open and _rows(host)]
    if kind.far_memory and any(far_homes(host) != homes(host) for host in hosts):
        return True
    spans = any(max((*part_counts(kind, host), 0)) > 1 for host in _different(hosts))
    return (spans and any(_has_unreachable_pair(host) for host in hosts)) or _is_split_differently(kind, hosts)


def _is_split_differently(kind: GuestRequest, hosts: Sequence[HostCapacity]) -> bool:
    """Whether hypervisors differ in how they split the guest over as many nodes."""
    forms = [{len(form): form for form in _forms(kind, host)} for host in _different(hosts)]
    return any(one[n] != other[n] for one, other in itertools.combinations(forms, 2) for n in one.keys() & other.keys())


def _different(hosts: Sequence[HostCapacity]) -> list[HostCapacity]:
    """One host of each hypervisor, the one with the most nodes: what tells how a guest is split."""
    most = sorted(hosts, key=lambda host: len(host.nodes))
    return list({host.hypervisor: host for host in most}.values())


def _has_unreachable_pair(host: HostCapacity) -> bool:
    ids = [node.node_id for node in host.nodes]
    return any(host.topology.distance(a, b) >= UNREACHABLE_DISTANCE for a, b in itertools.permutations(ids, 2))


def _forms(kind: GuestRequest, host: HostCapacity) -> tuple[tuple[Kind, ...], ...]:
    """The parts of a guest over each number of nodes."""
    return tuple(tuple(kinds_of_parts(kind, host, parts)) for parts in part_counts(kind, host))


def _flavour(kind: GuestRequest, hosts: Sequence[HostCapacity], supply: Supply, counting: Counting) -> Flavour:
    """A flavour, without any form where no host could take such a guest."""
    forms = max((_forms(kind, host) for host in _different(hosts)), key=len)
    forms = forms if kind.page_kib in supply.memory_kib else ()
    allowed: Mask = np.array([refusal(kind, host) is None for host in hosts])
    return Flavour(
        forms=tuple(
            Form(shares=counting.shares(form, scale), scale=scale)
            for form in forms
            for scale in range(len(counting.weights))
        ),
        weight=kind.priority,
        page_kib=kind.page_kib,
        overhead_kib=kind.overhead_kib,
        allowed=None if allowed.all() else allowed,
    )


def _supply(
    kinds: Sequence[GuestRequest],
    fleet: Fleet,
    hosts: Sequence[HostCapacity],
    rows: Sequence[tuple[HostCapacity, Home]],
    levels: Collection[str],
) -> tuple[Supply, Counting]:
    """What the homes offer."""
    of_fleet = {(h.name, n.node_id): row for h in hosts for n, row in zip(h.nodes, fleet.rows(h.name), strict=True)}
    at = np.array([of_fleet[host.name, home.cpu_node] for host, home in rows], dtype=np.int64)
    first_row = np.concatenate(([0], np.cumsum([len(_rows(host)) for host in hosts]))).astype(np.int64)
    parts = [part for kind in kinds for host in _different(hosts) for form in _forms(kind, host) for part in form]
    counting = counting_of(parts, fleet, hosts, at, first_row)
    supply = Supply(
        first_row=first_row,
        cpus=counting.cpus,
        memory_kib={page: memory[at] for page, memory in fleet.memory_kib.items()},
        domains={level: _domains(level, hosts) for level in levels if level not in LEVELS_OF_A_HOST},
        scale=counting.scale,
        own=counting.own,
        has_gate=counting.has_gate,
        floating=counting.floating,
    )
    return supply, counting


def _domains(level: str, hosts: Sequence[HostCapacity]) -> Ints:
    """(hosts,) numbers of the domains; a host that names none is alone in its own."""
    names = [(level, host.domains[level]) if level in host.domains else (host.name,) for host in hosts]
    number = {name: n for n, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names], dtype=np.int64)


def _groups(requests: Sequence[GuestRequest]) -> Iterator[GroupOf]:
    members: dict[Group, list[tuple[int, str]]] = defaultdict(list)
    for number, request in enumerate(requests):
        for member in request.groups:
            if member.group.hard:
                members[member.group].append((number, member.part))
    for group, who in members.items():
        parts = {part: n for n, part in enumerate(dict.fromkeys(part for _, part in who))}
        yield GroupOf(
            rule=group.rule,
            level=group.level,
            members=np.array([number for number, _ in who], dtype=np.int64),
            parts=np.array([parts[part] for _, part in who], dtype=np.int64),
        )
