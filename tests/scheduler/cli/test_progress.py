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


def test_it_names_each_host_and_its_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several hosts are worked on at the same time; one that has nothing more to do is not named."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(module, "_QUIET_S", 0.01)
    with module.progress("creating guests", total=4) as step:
        step.tell("h1", "db defined")
        step.tell("h3", "old running")
        step.tell("h2", "far starting")
        step.tell("h3", "")
        while "h2" not in terminal.getvalue():
            time.sleep(0.01)
    assert "s  h1: db defined · h2: far starting" in terminal.getvalue()


def test_quick_work_and_files_see_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than a second; or stderr is no terminal."""
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr("sys.stderr", stream)
        with module.progress("reading") as step:
            step()
        assert stream.getvalue() == ""
