"""Our solver and every other named policy on the same batches: who places more, on fewer and nearer nodes."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

from policies.capacity import HostCapacity
from policies.check import violations
from policies.fleet import Fleet
from policies.host_rules import HostRules
from policies.plan import Decision, Placement, Reason, Rejection
from policies.policy import Effort, Policy
from policies.promise import host_capacity
from policies.registry import BUILTIN, load_policy
from policies.request import CpuPolicy, GuestName, GuestRequest, HostName
from policies.tiers import objective_of
from probe import read_source

Row = dict[str, Any]

GIB_KIB = 1024 * 1024
OURS = "solver"
EFFORT = Effort(time_limit_s=None, deterministic_limit=5.0)
"""Counted in the solver's own steps, so that a run can be repeated on any machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Hosts of one kind, and how the guests for them are.

    Attributes:
        hosts: what each is made of, `synthetic:` left away.
        uneven: whether each node has another part of its memory left.
        page_kib: what a third of the guests ask for.
        cpus: what all guests ask for.
    """

    hosts: tuple[str, ...]
    uneven: bool = False
    page_kib: int = 4
    cpus: CpuPolicy = CpuPolicy.SHARED


_TWO_SOCKETS = "package:2 node:1 core:8 memory:64GiB distance:10,12,21"
_FOUR_NODES = "package:2 node:2 core:4 memory:32GiB distance:10,12,21"
_EIGHT_NODES = "package:2 node:4 core:4 memory:16GiB distance:10,12,32"
SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "two sockets": Shape(hosts=(_TWO_SOCKETS,) * 3),
        "four nodes": Shape(hosts=(_FOUR_NODES,) * 3),
        "eight nodes": Shape(hosts=(_EIGHT_NODES,) * 2),
        "uneven memory": Shape(hosts=(_TWO_SOCKETS, _FOUR_NODES, _EIGHT_NODES), uneven=True),
        "huge pages": Shape(hosts=(f"{_TWO_SOCKETS} hugepages:2MiB=8192",) * 3, page_kib=2048),
        "dedicated": Shape(hosts=(_TWO_SOCKETS, _FOUR_NODES, _EIGHT_NODES), cpus=CpuPolicy.DEDICATED),
    }
)
SEEDS = (1, 2)
_FLAVOURS = ((1, 4), (2, 4), (2, 8), (3, 12), (4, 8), (4, 16), (6, 24), (8, 32))
"""vCPUs and GiB; from 6 vCPUs on a guest may span two nodes."""
_DEMAND = 1.1
"""The vCPUs of all guests, as a multiple of the pCPUs."""


def scenario(shape: Shape, seed: int) -> tuple[list[GuestRequest], Fleet]:
    """Hosts of a shape, and guests of equal priority that overfill them a little."""
    rng = random.Random(seed)  # noqa: S311
    fleet = Fleet.of([_host(f"h{n}", spec, shape, rng) for n, spec in enumerate(shape.hosts, 1)])
    return list(_guests(_DEMAND * int(fleet.free_cpus.sum()), shape, rng)), fleet


def _host(name: str, spec: str, shape: Shape, rng: random.Random) -> HostCapacity:
    snapshot = read_source(f"synthetic:{spec}")
    totals = {int(n.node_id): n.memory_total_kib or 0 for n in snapshot.topology.nodes}
    kept = {node: int(total * rng.uniform(0, 0.7)) if shape.uneven else GIB_KIB for node, total in totals.items()}
    return host_capacity(HostName(name), snapshot, HostRules(node_reserve_kib=kept))


def _guests(vcpus_left: float, shape: Shape, rng: random.Random) -> Iterator[GuestRequest]:
    number = 0
    while vcpus_left > 0:
        number += 1
        vcpus, gib = rng.choice(_FLAVOURS)
        vcpus_left -= vcpus
        yield GuestRequest(
            name=GuestName(f"g{number}"),
            vcpus=vcpus,
            memory_kib=gib * GIB_KIB,
            page_kib=shape.page_kib if rng.random() < 1 / 3 else 4,
            max_nodes=2 if vcpus >= 6 else 1,
            cpus=shape.cpus,
            overhead_kib=64 * 1024,
        )


def _dropped(request: GuestRequest, why: str) -> Rejection:
    return Rejection(guest=request.name, reason=Reason.CONTENTION, detail=why)


def sound_part(decisions: Sequence[Decision], requests: Sequence[GuestRequest], fleet: Fleet) -> tuple[Decision, ...]:
    """The placements that our checker passes; those that break a rule beside the ones kept are dropped.

    They are gone through one by one, in the batch's order and from the smallest guest on: the order that
    keeps more counts.
    """
    if not violations(decisions, requests, fleet):
        return tuple(decisions)
    by_size = sorted(range(len(requests)), key=lambda i: (requests[i].vcpus, requests[i].memory_kib))
    kept = [_kept(decisions, requests, fleet, order) for order in (range(len(requests)), by_size)]
    return max(kept, key=_placed)


def _kept(
    decisions: Sequence[Decision], requests: Sequence[GuestRequest], fleet: Fleet, order: Sequence[int]
) -> tuple[Decision, ...]:
    kept: list[Decision] = [_dropped(request, "breaks a rule beside others") for request in requests]
    for i in order:
        dropped, kept[i] = kept[i], decisions[i]
        if violations(kept, requests, fleet):
            kept[i] = dropped
    return tuple(kept)


def _placed(decisions: Sequence[Decision]) -> int:
    return sum(isinstance(decision, Placement) for decision in decisions)


def row_of(policy: Policy, requests: Sequence[GuestRequest], fleet: Fleet) -> Row:
    """What is left of a policy's answer to a batch when the checker is through with it."""
    began = time.perf_counter()
    decisions = policy(requests, fleet, EFFORT).decisions
    wall_s = time.perf_counter() - began
    sound = sound_part(decisions, requests, fleet)
    counted = {tier.name: tier.value for tier in objective_of(sound, requests, fleet)}
    placed = _placed(sound)
    return {
        "guests": len(requests),
        "violations": len(violations(decisions, requests, fleet)),
        "dropped": _placed(decisions) - placed,
        "placed": placed,
        "nodes": counted["nodes-spanned"],
        "distance": counted["distance"] / max(1, placed),
        "wall_s": wall_s,
    }


def missed(ours: Row, other: Row) -> list[str]:
    """In what the other is better: guests placed, and where these are as many, nodes and mean distance."""
    if other["placed"] != ours["placed"]:
        return ["places more"] if other["placed"] > ours["placed"] else []
    checks = (("nodes", "spans fewer nodes"), ("distance", "is nearer"))
    return [text for key, text in checks if other[key] < ours[key]]


def compare(name: str, requests: Sequence[GuestRequest], fleet: Fleet, policies: Mapping[str, Policy]) -> list[Row]:
    """A row for each policy on one batch, ours first; `policies` has ours too."""
    of_policy = {policy: row_of(decide, requests, fleet) for policy, decide in policies.items()}
    ours = of_policy.pop(OURS)
    broken = ["breaks a hard rule"] if ours["violations"] else []
    first = {"case": name, "policy": OURS, **ours, "missed": broken}
    return [first, *({"case": name, "policy": p, **r, "missed": missed(ours, r)} for p, r in of_policy.items())]


def measure_peers() -> Iterator[list[Row]]:
    """The rows of each scenario, in order."""
    policies = {name: load_policy(name) for name in BUILTIN}
    for (name, shape), seed in product(SHAPES.items(), SEEDS):
        requests, fleet = scenario(shape, seed)
        yield compare(f"{name} {seed}", requests, fleet, policies)
