"""One host from one or more sources."""

from __future__ import annotations

from collections.abc import Sequence

from probe.snapshot import HostSnapshot
from probe.sources.registry import read_source


def read_combined(sources: Sequence[str]) -> HostSnapshot:
    """The sources of one host, combined; what they disagree on is listed in the snapshot."""
    snapshots = [read_source(source) for source in sources]
    if len(snapshots) == 1:
        return snapshots[0]
    from probe.combine import combine

    return combine(snapshots)
