"""Guests with the times at which they came and went, as events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.events import Event
from policies.request import GuestName, GuestRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """One guest.

    Attributes:
        at_s: when it comes, in seconds since the beginning.
        until_s: when it goes; None: it stays.
    """

    request: GuestRequest
    at_s: float = 0.0
    until_s: float | None = None


def events_of(comings: Sequence[Coming]) -> tuple[Event, ...]:
    """Their events, in order of time. Who comes at the same moment is one batch, in the order given.

    A guest that goes at the moment at which it came never was.
    """
    come: dict[float, list[GuestRequest]] = defaultdict(list)
    go: dict[float, list[GuestName]] = defaultdict(list)
    for coming in comings:
        if coming.until_s is not None and coming.until_s <= coming.at_s:
            continue
        come[coming.at_s].append(coming.request)
        if coming.until_s is not None:
            go[coming.until_s].append(coming.request.name)
    return tuple(
        Event(at_s=at_s, departures=tuple(go.get(at_s, ())), arrivals=tuple(come.get(at_s, ())))
        for at_s in sorted({*come, *go})
    )


def sampled(comings: Sequence[Coming], count: int, seed: int) -> tuple[Coming, ...]:
    """About so many of them, by the seed, in their order; groups are kept whole, so it may be some more."""
    units: dict[object, list[int]] = defaultdict(list)
    for number, coming in enumerate(comings):
        groups = coming.request.groups
        units[groups[0].group.name if groups else number].append(number)
    kept: set[int] = set()
    order = np.random.default_rng((seed, 50)).permutation(len(units)).tolist()
    members = list(units.values())
    for unit in order:
        if len(kept) >= count:
            break
        kept.update(members[unit])
    return tuple(coming for number, coming in enumerate(comings) if number in kept)
