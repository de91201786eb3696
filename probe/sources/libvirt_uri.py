"""Which libvirt URIs are opened: a URI can run a program, so transports and keys are allow-listed.

`qemu+ssh://h/system?command=/path` and `qemu+ext://…?command=` ran a local program on plain
`libvirt.open()` (measured; research/reliability.md 0.6).
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import parse_qsl, urlsplit

from probe.errors import BadInputError

DRIVERS = frozenset({"qemu", "xen", "test"})
TRANSPORTS = frozenset({"", "unix", "ssh", "libssh", "libssh2", "tls", "tcp"})
QUERY_KEYS = frozenset({"no_tty", "no_verify", "keyfile", "known_hosts", "known_hosts_verify", "sshauth", "proxy"})
"""Keys that name a key file or switch a check; none of them runs a program. `mode`, `socket`,
`command` and `netcat` do, or lead elsewhere (libvirt, "Remote support")."""

_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*|\[?[0-9A-Fa-f:.]+\]?", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)


def check_libvirt_uri(uri: str, *, allow_tcp: bool = False) -> None:
    """Pass a URI that is safe to open.

    `allow_tcp` allows unencrypted `+tcp` beyond loopback.

    Raises:
        BadInputError: it could run a program, goes in the clear, or is none that we know.
    """
    try:
        parts = urlsplit(uri)
        host, user, _ = parts.hostname or "", parts.username or "", parts.port
    except ValueError as error:
        raise BadInputError(f"{uri[:120]!r}: not a URI: {error}.") from error
    driver, _, transport = parts.scheme.partition("+")
    if driver not in DRIVERS:
        raise BadInputError(f"{uri[:120]!r}: expected qemu, xen or test, got {driver!r}.")
    if transport not in TRANSPORTS:
        raise BadInputError(f"{uri[:120]!r}: the transport {transport!r} is refused: it can run a program.")
    keys = {key for key, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if refused := sorted(keys - QUERY_KEYS):
        raise BadInputError(f"{uri[:120]!r}: the key {refused[0]!r} is refused: it can run a program.")
    if parts.password or (host and not _HOST.fullmatch(host)) or (user and not _USER.fullmatch(user)):
        raise BadInputError(f"{uri[:120]!r}: expected [user@]host, got {parts.netloc[:60]!r}.")
    if transport == "tcp" and not allow_tcp and not _is_loopback(host):
        raise BadInputError(
            f"{uri[:120]!r}: tcp goes in the clear and is for loopback only.",
            advice="Maybe use ssh or tls, or `allow_tcp: true` for this host in the hosts file.",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
