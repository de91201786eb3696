"""Anything, in any order: after one reconciliation nothing is lost, doubled or leaked, a second changes nothing."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from policies.plan import Placement
from probe.snapshot import OccupantState
from scheduler.sim.errors import ReplyLostError, SimError
from scheduler.sim.hypervisor import SimHypervisor
from tests.scheduler.ledger.made import placement
from tests.scheduler.transaction.test_crash_matrix import DESTROY_POINTS, POINTS
from tests.scheduler.transaction.world import FLAVOURS, GUESTS, Trouble, World, on_xen

GUESTS_AND_RIVALS = (
    *GUESTS,
    placement("rival", cpus="1-2", gib=2, dedicated=True),
    placement("huge", node=1, cpus="4-7", page_kib=2048),
    on_xen(placement("near", cpus="0-3", gib=5)),
    on_xen(placement("big", cpus="0-3", gib=4)),
)
"""Not all of them fit: `db` and `rival` want one pCPU, `near` and `big` one memory."""

some_guests = st.lists(st.sampled_from(GUESTS_AND_RIVALS), min_size=1, max_size=4, unique_by=lambda p: p.guest)
some_names = some_guests.map(lambda guests: [str(guest.guest) for guest in guests])
troubles = st.builds(
    Trouble,
    st.sampled_from(["refuse", "unreachable", "unreadable", "lost-call", "lost-reply", "dead", "refuse-dead"]),
    st.integers(1, 40),
)


class AnyOrder(RuleBasedStateMachine):
    """We, killed and cut off at any point, and an operator who uses the hypervisors without us."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World.made(Path(self.folder.name) / "world")
        self.ran: set[str] = set()
        self.theirs: set[str] = set()

    def teardown(self) -> None:
        """One reconciliation; then everything is taken away, and nothing of ours is left anywhere."""
        try:
            for host in FLAVOURS:
                with closing(sqlite3.connect(self.world.folder / f"{host}.sim", isolation_level=None)) as file:
                    file.execute("DELETE FROM fault")
            self.world.reconcile()
            self.world.agrees()
            self.nobody_who_ran_is_undone()
            self.world.destroy(*self.world.states())
            assert {} == self.world.states()
            assert {} == self.world.marked()
            with self.world.ledger() as ledger:
                assert not ledger.books().holdings
        finally:
            self.folder.cleanup()

    # -- we ------------------------------------------------------------------------------------------

    @rule(guests=some_guests)
    def apply(self, guests: Sequence[Placement]) -> None:
        self.world.apply(guests)

    @rule(guests=some_guests, point=st.sampled_from(POINTS))
    def apply_is_killed(self, guests: Sequence[Placement], point: str) -> None:
        self.world.dies("apply", point, guests)

    @rule(guests=some_guests, trouble=troubles)
    def apply_in_trouble(self, guests: Sequence[Placement], trouble: Trouble) -> None:
        self.world.apply(guests, trouble=trouble)

    @rule(names=some_names)
    def destroy(self, names: Sequence[str]) -> None:
        self._may_go(*names)
        self.world.destroy(*names)

    @rule(names=some_names, point=st.sampled_from(DESTROY_POINTS))
    def destroy_is_killed(self, names: Sequence[str], point: str) -> None:
        self._may_go(*names)
        self.world.dies("destroy", point, *names)

    @rule(names=some_names, trouble=troubles)
    def destroy_in_trouble(self, names: Sequence[str], trouble: Trouble) -> None:
        self._may_go(*names)
        self.world.destroy(*names, trouble=trouble)

    @rule()
    def reconcile(self) -> None:
        self.world.reconcile()

    @rule(point=st.sampled_from(DESTROY_POINTS))
    def reconcile_is_killed(self, point: str) -> None:
        self.world.dies("reconcile", point)

    @rule(trouble=troubles)
    def reconcile_in_trouble(self, trouble: Trouble) -> None:
        self.world.reconcile(trouble=trouble)

    # -- others --------------------------------------------------------------------------------------

    @rule(where=st.sampled_from([("theirs", "h1"), ("others", "h2"), ("db", "h1"), ("far", "h2")]))
    def a_stranger_comes(self, where: tuple[str, str]) -> None:
        """Also under a name that we want."""
        if where[0] not in self.world.domains():
            with suppress(SimError, ReplyLostError):
                self.theirs.add(self.world.stranger(*where, mib=256))

    @rule(guest=st.sampled_from(GUESTS_AND_RIVALS), act=st.sampled_from(["destroy", "undefine", "suspend"]))
    def an_operator_acts(self, guest: Placement, act: str) -> None:
        def do(sim: SimHypervisor) -> None:
            for domain in sim.domains():
                if domain.wanted.name == guest.guest:
                    self._may_go(str(guest.guest))
                    self.theirs.discard(domain.wanted.uuid)
                    getattr(sim, act)(domain.wanted.uuid)

        self._by_hand(guest.host, do)

    @rule(
        host=st.sampled_from(sorted(FLAVOURS)),
        call=st.sampled_from(["define", "start", "resume", "destroy", "undefine"]),
        kind=st.sampled_from(["fail", "lose-reply"]),
    )
    def the_hypervisor_will_fail(self, host: str, call: str, kind: str) -> None:
        self._by_hand(host, lambda sim: sim.inject(call, kind))

    def _by_hand(self, host: str, do: Callable[[SimHypervisor], object]) -> None:
        with self.world.sim(host) as sim, suppress(SimError, ReplyLostError):
            do(sim)

    def _may_go(self, *names: str) -> None:
        self.ran -= {*names}

    # -- what always holds ---------------------------------------------------------------------------

    @invariant()
    def nobody_who_ran_is_undone(self) -> None:
        """But by `destroy`, or by an operator."""
        running = {guest for guest, state in self.world.domains().items() if state == OccupantState.RUNNING.value}
        assert self.ran <= running, "a guest that ran does not run any more"
        self.ran |= running & set(self.world.marked())

    @invariant()
    def strangers_are_never_touched(self) -> None:
        there: set[str] = set()
        for host in FLAVOURS:
            with self.world.sim(host) as sim:
                there |= {domain.wanted.uuid for domain in sim.domains() if domain.wanted.ledger is None}
        assert self.theirs <= there, "a stranger's guest is gone"

    @invariant()
    def no_two_that_run_own_one_cpu(self) -> None:
        """By the hypervisor's own word: dedicated pCPUs of guests that are there are pairwise disjoint."""
        dedicated = {"db", "rival"}
        with self.world.sim("h1") as sim:
            owned = [
                cpu
                for domain in sim.domains()
                if domain.wanted.name in dedicated and domain.wanted.ledger and domain.state is OccupantState.RUNNING
                for cpus in domain.wanted.affinity.values()
                for cpu in cpus
            ]
        assert len(owned) == len({*owned})


LONG = os.environ.get("NUMAPLACE_HYPOTHESIS") == "long"
TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=300 if LONG else 25,
    stateful_step_count=20 if LONG else 12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
