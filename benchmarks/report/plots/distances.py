"""How far guests' memory is from their CPUs: of each contender the share of its guests by distance, as a bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.report.results import Results

LOCAL = 10
"""ACPI 6.2, 5.2.17: a node's distance to itself."""
_BINS = (LOCAL, 12, 16, 20, 31)
"""The last distance of each class but the last: local, the same package's SNC, near, a hop, farther, far."""
CLASSES = len(_BINS) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """A bar for each contender.

    Attributes:
        names: of the classes that occur, by number: `10 (local)`, `17–20`.
        shares: by contender, of each class that occurs; the mean of its seeds. They add up to 1.
    """

    names: dict[int, str]
    shares: dict[str, dict[int, float]]


def bars(results: Results, scenario: str) -> Bars:
    """Of the contenders that placed anybody and tell how far; the nearest first."""
    found = {}
    for contender in results.played(scenario):
        rows = [row.distances for row in results.of(scenario, contender).values() if sum(row.distances.values())]
        if rows:
            each = [_shares({int(distance): count for distance, count in row.items()}) for row in rows]
            found[contender] = {i: fmean(one[i] for one in each) for i in range(CLASSES)}
    occurring = [i for i in range(CLASSES) if any(shares[i] for shares in found.values())]
    order = sorted(found, key=lambda c: ([-share for share in _summed([*found[c].values()])], c))
    return Bars(names={i: _name(i) for i in occurring}, shares={c: {i: found[c][i] for i in occurring} for c in order})


def _shares(counts: dict[int, int]) -> list[float]:
    all_of_them = sum(counts.values())
    shares = [0.0] * CLASSES
    for distance, count in counts.items():
        shares[_class(distance)] += count / all_of_them
    return shares


def _class(distance: int) -> int:
    return next((i for i, last in enumerate(_BINS) if distance <= last), len(_BINS))


def _name(number: int) -> str:
    if number == 0:
        return f"{LOCAL} (local)"
    if number == len(_BINS):
        return f"over {_BINS[-1]}"
    return f"{_BINS[number - 1] + 1}–{_BINS[number]}"


def _summed(shares: Sequence[float]) -> list[float]:
    """So far: whose first class is equal is compared by the first two, and so on."""
    return [round(sum(shares[: i + 1]), 9) for i in range(len(shares))]
