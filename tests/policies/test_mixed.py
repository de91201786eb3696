"""Guests of which some vCPUs own a pCPU and the others float: what they get, hold and are told."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from policies.as_placed import request_as_placed
from policies.asked import EmulatorPolicy, SmtPolicy, own_vcpus
from policies.check import violations
from policies.compose import make_placement, settle_shared
from policies.fleet import Fleet
from policies.headroom import Fits, how_many
from policies.homes import homes
from policies.host_rules import HostRules, OutstandingClaim
from policies.online.fleet import OnlineFleet
from policies.plan import Decision, Placement, Rejection
from policies.policy import Effort
from policies.promise import host_capacity
from policies.rebalance.counting import model_of
from policies.rebalance.question import Budget, Question, Standing, StepKind
from policies.rebalance.rebalance import rebalance
from policies.rebalance.verify import violations_of_steps
from policies.rebalance.walk import Walk
from policies.registry import load_policy
from policies.request import CpuPolicy, GuestRequest, GuestShare, RequestInvalidError
from probe.cpuset import CpuSet, NodeSet
from probe.snapshot import Occupant, OccupantState
from tests.policies.hosts import GIB_KIB, host_of, snapshot_of, topology_of
from tests.policies.test_policies import ask

H = host_of("h")
"""Two nodes of four pCPUs, each free and shared."""


def mixed(name: str, vcpus: int, own: str, gib: int = 1, **more: object) -> GuestRequest:
    return ask(name, vcpus, gib, cpus=CpuPolicy.MIXED, dedicated_vcpus=CpuSet.parse(own), **more)


def decided(*requests: GuestRequest, policy: str = "solver", host: object = H) -> tuple[Decision, ...]:
    fleet = Fleet.of([host])  # type: ignore[list-item]
    decisions = load_policy(policy)(requests, fleet, Effort()).decisions
    assert violations(decisions, requests, fleet) == ()
    return decisions


def there(decision: Decision) -> Placement:
    assert isinstance(decision, Placement), decision
    return decision


def pins(placement: Placement) -> list[str]:
    return [str(pin) for cell in placement.cells for _, pin in sorted(cell.pins.items())]


@pytest.mark.parametrize("policy", ["solver", "best-fit", "nova-pack"])
def test_some_vcpus_own_a_pcpu_and_the_others_float_around_it(policy: str) -> None:
    """The pCPU is nobody else's, not even of the guest's other vCPUs; its emulator threads float with these."""
    placement = there(decided(mixed("g", 3, "1"), policy=policy)[0])
    assert pins(placement) in (["1-3", "0", "1-3"], ["5-7", "4", "5-7"])
    assert placement.own_cpus in (CpuSet.of(0), CpuSet.of(4))
    assert placement.emulator_cpus == CpuSet.union(placement.floating_pins.values())


def test_who_floats_keeps_off_the_own_pcpus_of_a_mixed_guest() -> None:
    """A shared guest on the same node floats on what is left."""
    first, second = map(there, decided(mixed("m", 2, "0"), ask("s", 2, 1), host=host_of("h", nodes=1)))
    assert pins(first) == ["0", "1-3"]
    assert pins(second) == ["1-3", "1-3"]


def test_an_emulator_pcpu_of_its_own_is_nobody_elses_either() -> None:
    """Not those vCPUs' that float: one of four is vCPU 0's, one the emulator's, and two are left for two."""
    asked = mixed("g", 3, "0", emulator=EmulatorPolicy.OWN)
    placement = there(decided(asked, host=host_of("h", nodes=1))[0])
    assert pins(placement) == ["0", "2-3", "2-3"]
    assert (placement.emulator_cpus, placement.own_cpus) == (CpuSet.of(1), CpuSet.parse("0-1"))
    lost = decided(replace(asked, vcpus=4), host=host_of("h", nodes=1))[0]
    assert isinstance(lost, Rejection)
    assert "lacks 1 shared pCPU" in lost.detail


def test_cores_are_whole_for_the_vcpus_that_own_theirs() -> None:
    """Two vCPUs isolated on two cores of two threads take all four pCPUs: nothing is left for the third to float on."""
    host = host_of("h", topology=topology_of(cpus=6, nodes=1, smt=2))
    placement = there(decided(mixed("g", 3, "0-1", smt=SmtPolicy.ISOLATE), host=host)[0])
    assert pins(placement) == ["0", "2", "4-5"]
    assert placement.booked_cpus == CpuSet.of(1, 3)
    small = host_of("h", topology=topology_of(cpus=4, nodes=1, smt=2))
    assert isinstance(decided(mixed("g", 3, "0-1", smt=SmtPolicy.ISOLATE), host=small)[0], Rejection)


def test_emulators_of_guests_on_whole_cores_find_their_pcpu_when_others_have_taken_cores() -> None:
    """The first vCPU floated on pCPUs of which the second guest has some when the emulators come."""
    host = host_of("h", topology=topology_of(cpus=8, nodes=1, smt=2))
    asked = [mixed(name, 2, "1", smt=SmtPolicy.ISOLATE, emulator=EmulatorPolicy.OWN) for name in "ab"]
    emulators = [there(decision).emulator_cpus for decision in decided(*asked, host=host)]
    assert [1, 1] == [len(cpus) for cpus in emulators if cpus is not None]


def test_each_cell_gets_what_its_own_vcpus_need() -> None:
    """vCPUs are numbered cell by cell: the first cell of two owns both of its pCPUs, the second floats."""
    sizes = (GuestShare(vcpus=2, memory_kib=GIB_KIB), GuestShare(vcpus=3, memory_kib=GIB_KIB))
    placement = there(decided(mixed("g", 5, "0-1", gib=2, cells=2, cell_sizes=sizes))[0])
    own, floating = placement.cells
    assert [len(pin) for pin in own.pins.values()] == [1, 1]
    assert len(set(floating.pins.values())) == 1
    assert own.cpu_nodes != floating.cpu_nodes


def test_the_checker_sees_every_breach() -> None:
    """Another vCPU owns the pCPU than asked for; a vCPU floats on what its own guest owns; nothing is owned."""
    asked, fleet = mixed("g", 2, "0"), Fleet.of([H])
    good = there(decided(asked)[0])
    (cell,) = good.cells
    other = replace(good, dedicated_vcpus=CpuSet.of(1))
    none = replace(good, dedicated_vcpus=CpuSet())
    over = {0: cell.pins[0], 1: cell.pins[0] | cell.pins[1]}
    trespassing = replace(good, cells=(replace(cell, pins=over, cpus=CpuSet.union(over.values())),))
    broken = [{v.rule for v in violations([each], [asked], fleet)} for each in (other, none, trespassing)]
    assert "dedication_is_as_asked" in broken[0]
    assert "dedication_is_as_asked" in broken[1]
    assert "nobody_else_runs_on_dedicated_pcpus" in broken[2]


def test_a_running_mixed_guest_counts_what_it_was_promised() -> None:
    """Its own pCPU is neither free nor shared, and only its other vCPU floats; who runs elsewhere counts as seen."""
    snapshot = snapshot_of(topology_of(cpus=4, nodes=2, memory_gib=64))
    promised = there(decided(mixed("g", 2, "0"))[0])
    claim = OutstandingClaim(claim_id="c", placement=promised, uuid="u")

    def node_with(cpus: CpuSet) -> tuple[CpuSet, CpuSet, int]:
        running = Occupant(
            guest="g", uuid="u", state=OccupantState.RUNNING, vcpus=2, effective_cpus=cpus, ledger="l", claim="c"
        )
        capacity = host_capacity(H.name, replace(snapshot, occupants=(running,)), HostRules(), [claim])
        node = capacity.nodes[0]
        return node.free_cpus, node.shared_cpus, node.shared_vcpus

    assert promised.cpus is not None
    assert (CpuSet(), CpuSet.parse("1-3"), 1) == node_with(promised.cpus)
    assert (CpuSet(), CpuSet.parse("1-3"), 2) == node_with(CpuSet.parse("0-4"))


def test_how_many_more_fit_counts_both_kinds_of_pcpus() -> None:
    """Of four pCPUs of a node, one more is owned by each guest, and those left have to bear the vCPUs that float."""
    flavour = mixed("f", 2, "0")
    assert how_many(flavour, Fleet.of([H])) == (Fits(4, 4),)
    crowded = replace(H, overcommit=Fraction(2))
    assert how_many(flavour, Fleet.of([crowded])) == (Fits(4, 4),)
    crowded = replace(H, overcommit=Fraction(3))
    assert how_many(flavour, Fleet.of([crowded])) == (Fits(6, 6),)


def test_arriving_mixed_guests_are_placed_until_there_is_no_room() -> None:
    """Four on two nodes, then a refusal that tells what lacks; what is given back is there again."""
    fleet = OnlineFleet(Fleet.of([H]))
    home = [there(fleet.place_one(mixed(f"g{i}", 2, "0"))) for i in range(4)]
    lost = fleet.place_one(mixed("g5", 2, "0"))
    assert isinstance(lost, Rejection)
    assert "lacks" in lost.detail
    requests = [mixed(f"g{i}", 2, "0") for i in range(4)]
    assert violations(settle_shared(home, Fleet.of([H])), requests, Fleet.of([H])) == ()
    fleet.give_back(home[0])
    there(fleet.place_one(mixed("g5", 2, "0")))


def test_a_placement_is_asked_for_again_as_it_is() -> None:
    """The same vCPUs own, the others float."""
    asked = mixed("g", 3, "0,2")
    again = request_as_placed(there(decided(asked)[0]), most_nodes=2)
    assert (again.cpus, again.dedicated_vcpus) == (CpuPolicy.MIXED, CpuSet.parse("0,2"))


def test_a_mixed_guest_makes_room_by_moving() -> None:
    """Two mixed guests on different nodes leave no node with four free pCPUs; one makes way, the other comes."""
    fleet = Fleet.of([H])
    ask_each = [mixed(name, 2, "0") for name in "ab"]
    placements = [there(d) for d in load_policy("round-robin")(ask_each, fleet, Effort()).decisions]
    assert [NodeSet.of(0), NodeSet.of(1)] == [p.cpu_nodes for p in placements]
    guests = tuple(
        Standing(request=r, placement=p, memory_follows=True, may_migrate=False)
        for r, p in zip(ask_each, placements, strict=True)
    )
    wanted = ask("w", 4, 1, cpus=CpuPolicy.DEDICATED)
    found = rebalance(Question(fleet=fleet, guests=guests, wanted=(wanted,), budget=Budget()), 30.0)
    assert [StepKind.RE_PIN, StepKind.MOVE_MEMORY] == [step.kind for step in found.steps]
    assert [p.guest for p in found.placed] == ["w"]
    moved = {step.origin.guest: step.target for step in found.steps}
    after = [*(moved.get(p.guest, p) for p in placements), *found.placed]
    assert violations(settle_shared(after, fleet), [*ask_each, wanted], fleet) == ()


def test_a_mixed_guest_may_stand_in_its_own_way() -> None:
    """Its parts may change nodes, as both have their memory on node 1: what floats there gives way to what owns."""
    host = host_of("h", overcommit=Fraction(2), topology=topology_of(nodes=2, memoryless=(0,)))
    asked = mixed("g", 5, "2", cells="auto", max_nodes=2)
    first = make_placement(asked, host, homes(host))
    here = Standing(request=asked, placement=first)
    wanted = ask("w", 3, 1, cpus=CpuPolicy.DEDICATED)
    question = Question(fleet=Fleet.of([host]), guests=(here,), wanted=(wanted,), budget=Budget(most_moves=2))
    walk = Walk(model_of(question))
    ways = [[(move.origin, move.way.target) for move in moves] for moves in walk.moves((0, 0))]
    ((_, anew), (start, _)) = ways[0]
    assert anew == start
    assert violations_of_steps(question, rebalance(question, 30.0).steps, ()) == ()


def test_a_running_guest_of_uneven_cells_counts_cell_by_cell() -> None:
    """3 vCPUs on node 0 and 1 on node 1, as placed; adopted, or with a vCPU more, they count by pCPUs: 2 on each."""
    host = host_of("h", cpus=4, nodes=2, memory_gib=64)
    sizes = (GuestShare(vcpus=3, memory_kib=GIB_KIB), GuestShare(vcpus=1, memory_kib=GIB_KIB))
    placed = there(decided(ask("g", 4, 2, cells=2, cell_sizes=sizes), host=host)[0])
    running = Occupant(
        guest="g", uuid="u", state=OccupantState.RUNNING, vcpus=4, effective_cpus=placed.cpus, ledger="l", claim="c"
    )
    claim = OutstandingClaim(claim_id="c", placement=placed, uuid="u")

    def counted(occupant: Occupant, of: OutstandingClaim) -> list[int]:
        snapshot = replace(snapshot_of(host.topology), occupants=(occupant,))
        return [node.shared_vcpus for node in host_capacity(host.name, snapshot, HostRules(), [of]).nodes]

    assert sorted(counted(running, claim)) == [1, 3]
    assert sorted(counted(running, replace(claim, adopted=True))) == [2, 3]
    assert sorted(counted(replace(running, vcpus=6), claim)) == [3, 3]


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"cpus": CpuPolicy.MIXED}, "mixed pCPUs need dedicated_vcpus"),
        ({"cpus": CpuPolicy.MIXED, "dedicated_vcpus": CpuSet.of(2)}, "dedicated_vcpus has 2, and its vCPUs are 0-1"),
        ({"cpus": CpuPolicy.MIXED, "dedicated_vcpus": CpuSet.of(0, 1)}, "ask for dedicated ones"),
        ({"dedicated_vcpus": CpuSet.of(0)}, "dedicated_vcpus is for guests with mixed pCPUs"),
    ],
)
def test_a_contradiction_is_told(keys: dict[str, object], complaint: str) -> None:
    with pytest.raises(RequestInvalidError, match=complaint):
        ask("g", 2, 1, **keys)


def test_own_vcpus_are_all_some_or_none() -> None:
    shared, some = ask("g", 2, 1), mixed("g", 2, "1")
    everybody = replace(shared, cpus=CpuPolicy.DEDICATED)
    assert [CpuSet(), CpuSet.of(1), CpuSet.of(0, 1)] == [own_vcpus(r) for r in (shared, some, everybody)]
