"""Guests that drifted: bound again, their memory moved where that can be, and nobody ever harmed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from policies.plan import MemoryMode, Placement
from probe.cpuset import CpuSet, NodeSet
from scheduler import repair
from scheduler.executors.port import CannotMoveError
from tests.scheduler.sim.hosts import domain_xml, numatune, started
from tests.scheduler.transaction.world import GUESTS, Trouble, World

DB, _, FAR = GUESTS
KINDS = ["refuse", "unreachable", "unreadable", "lost-call", "lost-reply", "dead"]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded hypervisor moves pages in the call itself."""
    monkeypatch.setattr(repair, "STILL_S", 0.01)
    monkeypatch.setattr(repair, "LOOK_EVERY_S", 0.01)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.made(tmp_path)


def repinned(world: World, guest: str, host: str = "h1") -> None:
    """Somebody lets its threads run on the other node."""
    with world.sim(host) as sim:
        sim.repin(world.uuid(guest), {0: CpuSet.of(6), 1: CpuSet.of(7)}, CpuSet.of(6, 7))


def wandered(world: World, guest: str) -> None:
    """Somebody lets its memory go to the other node, with its pages."""
    with world.sim() as sim:
        sim.set_nodes(world.uuid(guest), NodeSet.of(1))


def pages(world: World, guest: str, host: str = "h1") -> set[int]:
    with world.sim(host) as sim:
        domain = sim.find(world.uuid(guest))
    assert domain is not None
    return set(domain.resident_kib)


@pytest.mark.parametrize("drift", ["threads", "memory", "both"])
def test_what_drifted_is_as_planned_again(world: World, drift: str) -> None:
    """Its threads and every page; the figures before and after tell, the books say active."""
    world.apply()
    if drift != "memory":
        repinned(world, "db")
    if drift != "threads":
        wandered(world, "db")
    world.reconcile()
    assert world.states()["db"] == "drifted"
    dry = world.repair("db", dry_run=True)["db"]
    assert (dry.after, dry.exit_status, world.states()["db"]) == (None, 4, "drifted")
    done = world.repair("db")["db"]
    assert done.before is not None
    assert done.after is not None
    assert (drift == "threads", 1.0) == (done.before.on_plan_ratio == 1.0, done.after.on_plan_ratio)
    assert (False, True, ()) == (done.before.binding_ok, done.after.binding_ok, done.after.problems)
    assert ({0}, 0, "active") == (pages(world, "db"), done.exit_status, world.states()["db"])
    events = world.event_count()
    assert {0} == {each.exit_status for each in world.repair().values()}
    assert events == world.event_count()
    world.agrees()


def test_on_xen_threads_go_back_and_memory_never_moves(world: World) -> None:
    """The threads are bound again; where memory is astray, it is said why it stays."""
    world.apply([FAR])
    repinned(world, "far", "h2")
    done = world.repair("far")["far"]
    assert (0, "") == (done.exit_status, done.cannot)
    with world.sites() as sites, pytest.raises(CannotMoveError, match="not supported"):
        sites["h2"].executor.move_memory(world.uuid("far"), FAR)


def crowded(world: World, *, gib: int) -> str:
    """Somebody's guest takes so much of node 0; its uuid."""
    with world.sim() as sim:
        crowd = started(sim, domain_xml("crowd", mib=gib * 1024, inner=numatune("strict", "0")))
        sim.resume(crowd)
        sim.touch(crowd, gib * 1024**2)
    return crowd


def in_mode(mode: MemoryMode) -> Placement:
    return replace(DB, cells=tuple(replace(cell, memory_mode=mode) for cell in DB.cells))


def test_a_mode_that_holds_says_so(world: World) -> None:
    """Memory that was made `preferred` and spilled stays; its threads go back all the same."""
    world.apply([in_mode(MemoryMode.PREFERRED)])
    crowd = crowded(world, gib=7)
    with world.sim() as sim:
        sim.touch(world.uuid("db"), 2 * 1024**2)
        sim.destroy(crowd)
    assert pages(world, "db") == {0, 1}
    repinned(world, "db")
    done = world.repair("db")["db"]
    assert done.after is not None
    assert "restrictive" in done.cannot
    assert (True, 4, "drifted") == (done.after.binding_ok, done.exit_status, world.states()["db"])
    assert world.domains()["db"] == "running"


def test_without_room_its_memory_stays(world: World) -> None:
    """The kernel would kill a guest for it: nothing is asked, the amounts are said."""
    world.apply([DB])
    wandered(world, "db")
    crowd = crowded(world, gib=7)
    done = world.repair("db")["db"]
    assert done.cannot.startswith("its memory has no room where it belongs: node 0 has ")
    assert ({1}, 4, "drifted") == (pages(world, "db"), done.exit_status, world.states()["db"])
    assert {"db": "running", "crowd": "running"} == world.domains()
    with world.sim() as sim:
        sim.destroy(crowd)
    assert world.repair("db")["db"].exit_status == 0
    assert pages(world, "db") == {0}


@pytest.mark.parametrize("point", ["repair:before", "repair:after"])
def test_killed_in_it(world: World, point: str) -> None:
    """It runs on; a second repair, or a reconciliation, ends it."""
    world.apply()
    wandered(world, "db")
    world.killed("repair", point, "db")
    assert world.domains()["db"] == "running"
    world.reconcile()
    assert world.repair("db")["db"].exit_status == 0
    assert world.states()["db"] == "active"
    world.agrees()


@pytest.mark.parametrize("kind", KINDS)
def test_any_call_goes_wrong(tmp_path: Path, kind: str) -> None:
    """The guest runs on, and a second repair ends it."""
    for nth in range(1, 20):
        world = World.made(tmp_path / str(nth))
        world.apply([DB])
        repinned(world, "db")
        wandered(world, "db")
        trouble = Trouble(kind, nth)
        done = world.repair("db", trouble=trouble)["db"]
        assert {"db": "running"} == world.domains()
        if not trouble.fired:
            assert (nth > 5, done.exit_status) == (True, 0)
            return
        assert done.exit_status != 0
        assert world.repair("db")["db"].exit_status == 0
        assert world.states() == {"db": "active"}
        world.agrees()
    raise AssertionError("there is no end to it")


def test_what_does_not_run_or_is_not_ours_is_named(world: World) -> None:
    """Shut off: status 4. Half made: 5. Not in the books: 2."""
    world.apply([DB])
    with world.sim() as sim:
        sim.destroy(world.uuid("db"))
    world.killed("apply", "define:after", [GUESTS[1]])
    found = world.repair("db", "web", "nobody")
    assert {"db": 4, "web": 5, "nobody": 2} == {guest: each.exit_status for guest, each in found.items()}
    assert "shutoff" in str(found["db"].error)
