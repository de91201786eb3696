"""Who is asked, and how: the online book, a rule for one guest, or a policy for whole batches."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.simulator.checked import audit, broken_by
from benchmarks.simulator.loose import Loose
from benchmarks.simulator.options import Options
from benchmarks.simulator.refusals import Refusals
from benchmarks.simulator.world import World
from policies.compose import settle_shared
from policies.errors import DoesNotFitError
from policies.fleet import Fleet
from policies.in_turn import take_in_turn
from policies.one_by_one import OneByOne, in_order
from policies.online.fleet import OnlineFleet
from policies.open_fleet import OpenFleet
from policies.plan import Placement, Reason, Tier
from policies.policy import Policy
from policies.registry import load_policy
from policies.request import GuestName, GuestRequest

PLACE_ONE = "place-one"
"""The name of the online book, which decides guest by guest at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The answer to the arrivals of one event. What is placed is taken in the world, and nothing else.

    Attributes:
        placed: in the order of the request.
        refused: with the reason.
        broken: with the rule that it breaks.
        took_s: from the question to the answer.
        tier: what the policy itself says of the number of guests placed, and its bound; None where it does not.
        limited_by_clock: whether a wall clock ended the search.
    """

    placed: Sequence[Placement]
    refused: Mapping[GuestName, Reason]
    broken: Mapping[GuestName, str] = field(default_factory=dict)
    took_s: float
    tier: Tier | None = None
    limited_by_clock: bool = False


class Decider(Protocol):
    """Places guests in a world, and takes those who go out of it."""

    world: World

    def decide(self, requests: Sequence[GuestRequest], at_s: float, *, look: bool) -> Decided:
        """Place the guests of one event.

        Args:
            look: whether the checker looks at it, where it does not at each anyway.
        """
        ...

    def put_back(self, request: GuestRequest, placement: Placement, came_s: float, loose: Loose | None = None) -> None:
        """The guest is there already, since `came_s`: a run goes on, or a guest has been moved.

        Args:
            loose: where an unpinned one fell, where that is known.
        """
        ...

    def take_away(self, placement: Placement) -> None:
        """The guest has gone."""
        ...


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
    return _Batches(loaded, fleet, seed, options)


class _PlaceOne:
    """The online book, guest by guest in the order of the event."""

    def __init__(self, fleet: Fleet, flavours: Sequence[GuestRequest]) -> None:
        self._online = OnlineFleet(fleet, flavours=flavours)
        self.world = World(fleet, self._online.book)

    def decide(self, requests: Sequence[GuestRequest], at_s: float, *, look: bool) -> Decided:
        placed: list[Placement] = []
        refused: dict[GuestName, Reason] = {}
        broken: dict[GuestName, str] = {}
        took_s = 0.0
        for request in requests:
            began = time.perf_counter()
            decision = self._online.place_one(request, now_s=at_s)
            took_s += time.perf_counter() - began
            if not isinstance(decision, Placement):
                refused[request.name] = decision.reason
                continue
            self.world.came(request, decision, at_s)
            if look and (found := audit_host(self.world, self.world.fleet.host_index(decision.host))):
                self.take_away(decision)
                broken[request.name] = found
            else:
                placed.append(decision)
        return Decided(placed=placed, refused=refused, broken=broken, took_s=took_s)

    def put_back(self, request: GuestRequest, placement: Placement, came_s: float, loose: Loose | None = None) -> None:
        self._online.put_back(placement, request, now_s=came_s)
        self.world.came(request, placement, came_s, loose)

    def take_away(self, placement: Placement) -> None:
        self._online.give_back(placement)
        self.world.went(placement)


class _InABook:
    """What the others have in common."""

    def __init__(self, fleet: Fleet, seed: int, options: Options) -> None:
        self.world = World(fleet, fleet.open())
        self._effort = options.effort(seed)

    def put_back(
        self,
        request: GuestRequest,
        placement: Placement,
        came_s: float,
        loose: Loose | None = None,
    ) -> None:
        self.world.book.take(placement)
        self.world.came(request, placement, came_s, loose)

    def take_away(self, placement: Placement) -> None:
        self.world.book.give_back(placement)
        self.world.went(placement)


class _RuleByRule(_InABook):
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
            found = self._breach(request, placement)
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

    def _breach(self, request: GuestRequest, placement: Placement) -> str:
        """The first rule that it breaks beside those who are there; "" for none."""
        world = self.world
        if not world.fleet.has_host(placement.host):
            return f"the_host_exists: there is no host {placement.host}"
        names = {placement.host, *(n for m in request.groups for n in world.hosts_of_group(m.group.name))}
        hosts = [world.host_booked(world.fleet.host_index(name)) for name in sorted(names)]
        broken = broken_by([placement], [request], Fleet.of(hosts))
        if broken:
            return broken[request.name]
        try:
            world.book.check(placement)
        except DoesNotFitError as error:
            return str(error)
        return ""


class _Batches(_InABook):
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


def audit_host(world: World, index: int) -> str:
    """The first rule that all guests of a host break together, counted anew from the empty host; "" for none."""
    there = tuple(world.guests_on[index].values())
    hosts = Fleet.of([world.fleet.hosts[index]])
    found = audit(settle_shared(there, hosts), [world.request_of(p.guest) for p in there], hosts)
    return str(found[0]) if found else ""
