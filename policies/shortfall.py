"""What a guest lacks where it nearly fits: the amounts and places that a rejection tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from policies.asked import EmulatorPolicy
from policies.candidates import Part, kinds_of_parts, part_of
from policies.capacity import HostCapacity
from policies.homes import has_cells, homes, homes_for, is_bound_to_places, is_complete
from policies.near import near_nodes
from policies.open_fleet import OpenFleet
from policies.places import counts_of_parts, too_many_parts
from policies.plan import Reason
from policies.request import GuestRequest, HostName
from policies.room import Room
from probe.cpuset import CpuSet, NodeSet
from probe.units import format_kib, round_up_to_mib


class CpuLack(StrEnum):
    """Which pCPUs lack."""

    CORES = "whole free core"
    FREE = "free pCPU"
    SHARED = "shared pCPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """What one node lacks for one part of a guest: memory in pages of a size, or pCPUs of a kind."""

    node_id: int
    amount: int
    page_kib: int | None = None
    cpus: CpuLack | None = None

    @property
    def text(self) -> str:
        """ "2 free pCPUs", "3GiB in 1GiB pages"."""
        if self.page_kib is None:
            return f"{self.amount} {self.cpus}{'s' * (self.amount > 1)}"
        pages = f" in {format_kib(self.page_kib)} pages" if self.page_kib > 4 else ""
        return f"{format_kib(round_up_to_mib(self.amount))}{pages}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """What a host lacks for a guest that is split over the nodes that come nearest to holding it."""

    host: HostName
    lacks: tuple[Lack, ...]

    @property
    def badness(self) -> tuple[int, int, int]:
        """Smaller is nearer to a fit: few places where anything lacks, then few pCPUs, then little memory."""
        memory_kib = sum(lack.amount for lack in self.lacks if lack.page_kib is not None)
        vcpus = sum(lack.amount for lack in self.lacks if lack.page_kib is None)
        return len(self.lacks), vcpus, memory_kib

    @property
    def reason(self) -> Reason:
        """Memory before pCPUs where both lack."""
        pages = [lack.page_kib for lack in self.lacks if lack.page_kib is not None]
        if not pages:
            return Reason.PCPUS
        return Reason.HUGEPAGES if max(pages) > 4 else Reason.MEMORY

    def text(self, request: GuestRequest) -> str:
        """ "node 1 of h2 lacks 2 shared pCPUs and 3GiB; node 2 of h2 lacks 1GiB", without a full stop."""
        if not self.lacks:
            limit = request.max_distance
            if is_bound_to_places(request):
                return f"no nodes of {self.host} that have what it must be near hold it"
            near = "that reach each other" if limit is None else f"at most {limit} from each other"
            return f"no nodes of {self.host} {near} hold all of its parts together"
        by_node: dict[int, list[str]] = {}
        for lack in self.lacks:
            by_node.setdefault(lack.node_id, []).append(lack.text)
        return "; ".join(
            f"node {node} of {self.host} lacks {' and '.join(amounts)}" for node, amounts in by_node.items()
        )


def nearest_miss(
    request: GuestRequest, book: OpenFleet, hosts: Iterable[HostCapacity] | None = None
) -> tuple[Reason, str]:
    """Where the guest comes nearest to a fit on what a book has left, and what lacks there.

    Args:
        hosts: where to look; None is everywhere.
    """
    there = book.fleet.hosts if hosts is None else tuple(hosts)
    pages = request.by_pages()[::-1]
    misses = [(concrete, miss) for concrete in pages for host in there for miss in _misses(concrete, book, host)]
    if not misses:
        return Reason.PCPUS, _too_few_homes(request, book)
    concrete, best = min(misses, key=lambda found: found[1].badness)
    crowd = _crowd(concrete, book, book.fleet.host(best.host))
    bound = _bound_to(request, book.fleet.host(best.host))
    return best.reason, "; ".join([best.text(request), *bound, *crowd, *_cordoned(request, there)])


def _bound_to(request: GuestRequest, host: HostCapacity) -> Iterator[str]:
    """Which nodes have what it must be near."""
    if request.emulator is EmulatorPolicy.HOUSEKEEPING:
        yield f"housekeeping pCPUs are on {_of_host(host.topology.nodes_of_cpus(host.housekeeping_cpus), host)}"
    for device in request.devices:
        near = near_nodes(device, host) if device.must else None
        if near is not None:
            yield f"near device {device.address} ({device.near}) is {_of_host(near, host)}"


def _of_host(nodes: NodeSet, host: HostCapacity) -> str:
    return f"node{'s' * (len(nodes) > 1)} {nodes} of {host.name}"


def _crowd(request: GuestRequest, book: OpenFleet, host: HostCapacity) -> list[str]:
    """Which cells are too many for which nodes, of a guest whose cells want a node each."""
    if request.cells in (1, "auto") or request.stack_cells:
        return []
    short = too_many_parts(request, book, host, int(request.cells))
    if short is None:
        return []
    cells, nodes = CpuSet(frozenset(short.cells)), NodeSet.of(*short.nodes)
    if not nodes:
        return [f"no node of {host.name} holds cell {cells}"]
    some = f"node{'s' * (len(nodes) > 1)} {nodes} of {host.name}"
    return [f"cells {cells} want {len(cells)} nodes, and only {some} {'hold' if len(nodes) > 1 else 'holds'} one"]


def _cordoned(request: GuestRequest, hosts: Iterable[HostCapacity]) -> list[str]:
    """What would perhaps hold the guest and is closed, three places at most."""
    places = []
    for host in hosts:
        if request.hosts is not None and host.name not in request.hosts:
            continue
        if host.cordoned:
            places.append(f"{host.name} is cordoned")
        elif host.cordoned_nodes:
            places.append(f"node {host.cordoned_nodes} of {host.name} is cordoned")
    more = [f"and {len(places) - 3} more are cordoned"] if len(places) > 3 else []
    return [*places[:3], *more]


def _misses(request: GuestRequest, book: OpenFleet, host: HostCapacity) -> Iterator[Miss]:
    """For each number of parts: each part, larger first, where the least lacks of it beside those before."""
    room = Room(book, host)
    for count in counts_of_parts(request, host):
        free, taken = list(homes_for(request, host)), Counter[tuple[int, int]]()
        lacks: list[Lack] = []
        for kind in kinds_of_parts(request, host, count):
            able = [home for home in free if count > 1 or is_complete(request, host, [home])] or free
            tried = [(part, lacks_of(room, part, taken)) for part in (part_of(request, home, kind) for home in able)]
            part, missing = min(tried, key=lambda pair: Miss(host=host.name, lacks=pair[1]).badness)
            free = [home for home in free if home.cpu_node != part.home.cpu_node]
            taken.update({(part.home.memory_node, page): kib for page, kib in part.memory_kib.items()})
            lacks += missing
        yield Miss(host=host.name, lacks=tuple(lacks))


def lacks_of(room: Room, part: Part, taken: Mapping[tuple[int, int], int] = MappingProxyType({})) -> tuple[Lack, ...]:
    """What the nodes of a part lack for it.

    Args:
        taken: KiB that other parts take, by node and page size; none where absent.
    """
    node_id, lacks = part.home.cpu_node, list[Lack]()
    if cores := room.cores_short(part):
        lacks.append(Lack(node_id=node_id, cpus=CpuLack.CORES, amount=cores))
    elif own := room.own_short(part):
        lacks.append(Lack(node_id=node_id, cpus=CpuLack.FREE, amount=own))
    if shared := room.shared_short(part):
        lacks.append(Lack(node_id=node_id, cpus=CpuLack.SHARED, amount=shared))
    for page, kib in part.memory_kib.items():
        short_kib = kib - max(0, room.memory_kib(part, page) - taken.get((part.home.memory_node, page), 0))
        if short_kib > 0:
            lacks.append(Lack(node_id=part.home.memory_node, page_kib=page, amount=short_kib))
    return tuple(lacks)


def _too_few_homes(request: GuestRequest, book: OpenFleet) -> str:
    """No host has as many homes as the guest has cells."""
    most = max((len(homes(host)) for host in book.fleet), default=0)
    cells = request.cells if any(has_cells(request, host) for host in book.fleet) else 1
    return f"it has {cells} cells, and no host more than {most} node{'s' * (most != 1)} with pCPUs and memory"
