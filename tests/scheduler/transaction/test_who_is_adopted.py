"""Which guests are adopted and let go, and which are not, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from probe.errors import BadInputError
from scheduler.executors.port import CannotMarkError
from scheduler.executors.sim import SimExecutor
from scheduler.ledger import ConflictError
from tests.scheduler.ledger.made import placement
from tests.scheduler.sim.hosts import domain_xml
from tests.scheduler.transaction.strangers import BOUND
from tests.scheduler.transaction.world import FLAVOURS, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.made(tmp_path)


def test_where_no_mark_can_be_set_the_guest_is_known_by_its_uuid(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on xl: said in the answer, found again, counted once, let go."""

    def cannot(*_: object) -> None:
        raise CannotMarkError("this hypervisor keeps no marks")

    monkeypatch.setattr(SimExecutor, "set_mark", cannot)
    monkeypatch.setattr(SimExecutor, "clear_mark", cannot)
    world.stranger(inner=BOUND)
    assert "no mark could be set in it: this hypervisor" in world.adopt("theirs")["theirs"].note
    assert ({"theirs": "active"}, {}) == (world.states(), world.marked())
    assert () == world.reconcile()
    with world.ledger() as ledger:
        seen = world.snapshot("h1").occupants
        (claim,) = ledger.outstanding("h1")
    assert [claim.uuid] == [occupant.uuid for occupant in seen]
    assert world.release("theirs")["theirs"].error is None
    assert {} == world.states()


def test_what_is_in_other_books_is_not_adopted(world: World, tmp_path: Path) -> None:
    """Not by name, and `--all` says why it is left out."""
    other = World(tmp_path / "other")
    other.folder.mkdir()
    for host in FLAVOURS:
        (other.folder / f"{host}.sim").symlink_to(world.folder / f"{host}.sim")
    world.stranger()
    world.adopt("theirs")
    error = other.adopt()["theirs"].error
    assert isinstance(error, ConflictError)
    assert "bears the mark of another ledger" in str(error)
    assert ({}, {"theirs": "active"}) == (other.states(), world.states())


def test_what_is_no_guest_or_not_there_is_not_adopted(world: World) -> None:
    """dom0, names that we do not keep, guests that are nowhere; each says what to do."""
    with world.sim("h2") as sim:
        dom0 = "00000000-0000-0000-0000-000000000000"
        sim.define(domain_xml("Domain-0").replace("<name>", f"<uuid>{dom0}</uuid><name>"))
        sim.define(domain_xml("$(id)"))
    done = world.adopt("Domain-0", "$(id)", "nobody")
    assert all(isinstance(each.error, BadInputError) for each in done.values())
    assert "is Xen's own domain" in str(done["Domain-0"].error)
    assert "virsh domrename" in str(done["$(id)"].error)
    assert "is on none of the hosts" in str(done["nobody"].error)
    assert {"$(id)"} == set(world.adopt())
    assert {} == world.states()


def test_a_name_is_one_guest(world: World) -> None:
    """On two hosts it must be said which; one of the two in the books, the other is another guest."""
    world.stranger("twin", "h1")
    assert world.adopt("twin")["twin"].error is None
    with world.sim("h2") as sim:
        sim.define(domain_xml("twin"))
    assert "guest twin: is on h1, h2" in str(world.adopt("twin")["twin"].error)
    with world.sim("h1") as sim:
        (domain,) = sim.domains()
        sim.destroy(domain.wanted.uuid)
        sim.undefine(domain.wanted.uuid)
    error = world.adopt("twin")["twin"].error
    assert isinstance(error, ConflictError)
    assert "another guest of this name is in the books, on h1" in str(error)


def test_a_clone_that_kept_the_mark_is_not_adopted(world: World) -> None:
    """`virsh dumpxml | virsh define` copies the metadata; two guests under one claim would be one."""
    world.stranger("theirs")
    world.adopt("theirs")
    with world.sim() as sim:
        (domain,) = sim.domains()
        sim.define(domain.text.replace("theirs", "clone"))
    assert "bears the mark of guest theirs" in str(world.adopt("clone")["clone"].error)


def test_what_is_half_made_is_not_let_go(world: World) -> None:
    """Nobody would know what is left of it."""
    world.killed("apply", "start:after", [placement("db")])
    error = world.release("db")["db"].error
    assert isinstance(error, ConflictError)
    assert "--reconcile" in str(error)
    assert "db" in world.domains()


def test_a_dry_run_says_what_is_there_and_writes_nothing(world: World) -> None:
    """The placement that a real run takes into the books."""
    world.stranger(inner=BOUND)
    dry = world.adopt("theirs", dry_run=True)["theirs"].placement
    assert ({}, {}) == (world.states(), world.marked())
    assert dry == world.adopt("theirs")["theirs"].placement
