"""Where `…+ssh://` sources go, and the `ssh` command line for it.

`ssh` and the remote shell get fixed words only: what a person wrote is a user, a host and a port,
each of a narrow alphabet, so none of them can become an option or a command.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from probe.errors import BadInputError

USER = r"[A-Za-z_][A-Za-z0-9._-]{0,63}"
HOST = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]"
"""A host name, an IPv4 address, or an IPv6 address in brackets."""
_TARGET = re.compile(rf"//(?:(?P<user>{USER})@)?(?P<host>{HOST})(?::(?P<port>\d{{1,5}}))?/?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class SshTarget:
    """Whom to ask over ssh; made by `parse_ssh_target`, which checks the alphabet.

    Attributes:
        host: a name or address, an IPv6 address without brackets.
        user, port: None leaves them to the user's own ssh configuration.
    """

    host: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        return f"{user}{self.host}"


def parse_ssh_target(rest: str, *, spec: str) -> SshTarget:
    """Read the ``//[USER@]HOST[:PORT]`` that stands behind the scheme of `spec`.

    Raises:
        BadInputError: it is not of that form; a host that begins with '-' is none.
    """
    match = _TARGET.fullmatch(rest)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and not 0 < port < 65536):
        scheme = spec.partition(":")[0]
        raise BadInputError(
            f"{spec[:80]!r}: expected {scheme}://[USER@]HOST[:PORT], got {rest[:80]!r}.",
            advice=f"Maybe {scheme}://root@host1; keys and jump hosts belong into ~/.ssh/config.",
        )
    return SshTarget(host=match["host"].strip("[]"), user=match["user"], port=port)


def ssh_argv(target: SshTarget, command: str, *words: str) -> list[str]:
    """The command line that runs a fixed `command` in a POSIX shell there, whatever the login shell is.

    The command has no single quote; `words` may hold anything, and are its `$1`, `$2`, ….
    `BatchMode` never asks for a password; host keys are judged by the user's own configuration. A host
    that has gone silent is given up after 90 s.
    """
    port = ["-p", str(target.port)] if target.port else []
    alive = ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=6"]
    options = ["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", *alive, *port]
    handed = "".join(f" {shlex.quote(word)}" for word in ("sh", *words)) if words else ""
    return ["ssh", *options, "--", str(target), f"exec sh -c '{command}'{handed}"]
