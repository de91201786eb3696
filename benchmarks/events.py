"""What a scenario is when it is played: hosts, and guests that come and go in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from policies.fleet import Fleet
from policies.request import GuestName, GuestRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happens at one moment: first guests go, then guests come.

    Attributes:
        at_s: seconds since the scenario began.
        departures: guests that go; those that were refused are passed over by whoever plays the event.
        arrivals: guests that come; several are one batch, placed together. Their names never repeat in a scenario.
    """

    at_s: float
    departures: tuple[GuestName, ...] = ()
    arrivals: tuple[GuestRequest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """A scenario of one seed: the same hosts and the same events for every policy.

    Attributes:
        fleet: what the hosts have left when it begins.
        events: begins anew at each call and gives the same events each time, in order of time. They are made
            while they are read, so that a million of them take no memory.
        count: how many events there are, for the progress bar; None where that is not known beforehand.
        flavours: the guests that are known to come (names mean nothing), of which a packing counts how many more fit.
    """

    fleet: Fleet
    events: Callable[[], Iterator[Event]]
    count: int | None
    flavours: tuple[GuestRequest, ...] = ()
