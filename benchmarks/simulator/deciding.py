"""What a decider is: it places the guests of each event in a world, whoever it asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.simulator.checked import audit, broken_by
from benchmarks.simulator.loose import Loose
from benchmarks.simulator.options import Options
from benchmarks.simulator.world import World
from policies.compose import settle_shared
from policies.errors import DoesNotFitError
from policies.fleet import Fleet
from policies.plan import Placement, Reason, Tier
from policies.request import GuestName, GuestRequest


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


class InABook:
    """What deciders have in common that keep no book of their own."""

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

    def breach(self, request: GuestRequest, placement: Placement) -> str:
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


def audit_host(world: World, index: int) -> str:
    """The first rule that all guests of a host break together, counted anew from the empty host; "" for none."""
    there = tuple(world.guests_on[index].values())
    hosts = Fleet.of([world.fleet.hosts[index]])
    found = audit(settle_shared(there, hosts), [world.request_of(p.guest) for p in there], hosts)
    return str(found[0]) if found else ""
