"""A shell here, or on another machine through a real sshd: words and bytes arrive as they were."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from probe.errors import SourceMalformedError
from probe.limits import DEFAULT_LIMITS
from probe.sources.commands import CommandUnfinishedError, run_to_end
from probe.sources.shell import CUT, HostShell, joined, split
from probe.sources.ssh import SshTarget
from tests.sshd import Sshd

words = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20), max_size=4)


@pytest.fixture(params=["here", "ssh"])
def shell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> HostShell:
    if request.param == "here":
        return HostShell()
    sshd: Sshd = request.getfixturevalue("sshd")
    monkeypatch.setenv("PATH", f"{sshd.bin}:{os.environ['PATH']}")
    return HostShell(SshTarget(host="127.0.0.1", user=sshd.user, port=sshd.port))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(handed=words)
def test_words_arrive_as_they_were(shell: HostShell, handed: list[str]) -> None:
    """Quotes, `$(…)`, line ends, a leading '-': none of them becomes a command or another word."""
    ended = shell.run('for word in "$@"; do printf "%s\\0" "$word"; done', *handed)
    assert (0, "".join(f"{word}\0" for word in handed)) == (ended.status, ended.output)


def test_status_complaint_and_standard_input(shell: HostShell) -> None:
    """What was given is read to its end; a failure is told and not raised."""
    content = bytes(range(256)) * 5000
    ended = shell.run("wc -c; echo that is why >&2; exit 3", stdin=content)
    assert (3, str(len(content)), "that is why") == (ended.status, ended.output.strip(), ended.complaint)


def test_the_folders_of_administration_are_in_the_path(shell: HostShell) -> None:
    """Where distributions have xl."""
    assert "/usr/sbin" in shell.run("echo $PATH").output.strip().split(":")


def test_a_command_that_is_ended_takes_its_own_children_along(tmp_path: Path) -> None:
    """A shell's child would go on, and hold the output open."""
    with pytest.raises(CommandUnfinishedError):
        run_to_end(["sh", "-c", f"(sleep 1; touch {tmp_path}/late) & wait"], limits=DEFAULT_LIMITS, timeout_s=0.3)
    time.sleep(1)
    assert not (tmp_path / "late").exists()


def test_a_signal_is_a_status(tmp_path: Path) -> None:
    """Negative, as Python has it."""
    ended = run_to_end([sys.executable, "-c", "import os; os.kill(os.getpid(), 15)"], limits=DEFAULT_LIMITS)
    assert -15 == ended.status


@example(["a\x0cnumaplace-cut", "\x85numaplace-cut", "numaplace-cut "])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=4))
def test_outputs_are_cut_where_they_were_joined(outputs: list[str]) -> None:
    """Whatever other line ends they hold."""
    told = [f"{text}\n" for text in outputs]
    assert told == split(f"{CUT}\n".join(told), len(told), origin="x")
    with pytest.raises(SourceMalformedError, match="parts"):
        split("".join(told), len(told) + 1, origin="x")


def test_a_joined_script_stops_where_one_fails() -> None:
    """What follows would be taken for the answer to something else."""
    ended = HostShell().run(joined(("echo a", "false", "echo c")))
    assert (1, f"a\n{CUT}\n") == (ended.status, ended.output)
