"""What libvirt's errors mean: refused for certain, or nobody knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scheduler.executors.libvirt_errors import classified, unreachable
from scheduler.executors.port import (
    DefiniteFailureError,
    ExecutorError,
    HostChangedError,
    NameTakenError,
    OutcomeUnknownError,
)
from tests.conftest import DATA

_FAILED = re.compile(r"^CREATE FAILED after .*?code=(\d+) .*?\n +(.*)$", re.MULTILINE)
RECORDED = [
    (path, int(code), text)
    for path in sorted((DATA / "recorded/kvm").glob("*/dom/*.txt"))
    for code, text in _FAILED.findall(path.read_text())
]


@pytest.mark.data
@pytest.mark.parametrize(
    ("path", "code", "text"), RECORDED or [(Path(), 0, "")], ids=lambda v: getattr(v, "stem", None)
)
def test_every_recorded_failure_to_create_was_definite(data: Path, path: Path, code: int, text: str) -> None:
    """Nothing was left of those guests; the host's fault where memory, a CPU or a node is missing."""
    error = classified(code, text, doing="start")
    assert isinstance(error, DefiniteFailureError)
    assert isinstance(error, HostChangedError) == (path.stem != "huge1g")
    assert text in error.message
    assert error.advice


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (38, "Cannot recv data: Input/output error: End of file while reading data", OutcomeUnknownError),
        (39, "internal error: client socket is closed", OutcomeUnknownError),
        (1, "internal error: received keepalive timeout", OutcomeUnknownError),
        (68, "Timed out during operation: cannot acquire state change lock (held by qemu)", OutcomeUnknownError),
        (9, "operation failed: domain 'a' already exists with uuid u", NameTakenError),
        (55, "Requested operation is not valid: domain is not running", DefiniteFailureError),
        (29, "operation createXML forbidden for read only access", DefiniteFailureError),
        (1, "internal error: something that nobody has met yet", OutcomeUnknownError),
        (999, "a number of another libvirt", OutcomeUnknownError),
    ],
)
def test_what_is_not_surely_definite_is_indefinite(code: int, text: str, kind: type[ExecutorError]) -> None:
    """A lost reply is not a failure; an unknown error asks for a look."""
    error = classified(code, text, doing="start g")
    assert type(error) is kind
    assert error.message.startswith("start g: ")
    assert error.exit_status == (8 if kind is OutcomeUnknownError else 7)


def test_no_connection_asked_nothing() -> None:
    """Exit status 6, and what to look at."""
    error = unreachable("qemu:///system", "Failed to connect socket")
    assert (error.exit_status, "libvirtd" in error.advice) == (6, True)
