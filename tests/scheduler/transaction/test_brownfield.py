"""Guests of somebody else: adopted as they are, let go as they are, whatever happens on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from probe.cpuset import CpuSet
from scheduler.executors.port import NameTakenError
from scheduler.sim.marking import with_mark
from tests.scheduler.ledger.made import placement
from tests.scheduler.sim.hosts import domain_xml, started, xl_cfg
from tests.scheduler.transaction.strangers import BOUND, owned
from tests.scheduler.transaction.world import FLAVOURS, Trouble, World, on_xen

ADOPT_POINTS = [f"{step}:{when}" for step in ("adopt", "mark") for when in ("before", "after")]
RELEASE_POINTS = [f"{step}:{when}" for step in ("let-go", "unmark") for when in ("before", "after")]
KINDS = ["refuse", "unreachable", "lost-call", "lost-reply", "dead"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.made(tmp_path)


def text_of(world: World, guest: str, host: str = "h1") -> str:
    with world.sim(host) as sim:
        return next(domain.text for domain in sim.domains() if domain.wanted.name == guest)


@pytest.mark.parametrize("host", sorted(FLAVOURS))
def test_a_guest_is_adopted_with_what_it_has_and_let_go_again(world: World, host: str) -> None:
    """Its CPUs, its memory's node and its mark; it runs all the while, and nothing else of it changes."""
    world.stranger("theirs", host, inner=BOUND)
    before = text_of(world, "theirs", host)
    placed = world.adopt("theirs")["theirs"].placement
    assert placed is not None
    (cell,) = placed.cells
    assert ({0: CpuSet.of(0), 1: CpuSet.of(1)}, True) == (dict(cell.pins), placed.dedicated)
    assert {0: 1024 * 1024} == {share.node_id: share.kib for share in cell.memory}
    assert ({0, 1}, {"theirs"}) == (owned(world), set(world.marked()))
    world.agrees()
    assert world.release("theirs")["theirs"].error is None
    assert (set(), {}, {"theirs": "running"}) == (owned(world), world.marked(), world.domains())
    world.agrees()
    assert with_mark(before, None) == text_of(world, "theirs", host)


def test_a_mark_in_an_xl_cfg_is_one_line() -> None:
    """The embedded Xen keeps it where xl's definitions have it."""
    marked = with_mark(with_mark(xl_cfg(), ("l", "c")), ("l", "d"))
    assert "# numaplace ledger=l claim=d\n" + xl_cfg() == marked
    assert xl_cfg() == with_mark(marked, None)


@pytest.mark.parametrize("host", sorted(FLAVOURS))
def test_a_guest_of_ours_is_let_go_and_runs_on(world: World, host: str) -> None:
    """Unlike destroy; then it is adopted again, and is what it was."""
    ours = placement("db", cpus="0-1", gib=2, dedicated=True)
    world.apply([ours if host == "h1" else on_xen(replace(ours, host="h2"))])  # type: ignore[arg-type]
    assert world.release("db")["db"].error is None
    assert ({"db": "running"}, {}, {}) == (world.domains(), world.states(), world.marked())
    adopted = world.adopt("db")["db"].placement
    assert adopted is not None
    assert (True, CpuSet.of(0, 1), {"db": "active"}) == (adopted.dedicated, adopted.cpus, world.states())
    world.agrees()


def test_a_shut_off_guest_keeps_its_claim(world: World) -> None:
    """Ours and adopted ones: memory and CPUs are held, and stay held after a look."""
    world.apply([placement("db", cpus="2-3", gib=2, dedicated=True)])
    world.stranger("theirs", inner=BOUND)
    world.adopt()
    with world.sim() as sim:
        for domain in sim.domains():
            sim.destroy(domain.wanted.uuid)
    world.reconcile()
    assert {"db": "active", "theirs": "active"} == world.states()
    assert {0, 1, 2, 3} == owned(world)
    outcome = world.apply([placement("late", cpus="0", dedicated=True)])["late"]
    assert (5, "failed") == (outcome.exit_status, outcome.state.value)
    assert "pCPUs 0" in outcome.note


def test_a_guest_that_is_only_defined_is_adopted_and_owns_nothing(world: World) -> None:
    """It is not started, and its CPUs are kept from being dedicated."""
    with world.sim() as sim:
        sim.define(domain_xml("off", inner=BOUND))
    adopted = world.adopt("off")["off"].placement
    assert adopted is not None
    assert (False, CpuSet.of(0, 1)) == (adopted.dedicated, adopted.cpus)
    assert {"off": "shutoff"} == world.domains()
    world.agrees()
    assert world.apply([placement("db", cpus="0", dedicated=True)])["db"].exit_status == 5


@pytest.mark.parametrize("point", ADOPT_POINTS)
def test_killed_in_adopt(tmp_path: Path, point: str) -> None:
    """Reconciled, or adopted again: it is in the books and marked, or neither; it never stopped."""
    for heal in ("reconcile", "adopt"):
        world = World.made(tmp_path / heal)
        world.stranger(inner=BOUND)
        world.killed("adopt", point, "theirs")
        if heal == "reconcile":
            world.reconcile()
            assert ("theirs" in world.states()) == (point != "adopt:before")
        else:
            assert world.adopt("theirs")["theirs"].error is None
            assert {"theirs": "active"} == world.states()
        world.agrees()
        assert {"theirs": "running"} == world.domains()


@pytest.mark.parametrize("state", ["paused", "shutoff", "gone"])
@pytest.mark.parametrize("point", ["adopt:after", "mark:after"])
def test_killed_in_adopt_and_its_guest_stops_meanwhile(world: World, point: str, state: str) -> None:
    """What is half adopted is never taken away by us, whatever it does."""
    with world.sim() as sim:
        uuid = sim.define(domain_xml("theirs"))
        sim.start(uuid)
    world.killed("adopt", point, "theirs")
    with world.sim() as sim:
        if state != "paused":
            sim.destroy(uuid)
        if state == "gone":
            sim.undefine(uuid)
    world.reconcile()
    assert ({} if state == "gone" else {"theirs": state}) == world.domains()
    world.agrees()
    assert ({} if state == "gone" else {"theirs": "active"}) == world.states()


@pytest.mark.parametrize("point", RELEASE_POINTS)
@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_killed_in_release(tmp_path: Path, point: str, whose: str) -> None:
    """Reconciled, or released again: out of the books without a mark, or in them with it; it never stopped."""
    for heal in ("reconcile", "release"):
        world = World.made(tmp_path / heal)
        if whose == "ours":
            world.apply([placement("g")])
        else:
            world.stranger("g", inner=BOUND)
            world.adopt("g")
        world.killed("release", point, "g")
        if heal == "reconcile":
            world.reconcile()
            assert ("g" in world.states()) == (point == "let-go:before")
        else:
            assert world.release("g")["g"].error is None
            assert {} == world.states()
        world.agrees()
        assert {"g": "running"} == world.domains()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("act", ["adopt", "release"])
def test_any_call_goes_wrong(tmp_path: Path, act: str, kind: str) -> None:
    """Never both or neither after one reconciliation; a repeated command does it; it never stops."""
    for nth in range(1, 20):
        world = World.made(tmp_path / str(nth))
        world.stranger(inner=BOUND)
        if act == "release":
            world.adopt("theirs")
        trouble = Trouble(kind, nth)
        answer = getattr(world, act)("theirs", trouble=trouble)["theirs"]
        assert answer.error or ("theirs" in world.states()) == (act == "adopt")
        world.reconcile()
        world.agrees()
        done = ("theirs" in world.states()) == (act == "adopt")
        assert done or getattr(world, act)("theirs")["theirs"].error is None
        assert ("theirs" in world.states()) == (act == "adopt")
        world.agrees()
        assert {"theirs": "running"} == world.domains()
        if not trouble.fired:
            assert nth > 2
            return
    raise AssertionError("there is no end to it")


@pytest.mark.parametrize("state", ["paused", "shutoff"])
def test_an_adopted_guest_is_never_undone(world: World, state: str) -> None:
    """Lost, found again by an apply that dies, reconciled: it stands as its owner left it."""
    uuid = world.stranger("theirs")
    adopted = world.adopt("theirs")["theirs"].placement
    assert adopted is not None
    with world.sim() as sim:
        text = next(d.text for d in sim.domains())
        sim.destroy(uuid)
        sim.undefine(uuid)
    world.reconcile()
    assert {"theirs": "lost"} == world.states()
    with world.sim() as sim:
        sim.define(text.replace("<name>", f"<uuid>{uuid}</uuid><name>"))
        if state == "paused":
            sim.start(uuid)
    world.killed("apply", "verify-memory:before", [adopted])
    assert "adopted" in world.apply([adopted])["theirs"].note or world.states()["theirs"] != "running"
    world.reconcile()
    world.reconcile()
    assert {"theirs": state} == world.domains()
    assert world.states()["theirs"] in ("active", "drifted")


def test_a_domain_that_took_our_uuid_and_no_mark_is_left_alone(world: World) -> None:
    """Only what was adopted is known without a mark: a created guest's unmarked double is a stranger."""
    world.killed("apply", "reserve:after", [placement("db")])
    with world.ledger() as ledger:
        claim = ledger.claim_of("db")
        assert claim is not None
    with world.sim() as sim:
        sim.define(domain_xml("double").replace("<name>", f"<uuid>{claim.uuid}</uuid><name>"))
    outcome = world.apply([placement("db")])["db"]
    assert outcome.exit_status == NameTakenError.exit_status
    assert {"double": "shutoff"} == world.domains()


@pytest.mark.parametrize("kind", KINDS)
def test_an_adopted_guest_that_was_lost_and_is_back_is_never_undone(tmp_path: Path, kind: str) -> None:
    """Whatever goes wrong while apply looks at it."""
    for nth in range(1, 10):
        world = World.made(tmp_path / str(nth))
        uuid = world.stranger(inner=BOUND)
        adopted = world.adopt("theirs")["theirs"].placement
        assert adopted is not None
        back = taken_out(world, uuid)
        world.reconcile()
        assert {"theirs": "lost"} == world.states()
        with world.sim() as sim:
            sim.resume(started(sim, back))
        trouble = Trouble(kind, nth)
        world.apply([adopted], trouble=trouble)
        assert {"theirs": "running"} == world.domains()
        world.reconcile()
        assert ({"theirs": "running"}, {"theirs": "active"}) == (world.domains(), world.states())
        if not trouble.fired:
            assert nth > 1
            return
    raise AssertionError("there is no end to it")


def taken_out(world: World, uuid: str) -> str:
    """Destroy and undefine it behind our back; the definition that brings it back, mark included."""
    with world.sim() as sim:
        text = next(d.text for d in sim.domains() if d.wanted.uuid == uuid)
        sim.destroy(uuid)
        sim.undefine(uuid)
    return text.replace("<name>", f"<uuid>{uuid}</uuid><name>")


def test_what_was_given_back_half_adopted_is_not_swept_away(world: World) -> None:
    """Its owner brings it back with the mark that we had set: it is his, and shut off."""
    uuid = world.stranger()
    world.killed("adopt", "mark:after", "theirs")
    back = taken_out(world, uuid)
    world.reconcile()
    assert {} == world.states()
    with world.sim() as sim:
        sim.define(back)
    assert () == world.reconcile()
    assert {"theirs": "shutoff"} == world.domains()
    assert world.adopt("theirs")["theirs"].error is None
    world.agrees()
