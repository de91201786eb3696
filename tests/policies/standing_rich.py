"""Small fleets in which guests of every kind stand, in groups of every level but L3, where nothing is proven."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from random import Random

from hypothesis import strategies as st

from policies.asked import EmulatorPolicy, SmtPolicy
from policies.capacity import HostCapacity
from policies.compose import settle_shared
from policies.fleet import Fleet
from policies.open_fleet import OpenFleet
from policies.rebalance.question import Budget, Question
from policies.request import CpuPolicy, Group, GroupRule, GuestRequest, GuestShare, Membership
from probe.cpuset import CpuSet, NodeId
from probe.snapshot import Hypervisor
from tests.policies.hosts import GIB_KIB, host_of, topology_of
from tests.policies.rebalance_spots import spots_of
from tests.policies.standing import all_places, guest, narrowed, standing

MOST_STATES = 2_000
"""Of a question, as the oracle counts them."""

MOST_CHOICES = 300
"""Of places for the guests that are wanted."""

GROUPS = (
    Group(name="apart", rule=GroupRule.ANTI_AFFINITY),
    Group(name="together", rule=GroupRule.AFFINITY),
    Group(name="one rack", rule=GroupRule.AFFINITY, level="rack"),
    Group(name="racks", rule=GroupRule.ANTI_AFFINITY, level="rack"),
    Group(name="nodes", rule=GroupRule.ANTI_AFFINITY, level="node"),
    Group(name="one node", rule=GroupRule.AFFINITY, level="node"),
    Group(name="shards", rule=GroupRule.FAULT_DOMAINS, level="node"),
    Group(name="near", rule=GroupRule.AFFINITY, level="node", hard=False, weight=2),
    Group(name="far", rule=GroupRule.ANTI_AFFINITY, level="node", hard=False),
    Group(name="split", rule=GroupRule.FAULT_DOMAINS, level="rack", hard=False, weight=3),
)
WHOLE = Group(name="all", rule=GroupRule.ALL_OR_NOTHING)


def rich_questions(*, smt: bool = False) -> st.SearchStrategy[Question]:
    """`smt`: guests may ask for whole cores, where nothing is proven."""
    return st.integers(0, 2**32).map(lambda seed: _question(Random(seed), smt))  # noqa: S311


def _question(chance: Random, smt: bool) -> Question:
    fleet = Fleet.of([_host(chance, f"h{i + 1}", smt) for i in range(chance.choice([1, 2, 2]))])
    book, requests, states = fleet.open(), [], 1
    groups = chance.sample(GROUPS, 2)
    for i in range(chance.randint(2, 4)):
        request = _wish(chance, f"g{i}", smt, groups)
        found = all_places(request, book)
        more = len(spots_of(request, fleet.hosts))
        if found and states * more <= (MOST_STATES // 4 if smt else MOST_STATES):
            placement = chance.choice(found)
            book.take(placement)
            requests.append(request.in_pages(placement.cells[0].memory[0].page_kib))
            states *= more
    there = settle_shared([*book.taken.values()], fleet)
    stands = [p if len(p.cells) > 1 or p.dedicated else narrowed(chance, p, fleet) for p in there]
    wanted = [] if chance.random() < 0.4 else _wanted(chance, book, smt, groups)
    closed = chance.choice(fleet.hosts)
    return Question(
        fleet=fleet,
        guests=tuple(standing(chance, r, p, fleet, migrates=0.7) for r, p in zip(requests, stands, strict=True)),
        wanted=tuple(wanted),
        budget=Budget(most_moves=chance.choice([3, 3, 2, 1]), most_memory_kib=chance.choice([9, 9, 5, 2]) * GIB_KIB),
        closed_hosts=frozenset({closed.name} if chance.random() < 0.1 else ()),
        closed_nodes=frozenset({(closed.name, NodeId(1))} if chance.random() < 0.15 else ()),
    )


def _host(chance: Random, name: str, smt: bool) -> HostCapacity:
    """Two nodes; now and then a third without memory, or two threads per core."""
    threads = 2 if smt and chance.random() < 0.7 else 1
    memoryless = (2,) if chance.random() < 0.25 else ()
    count = 2 + len(memoryless)
    distances = {a: {b: 10 if a == b else chance.choice([20, 20, 25]) for b in range(count)} for a in range(count)}
    topology = topology_of(
        cpus=4 if threads == 2 else chance.choice([2, 3]),
        nodes=count,
        memoryless=memoryless,
        distances=distances,
        smt=threads,
    )
    made = host_of(name, topology=topology, hypervisor=chance.choice([Hypervisor.KVM] * 6 + [Hypervisor.XEN]))
    nodes = []
    for node in made.nodes:
        gib = 0 if node.node_id in memoryless else chance.choice([2, 3, 4])
        nodes.append(replace(node, memory_kib={4: gib * GIB_KIB, 2048: min(gib, chance.choice([0, 1, 2])) * GIB_KIB}))
    return replace(
        made, nodes=tuple(nodes), overcommit=Fraction(chance.choice([1, 2])), domains={"rack": chance.choice("ab")}
    )


def _wish(chance: Random, name: str, smt: bool, groups: list[Group]) -> GuestRequest:
    kind = chance.choice(["mixed", "mixed", "own", "shared", "cells", "uneven", "stacked", "wide", "pages"])
    keys = _keys(chance, kind)
    if keys["cpus"] is not CpuPolicy.SHARED:
        keys["emulator"] = chance.choice(
            [EmulatorPolicy.AUTO, EmulatorPolicy.AUTO, EmulatorPolicy.GUEST, EmulatorPolicy.OWN]
        )
        if smt:
            keys["smt"] = chance.choice([*SmtPolicy])
    if chance.random() < 0.4:
        group = chance.choice(groups)
        part = chance.choice("xy") if group.rule is GroupRule.FAULT_DOMAINS else ""
        keys["groups"] = (Membership(group=group, part=part),)
    keys["overhead_kib"] = chance.choice([0, 0, GIB_KIB])
    keys["max_distance"] = chance.choice([None, None, 20])
    return guest(name, **keys)  # type: ignore[arg-type]


def _keys(chance: Random, kind: str) -> dict[str, object]:
    policy = chance.choice([CpuPolicy.SHARED, CpuPolicy.DEDICATED])
    if kind in ("mixed", "wide"):
        vcpus = chance.choice([2, 3])
        own = CpuSet.of(chance.randrange(vcpus))
        mixed = {"cpus": CpuPolicy.MIXED, "dedicated_vcpus": own} if kind == "mixed" else {"cpus": policy}
        nodes = (
            {"max_nodes": 2, "gib": 2} if kind == "wide" or chance.random() < 0.3 else {"gib": chance.choice([1, 2])}
        )
        return {"vcpus": vcpus, **mixed, **nodes}
    if kind in ("own", "shared"):
        policy = CpuPolicy.DEDICATED if kind == "own" else CpuPolicy.SHARED
        return {"vcpus": chance.choice([1, 2]), "gib": chance.choice([1, 2, 3]), "cpus": policy}
    if kind == "cells":
        return {"vcpus": chance.choice([2, 3]), "gib": 2, "cells": 2, "cpus": policy}
    if kind == "uneven":
        sizes = tuple(GuestShare(vcpus=n, memory_kib=GIB_KIB * gib) for n, gib in chance.choice(UNEVEN))
        gib = sum(size.memory_kib for size in sizes) // GIB_KIB
        vcpus = sum(size.vcpus for size in sizes)
        return {"vcpus": vcpus, "gib": gib, "cells": len(sizes), "cell_sizes": sizes, "cpus": policy}
    if kind == "stacked":
        return {"vcpus": 3, "gib": 3, "cells": 3, "stack_cells": True, "max_nodes": 2, "cpus": policy}
    return {"vcpus": 1, "gib": 1, "page_kib": 2048, "cpus": policy}


UNEVEN = [((1, 1), (2, 1)), ((2, 1), (1, 1)), ((1, 2), (1, 1)), ((1, 1), (1, 2))]


def _refused(chance: Random, name: str, smt: bool, groups: list[Group], book: OpenFleet) -> GuestRequest:
    """One that has no place as things are, if chance finds one soon."""
    wishes = [_wish(chance, name, smt, groups) for _ in range(8)]
    empty = book.fleet.open()
    lost = (wish for wish in wishes if not all_places(wish, book) and all_places(wish, empty))
    return next(lost, wishes[0])


def _wanted(chance: Random, book: OpenFleet, smt: bool, groups: list[Group]) -> list[GuestRequest]:
    """One or two; now and then all of them or none, or in the largest pages."""
    found = [_refused(chance, f"w{i}", smt, groups, book) for i in range(chance.choice([1, 1, 2]))]
    fleet = book.fleet
    found = [replace(request, priority=chance.choice([1, 1, 3])) for request in found]
    if chance.random() < 0.3:
        whole = Membership(group=WHOLE)
        found = [replace(request, groups=(*request.groups, whole)) for request in found]
    if chance.random() < 0.3:
        found = [replace(request, page_kib=4, largest_pages=True) for request in found]
    choices = math.prod(1 + len(spots_of(request, fleet.hosts)) for request in found)
    return found if choices <= MOST_CHOICES else [guest("w0", 2, 1)]
