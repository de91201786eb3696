"""Floating vCPUs beside owned pCPUs: no more than may float, and each guest's on a shared pCPU each."""

from __future__ import annotations

from typing import Self

import numpy as np

from policies.patterns.question import Floating, Ints
from policies.patterns.ways import Way

ANY = np.iinfo(np.int64).max
"""As many as one likes."""


class Crowd:
    """What is left of the pCPUs on which vCPUs float, and the widest guest that floats there.

    Who has gone again is remembered as the widest: nobody is let in who must not be, and now and then one too few.
    """

    def __init__(self, floating: Floating) -> None:
        self._shared, self._either, self._room = floating.shared, floating.either.copy(), floating.room.copy()
        self._widest = np.zeros_like(self._either)

    def copy(self) -> Self:
        other = type(self)(Floating(room=self._room, shared=self._shared, either=self._either))
        other._widest = self._widest.copy()
        return other

    def most(self, way: Way, share: int, rows: Ints) -> Ints:
        """How many such shares each of these rows holds by this rule."""
        own, floating = int(way.own[share]), int(way.floating[share])
        beside = self._either[rows] - np.maximum(self._widest[rows], floating)
        held = beside // own if own else np.full(rows.shape, ANY)
        held = np.minimum(held, self._room[rows] // floating) if floating else held
        possible = (beside >= 0) & (floating <= self._shared[rows])
        return np.where(possible, np.maximum(0, held), 0)

    def add(self, way: Way, rows: Ints, counts: Ints) -> None:
        """So many guests of a way on each of (n, shares) rows; fewer than 0 have gone."""
        for share in range(way.shares):
            np.subtract.at(self._either, rows[:, share], way.own[share] * counts)
            np.subtract.at(self._room, rows[:, share], way.floating[share] * counts)
            np.maximum.at(self._widest, rows[counts > 0, share], way.floating[share])
