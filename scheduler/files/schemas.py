"""The JSON Schema of the files that people write."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from scheduler.files.fleet_file import FleetFile
from scheduler.files.hosts_file import HostsFile

_MODELS: dict[str, type[BaseModel]] = {"fleet": FleetFile, "hosts": HostsFile}


def json_schema(kind: str) -> dict[str, Any]:
    """The schema of "fleet" or "hosts" files."""
    return _MODELS[kind].model_json_schema(by_alias=True)
