"""Small fleets in which guests stand already: questions for rebalancing.

By a seed and not draw by draw: what hypothesis draws is too plain for anybody to be in anybody's way.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from random import Random

from hypothesis import strategies as st

from policies.capacity import HostCapacity
from policies.compose import emulator_cpus_of, settle_shared
from policies.fleet import Fleet
from policies.open_fleet import OpenFleet
from policies.places import all_ways, placed
from policies.plan import Placement
from policies.rebalance.question import Budget, Question, Standing, memory_can_follow
from policies.request import CpuPolicy, Group, GroupRule, GuestName, GuestRequest, HostName, Membership
from probe.cpuset import CpuSet
from probe.snapshot import Hypervisor
from tests.policies.hosts import GIB_KIB, host_of, topology_of

TOGETHER = Membership(group=Group(name="together", rule=GroupRule.AFFINITY))
APART = Membership(group=Group(name="apart", rule=GroupRule.ANTI_AFFINITY))


def guest(name: str, gib: int = 1, vcpus: int = 1, **keys: object) -> GuestRequest:
    return GuestRequest(name=GuestName(name), vcpus=vcpus, memory_kib=gib * GIB_KIB, **keys)  # type: ignore[arg-type]


def questions(most_guests: int = 3, most_moves: int = 3) -> st.SearchStrategy[Question]:
    """Guests stand where chance has put them; up to two more look for a place, or none does."""
    return st.integers(0, 2**32).map(lambda seed: _question(Random(seed), most_guests, most_moves))  # noqa: S311


def _question(chance: Random, most_guests: int, most_moves: int) -> Question:
    fleet = Fleet.of([_host(chance, f"h{i + 1}") for i in range(chance.choice([1, 2, 2]))])
    book, requests = fleet.open(), []
    for i in range(chance.randint(2, most_guests)):
        request = _wish(chance, f"g{i}")
        if found := all_places(request, book):
            book.take(chance.choice(found))
            requests.append(request)
    stands = [narrowed(chance, p, fleet) for p in settle_shared([*book.taken.values()], fleet)]
    wanted = [] if chance.random() < 0.4 else [_refused(chance, f"w{i}", book) for i in range(chance.choice([1, 1, 2]))]
    return Question(
        fleet=fleet,
        guests=tuple(standing(chance, r, p, fleet) for r, p in zip(requests, stands, strict=True)),
        wanted=tuple(wanted),
        budget=Budget(
            most_moves=chance.choice([most_moves] * 4 + [2, 1, 0]),
            most_memory_kib=chance.choice([9, 9, 9, 5, 3, 2]) * GIB_KIB,
        ),
    )


def _host(chance: Random, name: str) -> HostCapacity:
    """Two nodes of a few pCPUs; all of them for either kind of guest, or divided."""
    near = chance.choice([20, 30])
    made = host_of(
        name,
        topology=topology_of(
            cpus=chance.choice([2, 3, 3]), nodes=2, distances={0: {0: 10, 1: near}, 1: {0: near, 1: 10}}
        ),
        overcommit=chance.choice([Fraction(1), Fraction(2), Fraction(2)]),
        hypervisor=chance.choice([Hypervisor.KVM] * 5 + [Hypervisor.XEN]),
    )
    nodes = []
    for node in made.nodes:
        cpus = sorted(node.shared_cpus.ids)
        divided = chance.random() < 0.2
        nodes.append(
            replace(
                node,
                free_cpus=CpuSet.of(cpus[0]) if divided else node.free_cpus,
                shared_cpus=CpuSet.of(*cpus[1:]) if divided else node.shared_cpus,
                shared_vcpus=chance.choice([0, 0, 0, 1]),
                memory_kib={4: chance.choice([4, 4, 5, 3, 6, 2]) * GIB_KIB},
            )
        )
    return replace(made, nodes=tuple(nodes))


def _wish(chance: Random, name: str) -> GuestRequest:
    """A guest on one node, or evenly on up to two."""
    wide = chance.random() < 0.3
    return guest(
        name,
        gib=chance.choice([2, 4]) if wide else chance.randint(1, 3),
        vcpus=2 if wide else chance.choice([1, 1, 2]),
        max_nodes=2 if wide else None,
        cpus=chance.choice([CpuPolicy.SHARED, CpuPolicy.DEDICATED]),
        groups=chance.choice([()] * 6 + [(TOGETHER,), (APART,)]),
    )


def _refused(chance: Random, name: str, book: OpenFleet) -> GuestRequest:
    """A guest that has no place as things are, but would have one on empty hosts; if chance finds one soon."""
    wishes = [replace(_wish(chance, name), groups=(), priority=chance.choice([1, 1, 3])) for _ in range(20)]
    empty = book.fleet.open()
    lost = (wish for wish in wishes if not all_places(wish, book) and all_places(wish, empty))
    return next(lost, wishes[0])


def all_places(request: GuestRequest, book: OpenFleet) -> list[Placement]:
    ways = [(host, way) for host in book.fleet for way in all_ways(request, book, host)]
    return [p for host, way in ways if (p := placed(request, book, host, way)) is not None]


def standing(
    chance: Random, request: GuestRequest, placement: Placement, fleet: Fleet, migrates: float = 0.8
) -> Standing:
    """The guest as it stands: its memory follows, or it may migrate, now and then."""
    follows = memory_can_follow(placement, fleet.host(placement.host).hypervisor)
    return Standing(
        request=request,
        placement=placement,
        memory_follows=follows and chance.random() < 0.9,
        may_migrate=chance.random() < migrates,
    )


def narrowed(chance: Random, placement: Placement, fleet: Fleet) -> Placement:
    """Now and then a shared guest of one node floats on a part of what it might."""
    (cell,) = placement.cells
    if placement.dedicated or len(cell.cpu_nodes or ()) > 1 or chance.random() < 0.5:
        return placement
    cpus = sorted((cell.cpus or CpuSet()).ids)
    some = CpuSet.of(*cpus[: chance.randint(len(cell.vcpus), len(cpus))])
    cell = replace(cell, cpus=some, pins=dict.fromkeys(cell.pins, some))
    moved = replace(placement, cells=(cell,))
    return replace(moved, emulator_cpus=emulator_cpus_of(moved, fleet.host(HostName(placement.host))))
