"""A dedicated CPU is one on which nobody else may run: no adopted guest, no foreign one, no dom0."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from policies.host_rules import HostRules
from probe.cpuset import CpuSet
from probe.snapshot import HostSnapshot, Hypervisor, Occupant, OccupantState
from scheduler.ledger import ConflictError
from scheduler.sim.hypervisor import SimHypervisor
from scheduler.steps import Step
from tests.scheduler.ledger.made import SNAPSHOT, look, placement
from tests.scheduler.sim.hosts import pins
from tests.scheduler.transaction.strangers import BOUND, At, owned
from tests.scheduler.transaction.world import FLAVOURS, World, on_xen


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.made(tmp_path)


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
            faults=At(Step.LOOK, lambda: world.stranger(host=host, inner=BOUND)),  # type: ignore[arg-type]
        )["db"]
        assert (5, "failed") == (found.exit_status, found.state.value)
        assert f"pCPUs 0-1 of {host} are not free any more" in found.note
        assert ({"theirs": "running"}, set()) == (world.domains(), owned(world))

    def test_not_one_that_another_numaplace_adopted_a_guest_on(self, world: World, host: str) -> None:
        """Adopted between our look and our reservation: the books refuse it by themselves."""

        def adopt() -> None:
            world.stranger(host=host, inner=pins("0", "0-1"))
            assert world.adopt("theirs")["theirs"].error is None

        outcome = world.apply(**self.wanted(host, "0-1"), faults=At(Step.RESERVE, adopt))["db"]  # type: ignore[arg-type]
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


def test_a_guest_of_ours_that_comes_meanwhile_is_seen(world: World) -> None:
    """It is promised CPU 0 too, between the look and the books: the adopted guest owns it no more."""

    def web() -> None:
        with world.ledger() as ledger:
            claim = ledger.accept(placement("web"), "u")
            ledger.reserve(claim, look(), counted=())

    world.stranger(inner=BOUND)
    adopted = world.adopt("theirs", faults=At(Step.ADOPT, web))["theirs"]
    assert (None, False) == (adopted.error, adopted.placement.dedicated if adopted.placement else None)
    assert {"theirs": "active", "web": "reserved"} == world.states()
