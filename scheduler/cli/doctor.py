"""`numaplace doctor`: what is there, what is missing, what mends it."""

from __future__ import annotations

from pathlib import Path

import click

from scheduler.cli.options import ledger_option
from scheduler.cli.output import emit, output_option


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
        lambda: _table(rows),
    )
    return 1 if any(finding.health is Health.BROKEN for finding in findings) else 0


def _table(findings: list[dict[str, str]]) -> str:
    """A line for each finding, and below it the command that mends it."""
    marks = {"ok": "✓", "optional": "–", "broken": "✗"}
    widest = max(len(finding["what"]) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{marks[finding['health']]} {finding['what']:{widest}}  {finding['found']}")
        if finding["mend"]:
            lines.append(f"  {'':{widest}}  → {finding['mend']}")
    broken = sum(finding["health"] == "broken" for finding in findings)
    missing = sum(finding["health"] == "optional" for finding in findings)
    verdict = "Ready" if not broken else f"{broken} thing{'s' * (broken > 1)} must be mended"
    return "\n".join(
        [*lines, "", f"{verdict}. {missing} optional thing{'s are' if missing != 1 else ' is'} not there."]
    )
