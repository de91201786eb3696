"""Hosts from their sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from probe.errors import NumaplaceError, SourceUnreadableError
from probe.snapshot import HostSnapshot
from probe.sources.registry import read_source

if TYPE_CHECKING:
    from scheduler.files.hosts_file import HostConfig

AT_ONCE = 8
"""So many hosts are read at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Hosts by name: what was read of them, and why the others could not be reached."""

    snapshots: Mapping[str, HostSnapshot]
    unreached: Mapping[str, NumaplaceError]


def read_combined(sources: Sequence[str]) -> HostSnapshot:
    """The sources of one host, combined; what they disagree on is listed in the snapshot."""
    snapshots = [read_source(source) for source in sources]
    if len(snapshots) == 1:
        return snapshots[0]
    from probe.combine import combine

    return combine(snapshots)


def read_hosts_of(configs: Sequence[HostConfig], step: Callable[[], None] = lambda: None) -> Reading:
    """A snapshot of each host, several at a time; `step` is called after each.

    Raises:
        SourceMalformedError: a source says what it should not. A host that is only down raises nothing.
    """

    def read(config: HostConfig) -> HostSnapshot | NumaplaceError:
        try:
            return read_combined(config.sources)
        except SourceUnreadableError as error:
            return error
        finally:
            step()

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        found = dict(zip((config.name for config in configs), pool.map(read, configs), strict=True))
    return Reading(
        snapshots={name: each for name, each in found.items() if isinstance(each, HostSnapshot)},
        unreached={name: each for name, each in found.items() if isinstance(each, NumaplaceError)},
    )
