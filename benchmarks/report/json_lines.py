"""Rows as JSON Lines: for scripts, and small enough to be kept beside the code."""

from __future__ import annotations

import json

from benchmarks.report.results import Results


def json_lines(results: Results) -> str:
    """A line for each row, by scenario, policy and seed, without the samples; `numaplace bench report` reads them."""
    rows = ({**row.to_json(), "series": {}} for row in results.all_rows())
    return "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
