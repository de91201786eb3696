"""Good sets at once: from each point on the nearest others, then pairs of points swapped. All points at a time."""

from __future__ import annotations

import numpy as np

from policies.nearest.question import FAR, Counts, Question

MOST_SWAPPED = 16
"""Different sets that are made better by swaps."""


def starts(question: Question) -> list[tuple[int, ...]]:
    """Some sets, cheapest first, `price` aside; none where nothing is possible, and seldom where something is."""
    if len(question.own) < question.size:
        return []
    sets, costs = grown(question)
    sets, costs = sets[costs < FAR], costs[costs < FAR]
    if not len(sets):
        return []
    sets, costs = _swapped(question, sets[_first_different(sets, costs)])
    order = _first_different(sets, costs)
    found = zip(sets[order].tolist(), costs[order].tolist(), strict=True)
    return [tuple(sorted(chosen)) for chosen, _ in found]


def _first_different(sets: Counts, costs: Counts) -> list[int]:
    """The rows of the cheapest sets, each set once."""
    rows: dict[frozenset[int], int] = {}
    for row in np.argsort(costs, kind="stable").tolist():
        rows.setdefault(frozenset(sets[row].tolist()), row)
        if len(rows) == MOST_SWAPPED:
            break
    return [*rows.values()]


def grown(question: Question) -> tuple[Counts, Counts]:
    """One set per point: from it on, always the point that adds least; and what each set costs."""
    points = np.arange(len(question.own))
    sets = np.empty((len(points), question.size), dtype=np.int64)
    costs = np.zeros(len(points), dtype=np.int64)
    add = np.broadcast_to(question.own, question.apart.shape)
    had = np.zeros((len(question.needs), len(points)), dtype=np.int64)
    for i in range(question.size):
        offered = add
        for (mask, least), count in zip(question.needs, had, strict=True):
            forced = least - count >= question.size - i
            if forced.any():
                offered = np.where(forced[:, None] & ~mask, FAR, offered)
        chosen = points if i == 0 else offered.argmin(axis=1)
        sets[:, i] = chosen
        costs += offered[points, chosen]
        for number, (mask, _) in enumerate(question.needs):
            had[number] += mask[chosen]
        add = add + question.apart[chosen]
        add[points, chosen] = FAR
    return sets, costs


def _swapped(question: Question, sets: Counts) -> tuple[Counts, Counts]:
    """Each set after swaps of a point for one outside, the best first, as long as one makes it cheaper."""
    own, apart, rows = question.own, question.apart, np.arange(len(sets))
    inside = np.zeros((len(sets), len(own)), dtype=np.bool_)
    inside[rows[:, None], sets] = True
    add = own + apart[sets].sum(axis=1)
    while True:
        gain = add[:, None, :] - apart[sets] - np.take_along_axis(add, sets, axis=1)[:, :, None]
        gain[np.broadcast_to(inside[:, None, :], gain.shape)] = 0
        for mask, least in question.needs:
            rest = mask[sets].sum(axis=1)[:, None] - mask[sets]
            gain[rest[:, :, None] + mask < least] = 0
        best = gain.reshape(len(sets), -1).argmin(axis=1)
        out, new = np.divmod(best, len(own))
        better = np.flatnonzero(gain[rows, out, new] < 0)
        if not len(better):
            return sets, (np.take_along_axis(add, sets, axis=1) + own[sets]).sum(axis=1) // 2
        out, new = out[better], new[better]
        old = sets[better, out]
        sets[better, out] = new
        inside[better, old], inside[better, new] = False, True
        add[better] += apart[new] - apart[old]
