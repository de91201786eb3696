"""Every way in which one guest can live on one host: which homes, the larger share first."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from policies.capacity import HostCapacity
from policies.homes import Home, has_cells, homes, part_counts, refusal, split
from policies.request import GuestRequest
from policies.tiers import span_distance
from probe.cpuset import NodeSet
from probe.topology import UNREACHABLE_DISTANCE

MOST_CANDIDATES = 3000
"""Ordered sets of homes per guest, host and number of parts that are all looked at; of more, only
each home with its nearest neighbours is (and a solver that uses them proves nothing)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to live on a host.

    Attributes:
        homes: one per part of the guest, the larger shares first.
        distance: `policies.tiers.span_distance` of it.
    """

    homes: tuple[Home, ...]
    distance: int


def candidates(request: GuestRequest, host: HostCapacity) -> tuple[Candidate, ...]:
    """All candidates, fewest nodes first, then nearest; what is left on the host is not looked at.

    Hard: no two homes of one guest are unreachable from each other (SLIT 255), and two parts of
    one interleaved cell never share a memory node.
    """
    if refusal(request, host) is not None:
        return ()
    found: list[Candidate] = []
    for parts in part_counts(request, host):
        ways = (Candidate(homes=way, distance=_distance(request, host, way)) for way in _ways(request, host, parts))
        found += sorted((c for c in ways if _is_possible(request, host, c.homes)), key=lambda c: c.distance)
    return tuple(found)


def are_all(request: GuestRequest, host: HostCapacity) -> bool:
    """Whether `candidates` leaves none out."""
    return all(math.perm(len(homes(host)), parts) <= MOST_CANDIDATES for parts in part_counts(request, host))


def _ways(request: GuestRequest, host: HostCapacity, parts: int) -> Iterator[tuple[Home, ...]]:
    """Ordered homes; of parts with the same share only one order."""
    every = homes(host)
    if math.perm(len(every), parts) > MOST_CANDIDATES:
        yield from dict.fromkeys(_nearest(host, seed, parts) for seed in every)
        return
    shares = split(request, host, parts)
    alike = [i > 1 and shares[i] == shares[i - 1] for i in range(parts)]
    if parts > 1 and shares[0] == shares[1] and not request.overhead_kib:
        alike[1] = True
    position = {home: i for i, home in enumerate(every)}
    for way in itertools.permutations(every, parts):
        if all(not same or position[way[i - 1]] < position[way[i]] for i, same in enumerate(alike)):
            yield way


def _nearest(host: HostCapacity, seed: Home, parts: int) -> tuple[Home, ...]:
    def away(home: Home) -> tuple[int, int]:
        return host.topology.distance(seed.cpu_node, home.cpu_node), home.cpu_node

    return (seed, *sorted((h for h in homes(host) if h != seed), key=away)[: parts - 1])


def _is_possible(request: GuestRequest, host: HostCapacity, way: tuple[Home, ...]) -> bool:
    if not has_cells(request, host) and len({home.memory_node for home in way}) < len(way):
        return False
    pairs = itertools.permutations({home.cpu_node for home in way}, 2)
    return all(host.topology.distance(a, b) < UNREACHABLE_DISTANCE for a, b in pairs)


def _distance(request: GuestRequest, host: HostCapacity, way: tuple[Home, ...]) -> int:
    cells = [(NodeSet.of(home.cpu_node), NodeSet.of(home.memory_node)) for home in way]
    if not has_cells(request, host):
        cells = [(NodeSet.union(cpus for cpus, _ in cells), NodeSet.union(memory for _, memory in cells))]
    return span_distance(host.topology, cells)
