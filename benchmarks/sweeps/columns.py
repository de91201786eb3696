"""The columns of the Parquet files: a row of ours is a row there, readable without any code of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from benchmarks.metrics import METRICS
from benchmarks.rows import SCHEMA, Row, row_from_json
from probe.errors import SourceMalformedError

SERIES: Mapping[str, str] = {
    "at_s": "DOUBLE[]",
    "placed": "BIGINT[]",
    "refused": "BIGINT[]",
    "here": "BIGINT[]",
    "node_load": "DOUBLE[][]",
}
"""Of the samples, each as a column `series_…`."""
_TEXTS = "MAP(VARCHAR, VARCHAR)"
_HEAD: Mapping[str, str] = {
    "schema": "INTEGER",
    "scenario": "VARCHAR",
    "policy": "VARCHAR",
    "seed": "BIGINT",
    "options": _TEXTS,
    "digest": "VARCHAR",
}
_TAIL: Mapping[str, str] = {
    "limited_by_clock": "BOOLEAN",
    "parts": "MAP(VARCHAR, DOUBLE)",
    "distances": "MAP(VARCHAR, BIGINT)",
    **{f"series_{name}": kind for name, kind in SERIES.items()},
    "versions": _TEXTS,
    "command": "VARCHAR",
}
COLUMNS: Mapping[str, str] = {**_HEAD, **dict.fromkeys(METRICS, "DOUBLE"), **_TAIL}
"""By name, with DuckDB's types. Metrics with brackets are in `parts`; one that the row cannot tell is null."""
_FIELDS = {"schema", *(field.name for field in fields(Row))}
NEEDED = frozenset(_HEAD) | frozenset(_TAIL)
"""Without these a file is none of ours; a metric that it lacks was not there yet when it was written."""


def told(row: Row) -> dict[str, Any]:
    """A row as values of the columns. Raises `BadInputError` where it does not fit them."""
    origin = f"row {', '.join(map(str, row.key))}"
    row_from_json(row.to_json(), origin=origin)
    if strange := sorted(set(row.series) - set(SERIES)):
        raise SourceMalformedError(origin, f"series among {', '.join(SERIES)}", strange[0])
    _metrics_are_known(row, origin)
    of_row = {name: getattr(row, name) for name in (*_HEAD, *_TAIL) if hasattr(row, name)}
    return {
        **of_row,
        "schema": SCHEMA,
        **{name: row.metrics.get(name) for name in METRICS},
        "parts": {name: value for name, value in row.metrics.items() if name not in METRICS},
        **{f"series_{name}": row.series.get(name) for name in SERIES},
    }


def row_of(values: Mapping[str, Any], *, origin: str) -> Row:
    """The row of the values of the columns; `told` turned round.

    Raises:
        BadInputError: it is of a schema that we do not know, or says what no row says.
    """
    metrics = {name: values[name] for name in METRICS if values.get(name) is not None}
    series = {name: got for name in SERIES if (got := values[f"series_{name}"]) is not None}
    of_row = {name: values[name] for name in (*_HEAD, *_TAIL) if name in _FIELDS}
    row = row_from_json({**of_row, "metrics": {**metrics, **(values["parts"] or {})}, "series": series}, origin=origin)
    _metrics_are_known(row, origin)
    return row


def _metrics_are_known(row: Row, origin: str) -> None:
    for name in row.metrics:
        if name.partition("[")[0] not in METRICS:
            raise SourceMalformedError(origin, "metrics that benchmarks.metrics knows", name)
