"""`numaplace bench run` as people type it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks.cli.run import run
from benchmarks.report.reading import read_rows
from benchmarks.simulator.options import Options
from benchmarks.sweeps import worker
from benchmarks.sweeps.results import read_results
from probe.errors import BadInputError
from tests.benchmarks.sweeps.owned import written

ROOT = Path(__file__).resolve().parents[3]


def called(*arguments: str | Path) -> Result:
    return CliRunner().invoke(run, [str(each) for each in arguments], standalone_mode=False)


def test_a_run_measures_what_is_missing(tmp_path: Path) -> None:
    """Two rows, then a third policy: one more is measured, unless all are asked for again."""
    scenario, own = written(tmp_path)
    usual = (scenario, "--seeds", "3", "--no-regret", "--results", tmp_path / "r", "--workers", "0", "--output", "json")
    first = called(*usual, "--policy", "first-fit", "--policy", "place-one")
    second = called(*usual, "--policy", "first-fit", "--policy", own)
    third = called(*usual, "--policy", own, "--again")
    assert [0, 0, 0] == [each.return_value for each in (first, second, third)]
    told = [json.loads(each.stdout) for each in (first, second, third)]
    assert [(2, 0), (1, 1), (1, 0)] == [(each["measured"], each["kept"]) for each in told]
    assert 3 == len(read_results(tmp_path / "r"))
    assert read_rows(tmp_path / "r") == read_results(tmp_path / "r")
    assert "2/2 " in first.stderr


def test_a_long_row_writes_checkpoints_and_takes_them_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are written at every event the row ends all the same, and none is left."""
    scenario, _ = written(tmp_path)
    monkeypatch.setattr(worker, "options_of", lambda settings: Options(regret=False, checkpoint_every_s=0.0))
    row = ("--policy", "first-fit", "--seeds", "1", "--no-regret", "--workers", "0")
    done = called(scenario, *row, "--results", tmp_path / "r")
    assert (0, []) == (done.return_value, [*(tmp_path / "r" / ".checkpoints").iterdir()])


def test_a_row_that_fails_is_told_by_the_exit_status(tmp_path: Path) -> None:
    """A policy that raises: its row says so and the other is there."""
    scenario, _ = written(tmp_path)
    (tmp_path / "bad.py").write_text("def bad(requests, fleet, effort):\n    raise RuntimeError('no idea')\n")
    policies = ("--policy", "first-fit", "--policy", f"{tmp_path}/bad.py:bad")
    done = called(scenario, *policies, "--seeds", "1", "--no-regret", "--results", tmp_path / "r", "--workers", "0")
    assert 1 == done.return_value
    assert "1 of 2 rows" in done.stdout
    assert "no idea" in done.stdout
    assert ["first-fit"] == [row.policy for row in read_results(tmp_path / "r")]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("nowhere",), "no scenario is called 'nowhere'"),
        (("steady-small", "--policy", "luck"), "no policy is called 'luck'"),
        (("steady-small", "--tls-ca", __file__), "all of --tls-ca"),
        (("steady-small", "--cluster", "tls://127.0.0.1:1"), "needs --tls-ca"),
    ],
)
def test_bad_input_is_told_before_anything_is_measured(tmp_path: Path, arguments: tuple[str, ...], why: str) -> None:
    done = called(*arguments, "--seeds", "1", "--results", tmp_path / "r")
    assert isinstance(done.exception, BadInputError)
    assert why in str(done.exception)


@pytest.mark.parametrize("seeds", ["0-10000", "", "x", "5-1"])
def test_seeds_are_a_set_of_numbers(tmp_path: Path, seeds: str) -> None:
    done = called("steady-small", "--seeds", seeds, "--results", tmp_path / "r")
    assert "seeds" in str(done.exception)


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """SIGINT to the whole group, as a terminal sends it: status 130, no traceback, and the rest by the same command."""
    scenario, _ = written(tmp_path)
    rows = ("--policy", "place-one", "--policy", "first-fit", "--seeds", "1-7", "--no-regret")
    command = [sys.executable, "-m", "scheduler.cli.main", "bench", "run", scenario, *rows,
               "--results", str(tmp_path / "r"), "--workers", "2", "--output", "json"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as it:
        assert it.stderr is not None
        it.stderr.readline()  # the first row has ended
        os.killpg(it.pid, signal.SIGINT)
        stdout, stderr = it.communicate(timeout=60)
    told = json.loads(stdout)
    assert (130, "interrupted") == (it.returncode, told["stopped_by"])
    assert "Traceback" not in stderr
    assert 0 < told["measured"] == len(read_results(tmp_path / "r")) < 14
    assert told["missing"] == 14 - told["measured"]
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert (0, told["measured"]) == (again.returncode, json.loads(again.stdout)["kept"])
    assert 14 == len(read_results(tmp_path / "r"))
