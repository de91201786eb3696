"""`numaplace schema`: the schema of the files that people write."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("kind", type=click.Choice(["fleet", "hosts"]))
def schema(kind: str) -> None:
    """Print the JSON Schema of fleet or hosts files, for editors and for checks."""
    from scheduler.files.schemas import json_schema

    click.echo(json.dumps(json_schema(kind), indent=2, default=str))
