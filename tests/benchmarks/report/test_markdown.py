"""Markdown to paste, JSON Lines to keep, and the README's block."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.report.json_lines import json_lines
from benchmarks.report.markdown import BEGIN, END, markdown, with_block
from benchmarks.report.origin import commands
from benchmarks.report.reading import parse_line, read_rows
from benchmarks.report.results import results_of
from benchmarks.rows import Row
from probe.errors import BadInputError
from scheduler.cli.main import main
from tests.benchmarks.report.made_up import measured, row
from tests.conftest import ROOT

KEPT = ROOT / "benchmarks/results/laboratory.jsonl"


def test_markdown_begins_with_the_verdict_and_marks_winners() -> None:
    text = markdown(results_of(measured()), "unpinned")
    assert "| solver | yes | +6.88 [+6.05, +7.71] |" in text
    assert "| solver† | **177.7** |" in text
    assert (
        text.index("better than unpinned?")
        < text.index("<summary>lab</summary>")
        < text.index("numaplace bench run lab trace")
    )


def test_it_is_the_same_in_any_order() -> None:
    rows = measured()
    assert markdown(results_of(rows), "unpinned") == markdown(results_of(rows[::-1]), "unpinned")
    assert json_lines(results_of(rows)) == json_lines(results_of(rows[::-1]))


def test_names_are_no_markup() -> None:
    """No HTML, no further column, no link, no line break, and a fence that the commands do not end."""
    name = "a|b <img src=x> [c](d) `e`\n# f"
    text = markdown(results_of([row(name, scenario=name, command="``` x"), row("unpinned", scenario=name)]), "unpinned")
    assert "<img" not in text.replace(r"\<img", "")
    assert "<summary>a|b &lt;img src=x&gt; [c](d)" in text
    assert "\n# f" not in text
    lines = [line for line in text.splitlines() if line.startswith(r"| a\|b")]
    assert lines
    assert "````shell\n``` x\n````" in text


def test_json_lines_are_the_rows_without_their_samples() -> None:
    results = results_of(measured())
    lines = json_lines(results).splitlines()
    again = results_of([parse_line(line, origin="f") for line in lines])
    assert [each.metrics for each in results.all_rows()] == [each.metrics for each in again.all_rows()]
    assert {"{}"} == {json.dumps(json.loads(line)["series"]) for line in lines}


def test_the_commands_measure_all_rows() -> None:
    """What the key tells is put together; options stay, and what is no command of ours stands alone."""

    def one(policy: str, seed: int, command: str) -> Row:
        return row(policy, seed, command=command.format(f"--policy {policy} --seeds {seed}"))

    rows = [one(policy, seed, "numaplace bench run lab {}") for policy in "ab" for seed in (1, 2, 8)]
    rows += [one("a", 5, "numaplace bench run lab {} --rebalance 1h"), one("z", 1, "make bench"), one("y", 1, "")]
    assert [
        "numaplace bench run lab --policy a --policy b --seeds 1-2,8 --results DIR",
        "numaplace bench run lab --policy a --seeds 5 --rebalance 1h --results DIR",
        "make bench",
    ] == commands(results_of(rows))


def test_a_block_is_put_between_its_marks() -> None:
    """Twice is the same as once; what stands around it stays."""
    text = f"# head\n{BEGIN}\nold\n{END}\ntail\n"
    once = with_block(text, "new\n", origin="f")
    assert f"# head\n{BEGIN}\nnew\n{END}\ntail\n" == once == with_block(once, "new\n", origin="f")


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_without_its_place_the_block_goes_nowhere(text: str) -> None:
    with pytest.raises(BadInputError, match="f: expected one place"):
        with_block(text, "new", origin="f")


def test_the_command_writes_each_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Markdown into a file between its marks, JSON Lines to the screen; what does not go together is refused."""
    (tmp_path / "rows.jsonl").write_text(json_lines(results_of(measured())), encoding="utf-8")
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")
    for arguments, status in (
        (["--format", "markdown", "--into", str(readme)], 0),
        (["--format", "jsonl"], 0),
        (["--into", str(readme)], 2),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["bench", "report", str(tmp_path / "rows.jsonl"), *arguments])
        assert status == (ended.value.code or 0)
    assert "| solver | yes |" in readme.read_text(encoding="utf-8")
    assert (tmp_path / "rows.jsonl").read_text(encoding="utf-8") == capsys.readouterr().out


def test_json_lines_are_compared_with_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows of one policy are written, though there is no `unpinned` among them."""
    text = json_lines(results_of([each for each in measured() if each.policy == "solver"]))
    (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["bench", "report", str(tmp_path / "rows.jsonl"), "--format", "jsonl"])
    assert (0, text) == (ended.value.code or 0, capsys.readouterr().out)


def test_the_readme_says_what_the_kept_rows_say() -> None:
    """`numaplace bench report FILE --format markdown --into README.md` changes nothing, FILE being these rows."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert KEPT.is_file() is (BEGIN in readme)
    if KEPT.is_file():
        block = markdown(results_of(read_rows(KEPT)), "unpinned")
        assert readme == with_block(readme, block, origin="README.md")
