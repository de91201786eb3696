"""What a call of xl means that failed: refused for certain, no way in, or nobody knows."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from probe.sources.commands import Ended
from probe.sources.shell import HostShell
from probe.sources.ssh import SshTarget
from scheduler.executors.port import (
    DefiniteFailureError,
    ExecutorError,
    HostChangedError,
    HostUnreachableError,
    NameTakenError,
    OutcomeUnknownError,
)
from scheduler.executors.xl_calls import GONE, NOTHING_DONE, DomainGoneError, act, ask, failure_of
from tests.conftest import DATA
from tests.sshd import Sshd

RECORDED = sorted(path for path in (DATA / "recorded/xen").glob("[xp]*/create-*.rc"))
CHANGED = {"create-s8-toobig", "create-s9-badcpu", "create-p2-pool-bad"}
"""Memory, a CPU, the CPUs of a cpupool: the host is not as planned."""


def ended(status: int, complaint: str) -> Ended:
    return Ended(status=status, output="", complaint=complaint)


@pytest.mark.data
@pytest.mark.parametrize("path", RECORDED or [Path()], ids=lambda path: path.stem)
def test_every_recorded_failure_to_create_was_definite(data: Path, path: Path) -> None:
    """Xen had no trace of those guests; the message is xl's first complaint, not its last."""
    complaint = path.with_suffix(".err").read_text()
    error = failure_of(ended(int(path.read_text()), complaint), doing="start g")
    assert isinstance(error, DefiniteFailureError)
    assert isinstance(error, HostChangedError) == (path.stem in CHANGED)
    assert isinstance(error, NameTakenError) == (path.stem == "create-dup")
    assert error.advice.startswith("Maybe")
    assert error.message.startswith("start g: ")
    assert "Parsing config" not in error.message
    assert "Destruction" not in error.message


@pytest.mark.data
def test_every_recorded_success_came_with_words_on_standard_error(data: Path) -> None:
    """xl says "Parsing config from" there when all is well: only the status counts."""
    good = [p for p in (data / "recorded/xen").glob("[xp]*/create-*.err") if not p.with_suffix(".rc").exists()]
    assert len(good) > 5
    assert all(path.read_text() for path in good)


@pytest.mark.parametrize(
    ("status", "complaint", "lost", "kind"),
    [
        (255, "ssh: connect to host h port 22: Connection refused", True, HostUnreachableError),
        (255, "ssh: Could not resolve hostname h: Name or service not known", True, HostUnreachableError),
        (255, "root@h: Permission denied (publickey).", True, HostUnreachableError),
        (255, "Warning: a key\nHost key verification failed.", True, HostUnreachableError),
        (255, "kex_exchange_identification: Connection closed by remote host", True, HostUnreachableError),
        (255, "Connection timed out during banner exchange", True, HostUnreachableError),
        (255, "Connection to h closed by remote host.", True, OutcomeUnknownError),
        (255, "client_loop: send disconnect: Broken pipe", True, OutcomeUnknownError),
        (255, "Timeout, server h not responding.", True, OutcomeUnknownError),
        (255, "Out of memory", True, OutcomeUnknownError),
        (255, "", True, OutcomeUnknownError),
        (127, "sh: 1: xl: not found", False, HostUnreachableError),
        (GONE, "it has gone", False, DomainGoneError),
        (NOTHING_DONE, "mktemp: No space left on device", False, DefiniteFailureError),
        (-9, "Out of memory", False, OutcomeUnknownError),
        (1, "something that nobody has met yet", False, OutcomeUnknownError),
        (1, "", False, OutcomeUnknownError),
    ],
)
def test_what_is_not_surely_definite_is_indefinite(
    status: int, complaint: str, lost: bool, kind: type[ExecutorError]
) -> None:
    """A lost connection is told from no connection, whatever xl had said before it broke."""
    error = failure_of(ended(status, complaint), doing="start g", lost=lost)
    assert type(error) is kind
    assert "Warning" not in error.message


def test_the_same_words_without_ssh_are_xls_own() -> None:
    """Status 255 of a script on this machine is no lost connection."""
    assert not HostShell().is_lost(ended(255, ""))
    assert HostShell(SshTarget(host="h")).is_lost(ended(255, ""))


@pytest.fixture
def far(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> HostShell:
    monkeypatch.setenv("PATH", f"{sshd.bin}:{os.environ['PATH']}")
    return HostShell(SshTarget(host="127.0.0.1", user=sshd.user, port=sshd.port))


def test_a_real_connection_that_breaks_leaves_an_act_unknown(far: HostShell) -> None:
    """The far sshd is ended in the middle of the act: it may have been done. A look has done nothing."""
    with pytest.raises(OutcomeUnknownError, match="connection was lost"):
        act(far, "start g", "kill -9 $PPID; sleep 5")
    with pytest.raises(HostUnreachableError):
        ask(far, "look", "kill -9 $PPID; sleep 5")


def test_a_real_host_that_lets_nobody_in_was_asked_nothing(far: HostShell, sshd: Sshd) -> None:
    """Nobody listens there; or it does not know the key."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        deaf = HostShell(SshTarget(host="127.0.0.1", port=free.getsockname()[1]))
        for call in (act, ask):
            with pytest.raises(HostUnreachableError, match="refused"):
                call(deaf, "start g", "true")
    stranger = HostShell(SshTarget(host="127.0.0.1", user="nobody", port=sshd.port))
    with pytest.raises(HostUnreachableError, match="Permission denied") as caught:
        act(stranger, "start g", "true")
    assert "without a password" in caught.value.advice


def test_a_real_host_without_xl_is_no_xen_host(far: HostShell) -> None:
    """The same words here and there."""
    for shell in (HostShell(), far):
        with pytest.raises(HostUnreachableError, match="not found"):
            act(shell, "start g", "no-such-xl create")


def test_an_act_that_takes_too_long_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended here, with all that it started; there, nobody knows."""
    monkeypatch.setattr("scheduler.executors.xl_calls.ACT_TIMEOUT_S", 0.3)
    with pytest.raises(OutcomeUnknownError, match=r"no end after 0\.3 s"):
        act(HostShell(), "start g", "sleep 60; true")


def test_without_ssh_nothing_was_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ssh itself is missing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostUnreachableError, match="ssh is not installed"):
        act(HostShell(SshTarget(host="h")), "start g", "true")
