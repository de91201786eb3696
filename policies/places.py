"""Where a guest fits on what a book has left: the search that rules, solver and explanations share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from policies.candidates import (
    Candidate,
    Part,
    are_enumerable,
    candidates,
    kinds_of_parts,
    nearest_candidates,
    part_of,
)
from policies.capacity import HostCapacity
from policies.compose import make_placement
from policies.errors import DoesNotFitError
from policies.homes import Home, homes, is_dedicated, part_counts, refusal
from policies.matching import Shortage, bits, match
from policies.open_fleet import OpenFleet
from policies.plan import Placement
from policies.request import GuestRequest
from probe.cpuset import NodeId


class Room:
    """What one host has left in a book, looked up by node."""

    def __init__(self, book: OpenFleet, host: HostCapacity) -> None:
        self.book = book
        rows = book.fleet.rows(host.name)
        self.row_of: dict[int, int] = {n.node_id: row for n, row in zip(host.nodes, rows, strict=True)}

    def holds(self, request: GuestRequest, part: Part) -> bool:
        """Whether the nodes of one part hold it. Necessary, not sufficient: `OpenFleet.fits` decides."""
        return self.vcpus(request, part) >= part.vcpus and all(
            self.memory_kib(part, page) >= kib for page, kib in part.memory_kib.items()
        )

    def vcpus(self, request: GuestRequest, part: Part) -> int:
        """vCPUs of such a guest that the part's node still has pCPUs for."""
        row = self.row_of[part.home.cpu_node]
        if is_dedicated(request):
            return int(self.book.free_cpus[row])
        return min(int(self.book.shared_room[row]), int(self.book.shared_cpus[row]))

    def memory_kib(self, part: Part, page_kib: int) -> int:
        """What the part's memory node has left in such pages."""
        left = self.book.memory_kib.get(page_kib)
        return 0 if left is None else int(left[self.row_of[part.home.memory_node]])


def ways(request: GuestRequest, book: OpenFleet, host: HostCapacity, parts: int) -> tuple[Sequence[Candidate], bool]:
    """Candidates of `parts` homes of which each holds its part now, nearest first; whether these are all.

    Only those on which the guest's groups let it live now. Of a guest that wants the largest pages those of
    every page size, of equally near ones the larger pages first.
    """
    found, complete = _in_any_pages(request, book, host, parts)
    if request.groups:
        found = [way for way in found if not book.groups.conflict(request.groups, host, nodes_of_homes(way.homes))]
    return found, complete


def _in_any_pages(
    request: GuestRequest, book: OpenFleet, host: HostCapacity, parts: int
) -> tuple[Sequence[Candidate], bool]:
    if not request.largest_pages:
        return _holding(request, book, host, parts)
    found: list[Candidate] = []
    complete = True
    for concrete in request.by_pages():
        if parts in counts_of_parts(concrete, host):
            more, all_there = _holding(concrete, book, host, parts)
            found += more
            complete = complete and all_there
    return sorted(found, key=lambda way: way.distance), complete


def nodes_of_homes(homes: Iterable[Home]) -> frozenset[NodeId]:
    """The nodes that a guest with these homes touches with CPUs or memory."""
    return frozenset(node for home in homes for node in (home.cpu_node, home.memory_node))


def _holding(
    request: GuestRequest, book: OpenFleet, host: HostCapacity, parts: int
) -> tuple[Sequence[Candidate], bool]:
    able = _able(request, book, host, parts)
    if isinstance(match([bits(nodes) for nodes in able]), Shortage):
        return (), True
    if are_enumerable(request, host, parts):
        every = candidates(request, host, parts)
        return [c for c in every if all(p.home.cpu_node in n for p, n in zip(c.parts, able, strict=True))], True
    return nearest_candidates(request, host, able)


def _able(request: GuestRequest, book: OpenFleet, host: HostCapacity, parts: int) -> list[set[NodeId]]:
    """For each part, the nodes whose home holds it now."""
    room = Room(book, host)
    kinds = kinds_of_parts(request, host, parts)
    holding = {
        kind: {h.cpu_node for h in homes(host) if room.holds(request, part_of(request, h, kind))}
        for kind in dict.fromkeys(kinds)
    }
    return [holding[kind] for kind in kinds]


def too_many_parts(request: GuestRequest, book: OpenFleet, host: HostCapacity, parts: int) -> Shortage | None:
    """Which parts are more than the nodes (by id) that hold one of them now; None where each finds a node."""
    found = match([bits(nodes) for nodes in _able(request, book, host, parts)])
    return found if isinstance(found, Shortage) else None


def counts_of_parts(request: GuestRequest, host: HostCapacity) -> Sequence[int]:
    """Over how many homes of the host the guest may be split; none where the host refuses it."""
    return () if refusal(request, host) is not None else part_counts(request, host)


def all_ways(request: GuestRequest, book: OpenFleet, host: HostCapacity) -> Iterator[Candidate]:
    """`ways` of every number of homes, fewest first."""
    for parts in counts_of_parts(request, host):
        yield from ways(request, book, host, parts)[0]


def placed(request: GuestRequest, book: OpenFleet, host: HostCapacity, way: Candidate) -> Placement | None:
    """The placement of the guest on these homes on what is left, or None where it does not fit.

    A guest that wants the largest pages gets the largest that fit there, whatever the way says.
    """
    for concrete in request.by_pages():
        if len(way.homes) not in counts_of_parts(concrete, host) and concrete is not request:
            continue
        try:
            placement = make_placement(concrete, book.host(host.name), way.homes)
        except DoesNotFitError:
            return None
        if book.fits(placement):
            return placement
    return None
