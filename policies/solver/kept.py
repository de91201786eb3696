"""Room for reference flavours and loads of nodes in the model (`policies.usage` says what they are)."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from ortools.sat.python.cp_model import IntVar, LinearExpr, LinearExprT

from policies.candidates import Part
from policies.capacity import HostCapacity, NodeCapacity
from policies.homes import Home, has_own_pcpus
from policies.l3 import L3Need
from policies.request import GuestRequest, HostName
from policies.solver.model import FleetModel, Way, total
from policies.solver.problem import Counts, GuestClass, Problem, WayId
from policies.solver.rules import ROOM_RULES
from policies.usage import (
    NodeUse,
    Reference,
    Use,
    kept_for,
    load_squares,
    loads_of,
    memory_of,
    percent,
    reference_on,
    shared_lost,
)


def use_of_counts(problem: Problem, counts: Counts) -> Use:
    """What an answer uses of each node."""
    used: dict[tuple[str, int], NodeUse] = defaultdict(NodeUse)
    cores: Counter[tuple[str, int]] = Counter()
    needs: dict[tuple[str, int], dict[int, L3Need]] = defaultdict(dict)
    for way, n in counts.items():
        for number, part in enumerate(problem.ways[way.anywhere].parts):
            at = way.host, part.home.cpu_node
            here = used[at]
            here.dedicated += part.pcpus * n
            cores[at] += part.cores * n
            for domain, amount in way.l3[number] if way.l3 else ():
                needs[at][domain] = needs[at].get(domain, L3Need()).and_also(amount * n, are_cores=part.cores > 0)
            here.add_shared(part.floating, guests=n)
            for page_kib, kib in part.memory_kib.items():
                used[way.host, part.home.memory_node].memory_kib[page_kib] += n * kib
    for (host_name, node_id), here in used.items():
        host = problem.fleet.host(HostName(host_name))
        whole, told = cores[host_name, node_id], needs[host_name, node_id]
        here.lost = shared_lost(host, host.node(node_id), pcpus=here.dedicated, cores=whole, told=told)
    return used


def room_kept(problem: Problem, counts: Counts) -> int:
    """How many guests of the reference flavours would fit beside an answer, each flavour alone."""
    used = use_of_counts(problem, counts)
    return sum(kept_for(flavour, problem.fleet, used) for flavour in problem.flavours)


def load(problem: Problem, counts: Counts) -> int:
    """Σ over nodes of the square of their load in per cent."""
    return load_squares(problem.fleet, use_of_counts(problem, counts))


def room(fleet: FleetModel) -> LinearExprT:
    """Reference guests beside those of the model: more of them where more fit.

    For each flavour the rules of the nodes are said once more, with its guests beside all others.
    """
    found: list[LinearExprT] = []
    for number, flavour in enumerate(fleet.problem.flavours):
        pieces: list[Way] = []
        for host in fleet.problem.fleet:
            reference = reference_on(flavour, host)
            if reference is not None:
                guests = fleet.model.new_int_var(0, _most(flavour, host), "")
                found.append(guests)
                pieces += _parts_of(fleet, (number, flavour), host, reference, guests)
        with_them = FleetModel(problem=fleet.problem, model=fleet.model, ways=(*fleet.ways, *pieces))
        for rule in ROOM_RULES:
            rule(with_them)
    return LinearExpr.sum(found)


def _parts_of(
    fleet: FleetModel, numbered: tuple[int, GuestRequest], host: HostCapacity, reference: Reference, guests: IntVar
) -> Iterator[Way]:
    """Parts of reference guests on each node, of each guest no two on one."""
    number, flavour = numbered
    alike = GuestClass(index=-1 - number, request=flavour, members=(flavour,) * _most(flavour, host))
    pieces = [
        Way(
            way_id=WayId(alike.index, host.name, (home,), flavour.page_kib),
            guest_class=alike,
            host=host,
            parts=(_part(flavour, reference, home),),
            guests=0,
            nodes=0,
            distance=0,
            count=fleet.model.new_int_var(0, len(alike.members), ""),
        )
        for home in reference.homes
    ]
    for piece in pieces:
        fleet.model.add(piece.count <= guests)
    fleet.model.add(total([(1, piece) for piece in pieces]) == reference.parts * guests)
    yield from pieces


def _part(flavour: GuestRequest, reference: Reference, home: Home) -> Part:
    vcpus, memory_kib = reference.share.vcpus, memory_of(flavour, reference.share)
    floating, pcpus = (0, vcpus) if has_own_pcpus(flavour) else (vcpus, 0)
    return Part(home=home, memory_kib=memory_kib, floating=floating, pcpus=pcpus, cores=0)


def _most(flavour: GuestRequest, host: HostCapacity) -> int:
    """More guests of a flavour than this are never on a host."""
    kib = sum(node.memory_kib.get(flavour.page_kib, 0) for node in host.nodes)
    return kib // flavour.memory_kib


def squares(fleet: FleetModel) -> LinearExprT:
    """Σ over nodes of the square of a load that is no less than theirs."""
    vcpus: dict[tuple[str, int], list[tuple[int, Way]]] = defaultdict(list)
    memory: dict[tuple[str, int], list[tuple[int, Way]]] = defaultdict(list)
    for way in fleet.ways:
        for part in way.parts:
            vcpus[way.host.name, part.home.cpu_node].append((part.vcpus, way))
            memory[way.host.name, part.home.memory_node].append((sum(part.memory_kib.values()), way))
    nodes = [(host, node, (host.name, node.node_id)) for host in fleet.problem.fleet for node in host.nodes]
    return LinearExpr.sum([_square(fleet, host, node, (vcpus[at], memory[at])) for host, node, at in nodes])


def _square(
    fleet: FleetModel, host: HostCapacity, node: NodeCapacity, takers: Sequence[Sequence[tuple[int, Way]]]
) -> LinearExprT:
    loads = loads_of(host, node)
    before = ((loads.vcpus, loads.pcpus), (loads.taken_kib, loads.total_kib))
    most = 100 * (2 + math.ceil(host.overcommit)) + max(percent(taken, there) for taken, there in before)
    load, square = fleet.model.new_int_var(0, most, ""), fleet.model.new_int_var(0, most * most, "")
    for (taken, there), terms in zip(before, takers, strict=True):
        if there:
            fleet.model.add(100 * (total(terms) + taken) <= there * load)
    fleet.model.add_multiplication_equality(square, [load, load])
    return square
