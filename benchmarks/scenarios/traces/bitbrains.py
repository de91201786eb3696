"""Bitbrains' guests (GWA-T-12, the part that OpenDC ships): sizes, starts and ends."""

from __future__ import annotations

from datetime import datetime

from benchmarks.scenarios.file import TraceEntry
from benchmarks.scenarios.traces import TRACES, files_of
from benchmarks.scenarios.traces.coming import Coming
from benchmarks.scenarios.traces.sized import Sized
from benchmarks.scenarios.traces.table import TableRow, read_parquet_table, read_table
from probe.errors import SourceMalformedError

_COLUMNS = ("id", "start_time", "stop_time", "cpu_count", "mem_capacity")


def guests(entry: TraceEntry) -> tuple[Coming, ...]:
    """Every guest; times since the first came. Those who are there when the trace ends go then, all at once.

    `mem_capacity` is KiB (8388608 for 8 GiB), rounded up to whole MiB.
    """
    (path,) = files_of(TRACES["bitbrains-small"])
    rows = read_parquet_table(path, _COLUMNS) if path.suffix == ".parquet" else read_table(path, _COLUMNS)
    starts = [_time_s(row, "start_time") for row in rows]
    sized = Sized.of(entry.guest)
    began = min(starts, default=0.0)
    return tuple(
        Coming(
            request=sized.guest(f"vm{row.text('id')}", row.whole("cpu_count"), row.whole("mem_capacity")),
            at_s=start - began,
            until_s=_time_s(row, "stop_time") - began,
        )
        for row, start in zip(rows, starts, strict=True)
    )


def _time_s(row: TableRow, column: str) -> float:
    text = row.text(column)
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise SourceMalformedError(
            f"{row.origin}, {column}", "a time such as 2013-08-12 13:35:46+00:00", text
        ) from error
