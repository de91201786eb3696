"""Guests that come and go one by one: made by a seed, while they are read."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.events import Event
from benchmarks.scenarios.arrivals import Arrivals, Lifetimes
from benchmarks.scenarios.mix import Mix
from policies.asked import own_vcpus
from policies.fleet import Fleet
from policies.request import GuestName, GuestRequest
from probe.errors import BadInputError

_Unit = tuple[GuestRequest, ...]
_Leaving = list[tuple[float, int, GuestName]]
"""A heap: when, a number that settles ties, who."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What comes and goes.

    Attributes:
        events: arrivals and departures in all.
        present: as many guests are wanted there at any time on the average.
        is_loaded: whether they are there at once; else nobody is.
        is_told: whether requests tell how long they stay.
    """

    mix: Mix
    arrivals: Arrivals
    lifetimes: Lifetimes
    events: int
    present: float
    is_loaded: bool
    is_told: bool

    def play(self, seed: int) -> Iterator[Event]:
        """The events of a seed: each is the arrival of one guest or group, or one departure."""
        rngs = [np.random.default_rng((seed, purpose)) for purpose in range(4)]
        units = self.mix.units(rngs[0])
        leaving: _Leaving = []
        made = 0
        if self.is_loaded:
            for event in self._first(units, rngs[3], leaving):
                if made == self.events:
                    return
                yield event
                made += 1
        for event in self._after(units, rngs[1], rngs[2], leaving):
            if made == self.events:
                return
            yield event
            made += 1

    def _first(self, units: Iterator[_Unit], rng: np.random.Generator, leaving: _Leaving) -> Iterator[Event]:
        """Those who are there when it begins, one after the other."""
        there, rests = 0, self.lifetimes.rests(rng)
        while there < self.present:
            unit = next(units)
            there += len(unit)
            yield self._arrival(0.0, unit, rests, leaving)

    def _after(
        self, units: Iterator[_Unit], times: np.random.Generator, lives: np.random.Generator, leaving: _Leaving
    ) -> Iterator[Event]:
        draws = self.lifetimes.draws(lives)
        per_s = self.present / self.lifetimes.mean_s / self.mix.mean_unit
        for at_s in self.arrivals.times(per_s, times):
            while leaving and leaving[0][0] <= at_s:
                gone_at_s, _, guest = heapq.heappop(leaving)
                yield Event(at_s=gone_at_s, departures=(guest,))
            yield self._arrival(at_s, next(units), draws, leaving)

    def _arrival(self, at_s: float, unit: _Unit, stays: Iterator[float], leaving: _Leaving) -> Event:
        guests = []
        for guest in unit:
            stay_s = next(stays)
            heapq.heappush(leaving, (at_s + stay_s, int(guest.name[1:]), guest.name))
            guests.append(replace(guest, lifetime_s=max(1, round(stay_s))) if self.is_told else guest)
        return Event(at_s=at_s, arrivals=tuple(guests))


def guests_for(load: float, mix: Mix, fleet: Fleet) -> float:
    """How many guests of the mix load the hosts so: the fullest of pCPUs and memory counts, of what they have left.

    Args:
        load: 1 for as much as the hosts have.

    Raises:
        BadInputError: the hosts have nothing at all left of something that the guests need.
    """
    share = max(_shares(mix, fleet))
    if share == math.inf:
        raise BadInputError(
            "the hosts have no pCPUs, or no memory, that the guests need, so no load can be wanted of them.",
            advice="Maybe a recording tells no memory: give it `node_memory`.",
        )
    return load / share


def _shares(mix: Mix, fleet: Fleet) -> Iterator[float]:
    """What a mean guest takes of all there is, of each thing; infinite where there is none of it."""
    open_rows = fleet.schedulable[fleet.node_host]
    dedicated = sum(w * len(own_vcpus(f)) for f, w in zip(mix.flavours, mix.weights, strict=True))
    shared = sum(w * (f.vcpus - len(own_vcpus(f))) for f, w in zip(mix.flavours, mix.weights, strict=True))
    free, room = (int(counts[open_rows].sum()) for counts in (fleet.free_cpus, fleet.shared_room))
    both = int(fleet.both_cpus[open_rows].sum())
    yield _share(dedicated, free)
    yield _share(shared, room)
    if both:
        yield _share(dedicated, free) + _share(shared, room)
    for page_kib, kib in fleet.memory_kib.items():
        here = int(kib[open_rows].sum())
        wanted = sum(
            w * ((f.memory_kib if f.page_kib == page_kib else 0) + (f.overhead_kib if page_kib == 4 else 0))
            for f, w in zip(mix.flavours, mix.weights, strict=True)
        )
        yield _share(wanted, here)


def _share(wanted: float, there: int) -> float:
    return wanted / there if there else (math.inf if wanted else 0.0)
