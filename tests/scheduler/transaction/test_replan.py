"""The world changes between the plan and the start: that one guest goes elsewhere, nobody else moves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from scheduler.ledger import State
from scheduler.steps import Step
from tests.scheduler.transaction.planned import PlannedWorld, request, take_offline, world_in
from tests.scheduler.transaction.strangers import At
from tests.scheduler.transaction.test_crash_matrix import POINTS

HUGE = 2048


@pytest.fixture
def world(tmp_path: Path) -> PlannedWorld:
    return world_in(tmp_path)


def agrees(world: PlannedWorld) -> None:
    world.agrees()
    assert set(world.states().values()) <= {"active"}


def test_it_was_taken_before_it_was_promised(world: PlannedWorld) -> None:
    """The other guest stays where it was planned; where from, where to and why stand in outcome and books."""
    file = world.plan(request("db", gib=3), request("web", gib=1))
    assert {("h1", "0")} == {(p.host, str(p.memory_nodes)) for p in file.plan.placements}
    world.fill("h1", 0, 5)
    done = world.apply_plan(file)
    assert [0, 0] == [outcome.exit_status for outcome in done.values()], done
    assert {"db": ("h1", "1"), "web": ("h1", "0")} == world.homes()
    (move,) = done["db"].moves
    assert "moved from h1 node 0 to h1 node 1" == str(move)
    assert "has 2GiB left" in move.why
    assert [f"{move}, because {move.why}"] == [note for note in world.notes("db") if "moved" in note]
    assert () == done["web"].moves
    agrees(world)


@pytest.mark.parametrize("step", [Step.LOOK, Step.START])
def test_it_was_taken_after_it_was_promised(world: PlannedWorld, step: Step) -> None:
    """Seen at the last look, or only by the start that finds no huge pages: undone, and created elsewhere."""
    file = world.plan(request("cache", gib=1, page_kib=HUGE))

    def take() -> None:
        taken = "<memoryBacking><hugepages/></memoryBacking><numatune><memory mode='strict' nodeset='0'/></numatune>"
        world.stranger(inner=taken, mib=1024)

    done = world.apply_plan(file, faults=At(step, take))["cache"]
    assert (0, State.ACTIVE) == (done.exit_status, done.state), done.note
    assert {"cache": ("h1", "1")} == world.homes()
    assert 1 == len(done.moves)
    agrees(world)


def test_xen_spilled_its_memory(world: PlannedWorld) -> None:
    """After the last look, on the way to the start: its pages are counted before it runs, and it goes elsewhere."""
    world.fill("h1", 0, 7)
    world.fill("h1", 1, 7)
    file = world.plan(request("far", gib=4))
    done = world.apply_plan(file, faults=At(Step.START, lambda: world.stranger(host="h2", mib=6144)))["far"]
    assert (0, State.ACTIVE) == (done.exit_status, done.state), done.note
    assert "50.0% of its memory is on node 1, planned on 0; it was never let run" in done.moves[0].why
    agrees(world)


@dataclass
class Hidden:
    """h2 keeps so much of node 0 that no look at it tells: it is gone during each start there, and back after."""

    world: PlannedWorld
    uuid: str = ""

    def at(self, step: Step, when: str, guest: str) -> None:
        if (step, when) == (Step.START, "before"):
            self.uuid = self.world.stranger(host="h2", mib=6144)
        if step in (Step.UNDO, Step.VERIFY_MEMORY) and when == "after":
            with self.world.sim("h2") as sim:
                sim.destroy(self.uuid)
                sim.undefine(self.uuid)


def test_where_the_hypervisor_failed_it_it_is_not_planned_again(world: PlannedWorld) -> None:
    """Though the node shows all its memory free: it goes to the other; with that one full it is refused."""
    world.fill("h1", 0, 7)
    world.fill("h1", 1, 7)
    file = world.plan(request("far", gib=4))
    done = world.apply_plan(file, faults=Hidden(world))["far"]
    assert (0, ["moved from h2 node 0 to h2 node 1"]) == (done.exit_status, [str(move) for move in done.moves]), done
    world.destroy("far")
    world.fill("h2", 1, 5)
    refused = world.apply_plan(file, faults=Hidden(world))["far"]
    assert (3, State.FAILED, ()) == (refused.exit_status, refused.state, refused.moves), refused
    assert "Node 0 of h2 has failed it already." in refused.note
    agrees(world)


def test_no_place_is_left(world: PlannedWorld) -> None:
    """Exit status 3, with what was wrong and what is lacking where; it holds nothing."""
    file = world.plan(request("db", gib=5), request("web"))
    for host in ("h1", "h2"):
        for node in (0, 1):
            world.fill(host, node, 4)
    done = world.apply_plan(file)
    assert (3, State.FAILED, ()) == (done["db"].exit_status, done["db"].state, done["db"].moves)
    assert "node 0 of h1 has 3GiB left" in done["db"].note
    assert "No place is left (memory): node 0 of h2 lacks 1GiB" in done["db"].note
    assert 0 == done["web"].exit_status
    agrees(world)


@pytest.mark.parametrize("retries", [0, 1, 2, 3])
def test_it_is_tried_so_often_and_not_more(world: PlannedWorld, retries: int) -> None:
    """Wherever it is planned, somebody is there first: exit status 5, each try in the books."""

    class Everywhere:
        """Somebody takes the node, just before the last look."""

        def at(self, step: Step, when: str, guest: str) -> None:
            if (step, when) == (Step.LOOK, "before"):
                host, node = world.homes()[guest]
                world.fill(host, int(node), 6)

    done = world.apply_plan(world.plan(request("db", gib=3)), faults=Everywhere(), retries=retries)["db"]
    assert (5, State.FAILED, retries) == (done.exit_status, done.state, len(done.moves))
    with world.ledger() as ledger:
        states = [event.state for event in ledger.events("db")]
    assert [State.PLANNED, State.RESERVED, State.FAILED] * (retries + 1) == states
    assert {} == world.homes()
    agrees(world)


@pytest.mark.parametrize("point", POINTS)
def test_killed_while_it_is_moved(world: PlannedWorld, point: str) -> None:
    """The next apply of the plan goes on from there; a third one changes nothing."""
    file = world.plan(request("db", gib=3))
    world.fill("h1", 0, 5)
    world.killed("apply_plan", point, file)
    done = world.apply_plan(file)["db"]
    assert (0, ("h1", "1")) == (done.exit_status, world.homes()["db"]), done.note
    agrees(world)
    before = world.event_count()
    assert 0 == world.apply_plan(file)["db"].exit_status
    assert before == world.event_count()


def test_what_ran_is_not_moved(world: PlannedWorld) -> None:
    """Killed for lack of memory right after its resume, it is where it was planned, and drifted."""
    file = world.plan(request("db", gib=6))

    def take() -> None:
        uuid = world.stranger(inner="<numatune><memory mode='preferred' nodeset='0'/></numatune>", mib=7 * 1024)
        with world.sim() as sim:
            sim.touch(uuid, 7 * 1024**2)

    done = world.apply_plan(file, faults=At(Step.RESUME, take))["db"]
    assert (4, State.DRIFTED, ()) == (done.exit_status, done.state, done.moves)
    assert ("h1", "0") == world.homes()["db"]


def other_policy(folder: Path) -> str:
    """A policy in a file which leaves a trace when it is loaded."""
    text = "from pathlib import Path\nfrom policies.greedy import first_fit as mine\n"
    (folder / "policy.py").write_text(f"{text}Path({str(folder / 'ran')!r}).touch()\n")
    return f"{folder / 'policy.py'}:mine"


def test_a_plan_makes_nobody_run_a_file(world: PlannedWorld, tmp_path: Path) -> None:
    """A policy in a file is what the operator named to `plan`; a plan file may come from anywhere."""
    file = world.plan(request("db", gib=3), policy=other_policy(tmp_path))
    (tmp_path / "ran").unlink()
    world.fill("h1", 0, 5)
    done = world.apply_plan(file)["db"]
    assert (5, State.FAILED) == (done.exit_status, done.state)
    assert "apply runs no file" in done.note
    assert not (tmp_path / "ran").exists()


KVM_ONLY = "<domain type='kvm'><name>{name}</name></domain>"


def test_where_it_cannot_be_defined_it_is_not_moved(world: PlannedWorld) -> None:
    """Only a Xen host is left, and its template is for KVM: it says so, and nothing is promised."""
    file = world.plan(request("db", gib=3), templates={"t.xml": KVM_ONLY})
    world.fill("h1", 0, 5)
    world.fill("h1", 1, 5)
    done = world.apply_plan(file)["db"]
    assert (5, State.FAILED, ()) == (done.exit_status, done.state, done.moves), done
    assert "could not be planned again" in done.note
    agrees(world)


def test_a_cpu_went_offline(world: PlannedWorld) -> None:
    """Between the plan's check and the promise: planned again on what is left of the host."""
    file = world.plan(request("db", vcpus=4, dedicated=True), request("web"))
    done = world.apply_plan(file, faults=At(Step.RESERVE, lambda: take_offline(world, "h1", 3)))
    assert {"db": 0, "web": 0} == {guest: outcome.exit_status for guest, outcome in done.items()}, done
    assert ("h2", "0") == world.homes()["db"]
    assert "vCPU 3 has pCPUs 3, which are no guest" in done["db"].moves[0].why
    agrees(world)
