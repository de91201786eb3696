"""What is counted while a scenario is played, and the metrics that come of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from benchmarks.simulator.durations import Durations
from benchmarks.simulator.guest import (
    CellSpread,
    is_in_one_node,
    local_kib,
    mean_distance,
    nodes_spanned,
)
from benchmarks.simulator.hardware import Hardware

GIB_KIB = 1 << 20
HUNDREDTHS = 100


@dataclass(slots=True, kw_only=True)
class Tally:
    """Sums over all guests so far. Whole numbers or sums in the order of the events, so that they can be repeated.

    Attributes:
        refused: by reason.
        nodes, distance, local_kib, kib: sums over guests placed.
        distances: guests placed by their distance, in hundredths.
        gap: the largest so far; None where no policy has told a bound.
    """

    placed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    in_one_node: int = 0
    nodes: int = 0
    distance: float = 0.0
    distances: Counter[int] = field(default_factory=Counter)
    local_kib: float = 0.0
    kib: int = 0
    l3_split: int = 0
    smt_shared: int = 0
    migrations: int = 0
    moved_kib: int = 0
    gap: float | None = None
    limited_by_clock: bool = False

    def came(self, spread: tuple[CellSpread, ...], hardware: Hardware) -> None:
        """A guest was placed."""
        distance = mean_distance(spread, hardware)
        self.placed += 1
        self.in_one_node += is_in_one_node(spread)
        self.nodes += nodes_spanned(spread)
        self.distance += distance
        self.distances[round(distance * HUNDREDTHS)] += 1
        self.local_kib += local_kib(spread)
        self.kib += sum(cell.kib for cell in spread)

    def metrics(self, took: Durations) -> dict[str, float]:
        """The figures by their names; what cannot be told is left out."""
        told: dict[str, float | None] = {
            "placed": self.placed,
            "refused": self.refused.total(),
            **{f"refused[{reason}]": count for reason, count in sorted(self.refused.items())},
            "broken": self.broken,
            "one_node_ratio": _per(self.in_one_node, self.placed),
            "mean_nodes": _per(self.nodes, self.placed),
            "mean_distance": _per(self.distance, self.placed),
            "p99_distance": self._p99_distance(),
            "local_ratio": _per(self.local_kib, self.kib),
            "l3_split": self.l3_split,
            "smt_shared": self.smt_shared,
            "migrations": self.migrations,
            "moved_gib": self.moved_kib / GIB_KIB,
            "gap": self.gap,
            "p50_ms": took.percentile_ms(50),
            "p99_ms": took.percentile_ms(99),
        }
        return {name: value for name, value in told.items() if value is not None}

    def whole_distances(self) -> dict[str, int]:
        """Guests placed by their distance, rounded down."""
        whole: Counter[int] = Counter()
        for hundredths, count in self.distances.items():
            whole[hundredths // HUNDREDTHS] += count
        return {str(distance): whole[distance] for distance in sorted(whole)}

    def _p99_distance(self) -> float | None:
        """The least distance that 99 of 100 guests do not exceed."""
        rest = self.placed * 99 / 100
        for hundredths in sorted(self.distances):
            rest -= self.distances[hundredths]
            if rest <= 0:
                return hundredths / HUNDREDTHS
        return None

    def to_json(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Tally:
        """What `to_json` wrote, after it was text.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        told = {each.name: value[each.name] for each in fields(cls)}
        told["refused"] = Counter({str(k): int(v) for k, v in told["refused"].items()})
        told["distances"] = Counter({int(k): int(v) for k, v in told["distances"].items()})
        return cls(**told)


def _per(amount: float, guests: int) -> float | None:
    return amount / guests if guests else None


@dataclass(slots=True, kw_only=True)
class Means:
    """Averages over time of what is sampled: each sample counts until the next one.

    Where no time passes from the first sample to the last, the last one counts.

    Attributes:
        sums: by name, of each sample times the seconds that it counts for.
        last: the sample that counts now, and
        since_s: from when on.
    """

    sums: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    since_s: float = 0.0
    passed_s: float = 0.0

    def add(self, at_s: float, values: Mapping[str, float]) -> None:
        """A sample at this time."""
        self.until(at_s)
        self.last = dict(values)

    def until(self, at_s: float) -> None:
        """Nothing changed until then, as far as the samples tell."""
        if self.last:
            for name, value in self.last.items():
                self.sums[name] = self.sums.get(name, 0.0) + value * (at_s - self.since_s)
            self.passed_s += at_s - self.since_s
        self.since_s = at_s

    def means(self) -> dict[str, float]:
        if not self.passed_s:
            return dict(self.last)
        return {name: total / self.passed_s for name, total in self.sums.items()}

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
