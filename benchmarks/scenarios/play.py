"""From what a scenario's file says of its guests to their events."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.events import Event, Play
from benchmarks.scenarios.batches import Batches
from benchmarks.scenarios.file import BatchEntry, MixKeys, StreamEntry, TraceEntry
from benchmarks.scenarios.fitted import arrivals_of, lifetimes_of
from benchmarks.scenarios.flavour_lists import mix_like
from benchmarks.scenarios.mix import Mix, mix_of
from benchmarks.scenarios.replay import read_replay
from benchmarks.scenarios.stream import Stream, guests_for
from benchmarks.scenarios.traces import reader, trace_called
from benchmarks.scenarios.traces.coming import Coming, events_of, sampled
from policies.fleet import Fleet
from policies.request import GuestName, GuestRequest
from probe.errors import BadInputError
from scheduler.files.fleet_file import MAX_GUESTS

MOST_FLAVOURS = 12
"""A row tells of no more of them how many more fit: each costs time at each sample."""


def streamed(entry: StreamEntry, fleet: Fleet, seed: int) -> Play:
    """Guests that come and go, made while they are read."""
    mix = _mix(entry)
    stream = Stream(
        mix=mix,
        arrivals=arrivals_of(entry.arrivals),
        lifetimes=lifetimes_of(entry.lifetime),
        events=entry.events,
        present=guests_for(entry.load / 100, mix, fleet),
        is_loaded=entry.start == "loaded",
        is_told=entry.told,
    )
    return Play(fleet=fleet, events=lambda: stream.play(seed), count=entry.events, flavours=_most_common(mix))


def batched(entry: BatchEntry, fleet: Fleet, seed: int) -> Play:
    """Batches, made by the seed."""
    mix = _mix(entry)
    wanted = entry.guests or math.ceil(guests_for((entry.demand or 0) / 100, mix, fleet))
    if wanted > MAX_GUESTS:
        raise BadInputError(
            f"a demand of {entry.demand} % is {wanted:,} guests; at most {MAX_GUESTS:,} come in batches."
        )
    batches = Batches(mix=mix, guests=wanted, batches=entry.batches, every_s=float(entry.every))
    return Play(
        fleet=fleet,
        events=lambda: batches.play(seed),
        count=batches.count,
        flavours=_most_common(mix),
    )


def traced(entry: TraceEntry, fleet: Fleet, seed: int) -> Play:
    """The guests of a trace, or some of them by the seed.

    Raises:
        BadInputError: it has none, or there is no such trace.
        DataMissingError: it is not here.
    """
    trace = trace_called(entry.name)
    if entry.batches and trace.module != "huawei":
        raise BadInputError(f"trace {entry.name} has no batches that could be chosen.")
    comings: tuple[Coming, ...] = reader(trace, "guests")(entry)
    return _known(sampled(comings, entry.sample, seed) if entry.sample else comings, fleet)


def replayed(ledger: Path, fleet: Fleet) -> Play:
    """The guests of our own books. Raises as `read_replay`."""
    return _known(read_replay(ledger), fleet)


def of_events(events: Sequence[Event], fleet: Fleet) -> Play:
    """What is known beforehand."""
    flavours = _kinds([guest for event in events for guest in event.arrivals])
    return Play(fleet=fleet, events=lambda: iter(events), count=len(events), flavours=flavours)


def _known(comings: Sequence[Coming], fleet: Fleet) -> Play:
    return of_events(events_of(comings), fleet)


def _mix(entry: MixKeys) -> Mix:
    if entry.flavours_of is not None:
        return mix_like(entry.flavours_of, entry.groups)
    return mix_of(entry.flavours, entry.groups)


def _most_common(mix: Mix) -> tuple[GuestRequest, ...]:
    """The flavours that come most often, in their order."""
    kept = sorted(range(len(mix.flavours)), key=lambda n: (-mix.weights[n], n))[:MOST_FLAVOURS]
    return tuple(mix.flavours[n] for n in sorted(kept))


def _kinds(guests: Sequence[GuestRequest]) -> tuple[GuestRequest, ...]:
    """The kinds of guests that come most often, named by what they are."""
    nobody = GuestName("any")
    seen = Counter(replace(guest, name=nobody, groups=(), lifetime_s=None, hosts=None) for guest in guests)
    return tuple(
        replace(guest, name=GuestName(f"{guest.vcpus}v-{guest.memory_kib // 1024}m-{number}"))
        for number, (guest, _) in enumerate(seen.most_common(MOST_FLAVOURS), 1)
    )
