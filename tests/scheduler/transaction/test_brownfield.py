"""Guests of somebody else: adopted as they are, let go as they are, whatever happens on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from policies.host_rules import HostRules
from probe.cpuset import CpuSet
from probe.errors import BadInputError
from probe.snapshot import HostSnapshot, Hypervisor, Occupant, OccupantState
from scheduler.executors.port import CannotMarkError, NameTakenError
from scheduler.executors.sim import SimExecutor
from scheduler.ledger import ConflictError
from scheduler.sim.hypervisor import SimHypervisor
from scheduler.sim.marking import with_mark
from scheduler.steps import Step
from tests.scheduler.ledger.made import SNAPSHOT, look, placement
from tests.scheduler.sim.hosts import domain_xml, numatune, pins, started, xl_cfg
from tests.scheduler.transaction.world import FLAVOURS, Trouble, World, on_xen

ADOPT_POINTS = [f"{step}:{when}" for step in ("adopt", "mark") for when in ("before", "after")]
RELEASE_POINTS = [f"{step}:{when}" for step in ("let-go", "unmark") for when in ("before", "after")]
KINDS = ["refuse", "unreachable", "lost-call", "lost-reply", "dead"]
BOUND = pins("0", "1") + numatune("strict", "0")
"""vCPU i on pCPU i, memory on node 0."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.made(tmp_path)


def text_of(world: World, guest: str, host: str = "h1") -> str:
    with world.sim(host) as sim:
        return next(domain.text for domain in sim.domains() if domain.wanted.name == guest)


def owned(world: World) -> set[int]:
    with world.ledger() as ledger:
        return {cpu for _, cpu in ledger.books().owners}


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


@pytest.mark.parametrize("host", sorted(FLAVOURS))
class TestADedicatedCpuIsNobodyElses:
    """Of adopted, foreign and our own guests, and of dom0; when it is promised and at the last look."""

    def wanted(self, host: str, cpus: str) -> dict[str, object]:
        placed = placement("db", cpus=cpus, dedicated=True)
        return {"guests": [placed if host == "h1" else on_xen(placed)]}

    @pytest.mark.parametrize("whose", ["adopted", "foreign", "shared-adopted"])
    def test_not_a_guests(self, world: World, host: str, whose: str) -> None:
        """Pinned to 0 and 1 one by one, or floating on both: 0 is not to be had, 2 is."""
        world.stranger(host=host, inner=pins("0-1", "0-1") if whose == "shared-adopted" else BOUND)
        if whose != "foreign":
            adopted = world.adopt("theirs")["theirs"].placement
            assert adopted is not None
            assert adopted.dedicated == (whose == "adopted")
        refused = world.apply(**self.wanted(host, "0-2"))["db"]  # type: ignore[arg-type]
        assert (5, {"theirs": "running"}) == (refused.exit_status, world.domains())
        assert ("pCPUs 0" if whose == "adopted" else f"pCPUs 0-1 of {host} are not free any more") in refused.note
        assert world.apply(**self.wanted(host, "2-3"))["db"].exit_status == 0  # type: ignore[arg-type]

    def test_not_one_that_a_stranger_came_to_after_the_promise(self, world: World, host: str) -> None:
        """Seen at the last look: nothing is created, and the promise is given back."""
        found = world.apply(
            **self.wanted(host, "0-1"),
            faults=_At(Step.LOOK, lambda: world.stranger(host=host, inner=BOUND)),  # type: ignore[arg-type]
        )["db"]
        assert (7, "failed") == (found.exit_status, found.state.value)
        assert f"pCPUs 0-1 of {host} are not free any more" in found.note
        assert ({"theirs": "running"}, set()) == (world.domains(), owned(world))

    def test_not_one_that_another_numaplace_adopted_a_guest_on(self, world: World, host: str) -> None:
        """Adopted between our look and our reservation: the books refuse it by themselves."""

        def adopt() -> None:
            world.stranger(host=host, inner=pins("0", "0-1"))
            assert world.adopt("theirs")["theirs"].error is None

        outcome = world.apply(**self.wanted(host, "0-1"), faults=_At(Step.RESERVE, adopt))["db"]  # type: ignore[arg-type]
        assert (5, "failed") == (outcome.exit_status, outcome.state.value)

    def test_a_stranger_on_a_dedicated_cpu_is_not_adopted(self, world: World, host: str) -> None:
        """He came in spite of our promise: the books cannot say yes to both, and say who has it."""
        assert world.apply(**self.wanted(host, "0-1"))["db"].exit_status == 0  # type: ignore[arg-type]
        world.stranger(host=host, inner=pins("1-2", "1-2"))
        error = world.adopt("theirs")["theirs"].error
        assert isinstance(error, ConflictError)
        assert f"pCPUs 1 of {host} are dedicated to db" in str(error)
        world.release("db")
        adopted = world.adopt()
        assert [None, None] == [each.error for each in adopted.values()]
        placed = adopted["db"].placement
        assert placed is not None
        assert not placed.dedicated  # theirs may run on CPU 1 too

    def test_not_dom0s_and_not_the_hosts(self, world: World, host: str) -> None:
        """A guest that is pinned one by one, but beside dom0 or on a housekeeping CPU, owns nothing."""
        world.stranger(host=host, inner=BOUND)
        kept = world.adopt("theirs", rules=HostRules(housekeeping_cpus=CpuSet.of(1)), dry_run=True)["theirs"]
        assert kept.placement is not None
        assert not kept.placement.dedicated


@pytest.mark.parametrize("flavour", [Hypervisor.KVM, Hypervisor.XEN])
def test_dom0_shares_what_a_guest_is_pinned_to(tmp_path: Path, flavour: Hypervisor) -> None:
    """dom0 on 0 and 1 (or any occupant that is no domain of ours): adopted, the guest owns nothing."""
    dom0 = Occupant(guest="Domain-0", uuid=None, state=OccupantState.RUNNING, vcpus=2, effective_cpus=CpuSet.of(0, 1))
    world = World.made(tmp_path)
    host = "h1" if flavour is Hypervisor.KVM else "h2"
    (world.folder / f"{host}.sim").unlink()
    base: HostSnapshot = replace(SNAPSHOT, occupants=(dom0,))
    SimHypervisor.create(world.folder / f"{host}.sim", base, flavour, name=host).close()
    world.stranger(host=host, inner=BOUND)
    placed = world.adopt("theirs")["theirs"].placement
    assert placed is not None
    assert (False, CpuSet.of(0, 1)) == (placed.dedicated, placed.cpus)
    wanted = placement("db", cpus="0", dedicated=True)
    assert world.apply([wanted if host == "h1" else on_xen(wanted)])["db"].exit_status == 5


class _At:
    """Does something just before a step, once."""

    def __init__(self, step: Step, act: object) -> None:
        self.step, self.act = step, act

    def at(self, step: Step, when: str, guest: str) -> None:
        if (step, when) == (self.step, "before") and callable(self.act):
            act, self.act = self.act, None
            act()


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


def test_a_guest_of_ours_that_comes_meanwhile_is_seen(world: World) -> None:
    """It is promised CPU 0 too, between the look and the books: the adopted guest owns it no more."""

    def web() -> None:
        with world.ledger() as ledger:
            claim = ledger.accept(placement("web"), "u")
            ledger.reserve(claim, look(), counted=())

    world.stranger(inner=BOUND)
    adopted = world.adopt("theirs", faults=_At(Step.ADOPT, web))["theirs"]
    assert (None, False) == (adopted.error, adopted.placement.dedicated if adopted.placement else None)
    assert {"theirs": "active", "web": "reserved"} == world.states()
