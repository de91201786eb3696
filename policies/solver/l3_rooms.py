"""What guests own in each L3 domain of a node, in the model: for nodes where some guest's groups look at that."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ortools.sat.python.cp_model import IntVar, LinearExpr, LinearExprT

from policies.candidates import Part
from policies.capacity import HostCapacity, NodeCapacity
from policies.l3 import L3Need, L3Room, deal_cores, l3_rooms
from policies.solver.model import FleetModel, Terms, Way, l3_totals, total
from policies.solver.problem import Counts

Parts = Sequence[tuple[Way, Part]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """One L3 domain of a node in the model.

    Attributes:
        cores: the whole cores that come from it, for whomever.
        single: the pCPUs that guests own there beside, as far as their groups look at that.
        lost_in: how many shared pCPUs these are at least, in an answer.
    """

    room: L3Room
    cores: IntVar
    single: LinearExpr
    lost_in: Callable[[Counts], int]


def pcpus_of_an_l3_domain_are_not_given_out_twice(fleet: FleetModel) -> None:
    """Hard: in each L3 domain of a node guests own no more pCPUs, and no more whole cores, than are free there."""
    for host, node, parts in fleet.nodes():
        domains_of(fleet, (host, node), parts)


def domains_of(fleet: FleetModel, where: tuple[HostCapacity, NodeCapacity], parts: Parts) -> list[Domain]:
    """The L3 domains of a node with what is taken there; none where nobody's groups look at them.

    Who is nowhere in particular takes whole cores where others leave them: what of each domain is another choice.
    """
    told = [(way, part) for way, part in parts if way.l3 and way.l3[_number(way, part)]]
    if not told:
        return []
    rooms, cores = l3_rooms(*where), [(part.cores, way) for way, part in parts if part.cores]
    dealt = functools.partial(_dealt, rooms, told, cores)
    found, chosen = [], list[LinearExprT]()
    for i, room in rooms.items():
        of_cores, single = ([uses[i] for uses in _uses(told, are_cores=are) if i in uses] for are in (True, False))
        number = fleet.model.new_int_var(0, len(room.cores) if cores else 0, "")
        chosen.append(number)
        fleet.derived.append((number, functools.partial(_at, i, dealt)))
        fleet.model.add(number >= LinearExpr.sum(of_cores))
        fleet.model.add(LinearExpr.sum([room.threads * number, *single]) <= room.free)
        lost_in = functools.partial(_lost, i, room, told, dealt)
        found.append(Domain(room=room, cores=number, single=LinearExpr.sum(single), lost_in=lost_in))
    if cores:
        fleet.model.add(LinearExpr.sum(chosen) == total(cores))
    return found


def shared_pcpus_lost(fleet: FleetModel, domains: Sequence[Domain]) -> Sequence[IntVar]:
    """Of each domain how many shared pCPUs are among those that are taken there: no fewer than there must be."""
    found = []
    for domain in domains:
        room = domain.room
        lost = fleet.model.new_int_var(0, room.free - room.unshared, "")
        fleet.model.add(lost >= room.threads * domain.cores + domain.single - room.unshared)
        for n in range(1, max(room.cores, default=0) + 1):
            fleet.model.add(lost >= n * domain.cores - sum(max(0, n - shared) for shared in room.cores))
        fleet.derived.append((lost, domain.lost_in))
        found.append(lost)
    return found


def _number(way: Way, part: Part) -> int:
    return way.parts.index(part)


def _uses(told: Parts, *, are_cores: bool) -> list[Mapping[int, IntVar]]:
    return [way.l3[_number(way, part)] for way, part in told if (part.cores > 0) is are_cores]


def _needs(told: Parts, counts: Counts) -> Mapping[int, L3Need]:
    found: dict[int, L3Need] = {}
    totals = l3_totals(counts)
    for way, part in told:
        number = _number(way, part)
        for i in way.l3[number]:
            amount = totals[way.way_id, number, i]
            found[i] = found.get(i, L3Need()).and_also(amount, are_cores=part.cores > 0)
    return found


def _dealt(rooms: Mapping[int, L3Room], told: Parts, cores: Terms, counts: Counts) -> Mapping[int, int]:
    return deal_cores(rooms, _needs(told, counts), sum(n * counts.get(way.way_id, 0) for n, way in cores))


def _at(i: int, dealt: Callable[[Counts], Mapping[int, int]], counts: Counts) -> int:
    return dealt(counts)[i]


def _lost(i: int, room: L3Room, told: Parts, dealt: Callable[[Counts], Mapping[int, int]], counts: Counts) -> int:
    needs = _needs(told, counts)
    return room.lost(dealt(counts)[i], needs[i].single if i in needs else 0)
