"""Hosts as `adopt` works on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from probe.snapshot import HostSnapshot
from scheduler.adopt import Present
from scheduler.files.hosts_file import HostConfig
from scheduler.reading import read_combined
from scheduler.steps import Site


def present_hosts(configs: Sequence[HostConfig], sites: Mapping[str, Site]) -> Mapping[str, Present]:
    """The open hosts, each with its rules and a way to read it afresh."""
    return {
        config.name: Present(site=sites[config.name], rules=config.rules, read=_reader(config))
        for config in configs
        if config.name in sites
    }


def _reader(config: HostConfig) -> Callable[[], HostSnapshot]:
    return lambda: read_combined(config.sources)
