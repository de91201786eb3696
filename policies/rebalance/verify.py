"""Whether each state between two steps keeps every hard rule: the independent checker looks at each.

It looks at who holds what after each step, and during it, where the guest is as if it were there
twice. What was over its limits before the first step is allowed to stay so.

Where guests and steps are many, `is_sound` counts what changes from state to state (`states`), and asks
the checker for each place alone and for the last state as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from policies.capacity import HostCapacity, NodeCapacity
from policies.check import HARD_RULES, Violation, violations
from policies.demand import memory_taken
from policies.fleet import Fleet
from policies.plan import PlacedMemory, Placement
from policies.rebalance.question import Question, Step, StepKind
from policies.rebalance.states import States
from policies.request import GuestName, GuestRequest
from probe.cpuset import CpuSet

_SUMS_OF_MEMORY = {"no_node_promises_more_memory_than_it_has", "no_host_promises_more_memory_than_it_has"}
_SUMS_OF_VCPUS = {"shared_vcpus_are_within_overcommit", "unpinned_vcpus_are_within_overcommit"}


MOST_LOOKS = 3_000
"""Of guests in states, by the checker itself."""


def is_sound(question: Question, steps: Sequence[Step], placed: Sequence[Placement]) -> bool:
    """Whether `violations_of_steps` has none, the state before the steps being sound."""
    concerned = _concerned(question, steps, placed)
    if len(steps) * len(concerned.guests) <= MOST_LOOKS:
        return not violations_of_steps(question, steps, placed)
    return next(violations_between(concerned, steps), None) is None and not _at_the_end(concerned, steps, placed)


def violations_between(question: Question, steps: Sequence[Step]) -> Iterator[Violation]:
    """What each step breaks, while it is taken and when it is, looking only at what it changes."""
    fleet = as_it_stands(question)
    requests = {guest.request.name: guest.request for guest in question.guests}
    now = {guest.request.name: guest.placement for guest in question.guests}
    states = States(fleet, now.values())
    alone = {host.name: Fleet.of([replace(host, residents=())]) for host in fleet}
    for step in steps:
        guest, target = step.origin.guest, step.target
        yield from _of_step(step, now.get(guest), fleet)
        request = replace(requests[guest], groups=())
        yield from violations([replace(target, groups=())], [request], alone[target.host])
        for text in states.step(step.origin, target):
            yield Violation(rule="a_step_leaves_a_sound_state", text=f"{guest}: {text}")
        now[guest] = target


def violations_of_steps(
    question: Question, steps: Sequence[Step], placed: Sequence[Placement]
) -> tuple[Violation, ...]:
    """Every breach, state by state; empty for sound steps. Without any, of what is there."""
    question = _concerned(question, steps, placed)
    fleet = as_it_stands(question)
    requests = [guest.request for guest in question.guests]
    by_name = {request.name: request for request in requests}
    now = {guest.request.name: guest.placement for guest in question.guests}
    found = list(violations([*now.values()], requests, fleet))
    for step in steps:
        if wrong := [*_of_step(step, now.get(step.origin.guest), fleet)]:
            found += wrong
            break
        found += _during(now, requests, step, by_name[step.origin.guest], fleet)
        now[step.origin.guest] = step.target
        found += violations([*now.values()], requests, fleet)
    return (*found, *(_at_the_end(question, steps, placed) if placed else ()))


def _at_the_end(question: Question, steps: Sequence[Step], placed: Sequence[Placement]) -> tuple[Violation, ...]:
    now = {guest.request.name: guest.placement for guest in question.guests}
    now |= {step.target.guest: step.target for step in steps}
    asked = {request.name: request for request in question.wanted}
    requests = [*(guest.request for guest in question.guests), *(asked[p.guest] for p in placed)]
    return violations([*now.values(), *placed], requests, as_it_stands(question))


def _of_step(step: Step, there: Placement | None, fleet: Fleet) -> Iterator[Violation]:
    """It starts where the guest is, and does what it says."""
    origin, target = step.origin, step.target
    if there != origin or target.guest != origin.guest:
        yield Violation(rule="a_step_starts_where_the_guest_is", text=f"{origin.guest}: is elsewhere")
    if (step.kind is StepKind.MIGRATE) != (origin.host != target.host):
        yield Violation(rule="a_step_is_what_it_says", text=f"{origin.guest}: {step.kind} to {target.host}")
    stays = step.kind is StepKind.RE_PIN
    if stays and len(fleet.host(origin.host).nodes) > 1 and _memory_of(origin) != _memory_of(target):
        yield Violation(rule="a_step_is_what_it_says", text=f"{origin.guest}: its memory does not stay")
    if stays != (step.kib == 0):
        yield Violation(rule="a_step_is_what_it_says", text=f"{origin.guest}: {step.kind} copies {step.kib} KiB")


def _memory_of(placement: Placement) -> list[frozenset[PlacedMemory]]:
    """Of each cell."""
    return [frozenset(cell.memory) for cell in placement.cells]


def _concerned(question: Question, steps: Sequence[Step], placed: Sequence[Placement]) -> Question:
    """What the steps can break: the hosts that they touch, and those with members of the groups of who is moved."""
    moved = [*placed, *(place for step in steps for place in (step.origin, step.target))]
    if not moved:
        return question
    groups = {member.group.name for placement in moved for member in placement.groups}
    hosts: set[str] = {placement.host for placement in moved}
    for guest in question.guests:
        if groups & {member.group.name for member in guest.placement.groups}:
            hosts.add(guest.placement.host)
    for host in question.fleet:
        if groups & {member.group.name for resident in host.residents for member in resident.groups}:
            hosts.add(host.name)
    return replace(
        question,
        fleet=Fleet.of([host for host in question.fleet if host.name in hosts]),
        guests=tuple(guest for guest in question.guests if guest.placement.host in hosts),
    )


def _during(
    now: dict[GuestName, Placement], requests: list[GuestRequest], step: Step, request: GuestRequest, fleet: Fleet
) -> tuple[Violation, ...]:
    """The step's guest holds both places; what is in both counts once, so that rule is not asked for it."""
    origin, target = step.origin, step.target
    twin = GuestName("twin")
    while twin in now:
        twin = GuestName(f"{twin}-")
    skipped = set()
    if origin.host == target.host:
        loose = origin.cpu_nodes is None
        if loose or origin.memory_nodes & target.memory_nodes:
            skipped |= _SUMS_OF_MEMORY
        if loose or (origin.cpu_nodes or CpuSet()).ids & (target.cpu_nodes or CpuSet()).ids:
            skipped |= _SUMS_OF_VCPUS
        if origin.own_cpus & target.own_cpus:
            skipped.add("dedicated_pcpus_have_one_owner")
    rules = [rule for rule in HARD_RULES if getattr(rule, "__name__", "") not in skipped]
    both = [*now.values(), replace(target, guest=twin, groups=())]
    return violations(both, [*requests, replace(request, name=twin, groups=())], fleet, rules=rules)


def as_it_stands(question: Question) -> Fleet:
    """The fleet, with as much on each node as those who stand there hold of it now, at least."""
    by_host: dict[str, list[Placement]] = {}
    for guest in question.guests:
        by_host.setdefault(guest.placement.host, []).append(guest.placement)
    return Fleet.of([with_room_for(host, by_host.get(host.name, ())) for host in question.fleet])


def with_room_for(host: HostCapacity, placements: Sequence[Placement]) -> HostCapacity:
    """The host with as much on each node as these hold of it, at least."""
    held: Counter[tuple[int, int]] = Counter()
    for placement in placements:
        for node, pages in memory_taken(placement).items():
            if node is not None:
                held.update({(node, page): kib for page, kib in pages.items()})
    return replace(host, nodes=tuple(_node_with_room(host, node, held, placements) for node in host.nodes))


def _node_with_room(
    host: HostCapacity, node: NodeCapacity, held: Counter[tuple[int, int]], placements: Sequence[Placement]
) -> NodeCapacity:
    memory = {page: max(kib, held[node.node_id, page]) for page, kib in node.memory_kib.items()}
    pins = [pin for p in placements for pin in p.floating_pins.values()]
    floating = sum(not pin.isdisjoint(node.shared_cpus) for pin in pins)
    owned = CpuSet.union(p.own_cpus for p in placements)
    most = int(host.overcommit * len(node.shared_cpus - owned))
    there = min(node.shared_vcpus, most - floating) if floating else node.shared_vcpus
    return replace(node, memory_kib=memory, shared_vcpus=there)
