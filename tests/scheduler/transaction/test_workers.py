"""Several hosts side by side: each for itself, and stopped between two steps where it is asked for."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from scheduler.apply import Course, apply_orders
from scheduler.ledger import State
from scheduler.steps import Step
from tests.scheduler.ledger.made import look
from tests.scheduler.transaction.test_crash_matrix import POINTS, everything_runs
from tests.scheduler.transaction.world import GUESTS, Troubled, World, order_of

APART_S = 30
"""So long one host waits for the other in these tests, before it is said that they take turns."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.made(tmp_path)


@dataclass
class Together:
    """At one step the guests of both hosts wait until the other has come there too."""

    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(2))

    def at(self, step: Step, when: str, guest: str) -> None:
        if (step, when) == (Step.START, "before") and guest in ("db", "far"):
            self.barrier.wait(APART_S)


def test_hosts_do_not_wait_for_each_other(world: World) -> None:
    """Both are in the midst of a start at the same time; on one host it is one guest after the other."""
    outcomes = world.apply(faults=Together())
    assert {0} == {outcome.exit_status for outcome in outcomes.values()}, outcomes
    world.agrees()


@dataclass
class OneByOne:
    """Notes guests that are between define and verify-memory at the same time, by host."""

    under_way: set[str] = field(default_factory=set)
    most: int = 0

    def at(self, step: Step, when: str, guest: str) -> None:
        if guest not in ("db", "web"):
            return
        if (step, when) == (Step.DEFINE, "before"):
            self.under_way.add(guest)
        if (step, when) == (Step.VERIFY_MEMORY, "after"):
            self.under_way.discard(guest)
        self.most = max(self.most, len(self.under_way))


def test_the_guests_of_one_host_take_turns(world: World) -> None:
    """A host whose last look was good gets nothing new before its guest is there."""
    seen = OneByOne()
    world.apply(faults=seen)
    assert 1 == seen.most


def test_a_host_that_goes_away_takes_nobody_with_it(world: World) -> None:
    """Its file is gone when its thread opens it: its guests keep their promise, the others are done."""
    file = world.folder / "h1.sim"
    with world.ledger() as ledger, world.sites() as sites:
        file.rename(world.folder / "off")
        seen = {name: replace(site, look=partial(look, host=name)) for name, site in sites.items()}
        done = apply_orders([order_of(guest, sites) for guest in GUESTS], seen, ledger, Course())
    assert [(6, "reserved"), (6, "reserved"), (0, "active")] == [(o.exit_status, o.state.value) for o in done], done
    (world.folder / "off").rename(file)
    everything_runs(world)


def test_no_connection_is_used_by_two_threads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of none that was opened for a host is a call made by another thread than its opener's; all are closed."""
    kept: list[Troubled] = []
    opener: dict[int, int] = {}
    strays: list[str] = []
    closed: set[int] = set()
    made, call, close = Troubled.__init__, Troubled._call, Troubled.close

    def init(self: Troubled, *arguments: object) -> None:
        made(self, *arguments)  # type: ignore[arg-type]
        opener[id(self)] = threading.get_ident()
        kept.append(self)

    def called(self: Troubled, name: str, *arguments: object) -> object:
        if opener[id(self)] != threading.get_ident():
            strays.append(name)
        return call(self, name, *arguments)

    def ended(self: Troubled) -> None:
        closed.add(id(self))
        close(self)

    monkeypatch.setattr(Troubled, "__init__", init)
    monkeypatch.setattr(Troubled, "_call", called)
    monkeypatch.setattr(Troubled, "close", ended)
    world.apply()
    assert ([], set(opener)) == (strays, closed)


@dataclass
class StopAt:
    """Ctrl-C at one point, as soon as any guest comes there."""

    point: str
    stop: threading.Event = field(default_factory=threading.Event)

    def at(self, step: Step, when: str, guest: str) -> None:
        if f"{step.value}:{when}" == self.point:
            self.stop.set()


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("then", ["apply", "reconcile"])
def test_stopped_between_two_steps(world: World, point: str, then: str) -> None:
    """The step is done and recorded, no further one is begun, nobody holds a claim; anybody goes on."""
    fault = StopAt(point)
    with world.ledger() as ledger, world.sites() as sites:
        course = Course(faults=fault, stop=fault.stop)
        done = apply_orders([order_of(guest, sites) for guest in GUESTS[:2]], sites, ledger, course)
        claims = ledger.claims()
    assert {True} == {outcome.exit_status in (0, 1) for outcome in done}, done
    assert 1 in {outcome.exit_status for outcome in done}
    assert not [claim for claim in claims if claim.lease_s and claim.state is not State.ACTIVE]
    step = point.partition(":")[0]
    assert {"accept": "reserve"}.get(step, step) == claims[0].step  # into the books is one go
    if then == "reconcile":
        world.reconcile()
        world.agrees()
    everything_runs(world)
