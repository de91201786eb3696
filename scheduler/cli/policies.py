"""`numaplace policies`: who can decide."""

from __future__ import annotations

import click

from scheduler.cli.output import columns, emit, output_option


@click.command()
@output_option
def policies(output: str) -> None:
    """List the policies that `plan --policy` takes: ours and those of installed packages."""
    from policies.registry import describe_policies

    known = describe_policies()
    emit(
        {"schema": 1, "policies": [{"name": name, "description": text} for name, text in known.items()]},
        output,
        lambda: (
            columns(("POLICY", "WHAT IT DOES"), known.items())
            + "\n\nYour own: --policy FILE.py:NAME (policies/README.md shows one in ten lines)."
        ),
    )
