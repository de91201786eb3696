"""From `--host` and `--hosts` to snapshots: what the commands share when they look at hosts."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from policies.request import HostName
from probe.errors import BadInputError
from probe.snapshot import HostSnapshot
from probe.sources.registry import KINDS
from scheduler.cli.progress import progress
from scheduler.reading import Reading, read_combined, read_hosts_of

if TYPE_CHECKING:
    from scheduler.files.hosts_file import HostConfig

DEFAULT_PATHS = (Path("hosts.yaml"), Path("~/.config/numaplace/hosts.yaml"))


def find_hosts_file(given: Path | None) -> Path | None:
    """`--hosts`, else $NUMAPLACE_HOSTS, else ./hosts.yaml, else ~/.config/numaplace/hosts.yaml."""
    if given is not None:
        return given
    if named := os.environ.get("NUMAPLACE_HOSTS"):
        return Path(named)
    return next((p for p in (path.expanduser() for path in DEFAULT_PATHS) if p.is_file()), None)


def is_name(host: str) -> bool:
    """Whether `--host` names a host of the hosts file, and not a source."""
    return ":" not in host and not host.endswith(".json")


def read_one(hosts: Sequence[str], hosts_path: Path | None) -> HostSnapshot:
    """One host: by its name in the hosts file, or by one or more sources that describe it.

    Raises:
        BadInputError: neither a source nor a known name.
    """
    if len(hosts) == 1 and is_name(hosts[0]):
        config = next((c for c in read_configs((), hosts_path) if c.name == hosts[0]), None)
        if config is None:
            raise BadInputError(
                f"--host {hosts[0]!r}: no host of this name in {find_hosts_file(hosts_path)}.",
                advice=f"Maybe a source is meant: {', '.join(kind.example for kind in dict.fromkeys(KINDS.values()))}.",
            )
        hosts = config.sources
    with progress(f"reading {', '.join(hosts)}"):
        return read_combined(hosts)


def read_configs(hosts: Sequence[str], hosts_path: Path | None) -> tuple[HostConfig, ...]:
    """The hosts to plan for: each `--host SOURCE` alone, else those of the hosts file.

    Raises:
        BadInputError: there is neither, or a host twice.
    """
    from scheduler.files.hosts_file import host_of_source, read_hosts

    path = find_hosts_file(hosts_path)
    named = [h for h in hosts if is_name(h)]
    configs = list(read_hosts(path)) if path and (named or not hosts) else []
    if hosts:
        known = {c.name: c for c in configs}
        if missing := [name for name in named if name not in known]:
            raise BadInputError(f"--host {missing[0]!r}: no host of this name in {path}.")
        if twice := [h for h in hosts if hosts.count(h) > 1 and not h.startswith("synthetic:")]:
            raise BadInputError(f"--host {twice[0]!r}: stands there twice; expected each host once.")
        sourced = [h for h in hosts if h not in named]
        names = iter(_names_of(sourced))
        configs = [known[HostName(h)] if h in named else host_of_source(h, next(names)) for h in hosts]
    if not configs:
        raise BadInputError(
            "no hosts: expected --hosts FILE or --host SOURCE.",
            advice="Maybe --host sysfs: for this machine; README, 'hosts.yaml', shows a file for several.",
        )
    return tuple(configs)


def read_all(configs: Sequence[HostConfig], *, need_one: bool = True) -> Reading:
    """What can be read of the hosts; on stderr it is said which could not be reached, and why.

    Raises:
        SourceUnreadableError: none could be reached, and one is needed.
    """
    with progress(f"reading {len(configs)} host{'s' * (len(configs) > 1)}", total=len(configs)) as step:
        reading = read_hosts_of(configs, step)
    for name, error in reading.unreached.items():
        if need_one and not reading.snapshots:
            raise error
        click.echo(f"numaplace: host {name} is left out. {error}", err=True)
    return reading


def _names_of(sources: Sequence[str]) -> list[str]:
    """Names for hosts that are given by `--host SOURCE`: the URI's host, a file's stem, or ours.

    A name that comes twice gets -2, -3, …
    """
    names: list[str] = []
    for source in sources:
        name = _name_of(source)
        times = sum(1 for other in names if other == name or other.startswith(f"{name}-"))
        names.append(f"{name}-{times + 1}" if times else name)
    return names


def _name_of(source: str) -> str:
    scheme, _, rest = source.partition(":")
    if rest.startswith("//"):
        name = (urlsplit(source).hostname or "") if "@" in rest or rest[2:3] != "/" else ""
    elif scheme == "synthetic":
        name = "synthetic"
    else:
        name = Path(rest.partition("#")[0] or source).name.partition(".")[0] if rest else ""
    cleaned = re.sub(r"[^A-Za-z0-9._+@-]", "-", name or socket.gethostname()).lstrip("-._+@")
    return cleaned[:60] or "host"
