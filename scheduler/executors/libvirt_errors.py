"""What a libvirt error means for us: refused for certain, or nobody knows.

libvirt's code 1 covers five causes, so code, domain and text are looked at together (measured;
research/reliability.md A3). What is in no row is taken as indefinite: a claim is then kept until
somebody has looked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from scheduler.executors.port import (
    DefiniteFailureError,
    ExecutorError,
    HostChangedError,
    HostUnreachableError,
    NameTakenError,
    OutcomeUnknownError,
)

NO_DOMAIN = 42
"""VIR_ERR_NO_DOMAIN: undoing what is not there has succeeded."""

NO_SUPPORT = 3
"""VIR_ERR_NO_SUPPORT: the driver of this hypervisor does not have the call."""

OPERATION_INVALID = 55
"""VIR_ERR_OPERATION_INVALID: already running, or not running."""


@dataclass(frozen=True, slots=True)
class _Row:
    codes: frozenset[int]
    text: re.Pattern[str]
    error: type[ExecutorError]
    advice: str = ""


def _row(codes: tuple[int, ...], text: str, error: type[ExecutorError], advice: str = "") -> _Row:
    return _Row(frozenset(codes), re.compile(text, re.IGNORECASE), error, advice)


_MEMORY_ADVICE = "Maybe somebody else took the memory since the plan: plan again."

_ROWS = (
    _row(
        (38, 1, 39),
        r"end of file|keepalive|client socket is closed|broken pipe|connection reset",
        OutcomeUnknownError,
    ),
    _row((68,), r"state change lock", OutcomeUnknownError),
    _row((9,), r"already exists|already defined", NameTakenError, "Maybe another guest has this name or uuid."),
    _row(
        (67,),
        r"NUMA node \S+ is unavailable|nodeset",
        HostChangedError,
        "Maybe the host lost a node: plan again.",
    ),
    _row((38,), r"cpuset\.(cpus|mems)", HostChangedError, "Maybe a CPU went offline: plan again."),
    _row((1,), r"cannot allocate memory|insufficient free", HostChangedError, _MEMORY_ADVICE),
    _row((1,), r"exited while connecting to monitor", HostChangedError, _MEMORY_ADVICE),
    _row((1, 67), r"hugetlbfs", DefiniteFailureError, "Maybe mount hugetlbfs and restart libvirtd."),
    _row((29,), r"", DefiniteFailureError, "Maybe this user may only read: use a URI that may write."),
    _row((8, 27, 67, 42, 55, 9, 37), r"", DefiniteFailureError),
)
"""First match wins. Codes are libvirt's virErrorNumber."""


def classified(code: int, text: str, *, doing: str) -> ExecutorError:
    """The error that a libvirt error becomes; `doing` says what was tried."""
    for row in _ROWS:
        if code in row.codes and row.text.search(text):
            return row.error(f"{doing}: {text}", advice=row.advice)
    return OutcomeUnknownError(
        f"{doing}: {text} (libvirt error {code})",
        advice="Maybe look with `numaplace status --reconcile`: this error is not known to be harmless.",
    )


def unreachable(uri: str, text: str) -> HostUnreachableError:
    """No connection: nothing was asked."""
    return HostUnreachableError(
        f"{uri}: no connection: {text}",
        advice="Maybe libvirtd is not running there, or this user may not use it.",
    )
