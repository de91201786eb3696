"""A run that can go on after its process was killed: what it knows, as one JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probe.errors import BadInputError

SCHEMA = 1
MOST_BYTES = 1 << 30


def write_checkpoint(path: Path, value: Mapping[str, Any]) -> None:
    """Whoever reads the file finds all of the old value or all of the new one, also after a crash."""
    new = path.with_name(f"{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        file.write(json.dumps({"schema": SCHEMA, **value}))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def read_checkpoint(path: Path, about: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What was written last; None where there is no file, or one of another row or of other versions.

    Args:
        about: what the row is about.

    Raises:
        BadInputError: the file is no checkpoint. It is not written over.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    advice = "Maybe remove it: the row then begins anew."
    if len(text) > MOST_BYTES:
        raise BadInputError(f"{path}: a checkpoint of more than {MOST_BYTES} bytes.", advice=advice)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path}: expected a checkpoint, got no JSON: {error}.", advice=advice) from error
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise BadInputError(f"{path}: expected a checkpoint of schema {SCHEMA}.", advice=advice)
    return value if value.get("about") == about else None
