"""A host of the embedded hypervisor: its file holds its snapshot, as a machine has its /sys.

The file is the hypervisor's own SQLite database (`scheduler/sim`); all that is read of it is the
row of table `published`, the snapshot as JSON.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from probe.errors import SourceMalformedError, SourceUnreadableError
from probe.limits import ReadLimits
from probe.snapshot import HostSnapshot
from probe.snapshot_json import snapshot_from_json


def read_sim(rest: str, *, limits: ReadLimits, now: datetime, spec: str) -> HostSnapshot:
    """Read `sim:FILE`.

    Raises:
        SourceUnreadableError: there is no such file.
        SourceMalformedError: it is no host of the embedded hypervisor.
    """
    import sqlite3

    path = Path(rest)
    if not path.is_file():
        raise SourceUnreadableError(rest, "no such file", advice="Maybe: numaplace sim create FILE --from SOURCE")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=60)
        try:
            (text,) = connection.execute("SELECT snapshot FROM published").fetchone()
        finally:
            connection.close()
        value = json.loads(text)
    except (sqlite3.Error, TypeError, ValueError, RecursionError) as error:
        raise SourceMalformedError(rest, "a host of the embedded hypervisor", error) from error
    if len(text) > limits.file_bytes:
        raise SourceMalformedError(rest, f"at most {limits.file_bytes} bytes", len(text))
    return replace(snapshot_from_json(value, origin=rest), taken_at=now, sources=(spec,))
