"""Every sequence of steps on tiny fleets, pCPU by pCPU, written from the issue and sharing no code with the search.

A guest is vCPUs and memory, on one node or evenly on two; it holds old and new place during a step.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from policies.capacity import HostCapacity, NodeCapacity
from policies.objective import Term
from policies.plan import Placement
from policies.rebalance.question import Question, Standing
from policies.request import CpuPolicy, GroupRule, GuestRequest


@dataclass(frozen=True)
class Spot:
    """Where a guest is: per node its vCPUs, memory, and the pCPUs that it may use there."""

    host: int
    parts: tuple[tuple[int, int, int, frozenset[int]], ...]
    dedicated: bool
    distance: int = 0

    @property
    def memory(self) -> dict[int, int]:
        return {node: kib for node, _, kib, _ in self.parts}

    @property
    def cpus(self) -> frozenset[int]:
        return frozenset().union(*(cpus for _, _, _, cpus in self.parts))


State = tuple[Spot, ...]
Rank = tuple[tuple[int, int, int], tuple[int, int]]


def best_rank(question: Question) -> Rank:
    """The least (value, (KiB, steps)) of all sequences within the budget."""
    hosts = question.fleet.hosts
    spots = [list(_spots(g.request, hosts)) for g in question.guests]
    wanted = [[None, *_spots(r, hosts)] for r in question.wanted]
    start = tuple(_spot_of(g.placement, g.request, hosts) for g in question.guests)
    queue: list[tuple[int, int, int, State]] = [(0, 0, 0, start)]
    seen: dict[State, int] = {}
    ranks: list[Rank] = []
    number = itertools.count(1)
    while queue:
        kib, steps, _, state = heapq.heappop(queue)
        if seen.get(state, steps + 1) <= steps:
            continue
        seen[state] = steps
        ranks.append((_value(state, question, wanted), (kib, steps)))
        if steps == question.budget.most_moves:
            continue
        for i, guest in enumerate(question.guests):
            for spot in spots[i]:
                more = _copied(guest, state[i], spot, hosts)
                if spot == state[i] or more is None or kib + more > question.budget.most_memory_kib:
                    continue
                after = (*state[:i], spot, *state[i + 1 :])
                if _step_holds(question, state, i, spot) and _groups_hold(question, after):
                    heapq.heappush(queue, (kib + more, steps + 1, next(number), after))
    return min(ranks)


def _value(state: State, question: Question, wanted: Sequence[Sequence[Spot | None]]) -> tuple[int, int, int]:
    hosts = question.fleet.hosts
    if not question.wanted:
        nodes = sum(len(spot.parts) for spot in state)
        last = len({spot.host for spot in state})
        if Term.BALANCE in question.objective.terms:
            last = sum(_load(state, i, host, node) ** 2 for i, host in enumerate(hosts) for node in host.nodes)
        return nodes, sum(spot.distance for spot in state), last
    best = 0
    for chosen in itertools.product(*wanted):
        weight = sum(r.priority for r, spot in zip(question.wanted, chosen, strict=True) if spot is not None)
        if weight > best and _all_hold([*state, *(s for s in chosen if s is not None)], hosts):
            best = weight
    return -best, 0, 0


def _load(state: State, index: int, host: HostCapacity, node: NodeCapacity) -> int:
    """In per cent, rounded up: of pCPUs by vCPUs, or of memory."""
    here = [part for spot in state if spot.host == index for part in spot.parts if part[0] == node.node_id]
    there = host.topology.node(node.node_id)
    total = max(there.memory_total_kib or 0, node.memory_kib[4])
    kib = total - node.memory_kib[4] + sum(kib for _, _, kib, _ in here)
    nobodys = len(there.cpus - node.free_cpus - node.shared_cpus)
    vcpus = node.shared_vcpus + nobodys + sum(n for _, n, _, _ in here)
    return max(math.ceil(Fraction(100 * kib, total)), math.ceil(Fraction(100 * vcpus, len(there.cpus))))


def _copied(guest: Standing, origin: Spot, target: Spot, hosts: Sequence[HostCapacity]) -> int | None:
    """KiB that are copied; None where the guest cannot go there."""
    if origin.host != target.host:
        alike = hosts[origin.host].hypervisor == hosts[target.host].hypervisor
        return guest.request.memory_kib if guest.may_migrate and alike else None
    if origin.memory == target.memory:
        return 0
    return guest.request.memory_kib if guest.memory_follows and len(target.parts) == 1 else None


def _step_holds(question: Question, state: State, i: int, target: Spot) -> bool:
    """With both places held; what is in both counts once."""
    hosts, origin = question.fleet.hosts, state[i]
    others = [spot for j, spot in enumerate(state) if j != i]
    if not _all_hold([*others, target], hosts):
        return False
    if origin.host == target.host and origin.memory.keys() == target.memory.keys():
        parts = tuple(
            (node, n, kib, here | there)
            for (node, n, kib, here), (_, _, _, there) in zip(origin.parts, target.parts, strict=True)
        )
        both = Spot(origin.host, parts, dedicated=origin.dedicated)
        return _nobody_trespasses([*others, both])
    return _all_hold([*others, origin, target], hosts)


def _all_hold(spots: Sequence[Spot], hosts: Sequence[HostCapacity]) -> bool:
    if not _nobody_trespasses(spots):
        return False
    for index, host in enumerate(hosts):
        here = [s for s in spots if s.host == index]
        owned = frozenset().union(*(s.cpus for s in here if s.dedicated))
        for node in host.nodes:
            parts = [(s, p) for s in here for p in s.parts if p[0] == node.node_id]
            if sum(kib for _, (_, _, kib, _) in parts) > node.memory_kib[4]:
                return False
            floating = sum(n for s, (_, n, _, _) in parts if not s.dedicated)
            if floating and floating + node.shared_vcpus > host.overcommit * len(node.shared_cpus.ids - owned):
                return False
    return True


def _nobody_trespasses(spots: Sequence[Spot]) -> bool:
    pairs = itertools.combinations(spots, 2)
    return not any(a.host == b.host and (a.dedicated or b.dedicated) and a.cpus & b.cpus for a, b in pairs)


def _groups_hold(question: Question, state: State) -> bool:
    """Groups by host: together, or apart."""
    for (a, here), (b, there) in itertools.combinations(zip(question.guests, state, strict=True), 2):
        for mine, theirs in itertools.product(a.request.groups, b.request.groups):
            if mine.group.name == theirs.group.name:
                together = mine.group.rule is GroupRule.AFFINITY
                if (here.host == there.host) is not together:
                    return False
    return True


def _spots(request: GuestRequest, hosts: Sequence[HostCapacity]) -> Iterator[Spot]:
    dedicated = request.cpus is CpuPolicy.DEDICATED
    for index, host in enumerate(hosts):
        for k in range(1, (request.max_nodes or 1) + 1):
            for nodes in itertools.permutations(host.nodes, k):
                vcpus = [request.vcpus // k + (i < request.vcpus % k) for i in range(k)]
                if min(vcpus) < 1 or (
                    len(set(vcpus)) == 1 and [n.node_id for n in nodes] != sorted(n.node_id for n in nodes)
                ):
                    continue
                grounds = [n.free_cpus.ids if dedicated else n.shared_cpus.ids for n in nodes]
                some = [list(_subsets(ground, n, exactly=dedicated)) for ground, n in zip(grounds, vcpus, strict=True)]
                for chosen in itertools.product(*some):
                    parts = zip(nodes, vcpus, chosen, strict=True)
                    kib = request.memory_kib // k
                    far = 0 if k == 1 else host.topology.distance(nodes[0].node_id, nodes[1].node_id)
                    yield _spot(index, [(int(n.node_id), v, kib, cpus) for n, v, cpus in parts], dedicated, far)


def _spot(host: int, parts: list[tuple[int, int, int, frozenset[int]]], dedicated: bool, distance: int) -> Spot:
    return Spot(host, tuple(sorted(parts, key=lambda part: part[0])), dedicated, distance)


def _subsets(ground: frozenset[int], least: int, *, exactly: bool) -> Iterator[frozenset[int]]:
    for size in range(least, least + 1 if exactly else len(ground) + 1):
        yield from map(frozenset, itertools.combinations(sorted(ground), size))


def _spot_of(placement: Placement, request: GuestRequest, hosts: Sequence[HostCapacity]) -> Spot:
    index = next(i for i, host in enumerate(hosts) if host.name == placement.host)
    host = hosts[index]
    pins = [pin for cell in placement.cells for pin in cell.pins.values()]
    parts = []
    for share in placement.cells[0].memory:
        node = next(n for n in host.nodes if n.node_id == share.node_id)
        ground = (node.free_cpus | node.shared_cpus).ids
        here = [pin.ids for pin in pins if pin.ids <= ground]
        parts.append((int(node.node_id), len(here), share.kib, frozenset().union(*here)))
    nodes = [host.topology.nodes[n].node_id for n, *_ in parts]
    far = 0 if len(nodes) == 1 else host.topology.distance(nodes[0], nodes[1])
    return _spot(index, parts, request.cpus is CpuPolicy.DEDICATED, far)
