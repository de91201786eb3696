"""A fleet that is rebalanced while guests come and go: some hosts at a time, within a budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from benchmarks.simulator.deciding import Decider, audit_host
from benchmarks.simulator.options import Options
from benchmarks.simulator.world import World
from policies.capacity import HostCapacity, Resident
from policies.compose import settle_shared
from policies.errors import DoesNotFitError
from policies.fleet import Fleet
from policies.groups import nodes_of
from policies.plan import Placement
from policies.rebalance.question import Question, Standing, Step, StepKind, asked_by, memory_can_follow, merged
from policies.rebalance.rebalance import rebalance


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What a rebalancing did.

    Attributes:
        migrations: steps that moved a guest or its memory; one that only pins anew is none.
        kib: memory that was copied.
    """

    migrations: int
    kib: int


def rebalance_some(decider: Decider, turn: int, options: Options) -> Moved:
    """Take the steps that bring down the objective of the hosts whose turn it is, as far as the budget goes.

    Every guest of them may migrate to another of them; members of its groups who are elsewhere count, and stay. Each
    state is looked at by the checker; the first step that the book does not take, or that breaks a rule after all, is
    not made, and none after it.
    """
    world = decider.world
    indices = whose_turn(turn, options.rebalance_hosts, len(world.fleet))
    question = _question(world, indices, options)
    if not question.guests:
        return Moved(migrations=0, kib=0)
    done = list(takewhile(lambda step: _take(decider, step), _steps(question, options)))
    return Moved(migrations=sum(step.kind is not StepKind.RE_PIN for step in done), kib=sum(step.kib for step in done))


def whose_turn(turn: int, most: int, hosts: int) -> list[int]:
    """Round and round the fleet, so many hosts at a time."""
    if hosts <= most:
        return list(range(hosts))
    return sorted((turn * most + i) % hosts for i in range(most))


def _question(world: World, indices: Sequence[int], options: Options) -> Question:
    there = [placement for index in indices for placement in world.guests_on[index].values()]
    hosts = Fleet.of([world.fleet.hosts[index] for index in indices])
    groups = {member.group.name for placement in there for member in placement.groups}
    return Question(
        fleet=Fleet.of([*hosts, *_elsewhere(world, groups, {*indices})]),
        guests=tuple(_standing(world, placement, options) for placement in settle_shared(there, hosts)),
        budget=options.budget,
    )


def _elsewhere(world: World, groups: Collection[str], indices: Collection[int]) -> Iterator[HostCapacity]:
    """The other hosts with members of the groups: nobody goes there, and the members count."""
    members: dict[int, list[Resident]] = defaultdict(list)
    for placement in {p.guest: p for name in groups for p in world.members_of(name)}.values():
        living = Resident(groups=placement.groups, nodes=nodes_of(placement))
        members[world.fleet.host_index(placement.host)].append(living)
    if groups:
        for index, host in enumerate(world.fleet):
            members[index] += host.residents
    for index, residents in members.items():
        if index not in indices and residents:
            host = world.fleet.hosts[index]
            yield replace(host, schedulable=False, residents=tuple(residents))


def _standing(world: World, placement: Placement, options: Options) -> Standing:
    host = world.fleet.host(placement.host)
    told = world.request_of(placement.guest)
    return Standing(
        request=merged(asked_by(placement, host.topology, host.housekeeping_cpus), told),
        placement=placement,
        memory_follows=memory_can_follow(placement, host.hypervisor),
        may_migrate=True,
    )


def _steps(question: Question, options: Options) -> Sequence[Step]:
    try:
        return rebalance(question, options.time_limit_s, looks=options.looks).steps
    except DoesNotFitError:
        return ()


def _take(decider: Decider, step: Step) -> bool:
    """Whether the guest is at the step's target now; where that does not fit, it is where it was."""
    world, guest = decider.world, step.origin.guest
    origin = world.placement_of(guest)
    if origin is None:
        return False
    request, came_s, loose = world.request_of(guest), world.came_s(guest), world.loose_now(guest)
    decider.take_away(origin)
    try:
        decider.put_back(request, step.target, came_s)
    except DoesNotFitError:
        decider.put_back(request, origin, came_s, loose)
        return False
    if audit_host(world, world.fleet.host_index(step.target.host)):
        decider.take_away(step.target)
        decider.put_back(request, origin, came_s, loose)
        return False
    return True
