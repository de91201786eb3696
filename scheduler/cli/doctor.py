"""`numaplace doctor`: what is there, what is missing, what mends it."""

from __future__ import annotations

from pathlib import Path

import click

from scheduler.cli.options import ledger_option
from scheduler.cli.output import columns, emit, output_option


@click.command()
@click.option("--hosts", "hosts_path", type=click.Path(path_type=Path), help="Hosts file to check.")
@ledger_option
@output_option
def doctor(hosts_path: Path | None, ledger: str | None, output: str) -> int:
    """Check what numaplace needs on this machine. Exit status 1 when something it must have is broken."""
    from scheduler.cli.progress import progress
    from scheduler.cli.sources import find_hosts_file
    from scheduler.doctor import Health, examine

    with progress("looking around"):
        findings = list(examine(ledger=ledger, hosts_file=find_hosts_file(hosts_path)))
    keys = ("what", "health", "found", "mend")
    rows = [{key: str(getattr(finding, key)) for key in keys} for finding in findings]
    emit(
        {"schema": 1, "findings": rows},
        output,
        lambda: columns(("", "WHAT", "FOUND", "MENDED BY"), [_row(finding) for finding in rows]),
    )
    return 1 if any(finding.health is Health.BROKEN for finding in findings) else 0


def _row(finding: dict[str, str]) -> tuple[str, str, str, str]:
    mark = {"ok": "✓", "optional": "–", "broken": "✗"}[finding["health"]]
    return mark, finding["what"], finding["found"], finding["mend"]
