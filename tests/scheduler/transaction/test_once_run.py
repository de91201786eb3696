"""A guest that ran is nobody's to undo: whatever goes wrong, and however often, it stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probe.snapshot import OccupantState
from scheduler.ledger import Claim, Ledger, LedgerUnreachableError, State
from scheduler.sim.hypervisor import SimHypervisor
from tests.scheduler.ledger.made import placement
from tests.scheduler.transaction.test_crash_matrix import POINTS, everything_runs
from tests.scheduler.transaction.world import GUESTS, Trouble, World

KINDS = ["refuse", "unreachable", "unreadable", "lost-call", "lost-reply", "dead"]
TOUCHED_KIB = 192 * 1024
"""What a guest touches in these tests; one that was created anew has touched an eighth of 1 GiB at most."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.made(tmp_path)


def touched(world: World) -> dict[str, int]:
    """Each KVM guest that runs touches some of its memory; what it has of it since."""
    with world.sim() as sim:
        for domain in sim.domains():
            if domain.state is OccupantState.RUNNING:
                sim.touch(domain.wanted.uuid, TOUCHED_KIB)
        return resident(sim)


def resident(sim: SimHypervisor) -> dict[str, int]:
    return {domain.wanted.name: sum(domain.resident_kib.values()) for domain in sim.domains()}


def runs_on(world: World, before: dict[str, int]) -> bool:
    """Nobody has lost a page: nobody was started again."""
    with world.sim() as sim:
        now = resident(sim)
    return all(now.get(guest, -1) >= kib for guest, kib in before.items() if kib)


SECOND = ["look:after", "define:after", "start:after", "resume:after", "verify-memory:before", "verify-memory:after"]


@pytest.mark.parametrize("again", [p if p in SECOND else pytest.param(p, marks=pytest.mark.long) for p in POINTS])
@pytest.mark.parametrize("point", POINTS)
def test_killed_twice(world: World, point: str, again: str) -> None:
    """The second apply dies too; the third completes it, and what ran before runs on."""
    world.killed("apply", point)
    before = touched(world)
    world.dies("apply", again)
    everything_runs(world)
    assert runs_on(world, before)


@pytest.mark.parametrize("kind", KINDS)
def test_it_cannot_be_looked_at(tmp_path: Path, kind: str) -> None:
    """Once the books say that it runs, no error of any call takes it away; a definite one neither."""
    for nth in range(1, 10):
        world = World.made(tmp_path / str(nth))
        world.killed("apply", "resume:after", GUESTS[:1])
        before = touched(world)
        trouble = Trouble(kind, nth)
        outcome = world.apply(GUESTS[:1], trouble=trouble)["db"]
        assert {"db": "running"} == world.domains()
        assert runs_on(world, before)
        if not trouble.fired:
            assert nth > 2
            return
        assert outcome.exit_status in (6, 8), outcome
        world.reconcile()
        world.agrees()
        assert ({"db": "active"}, {"db": "running"}) == (world.states(), world.domains())
        assert runs_on(world, before)


def test_it_cannot_be_looked_at_and_its_host_is_lost(tmp_path: Path) -> None:
    """Suspended by its operator meanwhile, it is not taken for one that never ran."""
    for nth in range(1, 10):
        world = World.made(tmp_path / str(nth))
        world.killed("apply", "resume:after", GUESTS[:1])
        world.dies("apply", "verify-memory:before", GUESTS[:1])
        trouble = Trouble("refuse-dead", nth)
        world.apply(GUESTS[:1], trouble=trouble)
        if not trouble.fired:
            assert nth > 2
            return
        with world.sim() as sim:
            sim.suspend(world.uuid("db"))
        world.reconcile()
        assert ({"db": "active"}, {"db": "paused"}) == (world.states(), world.domains())


def test_killed_between_two_entries_in_the_books(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was found running, that stands in the books by half, and its operator suspends it."""
    world.killed("apply", "start:after", GUESTS[:1])
    with world.sim() as sim:
        sim.resume(world.uuid("db"))
    move = Ledger.move

    def half(ledger: Ledger, claim: Claim, state: State, **told: Any) -> Claim:
        if state is State.RUNNING:
            raise LedgerUnreachableError("ledger: disk full")
        return move(ledger, claim, state, **told)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "move", half)
        assert world.apply(GUESTS[:1])["db"].exit_status == LedgerUnreachableError.exit_status
    with world.ledger() as ledger:
        ledger.leave(ledger.claims()[0], note="as if the process had died")
    with world.sim() as sim:
        sim.suspend(world.uuid("db"))
    world.reconcile()
    assert ({"db": "active"}, {"db": "paused"}) == (world.states(), world.domains())


def suspend(sim: SimHypervisor, uuid: str) -> None:
    sim.suspend(uuid)


def shut_off(sim: SimHypervisor, uuid: str) -> None:
    sim.destroy(uuid)


@pytest.mark.parametrize("act", ["apply", "reconcile"])
@pytest.mark.parametrize("interrupted", ["nothing", "verify-memory:before"])
@pytest.mark.parametrize(("stop", "state"), [(suspend, "paused"), (shut_off, "shutoff")])
def test_its_operator_stops_it_before_it_was_looked_at(
    world: World, stop: Callable[[SimHypervisor, str], None], state: str, interrupted: str, act: str
) -> None:
    """It is neither undone, nor started again, nor resumed; also where the next apply dies too."""
    world.killed("apply", "resume:after", GUESTS[:1])
    world.dies("apply", "verify-memory:before", GUESTS[:1])
    with world.sim() as sim:
        stop(sim, world.uuid("db"))
    if interrupted != "nothing":
        world.dies("apply", interrupted, GUESTS[:1])
    world.reconcile() if act == "reconcile" else world.apply(GUESTS[:1])
    assert {"db": state} == world.domains()
    assert world.states()["db"] in ("active", "drifted")
    world.reconcile()
    assert {"db": state} == world.domains()


@pytest.mark.parametrize("act", ["apply", "reconcile"])
def test_it_is_gone_before_it_was_looked_at(world: World, act: str) -> None:
    """It may have been moved: it is lost, and not created a second time."""
    world.killed("apply", "verify-memory:before", GUESTS[:1])
    with world.sim() as sim:
        sim.destroy(world.uuid("db"))
        sim.undefine(world.uuid("db"))
    world.reconcile() if act == "reconcile" else world.apply(GUESTS[:1])
    assert ({}, {"db": "lost"}) == (world.domains(), world.states())


@pytest.mark.parametrize("interrupted", ["nothing", "verify-memory:before"])
@pytest.mark.parametrize("state", ["running", "paused", "shutoff"])
def test_it_was_lost_and_is_back(world: World, state: str, interrupted: str) -> None:
    """Whatever it does by now, it is found again and left as it is."""
    world.apply(GUESTS[:1])
    uuid = world.uuid("db")
    with world.sim() as sim:
        text = next(domain.text for domain in sim.domains())
        sim.destroy(uuid)
        sim.undefine(uuid)
    world.reconcile()
    with world.sim() as sim:
        sim.define(text)
        if state != "shutoff":
            sim.start(uuid)
        if state == "running":
            sim.resume(uuid)
    if interrupted != "nothing":
        world.dies("apply", interrupted, GUESTS[:1])
        world.reconcile()
    outcome = world.apply(GUESTS[:1])["db"]
    assert {"db": state} == world.domains()
    assert (outcome.exit_status, outcome.state) in ((0, State.ACTIVE), (4, State.ACTIVE), (4, State.DRIFTED))
    world.reconcile()
    assert {"db": state} == world.domains()


def mark_of(world: World, guest: str) -> tuple[str, str]:
    with world.ledger() as ledger:
        claim = ledger.claim_of(guest)
        assert claim is not None
        return ledger.ledger_id, claim.claim_id


def unmark(world: World, guest: str) -> None:
    """As when its definition is written anew by a tool that does not know us."""
    with world.sim() as sim:
        sim.mark(world.uuid(guest), None)


def test_without_our_mark_it_is_not_destroyed(world: World) -> None:
    """Nor is it gone: the claim is kept until the mark is back, or somebody has taken the domain away."""
    world.apply(GUESTS[:1])
    mark = mark_of(world, "db")
    unmark(world, "db")
    refused = world.destroy("db")["db"]
    assert "not its mark" in refused
    assert "<metadata>" in refused
    assert ({"db": "unknown"}, {"db": "running"}) == (world.states(), world.domains())
    assert () == world.reconcile()
    assert world.apply(GUESTS[:1])["db"].exit_status == 8
    assert ({"db": "unknown"}, {"db": "running"}) == (world.states(), world.domains())
    with world.sim() as sim:
        sim.mark(world.uuid("db"), mark)
    world.reconcile()
    assert {"db": "active"} == world.states()
    assert {"db": ""} == world.destroy("db")
    assert ({}, {}) == (world.states(), world.domains())


def test_an_active_guest_without_its_mark_is_not_lost(world: World) -> None:
    """A reconciliation leaves it as it is."""
    world.apply(GUESTS[:1])
    unmark(world, "db")
    assert () == world.reconcile()
    assert ({"db": "active"}, {"db": "running"}) == (world.states(), world.domains())


def test_what_was_only_defined_is_looked_for_again(world: World) -> None:
    """Its pCPUs are somebody else's by the time it would be started: it is not."""
    world.killed("apply", "define:after", GUESTS[:1])
    world.stranger()  # unpinned: it may run on the pCPUs that were dedicated
    outcome = world.apply(GUESTS[:1])["db"]
    assert ("failed", {"theirs": "running"}) == (outcome.state.value, world.domains())
    assert "pCPU" in outcome.note


@pytest.mark.parametrize(("stop", "state"), [(suspend, "paused"), (shut_off, "shut off")])
def test_an_active_guest_that_does_not_run_is_no_success(
    world: World, stop: Callable[[SimHypervisor, str], None], state: str
) -> None:
    """apply says so, and does not start it again."""
    world.apply(GUESTS[:1])
    with world.sim() as sim:
        stop(sim, world.uuid("db"))
    outcome = world.apply(GUESTS[:1])["db"]
    assert (4, "active") == (outcome.exit_status, outcome.state.value)
    assert "its domain is" in outcome.note
    assert world.domains()["db"] == state.replace(" ", "")


def test_another_plans_guest_is_told_as_it_is(world: World) -> None:
    """It is active where the other plan put it; this plan did nothing."""
    world.apply(GUESTS[:1])
    outcome = world.apply([placement("db", node=1, cpus="4-7")])["db"]
    assert (5, "active") == (outcome.exit_status, outcome.state.value)
