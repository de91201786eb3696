"""Asking a Xen host and acting on it through `xl`, and what a call that failed means.

A look that fails has changed nothing. An act that fails was refused for certain only when xl says
so in words that are known (below; recorded in lab/xen, `create-*.err`), or ssh found no way in.
Anything else, a lost connection before all, leaves the outcome unknown. xl warns on standard error
when all is well, so only the exit status counts there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from probe.errors import SourceUnreadableError
from probe.sources.commands import CommandUnfinishedError, Ended, advice_on
from probe.sources.shell import HostShell
from scheduler.executors.port import (
    DefiniteFailureError,
    ExecutorError,
    HostChangedError,
    HostUnreachableError,
    NameTakenError,
    OutcomeUnknownError,
)

LOOK_TIMEOUT_S = 120.0
ACT_TIMEOUT_S = 900.0
"""`xl create` allocates and clears all memory of the guest before it ends: minutes for a large one."""

GONE = 90
"""Our own exit status: the domain id no longer belongs to the uuid; nothing was done."""

NOTHING_DONE = 91
"""Our own exit status: the script gave up before it changed anything."""

_NO_WAY_IN = re.compile(
    r"^ssh: |^kex_exchange|permission denied \(|host key verification failed|during banner exchange",
    re.IGNORECASE | re.MULTILINE,
)
"""What OpenSSH says before anything was run there. A connection that breaks later reads otherwise:
"Connection to h closed by remote host", "client_loop: …", "Timeout, server h not responding". """

_NO_TOOL = (126, 127)
"""The shell's exit status where it found no program to run (POSIX, 2.8.2)."""


class DomainGoneError(DefiniteFailureError):
    """There was no such domain any more; nothing was done."""


_OURS = {GONE: DomainGoneError, NOTHING_DONE: DefiniteFailureError}


@dataclass(frozen=True, slots=True)
class _Row:
    text: re.Pattern[str]
    error: type[ExecutorError]
    advice: str = ""


def _row(text: str, error: type[ExecutorError], advice: str = "") -> _Row:
    return _Row(re.compile(rf"^.*(?:{text}).*$", re.MULTILINE), error, advice)


_ROWS = (
    _row(r"already exists", NameTakenError, "Maybe another guest has this name: xl list"),
    _row(r"is an invalid domain identifier|Domain '\d+' does not exist", DomainGoneError),
    _row(r"vNUMA is not yet supported|xc_domain_getvnuma failed", DefiniteFailureError, "Maybe drop `vnuma`."),
    _row(
        r"Out of memory|Cannot allocate memory|failed to free memory for the domain",
        HostChangedError,
        "Maybe somebody else took the memory since the plan: plan again.",
    ),
    _row(
        r"vcpu hard affinity map is empty|Setting vcpu affinity: Invalid argument",
        HostChangedError,
        "Maybe a CPU went offline, or moved to another cpupool: plan again.",
    ),
    _row(
        r"config parsing error|Failed to parse config|Failed to read config|xl: unable to parse",
        DefiniteFailureError,
        "Maybe the template has what this xl does not know: `xl create -n FILE` tells more.",
    ),
    _row(
        r"libxl_ctx_alloc|privileged command interface|Permission denied",
        DefiniteFailureError,
        "Maybe it needs root, and a host that was booted with Xen.",
    ),
)
"""First match wins. The line that matched becomes the message."""

_NOTHING_LEFT = "Non-existant domain"
"""What libxl says (with this spelling) when it wants to take down what it failed to build, and finds nothing."""


def ask(shell: HostShell, doing: str, script: str, *words: str) -> str:
    """What a script printed that only looks.

    Raises:
        HostUnreachableError: it did not come to a good end; nothing was done.
    """
    try:
        ended = shell.run(script, *words, timeout_s=LOOK_TIMEOUT_S)
    except SourceUnreadableError as error:
        raise HostUnreachableError(f"{shell}: {doing}: {error.why}", advice=error.advice) from error
    if ended.status != 0:
        raise _unreachable(ended, f"{shell}: {doing}")
    return ended.output


def act(shell: HostShell, doing: str, script: str, *words: str, stdin: bytes = b"") -> None:
    """Run a script that changes something there.

    Raises:
        HostUnreachableError: there was no way in; nothing was done.
        DefiniteFailureError: it was refused (or a kind of it).
        OutcomeUnknownError: the reply was lost, or its meaning is not known.
    """
    try:
        ended = shell.run(script, *words, stdin=stdin, timeout_s=ACT_TIMEOUT_S)
    except CommandUnfinishedError as error:
        raise OutcomeUnknownError(f"{shell}: {doing}: {error.why}", advice=_LOOK_ADVICE) from error
    except SourceUnreadableError as error:
        raise HostUnreachableError(f"{shell}: {doing}: {error.why}", advice=error.advice) from error
    if ended.status != 0:
        raise failure_of(ended, doing=f"{shell}: {doing}", lost=shell.is_lost(ended))


_LOOK_ADVICE = "Maybe look with `numaplace status --reconcile`: this is not known to be harmless."


def failure_of(ended: Ended, *, doing: str, lost: bool = False) -> ExecutorError:
    """The error that an act becomes which did not end with status 0; `lost`: ssh ended, not the act."""
    said = f"{doing}: {_said(ended)}"
    if ended.status in _NO_TOOL or (lost and _NO_WAY_IN.search(ended.complaint)):
        return _unreachable(ended, doing)
    if lost:
        return OutcomeUnknownError(f"{said} (the connection was lost)", advice=_LOOK_ADVICE)
    if ended.status in _OURS:
        return _OURS[ended.status](said)
    for row in _ROWS if ended.status > 0 else ():
        if match := row.text.search(ended.complaint):
            return row.error(f"{doing}: {match[0].strip()}", advice=row.advice)
    if _NOTHING_LEFT in ended.complaint:
        return DefiniteFailureError(said)
    return OutcomeUnknownError(said, advice=_LOOK_ADVICE)


def _unreachable(ended: Ended, doing: str) -> HostUnreachableError:
    no_xl = "Maybe this is no Xen host: xl is not there." if ended.status in _NO_TOOL else ""
    return HostUnreachableError(f"{doing}: {_said(ended)}", advice=advice_on(ended.complaint) or no_xl)


def _said(ended: Ended) -> str:
    """Its first complaint: what libxl says after it are consequences."""
    lines = [line for line in ended.complaint.splitlines() if not line.startswith(("Parsing config", "Warning:"))]
    return lines[0] if lines else f"exit status {ended.status}"
