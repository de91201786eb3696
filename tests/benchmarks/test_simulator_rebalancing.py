"""A fleet that is rebalanced while guests come and go: within the budget, sound at any time, nothing lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.events import Event
from benchmarks.metrics import metric_of
from benchmarks.simulator.deciding import audit_host
from benchmarks.simulator.options import Options
from benchmarks.simulator.playing import Run
from benchmarks.simulator.rebalancing import whose_turn
from benchmarks.simulator.run import measure_row
from policies.fleet import Fleet
from policies.rebalance.question import Budget
from policies.request import Group, GroupRule, Membership
from tests.benchmarks.plays import FLAVOURS, ask, hosts, streamed, told
from tests.policies.hosts import GIB_KIB, host_of

EVERY = Options(sample_every=10, rebalance_every=15, looks=200)


@pytest.mark.parametrize("policy", ["place-one", "random", "unpinned", "solver"])
def test_whoever_is_moved_no_rule_is_broken_and_nothing_is_lost(policy: str) -> None:
    fleet = hosts(3)
    events = list(streamed(fleet, 90, here=40).play(1).events())
    gone = Event(at_s=1e6, departures=tuple(guest.name for event in events for guest in event.arrivals))
    run = Run(told(fleet, *events, gone, flavours=FLAVOURS), policy, 1, EVERY)
    for event in run.play.events():
        run.step(event)
        assert [audit_host(run.world, index) for index in range(3)] == ["", "", ""]
    assert run.world.left().hosts == fleet.hosts


def test_scattered_guests_come_together_within_the_budget() -> None:
    """Three hosts with a guest each: two of them may move, of 4 GiB, and the budget is one move at a time."""
    far = Fleet.of([host_of(f"h{i}") for i in range(3)])
    events = [Event(at_s=float(i), arrivals=(ask(f"g{i}", 1, 4, hosts=frozenset({f"h{i}"})),)) for i in range(3)]
    free = [Event(at_s=float(i), arrivals=(ask(f"g{i}", 1, 4),)) for i in range(3)]
    budget = Budget(most_moves=1, most_memory_kib=4 * GIB_KIB)
    often = Options(sample_every=1, rebalance_every=1, budget=budget)
    bound = measure_row(told(far, *events), "first-fit", 1, often)
    assert (bound.metrics["migrations"], bound.metrics["empty_hosts"]) == (0, 1.5)
    row = measure_row(told(far, *free, *(Event(at_s=float(3 + i)) for i in range(4))), "random", 1, often)
    assert row.metrics["migrations"] >= 1
    assert row.metrics["moved_gib"] == 4 * row.metrics["migrations"]
    assert measure_row(told(far, *free), "random", 1, Options()).metrics["migrations"] == 0


def test_a_rebalanced_row_is_the_same_twice_and_says_so() -> None:
    rows = [measure_row(streamed(hosts(3), 120, here=40), "random", 1, EVERY) for _ in range(2)]
    first, second = (
        replace(row, metrics={k: v for k, v in row.metrics.items() if not metric_of(k).is_time}) for row in rows
    )
    assert first == second
    assert first.options["rebalance_every"] == "15"
    assert first.metrics["migrations"] > 0


def member(rule: GroupRule, **keys: object) -> tuple[Membership, ...]:
    return (Membership(group=Group(name="db", rule=rule, **keys)),)  # type: ignore[arg-type]


def guests_on(fleet: Fleet, *events: Event, policy: str = "first-fit", **keys: object) -> list[list[str]]:
    """Who is on each host after all events."""
    run = Run(told(fleet, *events), policy, 1, Options(sample_every=1, rebalance_every=1, **keys))  # type: ignore[arg-type]
    for event in run.play.events():
        run.step(event)
        assert "" == "".join(audit_host(run.world, index) for index in range(len(fleet)))
    return [sorted(guests) for guests in run.world.guests_on]


def test_members_that_live_apart_stay_apart() -> None:
    """Three of them need three hosts, whatever that costs."""
    apart = member(GroupRule.ANTI_AFFINITY)
    events = [Event(at_s=float(i), arrivals=(ask(f"g{i}", 1, 4, groups=apart),)) for i in range(3)]
    assert guests_on(hosts(3), *events) == [["g0"], ["g1"], ["g2"]]


def test_members_of_groups_are_moved_where_their_group_lets_them() -> None:
    """Two of one group and a guest beside are on a host each: one of the two joins the guest, and not the other."""
    fleet, apart = hosts(3), member(GroupRule.ANTI_AFFINITY)
    first, second, third = (frozenset({host.name}) for host in fleet)
    arrivals = [ask("b", 1, 4, groups=apart, hosts=third), ask("c", 1, 4, hosts=second), ask("full", 1, 4, hosts=first)]
    events = [Event(at_s=float(i), arrivals=(one,)) for i, one in enumerate(arrivals)]
    events += [Event(at_s=4.0, arrivals=(ask("a", 1, 4, groups=apart),)), Event(at_s=5.0, departures=("full",))]
    assert guests_on(fleet, *events) == [[], ["a", "c"], ["b"]]


def test_members_on_hosts_whose_turn_it_is_not_count() -> None:
    """A host cannot be emptied, because a member on a third one keeps another's rack: so nobody leaves it in vain."""
    racks = member(GroupRule.ANTI_AFFINITY, level="rack")
    fleet = Fleet.of([replace(host, domains={"rack": rack}) for host, rack in zip(hosts(3), "abb", strict=True)])
    _, second, third = (frozenset({host.name}) for host in fleet)
    arrivals = [
        ask("b", 1, 4, groups=racks, hosts=third),
        ask("c", 1, 4, hosts=second),
        ask("d", 1, 4),
        ask("z", 1, 4, groups=racks),
    ]
    events = [*(Event(at_s=float(i), arrivals=(one,)) for i, one in enumerate(arrivals))]
    assert guests_on(fleet, *events, rebalance_hosts=2)[0] == ["d", "z"]


def test_hosts_take_turns() -> None:
    """Of many hosts some are rebalanced at a time; then the next ones."""
    assert [whose_turn(turn, 2, 5) for turn in range(3)] == [[0, 1], [2, 3], [0, 4]]
    assert whose_turn(7, 8, 5) == [0, 1, 2, 3, 4]
