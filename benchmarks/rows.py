"""Rows: what one policy reached in one scenario with one seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from probe.errors import BadInputError

SCHEMA = 1
_TOO_LARGE = 1e100
"""No figure of ours comes near it. What is no number, or infinite, is not below it either."""


class Key(NamedTuple):
    """What a row is about. Two rows with one key are one row, measured twice.

    Attributes:
        options: `Row.options` as people read them, "rebalance=1h"; "" where all are as usual.
    """

    scenario: str
    policy: str
    seed: int
    options: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured row.

    Attributes:
        digest: of the scenario as it was played, its data files included; rows are compared under one digest only.
        metrics: by name (`benchmarks.metrics`); a figure that the row cannot tell is left out.
        series: columns of the samples, equally long: "at_s", "refused" (so far), "placed", "here" (guests there now),
            "node_load" (one list per sample: each node's load in per cent, of pCPUs or memory, whichever is fuller).
        distances: SLIT distance (rounded down) to the number of guests placed so far away (`mean_distance`).
        options: how it was measured, where that is not as usual: the option's name and its value as text. A policy
            with rebalancing and the same without are two rows, of two keys.
        limited_by_clock: whether anything was cut short by a wall clock, so that a second run may differ.
        versions: of numaplace, Python, OR-tools and numpy; the machine, and the day on which it was measured.
        command: what measures this row again.
    """

    scenario: str
    policy: str
    seed: int
    digest: str
    metrics: Mapping[str, float]
    series: Mapping[str, list[Any]] = field(default_factory=dict)
    distances: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    limited_by_clock: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""

    @property
    def key(self) -> Key:
        return Key(self.scenario, self.policy, self.seed, told_options(self.options))

    def to_json(self) -> dict[str, Any]:
        """As `row_from_json` reads it."""
        return {"schema": SCHEMA, **asdict(self)}


def told_options(options: Mapping[str, str]) -> str:
    """As they stand in a key and in tables: "rebalance=1h, sample=10", by name."""
    return ", ".join(f"{name}={options[name]}" for name in sorted(options))


def row_from_json(value: Any, *, origin: str) -> Row:
    """The row of a JSON object.

    Raises:
        BadInputError: it is none, or of a schema that we do not know, or a value is not of its kind.
    """
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise BadInputError(f"{origin}: expected a row of schema {SCHEMA}, got {str(value)[:80]!r}.")
    try:
        row = Row(**{name: value[name] for name in value if name != "schema"})
    except TypeError as error:
        raise BadInputError(f"{origin}: {error}.") from error
    for name, is_right, expected in _FIELDS:
        found = getattr(row, name)
        if not is_right(found):
            raise BadInputError(f"{origin}: {name}: expected {expected}, got {str(found)[:80]!r}.")
    return row


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _TOO_LARGE


def _maps_to(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and all(_is_text(k) and is_right(v) for k, v in value.items())


def _are_counts(value: Any) -> bool:
    counts = _maps_to(lambda count: _is_whole(count) and 0 <= count < _TOO_LARGE)
    return counts(value) and all(distance.isdecimal() and len(distance) < 10 for distance in value)


def _are_series(value: Any) -> bool:
    """Columns of numbers, equally long; `node_load` has lists of numbers, equally long too."""
    if not _maps_to(lambda column: isinstance(column, list))(value) or len({*map(len, value.values())}) > 1:
        return False
    loads = value.get("node_load", [])
    if not all(isinstance(load, list) and all(map(_is_number, load)) for load in loads):
        return False
    return len({*map(len, loads)}) <= 1 and all(
        all(map(_is_number, column)) for name, column in value.items() if name != "node_load"
    )


_FIELDS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    *((name, _is_text, "a text") for name in ("scenario", "policy", "digest", "command")),
    ("seed", _is_whole, "a whole number"),
    ("metrics", _maps_to(_is_number), "finite numbers by name"),
    ("series", _are_series, "columns of finite numbers, equally long"),
    ("distances", _are_counts, "counts by distance"),
    ("options", _maps_to(_is_text), "texts by name"),
    ("versions", _maps_to(_is_text), "texts by name"),
    ("limited_by_clock", lambda value: isinstance(value, bool), "true or false"),
)
"""What each field of a row must be: others write these files, and reports draw what is in them."""
