"""Every sequence of steps on tiny fleets, pCPU by pCPU, written from the issue and sharing no code with the search.

A guest holds old and new place during a step.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction

from policies.capacity import HostCapacity, NodeCapacity
from policies.objective import Term
from policies.rebalance.question import Question, Standing
from policies.request import GroupRule, GuestRequest, Membership
from tests.policies.rebalance_spots import Spot, spot_of, spots_of

State = tuple[Spot, ...]
Rank = tuple[tuple[int, ...], tuple[int, int]]


def best_rank(question: Question) -> Rank:
    """The least (value, (KiB, steps)) of all sequences within the budget."""
    hosts = question.fleet.hosts
    spots = [spots_of(g.request, hosts) for g in question.guests]
    wanted = [[None, *(s for s in spots_of(r, hosts) if not _is_closed(question, s))] for r in question.wanted]
    start = tuple(spot_of(g.placement, hosts) for g in question.guests)
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
                more = _copied(question, guest, state[i], spot)
                if spot == state[i] or more is None or kib + more > question.budget.most_memory_kib:
                    continue
                after = (*state[:i], spot, *state[i + 1 :])
                if _step_holds(question, state, i, spot) and _groups_hold(question, after):
                    heapq.heappush(queue, (kib + more, steps + 1, next(number), after))
    return min(ranks)


def _value(state: State, question: Question, wanted: Sequence[Sequence[Spot | None]]) -> tuple[int, ...]:
    hosts = question.fleet.hosts
    if not question.wanted:
        nodes = sum(len(spot.cpu_nodes) for spot in state)
        last = len({spot.host for spot in state})
        if Term.BALANCE in question.objective.terms:
            last = sum(_load(state, i, host, node) ** 2 for i, host in enumerate(hosts) for node in host.nodes)
        return nodes, sum(spot.distance for spot in state), _wishes_broken(question, state), last
    best = 0
    for chosen in itertools.product(*wanted):
        weight = sum(r.priority for r, spot in zip(question.wanted, chosen, strict=True) if spot is not None)
        if weight <= best:
            continue
        new = [(r, spot) for r, spot in zip(question.wanted, chosen, strict=True) if spot is not None]
        holds = _all_hold([*state, *(spot for _, spot in new)], hosts) and _all_or_none(question, new)
        if holds and _groups_hold(question, state, new):
            best = weight
    return -best, 0, 0, 0


def _load(state: State, index: int, host: HostCapacity, node: NodeCapacity) -> int:
    """In per cent, rounded up: of pCPUs by vCPUs, or of memory."""
    here = [spot for spot in state if spot.host == index]
    there = host.topology.node(node.node_id)
    offered = sum(node.memory_kib.values())
    total = max(there.memory_total_kib or 0, offered)
    kib = total - offered + sum(n for spot in here for (at, _), n in spot.memory if at == node.node_id)
    nobodys = len(there.cpus - node.free_cpus - node.shared_cpus)
    vcpus = node.shared_vcpus + nobodys
    vcpus += sum(len(spot.own & there.cpus.ids) + spot.vcpus.get(node.node_id, 0) for spot in here)
    parts = [(kib, total), (vcpus, len(there.cpus))]
    return max(math.ceil(Fraction(100 * part, whole)) if whole else 0 for part, whole in parts)


def _is_closed(question: Question, spot: Spot) -> bool:
    name = question.fleet.hosts[spot.host].name
    return name in question.closed_hosts or any((name, node) in question.closed_nodes for node in spot.nodes)


def _copied(question: Question, guest: Standing, origin: Spot, target: Spot) -> int | None:
    """KiB that are copied; None where the guest cannot go there."""
    hosts = question.fleet.hosts
    same = origin.host == target.host and (origin.memory, origin.cells) == (target.memory, target.cells)
    if _is_closed(question, target) and not (same and origin.floating == target.floating and origin.own == target.own):
        return None
    if origin.host != target.host:
        alike = hosts[origin.host].hypervisor == hosts[target.host].hypervisor
        return guest.request.memory_kib if guest.may_migrate and alike else None
    if same:
        return 0
    return guest.request.memory_kib if guest.memory_follows and len({n for (n, _), _ in target.memory}) == 1 else None


def _step_holds(question: Question, state: State, i: int, target: Spot) -> bool:
    """With both places held; what is in both counts once. The others hold among themselves."""
    others = [spot for j, spot in enumerate(state) if j != i and spot.host == target.host]
    host = question.fleet.hosts[target.host]
    if not _holds_beside(target, others, host):
        return False
    return state[i].host != target.host or _holds_beside(target.beside(state[i]), others, host)


def _holds_beside(spot: Spot, others: Sequence[Spot], host: HostCapacity) -> bool:
    return _nobody_trespasses(spot, others) and _host_holds([*others, spot], host)


def _nobody_trespasses(spot: Spot, others: Sequence[Spot]) -> bool:
    trespasses = (spot.own & (other.own | other.runs) or spot.runs & other.own for other in others)
    return not spot.own & spot.runs and not any(trespasses)


def _all_hold(spots: Sequence[Spot], hosts: Sequence[HostCapacity]) -> bool:
    for i, host in enumerate(hosts):
        here = [spot for spot in spots if spot.host == i]
        if not all(_nobody_trespasses(spot, here[:j]) for j, spot in enumerate(here)) or not _host_holds(here, host):
            return False
    return True


def _host_holds(here: Sequence[Spot], host: HostCapacity) -> bool:
    owned = frozenset[int]().union(*(spot.own for spot in here))
    memory: Counter[tuple[int, int]] = Counter()
    for spot in here:
        memory.update(dict(spot.memory))
    for node in host.nodes:
        if any(memory[node.node_id, page] > node.memory_kib.get(page, 0) for page in (4, 2048, 1024**2)):
            return False
        floating = sum(spot.vcpus.get(node.node_id, 0) for spot in here)
        if floating and floating + node.shared_vcpus > host.overcommit * len(node.shared_cpus.ids - owned):
            return False
    return True


def _domains(member: Membership, spot: Spot, hosts: Sequence[HostCapacity]) -> frozenset[object]:
    """What it touches of the group's level."""
    host, level = hosts[spot.host], member.group.level
    if level == "node":
        return frozenset((spot.host, node) for node in spot.nodes)
    return frozenset({(level, host.domains.get(level, host.name))})


def _members(question: Question, state: State, new: Iterable[tuple[GuestRequest, Spot]]) -> dict[str, list[_Member]]:
    found: dict[str, list[_Member]] = defaultdict(list)
    everybody = [*zip((g.request for g in question.guests), state, strict=True), *new]
    for request, spot in everybody:
        for member in request.groups:
            found[member.group.name].append((member, _domains(member, spot, question.fleet.hosts)))
    return found


_Member = tuple[Membership, frozenset[object]]


def _groups_hold(question: Question, state: State, new: Iterable[tuple[GuestRequest, Spot]] = ()) -> bool:
    for members in _members(question, state, new).values():
        rule = members[0][0].group.rule
        if not members[0][0].group.hard or rule is GroupRule.ALL_OR_NOTHING:
            continue
        if rule is GroupRule.AFFINITY and len(frozenset[object]().union(*(there for _, there in members))) > 1:
            return False
        for (a, here), (b, there) in itertools.combinations(members, 2):
            if here & there and (
                rule is GroupRule.ANTI_AFFINITY or (rule is GroupRule.FAULT_DOMAINS and a.part != b.part)
            ):
                return False
    return True


def _wishes_broken(question: Question, state: State) -> int:
    total = 0
    for members in _members(question, state, ()).values():
        group = members[0][0].group
        if group.hard:
            continue
        parts: dict[object, list[str]] = defaultdict(list)
        for member, domains in members:
            for domain in domains:
                parts[domain].append(member.part)
        if group.rule is GroupRule.AFFINITY:
            total += group.weight * (len(parts) - 1)
        elif group.rule is GroupRule.ANTI_AFFINITY:
            total += group.weight * sum(len(there) - 1 for there in parts.values())
        else:
            total += group.weight * sum(len(set(there)) - 1 for there in parts.values())
    return total


def _all_or_none(question: Question, new: Sequence[tuple[GuestRequest, Spot]]) -> bool:
    """Of each group of those who are wanted, and must all have a place or none."""
    asked, placed = (Counter(_whole(requests)) for requests in (question.wanted, [r for r, _ in new]))
    return all(placed[name] in (0, n) for name, n in asked.items())


def _whole(requests: Iterable[GuestRequest]) -> list[str]:
    groups = [member.group for request in requests for member in request.groups]
    return [group.name for group in groups if group.rule is GroupRule.ALL_OR_NOTHING]
