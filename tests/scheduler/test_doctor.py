"""What `numaplace doctor` says of a machine with xl."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduler.doctor import Health, examine
from tests.scheduler.executors.fake_xl import recorded


def test_an_xl_that_xen_does_not_answer_is_told_with_what_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """xl is installed, and the machine was booted without Xen, or this is not root."""
    (tmp_path / "complaint").write_text(recorded("as-nobody.err"))
    (tmp_path / "xl").write_text(f"#!/bin/sh\ncat {tmp_path}/complaint >&2; exit 1\n")
    (tmp_path / "xl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = {finding.what: finding for finding in examine(ledger=str(tmp_path / "l.sqlite"), hosts_file=None)}
    assert str(tmp_path / "xl") == found["xl"].found
    xen = found["Xen on this machine"]
    assert (Health.OPTIONAL, True) == (xen.health, "cannot init xl context" in xen.found)
    assert "root" in xen.mend


def test_without_xl_only_the_tool_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Xen host, and nothing is wrong."""
    monkeypatch.setenv("PATH", str(tmp_path))
    what = {finding.what for finding in examine(ledger=str(tmp_path / "l.sqlite"), hosts_file=None)}
    assert "xl" in what
    assert "Xen on this machine" not in what
