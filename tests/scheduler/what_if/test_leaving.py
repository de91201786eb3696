"""Hosts and nodes drained, hosts lost: nobody is left there, and nobody is counted twice or forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from policies.asked import EmulatorPolicy
from policies.check import violations
from policies.fleet import Fleet
from policies.groups import nodes_of
from policies.host_rules import HostRules, OutstandingClaim
from policies.policy import Effort
from policies.request import CpuPolicy, GuestName, GuestRequest, HostName
from probe.cpuset import CpuSet
from probe.errors import BadInputError
from probe.snapshot import Hypervisor, Occupant, OccupantState
from scheduler.files.fleet_file import FleetGuest
from scheduler.files.hosts_file import HostConfig
from scheduler.planning import HostView, Standing, plan_fleet
from scheduler.what_if import lose_each, plan_supposed, suppose
from scheduler.what_if.change import Drain, Lose
from scheduler.what_if.supposed import Supposed
from tests.policies.hosts import GIB_KIB, snapshot_of, topology_of
from tests.scheduler.what_if.worlds import World, asked, with_guests, worlds

FIRST = "first-fit"
GUEST = GuestRequest(name=GuestName("g"), vcpus=4, memory_kib=GIB_KIB)


def config(name: str) -> HostConfig:
    return HostConfig(name=HostName(name), sources=())


@given(worlds())
def test_no_change_changes_nothing(world: World) -> None:
    """The plan is the one that is made without the option, and is not hypothetical."""
    same = suppose(world.supposed, [])
    assert world.supposed == same
    made = plan_supposed(same, {}, FIRST, Effort())
    plain = plan_fleet(same.guests, {}, same.views, FIRST, Effort(), standing=same.standing)
    assert replace(plain, plan=replace(plain.plan, wall_s=0)) == replace(made, plan=replace(made.plan, wall_s=0))
    assert () == made.hypothetical


@given(worlds(), st.data())
def test_who_leaves_gives_back_what_it_had(world: World, data: st.DataObject) -> None:
    """A host that everybody has left offers what it offered before anybody came."""
    before = data.draw(st.sampled_from(world.empty))
    after = suppose(world.supposed, [Drain(host=before.config.name)]).view(before.config.name, "")
    assert ((), ()) == (after.snapshot.occupants, after.claims)
    assert before.capacity == replace(after, cordons=()).capacity


@pytest.mark.parametrize("hypervisor", Hypervisor)
def test_a_guest_that_lies_on_several_nodes_gives_back_on_each(hypervisor: Hypervisor) -> None:
    """Interleaved, and on Xen with its overhead, which is there from the start too."""
    request = replace(GUEST, vcpus=6, memory_kib=6 * GIB_KIB, max_nodes=2, overhead_kib=65536)
    snapshot = snapshot_of(topology_of(nodes=2), free_gib=8, hypervisor=hypervisor)
    empty = HostView(config=config("h1"), snapshot=snapshot)
    (home,) = plan_fleet([FleetGuest(request=request)], {}, [empty], FIRST, Effort()).plan.placements
    assert 2 == len(home.memory_nodes)
    taken = with_guests(empty, [home])
    assert empty.capacity != taken.capacity
    after = suppose(Supposed(guests=(), views=(taken,)), [Drain(host="h1")]).view("h1", "")
    assert empty.capacity == replace(after, cordons=()).capacity


@given(worlds(), st.data())
def test_a_drained_host_is_empty_and_everybody_is_asked_for_elsewhere(world: World, data: st.DataObject) -> None:
    """By the independent checker, on the other hosts as they are; who was elsewhere stays there."""
    host = data.draw(st.sampled_from([view.config.name for view in world.supposed.views]))
    supposed = suppose(world.supposed, [Drain(host=host)])
    made = plan_supposed(supposed, {}, FIRST, Effort())
    others = Fleet.of([view.capacity for view in world.supposed.views if view.config.name != host])
    stayed = {home.guest: home for home in world.standing if home.host != host}
    decided = {decision.guest: decision for decision in made.plan.decisions}
    fresh = [decision for name, decision in decided.items() if name not in stayed]
    assert not violations(fresh, asked(supposed), others)
    assert {home.guest for home in world.standing if home.host == host} <= decided.keys()
    assert all(stayed[name] == decided[name] for name in stayed.keys() & decided.keys())
    assert (f"drain={host}",) == made.hypothetical


@given(worlds(), st.data())
def test_a_drained_node_is_empty(world: World, data: st.DataObject) -> None:
    """Nobody who stays on the host, or is placed there, touches it; who was not on it stays."""
    view = data.draw(st.sampled_from(world.supposed.views))
    host, node = view.config.name, data.draw(st.sampled_from(sorted(view.snapshot.topology.node_ids)))
    supposed = suppose(world.supposed, [Drain(host=host, node=node)])
    kept = [claim.placement for claim in supposed.view(host, "").claims]
    made = plan_supposed(supposed, {}, FIRST, Effort())
    there = [home for home in [*kept, *made.plan.placements] if home.host == host]
    assert all(nodes is not None and node not in nodes for nodes in map(nodes_of, there))
    left = [claim.placement for claim in view.claims if claim.placement not in kept]
    cpus = view.snapshot.topology.node(node).cpus
    for home in left:
        threads = home.cpus if home.emulator_cpus is None else home.emulator_cpus | (home.cpus or home.emulator_cpus)
        assert node in (nodes_of(home) or [node]) or not (threads or cpus).isdisjoint(cpus)
    assert {home.guest for home in left} == {again.guest for again in supposed.asked_again}


@given(worlds())
def test_each_host_lost_in_turn(world: World) -> None:
    """As many plans as hosts, each as by hand; on the other hosts, by the checker; everybody there is accounted for."""
    hosts = [view.config.name for view in world.supposed.views]
    losses = list(lose_each(world.supposed, {}, FIRST, Effort()))
    assert hosts == [loss.host for loss in losses]
    for loss in losses:
        assert suppose(world.supposed, [Lose(host=loss.host)]) == loss.supposed
        others = Fleet.of([view.capacity for view in world.supposed.views if view.config.name != loss.host])
        decided = loss.made.plan.decisions
        fresh = [decision for decision in decided if decision.guest not in loss.supposed.standing.homes]
        assert not violations(fresh, asked(loss.supposed), others)
        assert {home.guest for home in world.standing if home.host == loss.host} == loss.guests
        placed = {home.guest for home in loss.made.plan.placements} & loss.guests
        assert loss.guests - placed == {rejection.guest for rejection in loss.refused}
        assert {d.guest for d in decided} - loss.guests - loss.supposed.standing.homes.keys() == {
            d.guest for d in loss.new
        }


@given(worlds(), st.data())
def test_strangers_are_named_and_stay(world: World, data: st.DataObject) -> None:
    """No place is looked for a guest that is in no books; it is not moved in silence either."""
    view = data.draw(st.sampled_from(world.supposed.views))
    stranger = Occupant(guest="stranger", uuid=None, state=OccupantState.RUNNING, vcpus=1)
    crowded = replace(view, snapshot=replace(view.snapshot, occupants=(*view.snapshot.occupants, stranger)))
    node = data.draw(st.sampled_from([None, *sorted(view.snapshot.topology.node_ids)]))
    supposed = suppose(world.supposed.with_view(crowded), [Drain(host=view.config.name, node=node)])
    assert [("stranger", view.config.name)] == [(left.guest, left.host) for left in supposed.not_planned]
    assert stranger in supposed.view(view.config.name, "").snapshot.occupants


@given(worlds(), st.data())
def test_what_is_not_there_cannot_be_changed(world: World, data: st.DataObject) -> None:
    """It names what is there."""
    view = data.draw(st.sampled_from(world.supposed.views))
    with pytest.raises(BadInputError, match=f"no host of this name; there are {view.config.name}|, {view.config.name}"):
        suppose(world.supposed, [Drain(host="h9")])
    with pytest.raises(BadInputError, match=f"{view.config.name} has no node 99; it has 0"):
        suppose(world.supposed, [Drain(host=view.config.name, node=99)])


def test_who_is_there_comes_before_who_is_new() -> None:
    """Two guests for one place: the one that lost its own has it, although the new one weighs more."""
    host, other = (HostView(config=config(name), snapshot=snapshot_of(topology_of(nodes=1))) for name in ("h1", "h2"))
    old, new = (FleetGuest(request=replace(GUEST, name=GuestName(name))) for name in ("old", "new"))
    new = replace(new, request=replace(new.request, priority=9))
    home = plan_fleet([old], {}, [host], FIRST, Effort()).plan.placements[0]
    claimed = replace(host, claims=(OutstandingClaim(claim_id="c", placement=home),))
    start = Supposed(guests=(new, old), views=(claimed, other), standing=Standing(homes={"old": home}))
    for policy in (FIRST, "solver"):
        made = plan_supposed(suppose(start, [Lose(host="h1")]), {}, policy, Effort(deterministic_limit=1))
        assert ["old"] == [placement.guest for placement in made.plan.placements]
        assert (9, 1 + 9) == tuple(guest.request.priority for guest in made.guests)


@pytest.mark.parametrize("told", [True, False])
def test_emulator_threads_of_a_drained_guest_stay_off_housekeeping_pcpus(told: bool) -> None:
    """It asked for its own pCPUs; also where the books are of a time when nobody kept that."""
    rules = HostRules(housekeeping_cpus=CpuSet.of(0, 4))
    request = replace(GUEST, vcpus=2, cpus=CpuPolicy.DEDICATED, emulator=EmulatorPolicy.GUEST)
    views = [
        HostView(config=replace(config(name), rules=rules), snapshot=snapshot_of(topology_of(nodes=2), free_gib=8))
        for name in ("h1", "h2")
    ]
    (home,) = plan_fleet([FleetGuest(request=request)], {}, views, FIRST, Effort()).plan.placements
    home = home if told else replace(home, emulator=None)
    there = Supposed(guests=(), views=(with_guests(views[0], [home]), views[1]))
    (moved,) = plan_supposed(suppose(there, [Drain(host="h1")]), {}, FIRST, Effort()).plan.placements
    assert ("h2", moved.cpus) == (moved.host, moved.emulator_cpus)
