"""What every plan that places guests of some weight has at least of loads and of broken wishes."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from policies.capacity import HostCapacity
from policies.fleet import Fleet
from policies.groups import Domain, domains_of
from policies.request import Group, GroupRule, GuestRequest
from policies.solver.model import pcpus_of
from policies.usage import NOTHING, load_percent, loads_of

_STEPS = 200
"""In which the level to which nodes are filled is found."""
_ROUNDING = 1e-9

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nodes:
    """(nodes,) what each has of one resource, what is taken of it, what may still be, and its load in per cent."""

    there: Floats
    taken: Floats
    room: Floats
    load: Floats

    def added(self, level: float) -> Floats:
        """What each takes where one more costs the same everywhere: first what does not raise its load."""
        free = self.load * self.there / 100 - self.taken
        return np.clip(np.maximum(free, level * self.there**2 - self.taken), 0, self.room)

    def squares(self, added: Floats) -> float:
        """Σ of the squares of the loads."""
        loads = 100 * (self.taken + added) / np.maximum(1, self.there)
        return float((np.maximum(self.load, loads) ** 2).sum())


def least_load(fleet: Fleet, vcpus: int, memory_kib: int) -> int:
    """Of `balance` where guests of so many vCPUs and so much memory are placed.

    Loads are convex, so none are less than those where the nodes are filled evenly, by pCPUs alone or by memory alone.
    """
    nodes = [(host, node) for host in fleet for node in host.nodes]
    load = np.array([load_percent(host, node, NOTHING) for host, node in nodes], dtype=np.float64)
    loads = [loads_of(host, node) for host, node in nodes]
    is_open = np.array([host.is_open for host, _ in nodes], dtype=np.float64)
    vcpu_room = [pcpus_of(replace(host, nodes=(node,))) for host, node in nodes]
    cpus = _Nodes(
        there=np.array([of.pcpus for of in loads], dtype=np.float64),
        taken=np.array([of.vcpus if of.pcpus else 0 for of in loads], dtype=np.float64),
        room=is_open * vcpu_room,
        load=load,
    )
    memory = _Nodes(
        there=np.array([of.total_kib for of in loads], dtype=np.float64),
        taken=np.array([of.taken_kib for of in loads], dtype=np.float64),
        room=is_open * [of.total_kib - of.taken_kib for of in loads],
        load=load,
    )
    return max(_filled(cpus, vcpus), _filled(memory, memory_kib))


def _filled(nodes: _Nodes, amount: int) -> int:
    """Σ of the squares of the loads where so much is added as evenly as can be, or a little less."""
    low, high = 0.0, float(((nodes.taken + nodes.room) / np.maximum(1, nodes.there) ** 2).max(initial=0.0))
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if nodes.added(middle).sum() <= amount else (low, middle)
    return math.ceil(nodes.squares(nodes.added(low)) * (1 - _ROUNDING))


def least_broken(requests: Sequence[GuestRequest], fleet: Fleet, weight: int) -> int:
    """Of `soft-wishes` where the guests that are placed have this priority together."""
    spare = sum(request.priority for request in requests) - weight
    members: dict[Group, list[GuestRequest]] = defaultdict(list)
    for request in requests:
        for member in request.groups:
            if not member.group.hard:
                members[member.group].append(request)
    return sum(group.weight * _broken(group, placed, fleet, spare) for group, placed in members.items())


def _broken(group: Group, members: Sequence[GuestRequest], fleet: Fleet, spare: int) -> int:
    """Of one group, where guests of the priority `spare` have no place: its own members, the least important first."""
    refused = list(itertools.accumulate(sorted(member.priority for member in members)))
    placed = len(members) - sum(1 for together in refused if together <= spare)
    if group.rule is GroupRule.FAULT_DOMAINS or placed <= 0:
        return 0
    domains = _domains(group.level, fleet)
    if group.rule is GroupRule.ANTI_AFFINITY:
        return max(0, placed - len(domains))
    vcpus = sum(sorted(member.vcpus for member in members)[:placed])
    held = itertools.accumulate(sorted(domains.values(), reverse=True))
    return sum(1 for together in held if together < vcpus)


def _domains(level: str, fleet: Fleet) -> dict[Domain, int]:
    """The domains of a level, each with the most vCPUs that may live on the hosts that touch it."""
    found: dict[Domain, int] = defaultdict(int)
    for host in fleet:
        for domain in domains_of(level, host, None):
            found[domain] += _most_vcpus(host)
    return found


def _most_vcpus(host: HostCapacity) -> int:
    return pcpus_of(host) if host.is_open else 0
