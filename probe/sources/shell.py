"""A POSIX shell on this machine, or on another over ssh: where the hypervisor's own tools are run.

Scripts are fixed words of ours without a single quote; what varies is handed over as words, which
the script finds in `$1`, `$2`, …, and bytes on standard input.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from probe.errors import SourceMalformedError
from probe.limits import DEFAULT_LIMITS, ReadLimits
from probe.sources.commands import COMMAND_TIMEOUT_S, Ended, run_to_end
from probe.sources.ssh import SshTarget, ssh_argv

ADMIN_PATH = "PATH=$PATH:/usr/sbin:/sbin; export PATH; "
"""Logins over ssh have a path of their own, often without the folders of administration."""

CUT = "numaplace-cut"
"""Stands alone on a line between two outputs: a table's rows have several columns, so none equals it."""

LOST_STATUS = 255
"""ssh(1): the exit status of the remote command, or 255 if an error occurred in ssh itself."""


@dataclass(frozen=True, slots=True)
class HostShell:
    """Where scripts are run; `target` is None for this machine."""

    target: SshTarget | None = None

    def __str__(self) -> str:
        return "this machine" if self.target is None else str(self.target)

    def run(
        self,
        script: str,
        *words: str,
        stdin: bytes = b"",
        timeout_s: float = COMMAND_TIMEOUT_S,
        limits: ReadLimits = DEFAULT_LIMITS,
    ) -> Ended:
        """How the script ended. Raises what `run_to_end` raises."""
        full = ADMIN_PATH + script
        argv = ["sh", "-c", full, "sh", *words] if self.target is None else ssh_argv(self.target, full, *words)
        return run_to_end(argv, limits=limits, timeout_s=timeout_s, stdin=stdin)

    def is_lost(self, ended: Ended) -> bool:
        """The connection, not the script, ended; a script that ends with this status itself cannot be told apart."""
        return self.target is not None and ended.status == LOST_STATUS


def joined(commands: Sequence[str]) -> str:
    """One script for several commands, so that one connection does; it stops where one fails."""
    return f" && echo {CUT} && ".join(commands)


def split(output: str, parts: int, *, origin: str) -> list[str]:
    """The outputs of so many `joined` commands. Raises `SourceMalformedError` when there are fewer or more."""
    texts = re.split(rf"^{CUT}\n", output, flags=re.MULTILINE)
    if len(texts) != parts:
        raise SourceMalformedError(origin, f"the output of {parts} commands", f"{len(texts)} parts")
    return texts
