"""The terms of the objective for the exhaustive search, by their definitions and without a policy's code."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from policies.asked import EmulatorPolicy, SmtPolicy
from policies.capacity import HostCapacity
from policies.objective import Objective, Term
from policies.request import CpuPolicy, Group, GroupRule, GuestRequest
from probe.snapshot import Hypervisor
from tests.policies.oracle import (
    Option,
    Vector,
    home_nodes,
    host_holds,
    may_live,
    near,
    part_counts,
    touched_by,
    touched_by_resident,
)

Chosen = Sequence[Option | None]


def vector_of(
    requests: Sequence[GuestRequest], hosts: Sequence[HostCapacity], chosen: Chosen, objective: Objective
) -> Vector:
    """Per tier a value of which more is better."""
    placed = [(r, o) for r, o in zip(requests, chosen, strict=True) if o is not None]
    counts = {
        Term.PLACED: lambda: sum(r.priority for r, _ in placed),
        Term.NODES_SPANNED: lambda: -sum(len(o.vcpus) for _, o in placed),
        Term.DISTANCE: lambda: -sum(o.distance for _, o in placed),
        Term.SOFT_WISHES: lambda: -_wishes_broken(requests, hosts, chosen),
        Term.FEWEST_HOSTS: lambda: -len({o.host for _, o in placed}),
        Term.KEEP_LARGEST: lambda: _kept(requests, hosts, chosen, objective),
        Term.BALANCE: lambda: -_squares(hosts, chosen),
    }
    return tuple(sum(weight * counts[term]() for term, weight in tier.terms) for tier in objective.tiers)


def _wishes_broken(requests: Sequence[GuestRequest], hosts: Sequence[HostCapacity], chosen: Chosen) -> int:
    groups = {m.group.name: m.group for r in requests for m in r.groups if not m.group.hard}
    missed = sum(
        not d.must and not near(d, hosts[o.host], {node for node, _ in o.vcpus})
        for r, o in zip(requests, chosen, strict=True)
        for d in (r.devices if o is not None else ())
        if o is not None
    )
    return missed + sum(group.weight * _breaches(group, requests, hosts, chosen) for group in groups.values())


def _breaches(group: Group, requests: Sequence[GuestRequest], hosts: Sequence[HostCapacity], chosen: Chosen) -> int:
    living: list[tuple[str, set[object]]] = []
    for r, o in zip(requests, chosen, strict=True):
        for m in r.groups:
            if o is not None and m.group.name == group.name:
                living.append((m.part, touched_by(group.level, hosts[o.host], o)))
    for host in hosts:
        for resident in host.residents:
            for m in resident.groups:
                if m.group.name == group.name:
                    living.append((m.part, touched_by_resident(group.level, host, resident)))
    domains = {domain for _, some in living for domain in some}
    if group.rule is GroupRule.AFFINITY:
        return max(0, len(domains) - 1)
    if group.rule is GroupRule.ANTI_AFFINITY:
        return sum(sum(domain in some for _, some in living) - 1 for domain in domains)
    return sum(len({part for part, some in living if domain in some}) - 1 for domain in domains)


def _kept(requests: Sequence[GuestRequest], hosts: Sequence[HostCapacity], chosen: Chosen, objective: Objective) -> int:
    flavours = objective.flavours
    if not flavours:
        simple = [r for r in requests if not r.cell_sizes and not r.stack_cells]
        flavours = tuple(sorted(simple, key=lambda r: (r.vcpus, r.memory_kib), reverse=True)[:1])
    plain = {"smt": SmtPolicy.PREFER, "emulator": EmulatorPolicy.AUTO, "largest_pages": False, "devices": ()}
    flavours = tuple(replace(flavour, **plain) for flavour in flavours)  # type: ignore[arg-type]
    return sum(_most_more(flavour, host, i, chosen) for flavour in flavours for i, host in enumerate(hosts))


def _most_more(flavour: GuestRequest, host: HostCapacity, index: int, chosen: Chosen) -> int:
    """By trying: the most guests of k parts, all as large as the first, that find nodes with own memory."""
    parts = min(part_counts(flavour), default=0)
    ways = list(_reference_ways(flavour, host, index, parts)) if may_live(flavour, host) and parts else []

    def most(first: int, there: list[Option | None]) -> int:
        best = 0
        for number in range(first, len(ways)):
            more = [*there, ways[number]]
            if host_holds(host, index, more):
                best = max(best, 1 + most(number, more))
        return best

    return most(0, list(chosen))


def _reference_ways(flavour: GuestRequest, host: HostCapacity, index: int, parts: int) -> Iterator[Option]:
    own = [cpu for cpu, memory in home_nodes(host, host.hypervisor is Hypervisor.XEN) if cpu == memory]
    vcpus = -(-flavour.vcpus // parts)
    kib = flavour.memory_kib if parts == 1 else flavour.shares(parts)[0].memory_kib
    for nodes in itertools.combinations(own, parts):
        memory = [share for node in nodes for share in ((node, flavour.page_kib, kib), (node, 4, flavour.overhead_kib))]
        yield Option(
            host=index,
            vcpus=tuple((node, vcpus) for node in nodes),
            floating=tuple((node, vcpus) for node in nodes if flavour.cpus is CpuPolicy.SHARED),
            own=tuple((node, vcpus, 0) for node in nodes if flavour.cpus is not CpuPolicy.SHARED),
            memory=tuple(memory),
            distance=0,
        )


def _squares(hosts: Sequence[HostCapacity], chosen: Chosen) -> int:
    total = 0
    for index, host in enumerate(hosts):
        here = [o for o in chosen if o is not None and o.host == index]
        for node, there in zip(host.nodes, host.topology.nodes, strict=True):
            vcpus = sum(n for o in here for c, n in o.floating if c == node.node_id)
            vcpus += sum(n for o in here for c, n, _ in o.own if c == node.node_id) + node.shared_vcpus
            gone = len(there.cpus.ids - node.free_cpus.ids - node.shared_cpus.ids)
            offered = sum(node.memory_kib.values())
            kib = max(there.memory_total_kib or 0, offered)
            left = offered - sum(k for o in here for m, _, k in o.memory if m == node.node_id)
            cpus = math.ceil(Fraction(100 * (vcpus + gone), len(there.cpus))) if there.cpus else 0
            total += max(cpus, math.ceil(Fraction(100 * (kib - left), kib)) if kib else 0) ** 2
    return total
