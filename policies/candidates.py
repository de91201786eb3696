"""Every way in which one guest can live on one host: which homes, the larger shares first.

What is left on the host is not looked at here; `policies.places` does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from policies.asked import EmulatorPolicy, own_vcpus
from policies.capacity import HostCapacity
from policies.homes import Home, cores_of, has_cells, homes_for, is_complete, pcpus_of_part, split
from policies.near import wishes_missed
from policies.request import GuestName, GuestRequest, GuestShare
from policies.same import Same
from policies.tiers import span_distance
from probe.cpuset import NodeSet
from probe.topology import UNREACHABLE_DISTANCE

MOST_CANDIDATES = 1000
"""Ordered sets of homes per guest, host and number of parts that are all looked at. Of more, the
nearest of each home are (`policies.nearest.from_each_home`), so that a search over them proves nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one part of a guest takes: pCPUs from one node, memory per page size from another or the same.

    Attributes:
        floating: vCPUs that share the node's shared pCPUs.
        pcpus: that become its own.
        cores: whole cores that are among them.
    """

    home: Home
    memory_kib: Mapping[int, int]
    floating: int
    pcpus: int
    cores: int

    @property
    def vcpus(self) -> int:
        """What it takes of a node, whichever pCPUs: its own and the vCPUs that float."""
        return self.floating + self.pcpus


class Kind(NamedTuple):
    """What a part takes, wherever it is. Parts of one kind are interchangeable."""

    share: GuestShare
    overhead_kib: int
    floating: int
    pcpus: int
    cores: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to live on a host.

    Attributes:
        parts: the larger shares first; the overhead is in the first.
        page_kib: the page size of its memory.
        distance: `policies.tiers.span_distance` of it.
        missed: devices that the guest should be near, and is not.
    """

    parts: tuple[Part, ...]
    page_kib: int
    distance: int
    missed: int

    @property
    def homes(self) -> tuple[Home, ...]:
        return tuple(part.home for part in self.parts)


def are_enumerable(request: GuestRequest, host: HostCapacity, parts: int) -> bool:
    """Whether `candidates` gives every way to live on `parts` homes."""
    kinds = [len(list(same)) for _, same in itertools.groupby(kinds_of_parts(request, host, parts))]
    ways = math.perm(len(homes_for(request, host)), parts)
    return ways // math.prod(math.factorial(n) for n in kinds) <= MOST_CANDIDATES


def candidates(request: GuestRequest, host: HostCapacity, parts: int) -> tuple[Candidate, ...]:
    """All candidates of `parts` homes, nearest first, of these those near its devices. Only for what `are_enumerable`.

    Hard: no two homes of one guest are on one CPU node, unreachable from each other (SLIT 255) or farther than its
    `max_distance`, parts of one interleaved cell share a memory node all or not at all, and the homes
    together have what one of them must have (`policies.homes.is_complete`).
    """
    return _candidates(replace(request, name=GuestName("any")), Same(host), parts)


@lru_cache(maxsize=20_000)
def _candidates(request: GuestRequest, host: Same[HostCapacity], parts: int) -> tuple[Candidate, ...]:
    ways = _ways(request, host.value, parts)
    found = [candidate_of(request, host.value, way) for way in ways if _is_allowed(request, host.value, way)]
    return tuple(sorted(found, key=lambda candidate: (candidate.distance, candidate.missed)))


def may_live_on(request: GuestRequest, host: HostCapacity, home: Home) -> bool:
    """Whether the guest may live there as one part, however empty the host is."""
    return _is_allowed(request, host, (home,))


def _ways(request: GuestRequest, host: HostCapacity, parts: int) -> Iterator[tuple[Home, ...]]:
    """Ordered homes; of parts with the same share only one order."""
    kinds = [len(list(same)) for _, same in itertools.groupby(kinds_of_parts(request, host, parts))]

    def extended(left: tuple[Home, ...], sizes: list[int]) -> Iterator[tuple[Home, ...]]:
        if not sizes:
            yield ()
            return
        for chosen in itertools.combinations(left, sizes[0]):
            rest = tuple(home for home in left if home not in chosen)
            for others in extended(rest, sizes[1:]):
                yield (*chosen, *others)

    return extended(homes_for(request, host), kinds)


def kinds_of_parts(request: GuestRequest, host: HostCapacity, parts: int) -> list[Kind]:
    """The kind of each part, the larger shares first; equal ones are interchangeable."""
    own = own_vcpus(request).ids
    kinds, first = [], 0
    for i, share in enumerate(split(request, host, parts)):
        owners = len(own.intersection(range(first, first + share.vcpus)))
        first += share.vcpus
        kinds.append(
            Kind(
                share=share,
                overhead_kib=request.overhead_kib if i == 0 else 0,
                floating=share.vcpus - owners,
                pcpus=pcpus_of_part(request, host, owners, is_first=i == 0),
                cores=cores_of(request, host, owners),
            )
        )
    return kinds


def candidate_of(request: GuestRequest, host: HostCapacity, way: Sequence[Home]) -> Candidate:
    """The candidate on these homes, the larger shares first."""
    kinds = kinds_of_parts(request, host, len(way))
    parts = tuple(part_of(request, home, kind) for home, kind in zip(way, kinds, strict=True))
    return Candidate(
        parts=parts,
        page_kib=request.page_kib,
        distance=distance_of(request, host, way),
        missed=wishes_missed(request.devices, host, (home.cpu_node for home in way)),
    )


def part_of(request: GuestRequest, home: Home, kind: Kind) -> Part:
    """The part of such a kind on this home."""
    memory = memory_of(request, kind)
    return Part(home=home, memory_kib=memory, floating=kind.floating, pcpus=kind.pcpus, cores=kind.cores)


def own_units(request: GuestRequest, part: Part, *, is_first: bool) -> int:
    """Whole cores, or else pCPUs, that a part takes for its vCPUs: without one of the emulator alone."""
    of_emulator = is_first and part.pcpus > 0 and request.emulator is EmulatorPolicy.OWN
    return part.cores or part.pcpus - int(of_emulator)


def memory_of(request: GuestRequest, kind: Kind) -> dict[int, int]:
    """KiB of such a part by page size, the overhead in 4 KiB pages."""
    memory = {request.page_kib: kind.share.memory_kib}
    if kind.overhead_kib:
        memory[4] = memory.get(4, 0) + kind.overhead_kib
    return memory


def _is_allowed(request: GuestRequest, host: HostCapacity, way: Sequence[Home]) -> bool:
    return _is_possible(request, host, way) and is_complete(request, host, way)


def _is_possible(request: GuestRequest, host: HostCapacity, way: Sequence[Home]) -> bool:
    if not has_cells(request, host):
        memory_nodes = {home.memory_node for home in way}
        if 1 < len(memory_nodes) < len(way):
            return False
    cpu_nodes = {home.cpu_node for home in way}
    if len(cpu_nodes) < len(way):
        return False
    pairs = itertools.permutations(cpu_nodes, 2)
    reached = all(host.topology.distance(a, b) < UNREACHABLE_DISTANCE for a, b in pairs)
    return reached and _is_near_enough(request, host, way)


def _is_near_enough(request: GuestRequest, host: HostCapacity, way: Sequence[Home]) -> bool:
    if request.max_distance is None:
        return True
    nodes = {node for home in way for node in (home.cpu_node, home.memory_node)}
    return all(host.topology.distance(a, b) <= request.max_distance for a, b in itertools.permutations(nodes, 2))


def distance_of(request: GuestRequest, host: HostCapacity, way: Sequence[Home]) -> int:
    """`policies.tiers.span_distance` of a guest with these homes."""
    cells = [(NodeSet.of(home.cpu_node), NodeSet.of(home.memory_node)) for home in way]
    if has_cells(request, host):
        cells = [cell for cell, here in zip(cells, request.dealt(len(way)), strict=True) for _ in here]
    else:
        cells = [(NodeSet.union(cpus for cpus, _ in cells), NodeSet.union(memory for _, memory in cells))]
    return span_distance(host.topology, cells)
