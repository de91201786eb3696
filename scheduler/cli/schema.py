"""`numaplace schema`: the schema of the files that people write."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("kind", type=click.Choice(["fleet", "hosts"]))
def schema(kind: str) -> None:
    """Print the JSON Schema of fleet or hosts files, for editors and for checks."""
    from pydantic import BaseModel

    from scheduler.files.fleet_file import FleetFile
    from scheduler.files.hosts_file import HostsFile

    models: dict[str, type[BaseModel]] = {"fleet": FleetFile, "hosts": HostsFile}
    click.echo(json.dumps(models[kind].model_json_schema(by_alias=True), indent=2, default=str))
