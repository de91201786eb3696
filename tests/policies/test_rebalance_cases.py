"""Rebalancing by example: what is done, and what cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from policies.asked import EmulatorPolicy, NearDevice
from policies.capacity import HostCapacity
from policies.compose import make_placement, make_unpinned
from policies.fleet import Fleet
from policies.homes import Home, homes
from policies.host_rules import HostRules, OutstandingClaim
from policies.objective import Term, objective_with
from policies.plan import MemoryMode, Placement
from policies.promise import host_capacity
from policies.rebalance.bound import bound_of
from policies.rebalance.counting import model_of
from policies.rebalance.question import Question, Standing, StepKind, asked_by, memory_can_follow
from policies.rebalance.rebalance import rebalance
from policies.rebalance.verify import violations_of_steps
from policies.rebalance.walk import Walk
from policies.request import (
    AskedMemoryMode,
    CpuPolicy,
    Group,
    GroupRule,
    GuestRequest,
    GuestShare,
    HostName,
    Membership,
)
from probe.cpuset import CpuSet, NodeId
from probe.snapshot import Hypervisor, Occupant, OccupantMemory, OccupantState
from probe.topology import PciDevice
from tests.policies.hosts import GIB_KIB, host_of, snapshot_of, topology_of
from tests.policies.standing import guest


def home(node: int) -> Home:
    return Home(cpu_node=NodeId(node), memory_node=NodeId(node))


def stands(request: GuestRequest, host: HostCapacity, *nodes: int, migrates: bool = False) -> Standing:
    """The guest on these nodes of the host, as the books know it."""
    by_node = {h.cpu_node: h for h in homes(host)}
    placement = make_placement(request, host, [by_node[NodeId(node)] for node in nodes])
    return Standing(
        request=replace(asked_by(placement, host.topology), max_distance=None),
        placement=placement,
        memory_follows=memory_can_follow(placement, host.hypervisor),
        may_migrate=migrates,
    )


def hosts(*names: str, gib: int = 8, **keys: object) -> list[HostCapacity]:
    return [host_of(name, memory_gib=gib, overcommit=Fraction(4), **keys) for name in names]  # type: ignore[arg-type]


def with_gib(host: HostCapacity, *gib: int) -> HostCapacity:
    """The host with so much on its nodes."""
    pairs = zip(host.nodes, gib, strict=True)
    return replace(host, nodes=tuple(replace(node, memory_kib={4: n * GIB_KIB}) for node, n in pairs))


def asked(fleet: Sequence[HostCapacity], guests: Sequence[Standing], *wanted: GuestRequest, **keys: object) -> Question:
    return Question(fleet=Fleet.of(fleet), guests=tuple(guests), wanted=wanted, **keys)  # type: ignore[arg-type]


def kinds(question: Question) -> list[tuple[str, StepKind, int]]:
    """Guest, kind and GiB of each step; the answer is proven and sound."""
    found = rebalance(question, 30.0)
    assert (True, ()) == (found.proven, violations_of_steps(question, found.steps, found.placed))
    return [(step.origin.guest, step.kind, step.kib // GIB_KIB) for step in found.steps]


def test_two_guests_change_places_through_another_host() -> None:
    """Neither fits beside the other: one waits on the other host, and comes back, as somebody else is to come there."""
    h1 = with_gib(*hosts("h1"), 8, 10)
    h2 = with_gib(*hosts("h2"), 5, 0)
    there = [stands(guest("a", 5), h1, 1, migrates=True), stands(guest("b", 6), h1, 0)]
    on = {name: frozenset({HostName(name)}) for name in ("h1", "h2")}
    wanted = [guest("x", 3, hosts=on["h1"]), guest("y", 4, hosts=on["h1"]), guest("z", 5, hosts=on["h2"])]
    steps = [("a", StepKind.MIGRATE, 5), ("b", StepKind.MOVE_MEMORY, 6), ("a", StepKind.MIGRATE, 5)]
    assert steps == kinds(asked([h1, h2], there, *wanted))


def test_a_shared_guest_gives_way_to_a_dedicated_one() -> None:
    """It floats on all pCPUs, so none is free; pinned to two, it leaves two. Its memory stays."""
    (host,) = hosts("h1", nodes=1)
    question = asked([host], [stands(guest("floats"), host, 0)], guest("owns", 1, 2, cpus=CpuPolicy.DEDICATED))
    found = rebalance(question, 30.0)
    (step,) = found.steps
    assert (True, StepKind.RE_PIN, 0) == (found.proven, step.kind, step.kib)
    assert [share for cell in step.origin.cells for share in cell.memory] == [
        share for cell in step.target.cells for share in cell.memory
    ]
    assert (step.target.cpus or CpuSet()).isdisjoint(found.placed[0].cpus or CpuSet())


def test_what_cannot_move_stays() -> None:
    """Huge pages, several cells, strict memory: nothing helps, and that is proven."""
    (host,) = hosts("h1", pages_gib={2048: 4})
    strict = [
        guest("pages", 4, page_kib=2048),
        guest("cells", 2, 2, cells=2),
        guest("strict", 3, memory_mode=AskedMemoryMode.STRICT),
        guest("preferred", 3, memory_mode=AskedMemoryMode.PREFERRED),
    ]
    for request in strict:
        standing = stands(request, host, *range(request.cells if isinstance(request.cells, int) else 1))
        assert not standing.memory_follows
        assert [] == kinds(asked([host], [standing], guest("new", 8)))


def test_xen_moves_no_memory() -> None:
    """Its guests go to another host or stay."""
    h1, h2 = (replace(host, hypervisor=Hypervisor.XEN) for host in hosts("h1", "h2"))
    assert [] == kinds(asked([h1], [stands(guest("a", 4), h1, 0), stands(guest("b", 3), h1, 1)], guest("new", 8)))
    on_h1 = frozenset({HostName("h1")})
    new = [guest(name, 8, hosts=on_h1) for name in ("new", "two")]
    moved = kinds(asked([h1, h2], [stands(guest("a", 4), h1, 0, migrates=True)], *new))
    assert [("a", StepKind.MIGRATE, 4)] == moved


def test_a_guest_bound_to_nothing_is_bound_to_a_node() -> None:
    """It may run on both nodes of its host; bound to one it spans one, and its memory goes there."""
    (host,) = hosts("h1")
    loose = make_unpinned(guest("loose", 2), host)
    standing = Standing(request=asked_by(loose, host.topology), placement=loose, memory_follows=True)
    question = asked([host], [standing])
    found = rebalance(question, 30.0)
    (step,) = found.steps
    assert (StepKind.MOVE_MEMORY, 2 * GIB_KIB, MemoryMode.RESTRICTIVE) == (
        step.kind,
        step.kib,
        step.target.cells[0].memory_mode,
    )
    assert (2, 1) == (found.before[1].value, found.after[1].value)


def test_groups_hold_in_every_state() -> None:
    """Two that must live apart do not meet on the way, and two that must live together do not part."""
    h1, h2 = hosts("h1", "h2")
    for rule, steps in ((GroupRule.ANTI_AFFINITY, 0), (GroupRule.AFFINITY, 0)):
        member = Membership(group=Group(name="g", rule=rule))
        a, b = (guest(name, 2, groups=(member,)) for name in "ab")
        where = h2 if rule is GroupRule.ANTI_AFFINITY else h1
        pair = [stands(a, h1, 0, migrates=True), stands(b, where, 1, migrates=True)]
        assert steps == len(kinds(asked([h1, h2], pair)))
    free = [stands(guest("a", 2), h1, 0, migrates=True), stands(guest("b", 2), h2, 0, migrates=True)]
    assert [StepKind.MIGRATE] == [kind for _, kind, _ in kinds(asked([h1, h2], free))]


def test_a_soft_group_is_brought_together() -> None:
    """A wish that is broken counts; within a host it is mended by moving memory."""
    (host,) = hosts("h1")
    wish = Membership(group=Group(name="near", rule=GroupRule.AFFINITY, level="node", hard=False))
    pair = [stands(guest(name, gib, groups=(wish,)), host, node) for name, gib, node in (("a", 2, 0), ("b", 3, 1))]
    assert [("a", StepKind.MOVE_MEMORY, 2)] == kinds(asked([host], pair))


def test_a_node_that_is_too_full_gives_and_gets_nothing() -> None:
    """A reserve was raised: who stands there may leave, and nobody comes; also not up to what was there."""
    (host,) = hosts("h1")
    standing = [stands(guest("a", 6), host, 0)]
    first, second = with_gib(host, 4, 8).nodes
    one = CpuSet.of(4)  # too few for the new guest
    small = replace(host, nodes=(first, replace(second, free_cpus=one, shared_cpus=one)))
    assert [("a", StepKind.MOVE_MEMORY, 6)] == kinds(asked([small], standing, guest("new", 4, 2)))
    assert [] == kinds(asked([small], standing, guest("new", 5, 2)))


def test_what_is_in_the_way_must_be_copied_at_least() -> None:
    """The bound is what the cheaper node's guest has: no more, or the best would be missed."""
    (host,) = hosts("h1")
    question = asked([host], [stands(guest("a", 4), host, 0), stands(guest("b", 1), host, 1)], guest("new", 8))
    model = model_of(question)
    assert (GIB_KIB, 1) == bound_of(model).onward(Walk(model), (-1,), better=False)
    assert [("b", StepKind.MOVE_MEMORY, 1)] == kinds(question)


def claimed(placement: Placement, claim: str, resident_gib: int | None) -> tuple[OutstandingClaim, Occupant]:
    (cell,) = placement.cells
    memory = OccupantMemory(
        node_id=cell.memory[0].node_id,
        kib=cell.memory[0].kib,
        resident_kib=None if resident_gib is None else resident_gib * GIB_KIB,
    )
    occupant = Occupant(
        guest=placement.guest,
        uuid=None,
        state=OccupantState.RUNNING,
        vcpus=len(cell.vcpus),
        declared_cpus=cell.cpus,
        memory=(memory,),
        claim=claim,
        ledger="ours",
    )
    return OutstandingClaim(claim_id=claim, placement=placement), occupant


def test_what_a_guest_counts_for_comes_back_when_it_leaves() -> None:
    """However much of it is resident, and whether or not that is told: no more, and no less."""
    (host,) = hosts("h1", gib=64)
    placement = make_placement(guest("a", 10), host, [home(0)])
    for resident, free in ((10, 50), (0, 60), (None, 55), (4, 56)):
        claim, occupant = claimed(placement, "c1", resident)
        snapshot = snapshot_of(topology_of(memory_gib=64), free_gib=free, occupants=[occupant])
        there = host_capacity(HostName("h1"), snapshot, HostRules(), [claim])
        gone = host_capacity(HostName("h1"), snapshot, HostRules(), [claim], leaving={"c1"})
        assert 10 * GIB_KIB == gone.nodes[0].memory_kib[4] - there.nodes[0].memory_kib[4]
        assert there.nodes[1] == gone.nodes[1]
        assert (CpuSet(), host.nodes[0].free_cpus) == (there.nodes[0].free_cpus, gone.nodes[0].free_cpus)


def test_room_is_kept_for_what_is_to_come() -> None:
    """Two guests of 3 GiB on two nodes leave no 6 GiB on any: on one node they leave room for a guest that has them."""
    (h1,) = (with_gib(host, 8, 8) for host in hosts("h1"))
    there = [stands(guest("a", 3), h1, 0), stands(guest("b", 3), h1, 1)]
    aim = replace(objective_with(Term.KEEP_LARGEST), flavours=(guest("flavour", 6),))
    question = asked([h1], there, objective=aim)
    assert [("a", StepKind.MOVE_MEMORY, 3)] == kinds(question)
    found = rebalance(question, 30.0)
    assert [(tier.name, tier.value) for tier in (found.before[-1], found.after[-1])] == [
        ("keep-largest", 0),
        ("keep-largest", 1),
    ]


def test_what_stays_is_not_counted_twice() -> None:
    """The fleet is without those who are not moved: nodes are as full as they are."""
    (h1,) = (with_gib(host, 8, 8) for host in hosts("h1"))
    stays, moves = stands(guest("a", 4), h1, 0), stands(guest("b", 2), h1, 0)
    left = replace(h1, nodes=(replace(h1.nodes[0], memory_kib={4: 4 * GIB_KIB}), h1.nodes[1]))
    aim = objective_with(Term.BALANCE)
    question = asked([left], [moves], fixed=(stays.placement,), objective=aim)
    found = rebalance(question, 30.0)
    before, after = found.before[-1].value, found.after[-1].value
    assert (75**2, 50**2 + 25**2) == (before, after)


def test_a_guest_goes_near_the_device_that_it_should_be_near() -> None:
    """A wish that counts as soft ones do."""
    (h1,) = hosts("h1")
    card = PciDevice(address="0000:3b:00.0", node_id=NodeId(1))
    h1 = replace(h1, topology=replace(h1.topology, devices=(card,)))
    wish = guest("a", 1, devices=(NearDevice(address=card.address, must=False),))
    assert [("a", StepKind.MOVE_MEMORY, 1)] == kinds(asked([h1], [stands(wish, h1, 0)]))


def test_more_guests_are_wanted_than_a_stack_is_deep() -> None:
    """A place for each, also without any time to search: those that fit as things are need none."""
    fleet = Fleet.of([host_of(f"h{i}", cpus=16, nodes=2) for i in range(36)])
    wanted = tuple(guest(f"w{i}") for i in range(1100))
    found = rebalance(Question(fleet=fleet, guests=(), wanted=wanted), 0.0)
    assert (1100, ()) == (len(found.placed), found.steps)


def test_emulator_threads_stay_where_they_were_asked_to_be() -> None:
    """On the guest's own pCPUs, although its new node has housekeeping ones."""
    (host,) = hosts("h1")
    kept = CpuSet.of(0, 4)
    nodes = tuple(replace(n, free_cpus=n.free_cpus - kept, shared_cpus=n.shared_cpus - kept) for n in host.nodes)
    host = with_gib(replace(host, nodes=nodes, housekeeping_cpus=kept), 8, 5)
    asked_for = guest("a", 4, cpus=CpuPolicy.DEDICATED, emulator=EmulatorPolicy.GUEST)
    for known in (EmulatorPolicy.GUEST, None):
        old = replace(make_placement(asked_for, host, [home(0)]), emulator=known)
        request = asked_by(old, host.topology, host.housekeeping_cpus)
        standing = Standing(request=request, placement=old, memory_follows=True)
        found = rebalance(asked([host], [standing], guest("new", 8)), 30.0)
        (step,) = found.steps
        assert step.target.cpus == step.target.emulator_cpus


def cells(*vcpus: int, **keys: object) -> GuestRequest:
    """A guest with cells of so many vCPUs, all of the same memory."""
    sizes = tuple(GuestShare(vcpus=n, memory_kib=GIB_KIB) for n in vcpus)
    return guest("cells", len(sizes), sum(vcpus), cells=len(sizes), cell_sizes=sizes, **keys)


def test_a_guest_of_uneven_cells_keeps_each_on_its_node() -> None:
    """Where it is pinned anew to make room: either way round its nodes give the same, with its emulator's pCPU."""
    (host,) = hosts("h1")
    own = CpuSet.of(0, 2, 3)
    request = cells(2, 3, cpus=CpuPolicy.MIXED, dedicated_vcpus=own, emulator=EmulatorPolicy.OWN)
    for order in ((0, 1), (1, 0)):
        question = asked([host], [stands(request, host, *order)], guest("new", cpus=CpuPolicy.DEDICATED))
        found = rebalance(question, 30.0)
        (step,) = found.steps
        assert (True, ()) == (found.proven, violations_of_steps(question, found.steps, found.placed))
        assert step.origin.own_cpus == step.target.own_cpus
        assert [list(order), list(order)] == [
            [node for cell in placed.cells for node in cell.cpu_nodes or ()] for placed in (step.origin, step.target)
        ]


def test_cells_do_not_change_their_nodes_without_a_copy() -> None:
    """Each node would have as much memory of the guest as before, but not that of the same cell."""
    (host,) = hosts("h1", cpus=3)
    card = PciDevice(address="0000:3b:00.0", node_id=NodeId(0))
    host = replace(host, topology=replace(host.topology, devices=(card,)))
    near = (NearDevice(address=card.address),)
    there = stands(cells(2, 1, cpus=CpuPolicy.DEDICATED), host, 0, 1)
    assert [] == kinds(asked([host], [there], guest("new", 1, 2, cpus=CpuPolicy.DEDICATED, devices=near)))
