"""Whatever happens at whatever point: nothing leaked, nothing twice, nothing claimed for ever.

The matrix is {every step} × {before, after} × {the client is killed, the hypervisor refuses, the
call or its reply is lost, the connection dies}. Instead of naming the calls, "the nth call goes
wrong" is tried for n = 1, 2, … until no call is left that could (as SQLite is tested).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scheduler.transaction.world import GUESTS, Trouble, World

APPLY_STEPS = ["accept", "reserve", "look", "define", "start", "verify-bindings", "resume", "verify-memory"]
POINTS = [f"{step}:{when}" for step in APPLY_STEPS for when in ("before", "after")]
DESTROY_POINTS = [f"{step}:{when}" for step in ("release", "destroy", "undefine") for when in ("before", "after")]
LONG = ("unreachable", "lost-call", "dead")
KINDS = ["refuse", "lost-reply", *(pytest.param(kind, marks=pytest.mark.long) for kind in LONG)]
ALL_ACTIVE = {guest.guest: "active" for guest in GUESTS}
ALL_RUNNING = {guest.guest: "running" for guest in GUESTS}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.made(tmp_path)


def everything_runs(world: World) -> None:
    """A later apply completes it, and the books agree."""
    outcomes = world.apply()
    assert {0} == {outcome.exit_status for outcome in outcomes.values()}, outcomes
    assert (ALL_ACTIVE, ALL_RUNNING) == (world.states(), world.domains())
    world.agrees()


@pytest.mark.parametrize("point", POINTS)
def test_killed_in_apply_and_applied_again(world: World, point: str) -> None:
    """The second apply goes on from where the first was killed."""
    world.killed("apply", point)
    everything_runs(world)


@pytest.mark.parametrize("point", POINTS)
def test_killed_in_apply_and_reconciled(world: World, point: str) -> None:
    """One reconciliation: what had not run is gone without a trace, what ran is active."""
    world.killed("apply", point)
    world.reconcile()
    world.agrees()
    assert set(world.states().values()) <= {"active"}
    everything_runs(world)


@pytest.mark.parametrize("point", DESTROY_POINTS)
def test_killed_in_destroy_and_reconciled(world: World, point: str) -> None:
    """What was asked is done to the end, unless the guest still runs; then it is as it was."""
    world.apply()
    world.killed("destroy", point, "db")
    world.reconcile()
    world.agrees()
    still_ran = point in ("release:before", "destroy:before")
    assert still_ran == ("db" in world.domains())
    if still_ran:
        assert {"db": ""} == world.destroy("db")
    world.agrees()
    assert "db" not in world.states()


@pytest.mark.parametrize("point", [p for p in DESTROY_POINTS if not p.startswith("release")])
def test_killed_while_undoing(world: World, point: str) -> None:
    """A guest whose resume is refused is undone; killed in that, reconciliation undoes the rest."""
    with world.sim() as sim:
        sim.inject("resume", "fail")
    world.killed("apply", point)
    world.reconcile()
    world.agrees()
    assert "db" not in world.domains()
    everything_runs(world)


@pytest.mark.parametrize("point", [p for p in DESTROY_POINTS if not p.startswith("release")])
def test_killed_while_reconciling(world: World, point: str) -> None:
    """Reconciliation can be interrupted and repeated."""
    world.killed("apply", "start:after")
    world.killed("reconcile", point)
    world.reconcile()
    world.agrees()
    assert {} == world.domains()
    everything_runs(world)


def worlds(folder: Path, kind: str) -> Iterator[tuple[World, Trouble]]:
    """A fresh world for each call that can go wrong; ends when the last trouble did not fire."""
    for nth in range(1, 100):
        trouble = Trouble(kind, nth)
        yield World.made(folder / str(nth)), trouble
        if not trouble.fired:
            assert nth > 10
            return
    raise AssertionError("there is no end to it")


@pytest.mark.parametrize("kind", KINDS)
def test_any_call_goes_wrong_in_apply_and_it_is_applied_again(tmp_path: Path, kind: str) -> None:
    """The exit statuses tell what happened; a second apply completes it; no other guest is harmed."""
    expected = {"refuse": {7}, "unreachable": {6}, "lost-call": {8}, "lost-reply": {8}, "dead": {6, 8}}[kind]
    for world, trouble in worlds(tmp_path, kind):
        statuses = [outcome.exit_status for outcome in world.apply(trouble=trouble).values()]
        if trouble.fired:
            assert {*statuses} - {0} <= expected | {8}, statuses
            assert any(statuses)
            assert kind == "dead" or statuses.count(0) == len(GUESTS) - 1
        everything_runs(world)


@pytest.mark.parametrize("kind", KINDS)
def test_any_call_goes_wrong_in_apply_and_it_is_reconciled(tmp_path: Path, kind: str) -> None:
    """One reconciliation brings books and hypervisors into agreement."""
    for world, trouble in worlds(tmp_path, kind):
        world.apply(trouble=trouble)
        world.reconcile()
        world.agrees()
        everything_runs(world)


@pytest.mark.parametrize("kind", KINDS)
def test_any_call_goes_wrong_in_destroy(tmp_path: Path, kind: str) -> None:
    """Nothing is released that is still there; reconcile and a second destroy finish it."""
    for world, trouble in worlds(tmp_path, kind):
        world.apply()
        done = world.destroy(*ALL_ACTIVE, trouble=trouble)
        for guest, why in done.items():
            assert (guest in world.states()) == bool(why), done
        world.reconcile()
        world.agrees()
        world.destroy(*world.states())
        assert ({}, {}) == (world.states(), world.domains())
        world.agrees()


@pytest.mark.parametrize("kind", KINDS)
def test_any_call_goes_wrong_in_reconcile(tmp_path: Path, kind: str) -> None:
    """A hypervisor that does not answer tells nothing; the next reconciliation does it."""
    for world, trouble in worlds_with_work(tmp_path, kind):
        world.reconcile(trouble=trouble)
        world.reconcile()
        world.agrees()
        everything_runs(world)


def worlds_with_work(folder: Path, kind: str) -> Iterator[tuple[World, Trouble]]:
    """As `worlds`, with one guest active and two in the midst of their creation."""
    for nth in range(1, 100):
        world, trouble = World.made(folder / str(nth)), Trouble(kind, nth)
        world.apply(GUESTS[1:2])
        world.killed("apply", "start:after")
        yield world, trouble
        if not trouble.fired:
            assert nth > 4
            return


@pytest.mark.parametrize("call", ["define", "start", "resume"])
@pytest.mark.parametrize("kind", ["fail", "lose-reply"])
@pytest.mark.parametrize("host", ["h1", "h2"])
def test_the_embedded_hypervisors_own_faults(world: World, call: str, kind: str, host: str) -> None:
    """It refuses or loses its reply by itself, on either flavour."""
    with world.sim(host) as sim:
        sim.inject(call, kind)
    hit = world.apply()["db" if host == "h1" else "far"]
    assert {"fail": 7, "lose-reply": 8}[kind] == hit.exit_status, hit.note
    assert {"fail": "failed", "lose-reply": "unknown"}[kind] == hit.state.value
    everything_runs(world)
