"""Progress: on a terminal after a second, and silent everywhere else."""

from __future__ import annotations

import io
import time

import pytest

from scheduler.cli import progress as module


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_it_says_what_is_under_way_and_how_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redrawn on one line, which is empty again at the end."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(module, "_QUIET_S", 0.01)
    with module.progress("creating guests", total=4) as step:
        step()
        while "1/4" not in terminal.getvalue():
            time.sleep(0.01)
    assert "creating guests … 1/4" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_quick_work_and_files_see_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than a second; or stderr is no terminal."""
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr("sys.stderr", stream)
        with module.progress("reading") as step:
            step()
        assert stream.getvalue() == ""
