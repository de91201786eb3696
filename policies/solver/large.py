"""Batches too large for one model: as arrays to the pattern placer, and its answer as decisions.

Not every question can be put in arrays (`as_arrays`); what cannot is left to the model and its neighbourhoods.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from policies.asked import EmulatorPolicy, SmtPolicy
from policies.capacity import HostCapacity
from policies.compose import Assigned, compose_all
from policies.explain import reject_all
from policies.fleet import Fleet
from policies.groups import LEVELS_OF_A_HOST, LEVELS_WITHIN_A_HOST
from policies.homes import Home, has_own_pcpus, has_shared_pcpus, homes, part_counts, refusal, split
from policies.objective import Objective, Term
from policies.patterns.place import Placed, place
from policies.patterns.question import Batch, Flavour, Form, GroupOf, Ints, Mask, Share, Supply
from policies.plan import Answer, SolveStatus
from policies.policy import Effort
from policies.request import Group, GroupRule, GuestName, GuestRequest, GuestShare
from policies.solver.budget import Budget
from policies.solver.polish import polish
from policies.solver.rejected import LOST, UNPROVEN, first_place
from policies.solver.terms import cheapest, fewest_hosts
from policies.tiers import objective_of
from probe.topology import UNREACHABLE_DISTANCE

SMALL = 100_000
"""Guests × hosts: as many are left to the model."""


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


def is_large(requests: Sequence[GuestRequest], fleet: Fleet) -> bool:
    """Whether one model would be too slow."""
    return len(requests) * len(fleet) > SMALL


def place_large(requests: Sequence[GuestRequest], fleet: Fleet, effort: Effort) -> Answer | None:
    """An answer by patterns, polished as long as there is time; None where the question cannot be put in arrays."""
    budget = Budget(effort)
    asked = as_arrays(requests, fleet, effort.objective)
    if asked is None:
        return None
    try:
        placed = place(asked.supply, asked.batch, seed=effort.seed, is_over=budget.is_spent, spread=effort.spread)
    except ValueError:  # too many kinds of hosts
        return None
    bounds = _bounds(effort.objective, fleet, asked, placed)
    assigned, limited_by = polish(list(assigned_by(requests, asked, placed)), requests, fleet, bounds, budget)
    found = compose_all(assigned, fleet)
    refused = [request for request in requests if request.name not in found]
    weight = sum(request.priority for request in requests if request.name in found)
    lost = LOST if weight == bounds[0] else UNPROVEN
    rejected = reject_all(refused, fleet.open(), rule=first_place, lost=lost, with_changes=False)
    decisions = tuple(found.get(request.name) or rejected[request.name] for request in requests)
    counted = objective_of(decisions, requests, fleet, effort.objective)
    tiers = tuple(replace(tier, bound=bound) for tier, bound in zip(counted, bounds, strict=True))
    proven = all(tier.gap == 0 for tier in tiers)
    status = SolveStatus.OPTIMAL if proven else SolveStatus.FEASIBLE
    return Answer(decisions=decisions, objective=tiers, status=status, limited_by="" if proven else limited_by)


def as_arrays(requests: Sequence[GuestRequest], fleet: Fleet, objective: Objective) -> Asked | None:
    """The question in arrays; None where it cannot be put so."""
    flavour_of: dict[GuestRequest, list[int]] = defaultdict(list)
    for number, request in enumerate(requests):
        flavour_of[replace(request, name=GuestName("any"), groups=(), lifetime_s=None)].append(number)
    kinds = tuple(flavour_of)
    open_hosts = [host for host in fleet if host.schedulable and not host.cordoned]
    hosts = tuple(host for host in open_hosts if _rows(host))
    reference = tuple(replace(kind, groups=()) for kind in objective.reference(requests))
    if not hosts or not requests or _is_beyond_arrays(requests, (*kinds, *reference), hosts, fleet):
        return None
    rows = [(host, home) for host in hosts for home in _rows(host)]
    groups = tuple(_groups(requests))
    supply = _supply((*kinds, *reference), fleet, hosts, rows, {group.level for group in groups})
    if supply is None:
        return None
    of = np.zeros(len(requests), dtype=np.int64)
    for number, members in enumerate(flavour_of.values()):
        of[members] = number
    batch = Batch(
        flavours=(
            *(_flavour(kind, hosts, supply) for kind in kinds),
            *(replace(_flavour(kind, hosts, supply), weight=0) for kind in reference),
        ),
        flavour_of=of,
        groups=groups,
        fewest_hosts=Term.FEWEST_HOSTS in objective.terms,
    )
    return Asked(
        supply=supply,
        batch=batch,
        hosts=hosts,
        kinds=kinds,
        homes=tuple(home for _, home in rows),
        all_homes=len(rows) == sum(len(homes(host)) for host in open_hosts),
    )


def _rows(host: HostCapacity) -> list[Home]:
    """The homes that are one node: those that the arrays know."""
    return [home for home in homes(host) if home.cpu_node == home.memory_node]


def _is_beyond_arrays(
    requests: Sequence[GuestRequest], kinds: Sequence[GuestRequest], hosts: Sequence[HostCapacity], fleet: Fleet
) -> bool:
    """Whether something is asked that the arrays have no word for."""
    groups = {member.group for request in requests for member in request.groups if member.group.hard}
    there = {member.group.name for host in fleet for resident in host.residents for member in resident.groups}
    spans = any(max((*part_counts(kind, host), 0)) > 1 for kind in kinds for host in _different(hosts))
    return (
        len({kind.cpus for kind in kinds}) > 1
        or any(sum(member.group.hard for member in request.groups) > 1 for request in requests)
        or any(group.rule is GroupRule.ALL_OR_NOTHING for group in groups)
        or any(group.level in LEVELS_WITHIN_A_HOST or group.name in there for group in groups)
        or (spans and any(_has_unreachable_pair(host) for host in hosts))
        or any(_is_split_differently(kind, hosts) for kind in kinds)
        or any(_has_odd_shape(kind) for kind in kinds)
    )


def _has_odd_shape(kind: GuestRequest) -> bool:
    """Whether a guest asks for what patterns do not look at: distances, odd cells, any pages, cores, places."""
    of_memory = kind.max_distance is not None or bool(kind.cell_sizes) or kind.stack_cells or kind.largest_pages
    placed_so = kind.emulator not in (EmulatorPolicy.OWN, EmulatorPolicy.HOUSEKEEPING)
    of_cpus = has_own_pcpus(kind) and has_shared_pcpus(kind)
    return bool(kind.devices) or of_memory or of_cpus or kind.smt is not SmtPolicy.PREFER or not placed_so


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


def _forms(kind: GuestRequest, host: HostCapacity) -> tuple[tuple[GuestShare, ...], ...]:
    return tuple(split(kind, host, parts) for parts in part_counts(kind, host))


def _flavour(kind: GuestRequest, hosts: Sequence[HostCapacity], supply: Supply) -> Flavour:
    """A flavour, without any form where no host could take such a guest."""
    forms = max((_forms(kind, host) for host in _different(hosts)), key=len)
    forms = forms if kind.page_kib in supply.memory_kib else ()
    allowed: Mask = np.array([refusal(kind, host) is None for host in hosts])
    return Flavour(
        forms=tuple(
            Form(shares=tuple(Share(vcpus=share.vcpus, memory_kib=share.memory_kib) for share in form))
            for form in forms
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
) -> Supply | None:
    """What the homes offer; None where a node offers more shared vCPUs than one guest cell may have there."""
    of_fleet = {(h.name, n.node_id): row for h in hosts for n, row in zip(h.nodes, fleet.rows(h.name), strict=True)}
    at = np.array([of_fleet[host.name, home.cpu_node] for host, home in rows], dtype=np.int64)
    dedicated = has_own_pcpus(kinds[0])
    cpus = (fleet.free_cpus if dedicated else fleet.shared_room)[at]
    largest = max(kind.vcpus for kind in kinds)
    if not dedicated and (np.minimum(cpus, largest) > fleet.shared_cpus[at]).any():
        return None
    count = [len(_rows(host)) for host in hosts]
    return Supply(
        first_row=np.concatenate(([0], np.cumsum(count))).astype(np.int64),
        cpus=cpus,
        memory_kib={page: memory[at] for page, memory in fleet.memory_kib.items()},
        domains={level: _domains(level, hosts) for level in levels if level not in LEVELS_OF_A_HOST},
    )


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


def assigned_by(requests: Sequence[GuestRequest], asked: Asked, placed: Placed) -> Iterator[Assigned]:
    """The answer in arrays as choices for guests."""
    host_of_row = asked.supply.host_of_row()
    for number in np.flatnonzero(placed.homes.placed()):
        rows = [int(row) for row in placed.homes.rows[number] if row >= 0]
        host = asked.hosts[host_of_row[rows[0]]]
        request, its_homes = requests[int(number)], tuple(asked.homes[row] for row in rows)
        yield Assigned(request=request, host=host.name, homes=its_homes, page_kib=request.page_kib)


def _bounds(objective: Objective, fleet: Fleet, asked: Asked, placed: Placed) -> tuple[int | None, ...]:
    """Of each tier what the arrays prove: nothing where some homes are not in them."""
    if not asked.all_homes:
        return (None,) * len(objective.tiers)
    demand = asked.batch.demand().tolist()
    nodes = [min((len(form.shares) for form in flavour.forms), default=0) for flavour in asked.batch.flavours]
    nearest = min((_nearest(host) for host in asked.hosts), default=0)
    offers = [(n, kind.priority, k) for n, kind, k in zip(demand, asked.kinds, nodes, strict=False) if k]
    sizes = [(n, kind.priority, kind.vcpus) for n, kind, k in zip(demand, asked.kinds, nodes, strict=False) if k]
    distances = [(n, priority, nearest * math.comb(k, 2)) for n, priority, k in offers]
    bounds: dict[Term, int] = {
        Term.PLACED: placed.bound,
        Term.NODES_SPANNED: cheapest(offers, placed.value),
        Term.DISTANCE: cheapest(distances, placed.value),
        Term.SOFT_WISHES: 0,
        Term.FEWEST_HOSTS: fewest_hosts(fleet, cheapest(sizes, placed.value)),
    }
    for term, bound in _bounds_of_packing(objective, asked, placed).items():
        bounds[term] = max(bound, bounds.get(term, 0))
    return tuple(bounds.get(tier.terms[0][0]) if len(tier.terms) == 1 else None for tier in objective.tiers)


def _bounds_of_packing(objective: Objective, asked: Asked, placed: Placed) -> dict[Term, int]:
    """Those of `Placed.packing`: they hold below the nodes that are spanned, and where it is one term alone."""
    packing = [term for term in objective.terms if term in (Term.FEWEST_HOSTS, Term.KEEP_LARGEST)]
    above = objective.terms[: objective.terms.index(packing[0])] if packing else ()
    if len(packing) != 1 or Term.NODES_SPANNED not in above or placed.packing_bound is None:
        return {}
    if packing[0] is Term.FEWEST_HOSTS:
        return {Term.FEWEST_HOSTS: max(0, -placed.packing_bound)}
    kept_alone = len(asked.batch.flavours) - len(asked.kinds) == 1
    return {Term.KEEP_LARGEST: placed.packing_bound} if kept_alone else {}


def _nearest(host: HostCapacity) -> int:
    """The least distance between two nodes; 0 where there are not two."""
    pairs = itertools.combinations([node.node_id for node in host.nodes], 2)
    return min((max(host.topology.distance(a, b), host.topology.distance(b, a)) for a, b in pairs), default=0)
