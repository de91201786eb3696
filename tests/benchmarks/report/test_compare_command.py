"""`numaplace bench compare`, as it is typed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.rows import Row
from benchmarks.sweeps.results import write_row
from scheduler.cli.main import main
from tests.benchmarks.report.made_up import measured, row


@pytest.fixture(autouse=True)
def _as_into_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """As wide as it is, whatever terminal the tests run in."""
    monkeypatch.delenv("COLUMNS", raising=False)


def write(folder: Path, rows: Sequence[Row]) -> Path:
    (folder / "rows.jsonl").write_text("".join(json.dumps(each.to_json()) + "\n" for each in rows), encoding="utf-8")
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """What the command printed, errors included."""
    with pytest.raises(SystemExit) as ended:
        main(["bench", "compare", *arguments])
    assert status == (ended.value.code or 0)
    printed = capsys.readouterr()
    return printed.out + printed.err


def test_better_than_unpinned_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Then the winners, then the differences."""
    text = run(capsys, str(write(tmp_path, measured())))
    assert text.startswith("POLICY    BETTER THAN UNPINNED?")
    assert text.index("solver    yes") < text.index("FIRST") < text.index("DIFFERENCE")


def test_the_document_has_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With another base and one figure with its reasons."""
    folder = str(write(tmp_path, measured()))
    told: dict[str, Any] = json.loads(
        run(capsys, folder, "--base", "solver", "--metric", "refused", "--output", "json")
    )
    assert (1, "solver", {"unpinned", "best-fit"}) == (
        told["schema"],
        told["base"],
        {v["policy"] for v in told["verdicts"]},
    )
    assert {"refused", "refused[memory]", "refused[pcpus]"} == {d["metric"] for d in told["differences"]}
    assert {"worse"} == {d["judgement"] for d in told["differences"] if d["metric"] == "refused"}
    assert [1, 2, 3] == told["differences"][0]["difference"]["seeds"]


def test_the_folder_of_a_sweep_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Parquet counts where both kinds are there, and one of its files serves alone."""
    write(tmp_path, [row("not", scenario="these")])
    for each in measured(samples=3):
        last = write_row(tmp_path, each)
    assert "solver    yes" in (text := run(capsys, str(tmp_path)))
    assert "these" not in text
    assert "nothing to compare" in run(capsys, str(last), "--base", "solver")


def test_one_seed_and_one_policy_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "one seed" in run(capsys, str(write(tmp_path, measured(seeds=(1,)))))
    assert "nothing to compare" in run(capsys, str(write(tmp_path, measured(policies=("unpinned",)))))


def test_a_file_serves_too_and_names_move_no_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, [row("unpinned"), row("\x1b[2Jgone")])
    text = run(capsys, str(folder / "rows.jsonl"))
    assert "?[2Jgone" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("line", "said"), [("{", "rows.jsonl:2: expected JSON"), ("[" * 100_000, "JSON"), ("3", "a row of schema 1")]
)
def test_what_is_no_row_is_named(line: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, [row("a")])
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write(line + "\n")
    assert said in run(capsys, str(tmp_path), status=2)


def test_errors_tell_the_next_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty folder, a base that is not there, a metric that does not exist."""
    assert "bench run" in run(capsys, str(tmp_path), status=2)
    folder = str(write(tmp_path, [row("a"), row("b")]))
    assert "--base with one of: a, b" in run(capsys, folder, status=2)
    assert "there are: placed" in run(capsys, folder, "--base", "a", "--metric", "elegance", status=2)
