"""Rows in the order in which they are compared: by scenario, then contender, then seed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean

from benchmarks.metrics import METRICS, metric_of
from benchmarks.rows import Row, told_options
from probe.errors import BadInputError

SHARE = "placed_ratio"
"""Not in the rows: guests placed ÷ guests that asked. It makes scenarios of different sizes one average."""


class MixedDigestsError(BadInputError):
    """Rows of one scenario were measured on different events or hosts: they must not be compared."""


class NoBaseError(BadInputError):
    """The rows have no policy of the name that the others are compared with."""


BySeed = Mapping[int, float]
Shared = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Results:
    """All rows of a report.

    Attributes:
        rows: by scenario and contender, then by seed.
        digests: of each scenario.
        shared: options that all rows were measured with; a contender's name tells only the others.
        unknown: names of figures that no metric of ours has, and which are passed over.
    """

    rows: Mapping[tuple[str, str], Mapping[int, Row]]
    digests: Mapping[str, str]
    shared: Shared = ()
    unknown: tuple[str, ...] = ()
    _kept: dict[tuple[str, str, str], BySeed] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def scenarios(self) -> tuple[str, ...]:
        return tuple(self.digests)

    @cached_property
    def contenders(self) -> tuple[str, ...]:
        """Policies, each with the options that not all rows share."""
        return tuple(sorted({contender for _, contender in self.rows}))

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Names of all figures, in the order of METRICS, [reasons] and [flavours] after their sum."""
        found = {name for row in self.all_rows() for name in row.metrics} - set(self.unknown)
        order = {name: place for place, name in enumerate(METRICS)}
        return tuple(sorted(found, key=lambda name: (order[name.partition("[")[0]], name)))

    def all_rows(self) -> list[Row]:
        return [row for by_seed in self.rows.values() for row in by_seed.values()]

    def of(self, scenario: str, contender: str) -> Mapping[int, Row]:
        return self.rows.get((scenario, contender), {})

    def played(self, scenario: str) -> tuple[str, ...]:
        """The contenders that have rows of the scenario."""
        return tuple(contender for contender in self.contenders if (scenario, contender) in self.rows)

    def seeds(self, scenario: str) -> tuple[int, ...]:
        """Those that every contender of the scenario has; empty where they have none in common."""
        common = [set(self.of(scenario, contender)) for contender in self.played(scenario)]
        return tuple(sorted(set.intersection(*common))) if common else ()

    def left_out(self, scenario: str) -> dict[int, tuple[str, ...]]:
        """Seeds that some contender lacks, and who."""
        played = self.played(scenario)
        every = sorted({seed for contender in played for seed in self.of(scenario, contender)})
        lacks = {seed: tuple(c for c in played if seed not in self.of(scenario, c)) for seed in every}
        return {seed: who for seed, who in lacks.items() if who}

    def values(self, scenario: str, contender: str, metric: str) -> BySeed:
        """The figure of each seed that has it. `SHARE` is reckoned from the counts."""
        key = scenario, contender, metric
        if key not in self._kept:
            figures = {seed: _figure(row, metric) for seed, row in self.of(scenario, contender).items()}
            self._kept[key] = {seed: value for seed, value in figures.items() if value is not None}
        return self._kept[key]

    def repeats(self, scenario: str, contender: str) -> bool:
        """Whether its rows are the same for every seed (there are several), times aside."""
        rows = [*self.of(scenario, contender).values()]
        return len(rows) > 1 and all(_told(row) == _told(rows[0]) for row in rows)

    def mean(self, scenario: str, contender: str, metric: str) -> float | None:
        """Over the seeds that all contenders have, else over its own; None where no row tells it."""
        values = self.values(scenario, contender, metric)
        common = [values[seed] for seed in self.seeds(scenario) if seed in values]
        return fmean(common or values.values()) if values else None

    def base(self, name: str) -> str:
        """The contender that the others are compared with.

        Raises:
            NoBaseError: none is called so, nor is the only one of this policy.
        """
        if name in self.contenders:
            return name
        alike = {c for (_, c), rows in self.rows.items() if any(row.policy == name for row in rows.values())}
        if len(alike) == 1:
            return alike.pop()
        there = ", ".join(sorted(alike) or self.contenders)
        raise NoBaseError(
            f"{name!r}: expected one policy of the rows, got {len(alike)}.",
            advice=f"Maybe --base with one of: {there}.",
        )


def results_of(rows: Sequence[Row]) -> Results:
    """Sort the rows; of two rows with one key the last one counts.

    Raises:
        BadInputError: there are none.
        MixedDigestsError: a scenario has two digests.
    """
    if not rows:
        raise BadInputError("expected rows, got none.", advice="Measure some first: numaplace bench run --help.")
    shared = _shared_options(rows)
    sorted_rows: dict[tuple[str, str], dict[int, Row]] = {}
    for row in sorted(rows, key=lambda row: row.key):
        sorted_rows.setdefault((row.scenario, contender_of(row, shared)), {})[row.seed] = row
    unknown = {name for row in rows for name in row.metrics if not _is_known(name)}
    return Results(rows=sorted_rows, digests=_digests(rows), shared=shared, unknown=tuple(sorted(unknown)))


def contender_of(row: Row, shared: Shared) -> str:
    """`solver`, or `solver (rebalance=1h)` where other rows were measured otherwise."""
    own = told_options({name: value for name, value in row.options.items() if (name, value) not in shared})
    return f"{row.policy} ({own})" if own else row.policy


def _shared_options(rows: Sequence[Row]) -> Shared:
    counts = Counter(item for row in rows for item in row.options.items())
    return tuple(sorted(item for item, count in counts.items() if count == len(rows)))


def _digests(rows: Sequence[Row]) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row.scenario, set()).add(row.digest)
    for scenario, digests in found.items():
        if len(digests) > 1:
            told = ", ".join(sorted(digest[:12] for digest in digests))
            raise MixedDigestsError(
                f"{scenario}: expected rows of one digest, got {told}: the scenario or its data changed in between.",
                advice="Maybe measure all policies again into a new --results folder.",
            )
    return {scenario: next(iter(found[scenario])) for scenario in sorted(found)}


def _is_known(name: str) -> bool:
    try:
        metric_of(name)
    except KeyError:
        return False
    return True


def asked(row: Row) -> float:
    """Guests of the row: placed, refused, or placed where they must not be."""
    return sum(row.metrics.get(name, 0) for name in ("placed", "refused", "broken"))


def _told(row: Row) -> tuple[object, ...]:
    """All that a second run must repeat."""
    figures = {name: value for name, value in row.metrics.items() if not (_is_known(name) and metric_of(name).is_time)}
    return figures, dict(row.distances), row.series.get("at_s")


def _figure(row: Row, metric: str) -> float | None:
    if metric != SHARE:
        return row.metrics.get(metric)
    guests = asked(row)
    return row.metrics["placed"] / guests if "placed" in row.metrics and guests and math.isfinite(guests) else None
