"""The README's table of measured locality is what the lab's rows say."""

from __future__ import annotations

from benchmarks.report.reading import read_rows
from tests.conftest import ROOT

ROWS = ROOT / "benchmarks/lab.jsonl"
NAMES = {"default": "libvirt's default", "auto": "`placement='auto'` with numad", "solver": "numaplace"}


def test_the_table_is_of_the_rows_that_are_kept() -> None:
    """Guests that ran, local bytes, and those of the worst guest; idle first."""
    rows = {(row.scenario, row.policy): row.metrics for row in read_rows(ROWS)}
    readme = (ROOT / "README.md").read_text()
    for policy, name in NAMES.items():
        told = [
            f"{metrics['placed']:.0f}, {metrics['local_ratio'] * 100:.0f} %, {metrics['least_local_ratio'] * 100:.0f} %"
            for metrics in (rows[f"locality {scenario}", policy] for scenario in ("idle", "filled"))
        ]
        assert f"| {name} | {' | '.join(told)} |\n" in readme
