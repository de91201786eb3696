"""Whole batches, made by a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.events import Event
from benchmarks.scenarios.mix import Mix
from policies.request import GuestRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Guests that come in batches, and stay.

    Attributes:
        guests: in all; a group that is begun is finished, so it may be some more.
        batches: how many, as equally large as groups allow.
        every_s: time between two of them.
    """

    mix: Mix
    guests: int
    batches: int
    every_s: float

    @property
    def count(self) -> int | None:
        """How many events there are; None where groups may leave a batch without anybody."""
        most_together = self.mix.groups.members if self.mix.groups else 1
        return self.batches if self.guests // self.batches >= most_together else None

    def play(self, seed: int) -> Iterator[Event]:
        """One event for each batch that gets somebody; there may be fewer guests than batches."""
        units = self.mix.units(np.random.default_rng((seed, 0)))
        there = 0
        for number in range(self.batches):
            wanted = self.guests * (number + 1) // self.batches
            batch: list[GuestRequest] = []
            while there < wanted:
                unit = next(units)
                there += len(unit)
                batch += unit
            if batch:
                yield Event(at_s=number * self.every_s, arrivals=tuple(batch))
