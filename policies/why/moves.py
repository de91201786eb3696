"""Guests of a plan whose move makes another one fit: only those are tried who stand where it lacks something."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from policies.capacity import HostCapacity
from policies.groups import nodes_of
from policies.homes import homes_for, refusal
from policies.open_fleet import OpenFleet
from policies.places import first_placed
from policies.plan import Placement
from policies.request import GuestRequest
from policies.why.beside import Beside
from policies.why.causes import causes
from policies.why.watch import Watch


class Move(NamedTuple):
    """Where a guest of the plan goes, and where the guest in question goes then."""

    moved: Placement
    home: Placement


class Moves(NamedTuple):
    """The moves that help, those of the least memory first; how many were tried, of how many that could help."""

    found: tuple[Move, ...]
    tried: int
    could_help: int


def moves(request: GuestRequest, beside: Beside, book: OpenFleet, watch: Watch, *, keeping: float) -> Moves:
    """One guest elsewhere, and this one in its place.

    Args:
        book: with the plan taken; it is so again in the end.
        keeping: the part of the time that is left over.
    """
    whom = who_could_help(request, beside, book)
    found: list[Move] = []
    for number, placement in enumerate(whom):
        if watch.is_over(keeping=keeping):
            return Moves(tuple(found), number, len(whom))
        watch.tell(f"guest {number + 1} of {len(whom)} elsewhere: {placement.guest}")
        move = _moved(request, placement, beside, book)
        if move is not None:
            found.append(move)
    return Moves(tuple(found), len(whom), len(whom))


def who_could_help(request: GuestRequest, beside: Beside, book: OpenFleet) -> list[Placement]:
    """Those without whom the guest may fit, the ones with the least memory first.

    Of few causes that together keep it off a host (`causes`) none goes away where nobody moves who is on one of their
    nodes: there, its host lacks as much as before. Members of its groups may stand in its way anywhere.
    """
    there: dict[str, list[Placement]] = defaultdict(list)
    for placement in beside.placed:
        there[placement.host].append(placement)
    found = {p.guest: p for p in beside.placed if _shares_a_group(request, p)}
    for host in beside.fleet:
        if refusal(request, host) is None and there[host.name]:
            nodes = _lacking_nodes(request, book, host)
            found |= {p.guest: p for p in there[host.name] if nodes is None or _is_on(p, nodes)}
    return sorted(found.values(), key=lambda p: (_memory_kib(p), p.guest))


def _lacking_nodes(request: GuestRequest, book: OpenFleet, host: HostCapacity) -> frozenset[int] | None:
    """The nodes of the causes, with those of the same homes; None where it is not known what lacks."""
    found = causes(request, book, host)
    if not found:
        return None
    lacking = {lack.node_id for cause in found for lack in cause.lacks}
    pairs = ({home.cpu_node, home.memory_node} for home in homes_for(request, host))
    return frozenset().union(*(pair for pair in pairs if pair & lacking))


def _is_on(placement: Placement, nodes: frozenset[int]) -> bool:
    its = nodes_of(placement)
    return its is None or not its.ids.isdisjoint(nodes)


def _shares_a_group(request: GuestRequest, placement: Placement) -> bool:
    hard = {member.group.name for member in request.groups if member.group.hard}
    return any(member.group.name in hard for member in placement.groups)


def _memory_kib(placement: Placement) -> int:
    return sum(memory.kib for cell in placement.cells for memory in cell.memory)


def _moved(request: GuestRequest, placement: Placement, beside: Beside, book: OpenFleet) -> Move | None:
    book.give_back(placement)
    if _shares_a_group(request, placement):
        home = beside.rule(request, book)
    else:
        home = first_placed(request, book, beside.fleet.host(placement.host))
    moved = None
    if home is not None:
        book.take(home)
        moved = beside.rule(beside.asked[placement.guest], book)
        book.give_back(home)
    book.take(placement)
    return Move(moved, home) if home is not None and moved is not None else None
