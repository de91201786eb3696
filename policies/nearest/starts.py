"""Good sets at once: from each point on the nearest others, then pairs of points swapped. All points at a time."""

from __future__ import annotations

import numpy as np

from policies.nearest.question import FAR, Counts, Question

MOST_SWAPPED = 16
"""Different sets that are made better by swaps."""


def starts(question: Question) -> list[tuple[int, ...]]:
    """A few of `near_sets`, as ascending points."""
    sets, _ = near_sets(question)
    return [tuple(sorted(chosen)) for chosen in sets[:MOST_SWAPPED].tolist()]


def near_sets(question: Question) -> tuple[Counts, Counts]:
    """Different sets, one each row, cheapest first, and what they cost, `price` aside.

    None where nothing is possible, and seldom where something is.
    """
    if len(question.own) < question.size:
        return np.empty((0, question.size), dtype=np.int64), np.empty(0, dtype=np.int64)
    sets, costs = _grown(question)
    order = _different(sets, costs)
    sets, costs = sets[order], costs[order]
    if len(sets):
        better, cheaper = _swapped(question, sets[:MOST_SWAPPED].copy())
        sets, costs = np.concatenate((better, sets)), np.concatenate((cheaper, costs))
    order = _different(sets, costs)
    return sets[order], costs[order]


def _different(sets: Counts, costs: Counts) -> list[int]:
    """The rows of possible sets, cheapest first, each set once."""
    rows: dict[frozenset[int], int] = {}
    for row in np.argsort(costs, kind="stable").tolist():
        if costs[row] < FAR:
            rows.setdefault(frozenset(sets[row].tolist()), row)
    return [*rows.values()]


def _grown(question: Question) -> tuple[Counts, Counts]:
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
