"""The tables equal the fold over the events, after every step of any history."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from policies.capacity import HostCapacity
from policies.plan import Placement
from probe.cpuset import CpuSet
from scheduler.ledger import TRANSITIONS, Claim, ConflictError, Ledger, State, fold, fold_cordons
from scheduler.ledger.values import WHOLE_HOST
from tests.scheduler.ledger.made import look, placement, unpinned

guests = st.sampled_from([f"g{i}" for i in range(6)])
nodes = st.sampled_from([(0, "0-3"), (1, "4-7")])
some_cpus = {0: ["0", "1", "0-1", "2-3"], 1: ["4", "5", "4-5", "6-7"]}


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    """Any kind of guest, small enough that several fit and several do not."""
    guest, (node, cpus), gib = draw(guests), draw(nodes), draw(st.integers(1, 5))
    kind = draw(st.sampled_from(["shared", "dedicated", "huge", "unpinned"]))
    if kind == "unpinned":
        return unpinned(guest, vcpus=draw(st.integers(1, 3)), gib=gib)
    if kind == "dedicated":
        return placement(guest, node=node, cpus=draw(st.sampled_from(some_cpus[node])), gib=gib, dedicated=True)
    if kind == "huge":
        return placement(guest, node=node, cpus=cpus, page_kib=2048)
    part = draw(st.sampled_from([cpus, cpus, *some_cpus[node]]))  # planned beside dedicated ones
    return placement(guest, node=node, cpus=part, vcpus=draw(st.integers(1, 3)), gib=gib)


class PowerCutError(Exception):
    """The process dies inside a transaction."""


class Books(RuleBasedStateMachine):
    """Accept, reserve on fresh and on stale looks, adopt, cordon, move, take, leave, die inside a transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger(Path(self.folder.name) / "ledger.sqlite")
        self.stale: tuple[HostCapacity, frozenset[str]] = (look(), frozenset())
        self.strangers: dict[str, Placement] = {}
        self.seen_strangers: list[Placement] = []

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()

    def one(self, data: st.DataObject, *states: State) -> Claim:
        return data.draw(st.sampled_from(self.ledger.claims(states=states or None)), label="claim")

    @initialize()
    def nothing_yet(self) -> None:
        assert self.ledger.claims() == ()

    @rule(placed=placements())
    def accept(self, placed: Placement) -> None:
        taken = self.ledger.claim_of(placed.guest) is not None
        try:
            self.ledger.accept(placed, f"uuid of {placed.guest}")
        except ConflictError:
            assert taken
        else:
            assert not taken

    @rule(placed=placements())
    def a_stranger_comes(self, placed: Placement) -> None:
        """Beside whoever is there, however full it is."""
        if placed.guest not in self.strangers and self.ledger.claim_of(placed.guest) is None:
            self.strangers[placed.guest] = placed

    @precondition(lambda self: self.strangers)
    @rule(data=st.data())
    def a_stranger_goes(self, data: st.DataObject) -> None:
        del self.strangers[data.draw(st.sampled_from(sorted(self.strangers)))]

    @precondition(lambda self: self.seen_strangers)
    @rule(data=st.data())
    def adopt(self, data: st.DataObject) -> None:
        """On a look that may be old, of a host that may be full: taken as it is, or not at all."""
        placed = data.draw(st.sampled_from(self.seen_strangers))
        capacity, counted = self.stale
        known = self.ledger.claim_of(placed.guest) is not None
        before = self.ledger.books()
        try:
            claim = self.ledger.adopt(placed, f"uuid of {placed.guest}", capacity, counted=counted)
        except ConflictError:
            assert before == self.ledger.books()
        else:
            assert not known
            assert (State.UNKNOWN, True) == (claim.state, claim.adopted)

    @rule(host=st.sampled_from(["h1", "h2"]), node=st.sampled_from([WHOLE_HOST, 0, 1]))
    def cordon_or_open(self, host: str, node: int) -> None:
        """What is closed is opened, what is open is closed; a second time changes nothing."""
        closed = any((c.host, c.node) == (host, node) for c in self.ledger.cordons.all())
        first, again = self.ledger.cordons.open, self.ledger.cordons.close
        act = first if closed else again
        assert act(host, node)
        before = self.ledger.cordons.events()
        assert not act(host, node)
        assert before == self.ledger.cordons.events()

    @rule()
    def look_at_the_host(self) -> None:
        claims = self.ledger.outstanding("h1")
        self.seen_strangers = list(self.strangers.values())
        self.stale = (
            look(claims, strangers=self.seen_strangers),
            frozenset(claim.claim_id for claim in claims),
        )

    @precondition(lambda self: self.ledger.claims(states=[State.PLANNED]))
    @rule(data=st.data())
    def reserve(self, data: st.DataObject) -> None:
        """On a look that may be old: others have reserved and released since."""
        claim = self.one(data, State.PLANNED)
        capacity, counted = self.stale
        try:
            self.ledger.reserve(claim, capacity, counted=counted)
        except ConflictError:
            assert self.ledger.claim(claim.claim_id) == claim
        else:
            closed = {c.node for c in self.ledger.cordons.all() if c.host == claim.host}
            assert not closed & {WHOLE_HOST, *claim.placement.memory_nodes.ids}

    @precondition(lambda self: self.ledger.claims())
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        claim = self.one(data)
        target = data.draw(st.sampled_from([s for s in State if s is not State.RESERVED]), label="state")
        if target in TRANSITIONS[claim.state]:
            assert self.ledger.move(claim, target, step="test").state is target
        else:
            with pytest.raises(ConflictError, match="cannot go from"):
                self.ledger.move(claim, target, step="test")

    @precondition(lambda self: self.ledger.claims())
    @rule(data=st.data())
    def hand_over(self, data: st.DataObject) -> None:
        """Who held it before can move it no more."""
        claim = self.one(data)
        self.ledger.leave(self.ledger.take(claim), note="test")
        with pytest.raises(ConflictError, match="another numaplace"):
            self.ledger.take(claim)

    @precondition(lambda self: self.ledger.claims())
    @rule(data=st.data())
    def die_inside_a_transaction(self, data: st.DataObject) -> None:
        """Rows were written, the event was not: nothing of it stays."""
        claim = self.one(data)

        def cut(*_: Any, **__: Any) -> None:
            raise PowerCutError

        act: Callable[[], Claim] = partial(self.ledger.take, claim)
        if claim.state is State.PLANNED:
            act = partial(self.ledger.reserve, claim, self.stale[0], counted=self.stale[1])
        with mock.patch("scheduler.ledger.ledger.append_event", cut), pytest.raises((PowerCutError, ConflictError)):
            act()
        assert self.ledger.claim(claim.claim_id) == claim

    @invariant()
    def tables_are_the_fold_over_the_events(self) -> None:
        assert fold(self.ledger.events()) == self.ledger.books()
        assert fold_cordons(self.ledger.cordons.events()) == self.ledger.cordons.all()

    @invariant()
    def nothing_is_promised_twice(self) -> None:
        """Counters are the sums of what the claims hold; owned and floating pCPUs never meet.

        Strangers fill a host as they like, and are adopted so; what we place fits it.
        """
        books = self.ledger.books()
        used: Counter[tuple[int, int]] = Counter()
        placed: Counter[tuple[int, int]] = Counter()
        for claim_id, held in books.holdings.items():
            assert books.claims[claim_id].state.is_live
            used.update(held.memory_kib)
            if not books.claims[claim_id].adopted:
                placed.update(held.memory_kib)
        assert {place: kib for place, kib in used.items() if kib} == {
            place[1:]: kib for place, (kib, _) in books.memory.items() if kib
        }
        ours = [held for claim_id, held in books.holdings.items() if not books.claims[claim_id].adopted]
        for node, of_node in ((0, CpuSet.parse("0-3")), (1, CpuSet.parse("4-7"))):
            left = of_node - CpuSet.union(held.own_cpus for held in ours)
            assert sum(held.shared_vcpus.get(node, 0) for held in ours) <= len(left)
        own = [cpu for held in books.holdings.values() for cpu in held.own_cpus]
        floating = CpuSet.union(held.floating_cpus for held in books.holdings.values())
        assert len(own) == len(set(own))
        assert floating.isdisjoint(CpuSet(frozenset(own)))
        for node in (0, 1):
            assert placed[node, 4] <= 7 * 1024**2
            assert placed[node, 2048] <= 1024**2
        assert placed[WHOLE_HOST, 4] <= 2 * 7 * 1024**2


Books.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
TestBooks = Books.TestCase
