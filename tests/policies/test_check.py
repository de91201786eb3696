"""The checker: each hard rule catches a bad plan that no other rule catches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, strategies as st

from policies.asked import EmulatorPolicy, NearDevice, SmtPolicy
from policies.capacity import HostCapacity
from policies.check import HARD_RULES, violations
from policies.compose import make_placement, make_unpinned, settle_shared
from policies.fleet import Fleet
from policies.greedy import unpinned
from policies.homes import homes
from policies.plan import Decision, MemoryMode, PlacedMemory, Placement, Reason, Rejection
from policies.policy import Effort
from policies.request import (
    AskedMemoryMode,
    CpuPolicy,
    Group,
    GroupRule,
    GuestName,
    GuestRequest,
    GuestShare,
    HostName,
    Membership,
)
from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.snapshot import Hypervisor
from probe.topology import PciDevice
from tests.policies.hosts import GIB_KIB, host_of, topology_of
from tests.policies.strategies import fleets, tries

Case = tuple[list[Decision], list[GuestRequest], Fleet]

HOST = host_of("a", cpus=4, nodes=2, memory_gib=4, pages_gib={2048: 4})
SMT = replace(HOST, topology=topology_of(cpus=4, nodes=2, memory_gib=4, smt=2))
NIC = NearDevice(address="0000:3b:00.0")
WITH_NIC = replace(HOST, topology=replace(HOST.topology, devices=(PciDevice(address=NIC.address, node_id=NodeId(0)),)))
XEN = replace(HOST, hypervisor=Hypervisor.XEN)
TWO_NODES = (0, 1)
UNEVEN = (GuestShare(vcpus=3, memory_kib=3 * GIB_KIB), GuestShare(vcpus=1, memory_kib=GIB_KIB))


def ask(vcpus: int = 2, gib: int = 1, name: str = "g", **more: Any) -> GuestRequest:
    return GuestRequest(name=GuestName(name), vcpus=vcpus, memory_kib=gib * GIB_KIB, **more)


def own(vcpus: int = 2, name: str = "g", **more: Any) -> GuestRequest:
    return ask(vcpus, name=name, cpus=CpuPolicy.DEDICATED, **more)


def put(request: GuestRequest, *nodes: int, host: HostCapacity = HOST) -> Placement:
    at = {home.cpu_node: home for home in homes(host)}
    return make_placement(request, host, [at[NodeId(n)] for n in nodes or (0,)])


def one(request: GuestRequest, placement: Placement, host: HostCapacity = HOST) -> Case:
    return [placement], [request], Fleet.of([host])


def cell_of(placement: Placement, index: int = 0, **changes: Any) -> Placement:
    """The placement with one cell changed."""
    cells = list(placement.cells)
    cells[index] = replace(cells[index], **changes)
    return replace(placement, cells=tuple(cells))


def on(node_id: int, gib: float = 1, page_kib: int = 4) -> PlacedMemory:
    return PlacedMemory(node_id=NodeId(node_id), kib=int(gib * GIB_KIB), page_kib=page_kib)


def with_node(host: HostCapacity, index: int, **changes: Any) -> HostCapacity:
    nodes = list(host.nodes)
    nodes[index] = replace(nodes[index], **changes)
    return replace(host, nodes=tuple(nodes))


def same_pcpus(placement: Placement, cpus: str) -> Placement:
    """All vCPUs of a one-cell guest, and its emulator, on these pCPUs."""
    there = CpuSet.parse(cpus)
    pins = dict.fromkeys(placement.cells[0].pins, there)
    return replace(cell_of(placement, cpus=there, pins=pins), emulator_cpus=there)


def busy_pcpu() -> Case:
    request = own(1)
    return one(request, put(request), with_node(HOST, 0, free_cpus=CpuSet.parse("1-3")))


def dedicated_twice() -> Case:
    first, second = own(1, "g"), own(1, "h")
    return [put(first), put(second)], [first, second], Fleet.of([HOST])


def on_one_core() -> Case:
    """Two vCPUs that want a core each, on the two threads of one."""
    request = own(2, smt=SmtPolicy.ISOLATE)
    return one(request, replace(put(own(2), host=SMT), smt=SmtPolicy.ISOLATE), SMT)


def shared_on_dedicated() -> Case:
    first, second = own(1, "g"), ask(2, name="h")
    return [put(first), put(second)], [first, second], Fleet.of([HOST])


def not_shared() -> Case:
    request = ask()
    return one(request, same_pcpus(put(request), "2-3"), with_node(HOST, 0, shared_cpus=CpuSet.parse("0-1")))


def crowded() -> Case:
    requests = [ask(3, name="g"), ask(2, name="h")]
    return [put(r) for r in requests], requests, Fleet.of([HOST])


def crowded_in_itself() -> Case:
    host = replace(HOST, overcommit=Fraction(4))
    return one(ask(), same_pcpus(put(ask()), "0"), host)


def xen_memory_without_cpus() -> Case:
    host = host_of("a", topology=topology_of(nodes=2, cpuless=[1]), hypervisor=Hypervisor.XEN)
    return one(ask(far_memory=True), cell_of(put(ask(), host=host), memory=(on(1),)), host)


def on_two_nodes() -> Case:
    request, both = ask(max_nodes=2), CpuSet.parse("0-7")
    placement = put(request, *TWO_NODES)
    pins = dict.fromkeys(placement.cells[0].pins, both)
    return one(request, replace(cell_of(placement, cpus=both, pins=pins), emulator_cpus=both))


def member(rule: GroupRule, part: str = "", level: str = "host") -> tuple[Membership, ...]:
    return (Membership(group=Group(name="team", rule=rule, level=level), part=part),)


def two(first: GuestRequest, second: GuestRequest, hosts: tuple[HostCapacity, HostCapacity]) -> Case:
    """One guest on each host, which may be the same one."""
    second = replace(second, name=GuestName("h"))
    fleet = Fleet.of(list(dict.fromkeys(hosts)))
    return [put(first, host=hosts[0]), put(second, host=hosts[1])], [first, second], fleet


def half_a_crew() -> Case:
    crew = [ask(name=name, groups=member(GroupRule.ALL_OR_NOTHING)) for name in "gh"]
    left_out = Rejection(guest=crew[1].name, reason=Reason.GROUP, detail="")
    return [put(crew[0]), left_out], crew, Fleet.of([HOST])


APART, TOGETHER, PARTS = GroupRule.ANTI_AFFINITY, GroupRule.AFFINITY, GroupRule.FAULT_DOMAINS
OTHER = host_of("b", cpus=4, nodes=2, memory_gib=4)

BAD: Mapping[str, Callable[[], Case]] = {
    "each_request_has_one_decision": lambda: ([put(ask())], [ask(), ask(name="h")], Fleet.of([HOST])),
    "the_host_exists": lambda: one(ask(), replace(put(ask()), host=HostName("nowhere"))),
    "the_host_takes_guests": lambda: one(ask(), put(ask()), replace(HOST, schedulable=False)),
    "the_host_is_allowed": lambda: one(ask(hosts=frozenset({HostName("b")})), put(ask())),
    "every_vcpu_is_in_one_cell": lambda: one(ask(3), put(ask(2))),
    "cells_are_numbered_from_zero": lambda: one(ask(), cell_of(put(ask()), cell=1)),
    "a_guest_is_bound_wholly_or_not_at_all": lambda: one(ask(), replace(put(ask()), emulator_cpus=None)),
    "cells_are_as_many_as_asked": lambda: one(ask(cells=2), put(ask(max_nodes=2), *TWO_NODES)),
    "xen_guests_have_one_cell": lambda: one(ask(cells=2), put(ask(max_nodes=2), *TWO_NODES, host=XEN), XEN),
    "guest_cells_are_split_evenly": lambda: one(
        ask(cells=2, gib=2),
        cell_of(cell_of(put(ask(cells=2), *TWO_NODES), memory=(on(0, 1.5),)), 1, memory=(on(1, 0.5),)),
    ),
    "guest_cells_have_the_sizes_asked": lambda: one(
        ask(4, 4, cells=2, cell_sizes=UNEVEN), put(ask(4, 4, cells=2), *TWO_NODES)
    ),
    "each_cell_has_a_node_of_its_own": lambda: one(ask(cells=2), put(ask(cells=2), 0, 0)),
    "the_guest_spans_no_more_nodes_than_allowed": lambda: one(ask(), put(ask(max_nodes=2), *TWO_NODES)),
    "the_guest_is_no_wider_than_allowed": lambda: one(ask(cells=2, max_distance=19), put(ask(cells=2), *TWO_NODES)),
    "the_guest_is_near_its_devices": lambda: one(
        ask(devices=(NIC,)), put(ask(devices=(NIC,)), 1, host=WITH_NIC), WITH_NIC
    ),
    "overhead_is_as_asked": lambda: one(ask(overhead_kib=4096), put(ask())),
    "dedication_is_as_asked": lambda: one(own(), put(ask())),
    "each_vcpu_is_pinned": lambda: one(ask(), cell_of(put(ask()), pins={0: CpuSet.parse("0-3")})),
    "a_dedicated_vcpu_owns_one_pcpu": lambda: one(own(), same_pcpus(put(own()), "0")),
    "dedicated_pcpus_were_free": busy_pcpu,
    "dedicated_pcpus_have_one_owner": dedicated_twice,
    "vcpus_share_cores_as_asked": on_one_core,
    "booked_pcpus_are_those_asked_for": lambda: one(
        own(1, smt=SmtPolicy.ISOLATE), replace(put(own(1, smt=SmtPolicy.ISOLATE), host=SMT), booked_cpus=CpuSet()), SMT
    ),
    "nobody_else_runs_on_dedicated_pcpus": shared_on_dedicated,
    "shared_vcpus_float_on_shared_pcpus": not_shared,
    "a_shared_vcpu_floats_on_one_node": on_two_nodes,
    "shared_vcpus_are_within_overcommit": crowded,
    "no_guest_is_overcommitted_against_itself": crowded_in_itself,
    "unpinned_vcpus_are_within_overcommit": lambda: one(ask(9), make_unpinned(ask(9), HOST)),
    "cpu_nodes_are_the_nodes_of_cpus": lambda: one(ask(max_nodes=2), cell_of(put(ask()), cpu_nodes=NodeSet.of(0, 1))),
    "emulator_threads_run_where_they_may": lambda: one(ask(), replace(put(ask()), emulator_cpus=CpuSet.of(5))),
    "memory_adds_up": lambda: one(ask(gib=2), put(ask(gib=1))),
    "memory_is_in_whole_pages_of_its_size": lambda: one(
        ask(page_kib=2048), cell_of(put(ask(page_kib=2048)), memory=(on(0),))
    ),
    "every_cell_has_memory": lambda: one(ask(), cell_of(put(ask()), memory=(on(0, 0.5), on(0, 0.5)))),
    "memory_is_on_nodes_of_the_host": lambda: one(ask(), cell_of(put(ask()), memory=(on(9),))),
    "memory_is_local": lambda: one(ask(), cell_of(put(ask()), memory=(on(1),))),
    "xen_memory_is_on_nodes_of_its_cpus": xen_memory_without_cpus,
    "xen_has_no_huge_pages": lambda: one(ask(page_kib=2048), put(ask(page_kib=2048), host=XEN), XEN),
    "the_memory_mode_fits": lambda: one(ask(), cell_of(put(ask()), memory_mode=MemoryMode.PREFERRED)),
    "memory_of_a_cell_is_even_over_its_nodes": lambda: one(
        ask(max_nodes=2), cell_of(put(ask(max_nodes=2), *TWO_NODES), memory=(on(0, 0.75), on(1, 0.25)))
    ),
    "no_node_promises_more_memory_than_it_has": lambda: one(ask(gib=5), put(ask(gib=5))),
    "no_host_promises_more_memory_than_it_has": lambda: one(ask(gib=9), make_unpinned(ask(gib=9), HOST)),
    "placements_name_their_groups": lambda: one(ask(groups=member(APART)), put(ask())),
    "members_with_affinity_share_a_domain": lambda: two(
        ask(groups=member(TOGETHER)), ask(groups=member(TOGETHER)), (HOST, OTHER)
    ),
    "members_with_anti_affinity_share_no_domain": lambda: two(
        ask(groups=member(APART)), ask(groups=member(APART)), (HOST, HOST)
    ),
    "all_have_a_place_or_none": half_a_crew,
    "fault_domains_serve_one_part": lambda: two(
        ask(groups=member(PARTS, "x")), ask(groups=member(PARTS, "y")), (HOST, HOST)
    ),
}


@pytest.mark.parametrize("rule", [rule.__name__ for rule in HARD_RULES])  # type: ignore[attr-defined]
def test_each_hard_rule_catches_what_no_other_does(rule: str):
    """With the rule the plan is caught; with the rule deleted from the tuple it passes."""
    decisions, requests, fleet = BAD[rule]()
    others = [r for r in HARD_RULES if getattr(r, "__name__", "") != rule]
    assert {v.rule for v in violations(decisions, requests, fleet)} == {rule}
    assert violations(decisions, requests, fleet, rules=others) == ()


def test_a_hard_rule_that_is_deleted_is_missed():
    """Every bad plan above is caught by the rules as they stand: none may leave the tuple."""
    for rule, case in BAD.items():
        assert rule in {v.rule for v in violations(*case())}, rule


def test_sound_plans_have_no_violations():
    """Unpinned, dedicated beside shared, cells, one cell over two nodes, Xen, a rejection."""
    requests = [own(2, "d"), ask(2, name="s"), ask(2, name="c", cells=2), ask(1, name="r")]
    shared = [put(requests[1], 1), put(requests[2], *TWO_NODES)]
    rejected = Rejection(guest=GuestName("r"), reason=Reason.MEMORY, detail="lacks")
    fleet = Fleet.of([HOST])
    plan = settle_shared([put(requests[0]), *shared, rejected], fleet)
    assert violations(plan, requests, fleet) == ()
    wide = ask(3, name="w", max_nodes=2)
    for host in (HOST, XEN):
        assert violations(*one(wide, put(wide, *TWO_NODES, host=host), host)) == ()
    assert violations(*one(ask(8, 8), make_unpinned(ask(8, 8), HOST))) == ()


def test_an_unpinned_guest_beside_a_dedicated_one_is_caught():
    """It may run on the dedicated pCPU."""
    decisions = [put(own(1, "d")), make_unpinned(ask(1, name="u"), HOST)]
    found = violations(decisions, [own(1, "d"), ask(1, name="u")], Fleet.of([HOST]))
    assert [v.rule for v in found] == ["nobody_else_runs_on_dedicated_pcpus"]


KEPT = host_of("a", cpus=4, nodes=2, memory_gib=4, housekeeping="0,4")


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        (EmulatorPolicy.GUEST, "0"),  # housekeeping
        (EmulatorPolicy.HOUSEKEEPING, "1-2"),  # the guest's
        (EmulatorPolicy.HOUSEKEEPING, "4"),  # of another node
        (EmulatorPolicy.OWN, "1"),  # a vCPU's
        (EmulatorPolicy.OWN, "5"),  # of another node
        (EmulatorPolicy.OWN, "0"),  # not free
        (EmulatorPolicy.AUTO, "3"),  # nobody's
    ],
)
def test_emulator_threads_are_where_they_are_asked_for(asked: EmulatorPolicy, wrong: str):
    """Any of the other places is caught, also where it is booked; and nothing at all is."""
    request = own(2, emulator=asked)
    placement = put(request, host=KEPT)
    assert violations(*one(request, placement, KEPT)) == ()
    elsewhere = replace(placement, emulator_cpus=CpuSet.parse(wrong))
    booked = replace(elsewhere, booked_cpus=CpuSet.parse(wrong) if asked is EmulatorPolicy.OWN else CpuSet())
    assert violations(*one(request, elsewhere, KEPT)) != ()
    assert violations(*one(request, booked, KEPT)) != ()
    loose = ask(2, emulator=EmulatorPolicy.GUEST)
    assert [v.rule for v in violations(*one(loose, make_unpinned(loose, KEPT), KEPT))] == [
        "emulator_threads_run_where_they_may"
    ]


@pytest.mark.parametrize("asked", ["strict", "preferred", "restrictive"])
def test_the_memory_mode_that_was_asked_for_is_kept(asked: str):
    """Another one is caught, also one that would do where nothing is asked; and nothing at all is."""
    request = ask(memory_mode=AskedMemoryMode(asked))
    assert violations(*one(request, put(request))) == ()
    for mode in {MemoryMode.STRICT, MemoryMode.RESTRICTIVE, MemoryMode.PREFERRED} - {MemoryMode(asked)}:
        found = violations(*one(request, cell_of(put(request), memory_mode=mode)))
        assert [v.rule for v in found] == ["the_memory_mode_fits"]
    loose = violations(*one(request, make_unpinned(request, HOST)))
    assert [v.rule for v in loose] == ["the_memory_mode_fits"]


def test_overhead_counts_in_the_memory_of_the_node():
    """4 GiB fill the node; 4 KiB of overhead are too many."""
    full = ask(gib=4, overhead_kib=4)
    assert [v.rule for v in violations(*one(full, put(full)))] == ["no_node_promises_more_memory_than_it_has"]
    assert violations(*one(ask(gib=4), put(ask(gib=4)))) == ()


@pytest.mark.parametrize(("asked", "distance", "broken"), [(True, 28, 0), (False, 28, 1), (True, 255, 1)])
def test_memory_on_a_cpuless_node_is_for_those_who_ask_for_it(asked: bool, distance: int, broken: int):
    """CXL memory is nobody's own: `far_memory` allows it on KVM, where a path leads there."""
    topology = topology_of(nodes=2, cpuless=[1], distances={0: {0: 10, 1: distance}, 1: {0: 28, 1: 10}})
    host, guest = host_of("a", topology=topology), ask(far_memory=asked)
    found = violations(*one(guest, cell_of(put(guest, host=host), memory=(on(1),)), host))
    assert ["memory_is_local"] * broken == [v.rule for v in found]


@pytest.mark.parametrize("back", [12, 255])
@pytest.mark.parametrize("far_memory", [False, True])
def test_a_memory_less_node_may_have_the_nearest_memory_wherever_that_is(far_memory: bool, back: int):
    """Whether it asks for it or not: the CPU-less node 1 (12) is nearer than node 2 (20), whatever the way back."""
    rows = {0: {0: 10, 1: 12, 2: 20}, 1: {0: back, 1: 10, 2: 20}, 2: {0: 20, 1: 20, 2: 10}}
    host = host_of("a", topology=topology_of(nodes=3, cpuless=[1], memoryless=[0], distances=rows))
    guest = ask(far_memory=far_memory)
    assert [1] == [*put(guest, host=host).memory_nodes.ids]
    assert () == violations(*one(guest, put(guest, host=host), host))


def test_memory_of_a_memory_less_node_is_on_the_nearest():
    """Node 2 has no memory: node 1 (12) is nearer than node 0 (20), which is not allowed."""
    distances = {0: {0: 10, 1: 20, 2: 20}, 1: {0: 20, 1: 10, 2: 12}, 2: {0: 20, 1: 12, 2: 10}}
    host = host_of("a", topology=topology_of(nodes=3, memoryless=[2], distances=distances))
    placement = put(ask(), 2, host=host)
    assert violations(*one(ask(), placement, host)) == ()
    found = violations(*one(ask(), cell_of(placement, memory=(on(0),)), host))
    assert [v.rule for v in found] == ["memory_is_local"]


@given(data=st.data(), fleet=fleets())
def test_the_book_and_the_checker_agree(data: st.DataObject, fleet: Fleet):
    """What the book takes breaks no rule, and what it refuses breaks one. They share no code."""
    book, requests = fleet.open(), []
    for i in range(4):
        found = data.draw(tries(fleet, f"g{i}"))
        if found is None:
            continue
        request, placement = found
        plan = settle_shared([*book.taken.values(), placement], fleet)
        if book.fits(placement):
            book.take(placement)
            requests.append(request)
            assert violations(plan, requests, fleet) == ()
        else:
            assert violations(plan, [*requests, request], fleet) != ()


@pytest.mark.parametrize(
    ("asked", "broken"),
    [
        ({}, ()),
        ({"max_nodes": 2}, ()),
        ({"max_nodes": 1}, ("the_guest_spans_no_more_nodes_than_allowed",)),
        ({"max_distance": 10}, ("the_guest_is_no_wider_than_allowed", "the_guest_is_no_wider_than_allowed")),
    ],
)
def test_a_guest_bound_to_nothing_may_use_every_node(asked: dict[str, int], broken: tuple[str, ...]):
    """What it asks for by name it has not got then; the default of one node is no such word."""
    request = ask(**asked)
    found = violations([make_unpinned(request, HOST)], [request], Fleet.of([HOST]))
    assert broken == tuple(violation.rule for violation in found)
    (decision,) = unpinned([request], Fleet.of([HOST]), Effort()).decisions
    assert isinstance(decision, Rejection) == bool(asked)
