"""The command line in this process, on hosts of the embedded hypervisor in a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scheduler.cli.main import main
from tests.conftest import ROOT

DEMO = ROOT / "scheduler/demo"


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`numaplace WORDS…` in an empty folder, with books and settings of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NUMAPLACE_LEDGER", str(tmp_path / "ledger.sqlite"))
    for name in ("NUMAPLACE_HOSTS", "COLUMNS"):  # tables are broken to fit COLUMNS
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def ran(*words: str) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(words)
        captured = capsys.readouterr()
        return Ran(int(ended.value.code or 0), captured.out, captured.err)

    return ran


@pytest.fixture
def demo(run: Run, tmp_path: Path) -> Path:
    """The demo's two hosts and its fleet, in the current folder; nothing is created yet."""
    for host in ("h1", "h2"):
        assert run("sim", "create", f"{host}.sim", "--from", str(DEMO / f"{host}.json"), "--name", host).status == 0
    for name in ("hosts.yaml", "fleet.yaml"):
        (tmp_path / name).write_text((DEMO / name).read_text())
    return tmp_path
