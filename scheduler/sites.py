"""Hosts as the commands use them: seen, with what is promised there, and open for creating guests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from policies.capacity import HostCapacity
from policies.host_rules import OutstandingClaim
from policies.promise import host_capacity
from probe.errors import BadInputError, NumaplaceError
from scheduler.executors.port import Executor, HostUnreachableError
from scheduler.files.hosts_file import HostConfig
from scheduler.reading import Reading, read_combined
from scheduler.steps import Look, Site


def open_executor(config: HostConfig) -> Executor:
    """The connection through which guests are created on a host.

    Raises:
        BadInputError: the host is a recording: nothing can be created there.
        HostUnreachableError: it does not answer.
    """
    if config.executor == "sim":
        from scheduler.executors.sim import SimExecutor

        return SimExecutor(Path(config.connect or ""))
    from probe.sources.xen_xl import parse_xl_shell

    if config.executor == "libvirt":
        from scheduler.executors.libvirt import LibvirtExecutor

        xl = None if config.xl is None else parse_xl_shell(config.xl)
        return LibvirtExecutor(config.connect or "", allow_tcp=config.allow_tcp, ssh=config.ssh, xl=xl)
    if config.executor == "xl":
        from scheduler.executors.xl import XlExecutor

        return XlExecutor(parse_xl_shell(config.connect or ""))
    raise BadInputError(
        f"host {config.name}: has sources to read and nothing to create guests through.",
        advice="Maybe give it `connect:` in the hosts file.",
    )


class Sites(NamedTuple):
    """Hosts by name: those that can be worked on, and why the others cannot be reached."""

    open: Mapping[str, Site]
    unreached: Mapping[str, NumaplaceError]


@contextmanager
def open_sites(configs: Sequence[HostConfig], reading: Reading) -> Iterator[Sites]:
    """Every host that was read, with its connection open; closed again at the end."""
    sites: dict[str, Site] = {}
    unreached = dict(reading.unreached)
    try:
        for config in configs:
            if config.name in reading.snapshots:
                try:
                    executor = open_executor(config)
                except HostUnreachableError as error:
                    unreached[config.name] = error
                else:
                    sites[config.name] = Site(
                        executor=executor,
                        connect=partial(open_executor, config),
                        topology=reading.snapshots[config.name].topology,
                        look=_looker(config),
                    )
        yield Sites(sites, unreached)
    finally:
        for site in sites.values():
            site.executor.close()


def _looker(config: HostConfig) -> Look:
    def look(claims: Sequence[OutstandingClaim]) -> HostCapacity:
        return host_capacity(config.name, read_combined(config.sources), config.rules, claims)

    return look
