"""Which libvirt URIs may be opened: a URI can run a program, so only known forms pass.

`libvirt.open("qemu+ssh://h/system?command=/path")` and `qemu+ext://` ran a local program
(measured; research/reliability.md 0.6). Drivers, transports and query keys are allow-lists, and
the text is matched as a whole: what this grammar does not know is refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import unquote

from probe.errors import BadInputError
from probe.sources.ssh import HOST, USER

DRIVERS = ("qemu", "xen", "test")
TRANSPORTS = ("", "unix", "ssh", "libssh", "libssh2", "tls", "tcp")
"""`libssh` and `libssh2` speak ssh inside libvirt's own process; `ext`, `command` etc. run programs."""

_QUERY: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        key: re.compile(pattern, re.ASCII)
        for key, pattern in {
            "no_tty": r"[01]",
            "proxy": r"auto|netcat|native",
            "mode": r"auto|direct|legacy",
            # `ssh -i FILE`: libvirt passes it as one word of an argument list, and ssh only reads it.
            "keyfile": r"[A-Za-z0-9._/~+@][A-Za-z0-9._/~+@ -]*",
            "sshauth": r"[a-z]+(,[a-z]+)*",
            "no_verify": r"[01]",
            "known_hosts_verify": r"normal|auto|ignore",
        }.items()
    }
)
"""Query keys that choose how, never what is run. `command`, `netcat`, `socket`, `root` etc. are not here."""

_URI = re.compile(
    rf"(?P<driver>[a-z]+)(?:\+(?P<transport>[a-z0-9]+))?://"
    rf"(?:(?:(?P<user>{USER})@)?(?P<host>{HOST})(?::(?P<port>\d{{1,5}}))?)?"
    r"(?P<path>/[A-Za-z0-9._/+@-]*)?(?:\?(?P<query>[^#]*))?",
    re.ASCII,
)


def check_libvirt_uri(uri: str, *, allow_tcp: bool = False) -> None:
    """Let a URI pass that is known to be harmless to open.

    `allow_tcp` lets `+tcp` go beyond loopback, in the clear (hosts.yaml: `allow_tcp`).

    Raises:
        BadInputError: anything else, with what would pass.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise _refused(uri, "is not DRIVER[+TRANSPORT]://[[USER@]HOST[:PORT]]/PATH")
    transport, host = match["transport"] or "", match["host"]
    if match["driver"] not in DRIVERS:
        raise _refused(uri, f"has the driver {match['driver']!r}; known are {', '.join(DRIVERS)}")
    if transport not in TRANSPORTS:
        allowed = ", ".join(filter(None, TRANSPORTS))
        raise _refused(uri, f"has the transport {transport!r}; allowed are {allowed}")
    if host is None and transport not in ("", "unix"):
        raise _refused(uri, f"names no host for the transport {transport!r}")
    if transport == "tcp" and not (allow_tcp or is_loopback(host)):
        raise _refused(
            uri,
            "is unencrypted beyond this machine",
            advice="Maybe +ssh or +tls; or `allow_tcp: true` for this host in hosts.yaml.",
        )
    _check_query(uri, match["query"] or "", host)


def is_loopback(host: str | None) -> bool:
    """Whether a URI's host is this machine by its name or address alone."""
    if host is None or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_query(uri: str, query: str, host: str | None) -> None:
    """libvirt separates pairs by '&' or ';' and unescapes values."""
    for pair in filter(None, re.split("[&;]", query)):
        key, _, raw = pair.partition("=")
        value = unquote(raw)
        if key not in _QUERY:
            raise _refused(uri, f"has the query key {key[:40]!r}; allowed are {', '.join(_QUERY)}")
        if _QUERY[key].fullmatch(value) is None:
            raise _refused(uri, f"has {key}={value[:40]!r}")
        if (key, value) in (("no_verify", "1"), ("known_hosts_verify", "ignore")) and not is_loopback(host):
            raise _refused(
                uri,
                f"trusts any host that answers ({key}={value})",
                advice="Maybe `ssh-keyscan` the host into known_hosts; only labs on this machine go unverified.",
            )


def _refused(uri: str, why: str, *, advice: str = "Maybe qemu:///system or qemu+ssh://HOST/system.") -> BadInputError:
    return BadInputError(f"libvirt URI {uri[:120]!r} {why}.", advice=advice)
