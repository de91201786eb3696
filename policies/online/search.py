"""The best place for one guest, by the scores of all hosts and by what it wishes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from policies.candidates import Candidate
from policies.fleet import Counts
from policies.online.company import Company, has_wishes
from policies.online.scores import NOWHERE, SPAN_SHIFT, ClassScores, score_of_way, span_of
from policies.open_fleet import OpenFleet
from policies.places import all_ways, nodes_of_homes, placed
from policies.plan import Placement
from policies.request import GuestRequest


class Found(NamedTuple):
    """A place, its score, and what it adds to the breaches of the guest's wishes."""

    score: int
    broken: int
    placement: Placement

    @property
    def key(self) -> tuple[int, int, int]:
        """Orders by nodes and distance, then breaches, then the larger pages."""
        return self.score >> SPAN_SHIFT, self.broken, -self.placement.cells[0].memory[0].page_kib


class Search:
    """Looks on the best host first, and there at what really fits.

    Attributes:
        empty_at: per host, when the last guest leaves it; −inf where there is none.
    """

    def __init__(self, book: OpenFleet, shape_of: Counts) -> None:
        """Args:
        shape_of: per host, the number of its shape.
        """
        self._book, self._shape_of, self._company = book, shape_of, Company(book)
        self.empty_at: npt.NDArray[np.float64] = np.full(len(book.fleet), -math.inf)

    def best(self, classes: Sequence[tuple[GuestRequest, ClassScores]], until: float) -> Found | None:
        """The best place of a guest for each of these page sizes: the larger pages of places that are as good.

        Args:
            until: when the guest leaves; infinite where that is not known.
        """
        if len(classes) == 1:
            return self._in_pages(*classes[0], until)
        spans = [int(known.scores.min(initial=NOWHERE)) >> SPAN_SHIFT for _, known in classes]
        best: Found | None = None
        for number in sorted(range(len(classes)), key=spans.__getitem__):
            request, known = classes[number]
            if best is not None and best.key <= (spans[number], 0, -request.page_kib):
                break
            found = self._in_pages(request, known, until)
            if found is not None and (best is None or found.key < best.key):
                best = found
        return best

    def _in_pages(self, request: GuestRequest, scores: ClassScores, until: float) -> Found | None:
        search = self._among_wishes if has_wishes(request) else self._nearest
        return search(request, scores, until)

    def _nearest(self, request: GuestRequest, scores: ClassScores, until: float) -> Found | None:
        left = scores.scores if not request.groups else self._company.scores_left(request, scores.scores)
        while (host := self._best_host(left, until)) is not None:
            found = self._on(request, scores, host)
            if found is not None and span_of(found[0]) <= left[host] >> SPAN_SHIFT:
                return Found(int(left[host]), 0, found[1])
            if left is scores.scores:
                left = left.copy()
            left[host] = NOWHERE if found is None else (span_of(found[0]) + 1 << SPAN_SHIFT) - 1
        return None

    def _among_wishes(self, request: GuestRequest, scores: ClassScores, until: float) -> Found | None:
        """Of the nearest places one with the fewest breaches: hosts by the fewest there, until one has no more."""
        left = self._company.scores_left(request, scores.scores).copy()
        broken = self._company.fewest_broken(request, left)
        known: dict[int, Found] = {}
        while (host := self._best_host(left, until, broken)) is not None:
            if host in known:
                return known[host]
            found = self._least_broken(request, scores, host, int(broken[host]))
            if found is None:
                left[host] = NOWHERE
            else:
                known[host], left[host], broken[host] = found, found.score, found.broken
        return None

    def _best_host(self, scores: Counts, until: float, broken: Counts | None = None) -> int | None:
        """The host with the best score; among equals in span and distance by breaches, then not kept busy longer."""
        best = int(scores.argmin()) if len(scores) else 0
        if not len(scores) or scores[best] == NOWHERE:
            return None
        if math.isinf(until) and broken is None:
            return best
        equals = np.flatnonzero(scores >> SPAN_SHIFT == scores[best] >> SPAN_SHIFT)
        if broken is not None:
            equals = equals[broken[equals] == broken[equals].min()]
        if not math.isinf(until):
            longer = np.maximum(0.0, until - self.empty_at[equals])
            equals = equals[longer == longer.min()]
        return int(equals[scores[equals].argmin()])

    def _on(self, request: GuestRequest, scores: ClassScores, host: int) -> tuple[Candidate, Placement] | None:
        """The best way there that really fits: its pCPUs one by one, and the rules of its groups."""
        there = self._book.fleet.hosts[host]
        best = scores.way_of(int(self._shape_of[host]), host)
        if best is not None and not self._book.groups.conflict(request.groups, there, nodes_of_homes(best.homes)):
            placement = placed(request, self._book, there, best)
            if placement is not None:
                return best, placement
        for way in all_ways(request, self._book, there):
            placement = placed(request, self._book, there, way)
            if placement is not None:
                return way, placement
        return None

    def _least_broken(self, request: GuestRequest, scores: ClassScores, host: int, least: int) -> Found | None:
        """The nearest way there that really fits, of these one with the fewest breaches, and these are no fewer."""
        there = self._book.fleet.hosts[host]
        ways = ((score_of_way(way), way) for way in all_ways(request, self._book, there))
        best: Found | None = None
        for some in (scores.ways_on(int(self._shape_of[host]), host), ways):
            for score, way in some:
                if best is not None and (score >> SPAN_SHIFT > best.score >> SPAN_SHIFT or best.broken == least):
                    return best
                fewest = self._company.least_broken(request, there, way)
                if fewest is None or (best is not None and fewest >= best.broken):
                    continue
                placement = placed(request, self._book, there, way)
                broken = 0 if placement is None else self._company.broken(placement, there)
                if placement is not None and (best is None or broken < best.broken):
                    best = Found(score, broken, placement)
            if best is not None:
                return best
        return None
