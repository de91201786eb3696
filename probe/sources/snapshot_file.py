"""A snapshot file of our own: `snapshot:FILE.json`, or just `FILE.json`."""

from __future__ import annotations

from datetime import datetime

from probe.json_fields import parse_json
from probe.limits import ReadLimits
from probe.snapshot import HostSnapshot
from probe.snapshot_json import snapshot_from_json
from probe.sources.files import read_text_file


def parse_snapshot(text: str, *, origin: str) -> HostSnapshot:
    """The snapshot that `numaplace probe -o` wrote as `text`. Raises `SourceMalformedError`."""
    return snapshot_from_json(parse_json(text, origin=origin), origin=origin)


def read_snapshot_file(rest: str, *, limits: ReadLimits, now: datetime, spec: str) -> HostSnapshot:
    """Read a snapshot file. It keeps its own `taken_at` and `sources`: that is what is true of it."""
    del now, spec
    return parse_snapshot(read_text_file(rest, limits=limits), origin=rest)
