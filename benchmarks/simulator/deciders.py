"""Who is asked, and how: the online book, a rule for one guest, or a policy for whole batches."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.simulator.checked import broken_by
from benchmarks.simulator.deciding import Decided, Decider, InABook, audit_host
from benchmarks.simulator.loose import Loose
from benchmarks.simulator.options import Options
from benchmarks.simulator.peer_by_peer import GuestByGuest
from benchmarks.simulator.refusals import Refusals
from benchmarks.simulator.world import World
from policies.errors import DoesNotFitError
from policies.fleet import Fleet
from policies.in_turn import take_in_turn
from policies.one_by_one import OneByOne, in_order
from policies.online.fleet import OnlineFleet
from policies.online.together import crews
from policies.open_fleet import OpenFleet
from policies.peers.peer import Peer
from policies.plan import Placement, Reason, Rejection
from policies.policy import Policy
from policies.registry import load_policy
from policies.request import GuestName, GuestRequest

PLACE_ONE = "place-one"
"""The name of the online book, which decides guest by guest at once."""


def decider_of(policy: str, fleet: Fleet, flavours: Sequence[GuestRequest], seed: int, options: Options) -> Decider:
    """By the name of the policy.

    Raises:
        BadInputError: there is no such policy.
    """
    if policy == PLACE_ONE:
        return _PlaceOne(fleet, flavours)
    loaded = load_policy(policy)
    if isinstance(loaded, OneByOne):
        return _RuleByRule(loaded, fleet, seed, options)
    if isinstance(loaded, Peer):
        return GuestByGuest(loaded, fleet, seed, options)
    return _Batches(loaded, fleet, seed, options)


class _PlaceOne:
    """The online book, guest by guest in the order of the event; those of an all-or-nothing group together."""

    def __init__(self, fleet: Fleet, flavours: Sequence[GuestRequest]) -> None:
        self._online = OnlineFleet(fleet, flavours=flavours)
        self.world = World(fleet, self._online.book)

    def decide(self, requests: Sequence[GuestRequest], at_s: float, *, look: bool) -> Decided:
        placed: list[Placement] = []
        refused: dict[GuestName, Reason] = {}
        broken: dict[GuestName, str] = {}
        took_s = 0.0
        for crew in crews(requests):
            began = time.perf_counter()
            decisions = self._online.place_together(crew, now_s=at_s)
            took_s += time.perf_counter() - began
            refused |= {decision.guest: decision.reason for decision in decisions if isinstance(decision, Rejection)}
            came = [decision for decision in decisions if isinstance(decision, Placement)]
            for request, placement in zip(crew, came, strict=False):  # all of them came, or none
                self.world.came(request, placement, at_s)
            if look and (found := self._breach(came)):
                for placement in came:
                    self.take_away(placement)
                    broken[placement.guest] = found
            else:
                placed += came
        return Decided(placed=placed, refused=refused, broken=broken, took_s=took_s)

    def _breach(self, came: Sequence[Placement]) -> str:
        """The first rule that is broken on a host where one of these is; "" for none."""
        hosts = dict.fromkeys(self.world.fleet.host_index(placement.host) for placement in came)
        return next(filter(None, (audit_host(self.world, host) for host in hosts)), "")

    def put_back(self, request: GuestRequest, placement: Placement, came_s: float, loose: Loose | None = None) -> None:
        self._online.put_back(placement, request, now_s=came_s)
        self.world.came(request, placement, came_s, loose)

    def take_away(self, placement: Placement) -> None:
        self._online.give_back(placement)
        self.world.went(placement)


class _RuleByRule(InABook):
    """A rule for one guest, asked with the book itself; all that it answers is looked at."""

    def __init__(self, policy: OneByOne, fleet: Fleet, seed: int, options: Options) -> None:
        super().__init__(fleet, seed, options)
        self._rule = policy.rule_for(self._effort)
        self._refusals = Refusals(self._rule, policy.cannot)

    def decide(self, requests: Sequence[GuestRequest], at_s: float, *, look: bool) -> Decided:
        before = self.world.book if len(requests) == 1 else self.world.left().open()
        broken: dict[GuestName, str] = {}
        rule_s = 0.0

        def sound(request: GuestRequest, book: OpenFleet) -> Placement | None:
            nonlocal rule_s
            began = time.perf_counter()
            placement = self._rule(request, book)
            rule_s += time.perf_counter() - began
            if placement is None:
                return None
            found = self.breach(request, placement)
            if found:
                broken[request.name] = found
            return None if found else placement

        chosen = take_in_turn(in_order(requests), self.world.book, sound)
        for request in requests:
            if request.name in chosen:
                self.world.came(request, chosen[request.name], at_s)
        refused = [r for r in requests if r.name not in chosen and r.name not in broken]
        return Decided(
            placed=[chosen[r.name] for r in requests if r.name in chosen],
            refused={r.name: self._refusals.reason(r, before, alone=len(requests) == 1) for r in refused},
            broken=broken,
            took_s=rule_s,
        )


class _Batches(InABook):
    """A policy for batches, asked with the fleet as it is left; all that it answers is looked at."""

    def __init__(self, policy: Policy, fleet: Fleet, seed: int, options: Options) -> None:
        super().__init__(fleet, seed, options)
        self._policy = policy
        self._has_clock = options.time_limit_s is not None

    def decide(self, requests: Sequence[GuestRequest], at_s: float, *, look: bool) -> Decided:
        left = self.world.left()
        began = time.perf_counter()
        answer = self._policy(requests, left, self._effort)
        took_s = time.perf_counter() - began
        decided = {decision.guest: decision for decision in answer.decisions}
        broken = dict(broken_by(answer.decisions, requests, left))
        placed: list[Placement] = []
        refused: dict[GuestName, Reason] = {}
        for request in requests:
            decision = decided.get(request.name)
            if decision is None or request.name in broken:
                continue
            if not isinstance(decision, Placement):
                refused[request.name] = decision.reason
            else:
                try:
                    self.put_back(request, decision, at_s)
                    placed.append(decision)
                except DoesNotFitError as error:
                    broken[request.name] = str(error)
        return Decided(
            placed=placed,
            refused=refused,
            broken=broken,
            took_s=took_s,
            tier=answer.objective[0] if answer.objective else None,
            limited_by_clock=self._has_clock and bool(answer.limited_by),
        )
