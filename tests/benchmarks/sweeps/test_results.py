"""Results are read as they were written, and by others too; what is not ours is told, never run."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings

from benchmarks import duck
from benchmarks.metrics import METRICS
from benchmarks.rows import Row, row_from_json
from benchmarks.sweeps import results
from benchmarks.sweeps.columns import COLUMNS
from benchmarks.sweeps.results import file_name, read_results, write_row
from probe.errors import BadInputError, NumaplaceError, SourceMalformedError, SourceUnreadableError
from tests.benchmarks.sweeps.rows import rows

ROW = Row(
    scenario="steady",
    policy="mine.py:most_room",
    seed=1,
    digest="d" * 64,
    metrics={"placed": 7, "refused": 2, "refused[memory]": 2, "p50_ms": 0.25},
    series={"at_s": [0.0, 60.0], "placed": [0, 7], "refused": [0, 2], "here": [0, 6], "node_load": [[0, 0], [40, 90]]},
    distances={"10": 5, "21": 2},
    options={"rebalance": "1h"},
    versions={"numaplace": "0.1.0"},
    command="numaplace bench run steady",
)


@settings(max_examples=25)
@given(row=rows)
def test_what_was_written_is_read(row: Row, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every field of any row, and a JSON document on top of it."""
    folder = tmp_path_factory.mktemp("results")
    write_row(folder, row)
    assert [row] == read_results(folder)
    assert row == row_from_json(read_results(folder)[0].to_json(), origin="here")


def test_a_row_of_the_same_key_takes_the_place_of_the_earlier(tmp_path: Path) -> None:
    """Measured again is one row; other options, another row. Nothing else is left in the folder."""
    write_row(tmp_path, ROW)
    later = replace(ROW, digest="e" * 64, metrics={"placed": 8})
    write_row(tmp_path, later)
    plain = replace(ROW, options={})
    write_row(tmp_path, plain)
    assert [plain, later] == read_results(tmp_path)
    assert sorted([file_name(ROW.key), file_name(plain.key)]) == sorted(path.name for path in tmp_path.iterdir())


def test_names_of_files_are_plain_and_differ() -> None:
    """Whatever a scenario or a policy is called, it names no folder; what looks alike stays apart."""
    name = file_name(replace(ROW, scenario="../../etc/passwd", policy="/tmp/x.py:p").key)
    assert "etc-passwd.tmp-x-py-p.1.rebalance-1h." in name
    assert "/" not in name
    assert file_name(replace(ROW, scenario="a b").key) != file_name(replace(ROW, scenario="a-b").key)


def test_others_read_it_without_our_code(tmp_path: Path) -> None:
    """A whole folder in one query: metrics are columns, series are lists, parts and options are maps."""
    for seed in (1, 2):
        write_row(tmp_path, replace(ROW, seed=seed))
    told = duckdb.sql(
        f"FROM '{tmp_path}/*.parquet' SELECT sum(placed), max(parts['refused[memory]']), max(series_node_load[2][1]),"
        " any_value(options['rebalance'])"
    ).fetchall()
    assert [(14.0, 2.0, 40.0, "1h")] == told
    assert [*COLUMNS] == duckdb.sql(f"FROM '{tmp_path}/*.parquet'").columns
    assert set(METRICS) < set(COLUMNS)


@pytest.mark.parametrize("folder", ["a*b", "[x]", "it's; DROP TABLE rows"])
def test_a_folder_may_be_called_anything(tmp_path: Path, folder: str) -> None:
    """Neither a pattern nor a query is made of its name."""
    (tmp_path / folder).mkdir()
    write_row(tmp_path / folder, ROW)
    assert [ROW] == read_results(tmp_path / folder)


def test_a_metric_that_was_not_there_yet_is_left_out(tmp_path: Path) -> None:
    """A folder of an earlier version is read; a column that we do not know is passed over."""
    path = write_row(tmp_path, ROW)
    duckdb.sql(f"FROM '{path}' SELECT * EXCLUDE (p50_ms), 1 AS mine").write_parquet(str(path))
    assert {"placed": 7, "refused": 2, "refused[memory]": 2} == read_results(tmp_path)[0].metrics


WRONG = {
    "no column digest": ("a column digest", "SELECT * EXCLUDE (digest)"),
    "a text for a number": ("DOUBLE in column placed", "SELECT * REPLACE ('many' AS placed)"),
    "another schema": ("a row of schema 1", "SELECT * REPLACE (2::INTEGER AS schema)"),
    "no scenario": ("scenario: expected a text", "SELECT * REPLACE (NULL::VARCHAR AS scenario)"),
    "not a number": ("finite numbers", "SELECT * REPLACE ('nan'::DOUBLE AS placed)"),
    "an unknown metric": ("benchmarks.metrics knows", "SELECT * REPLACE (MAP {'luck': 1.0::DOUBLE} AS parts)"),
    "uneven series": ("equally long", "SELECT * REPLACE ([1.0::DOUBLE] AS series_at_s)"),
    "a gap in a series": ("finite numbers", "SELECT * REPLACE ([1.0::DOUBLE, NULL] AS series_at_s)"),
    "two rows of one key": ("one row for each key", "SELECT * FROM range(2)"),
    "too many rows": ("10 rows", "SELECT * FROM range(11)"),
    "a long list": ("100 entries", "SELECT * REPLACE (range(101)::DOUBLE[] AS series_at_s)"),
    "lists in a list": ("entries", "SELECT * REPLACE ([range(60)::DOUBLE[], range(60)] AS series_node_load)"),
    "a long text": ("entries", "SELECT * REPLACE (repeat('x', 101) AS command)"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_row_is_told(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file that says what no row says is refused by its name, and with what was expected."""
    monkeypatch.setattr(results, "MOST_ROWS", 10)
    monkeypatch.setattr(results, "MOST_ENTRIES", 100)
    expected, query = WRONG[what]
    path = write_row(tmp_path, ROW)
    head, _, source = query.partition(" FROM ")
    duckdb.sql(f"{head} FROM '{path}'{f', {source}' if source else ''}").write_parquet(str(path), compression="zstd")
    with pytest.raises(BadInputError, match=str(tmp_path)) as raised:
        read_results(tmp_path)
    assert expected in str(raised.value)


def test_a_file_that_unpacks_to_more_than_there_is_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four million zeros are a small file, and more memory than we give it."""
    path = write_row(tmp_path, ROW)
    duckdb.sql(f"FROM '{path}' SELECT * REPLACE (list_resize([0.0::DOUBLE], 4000000, 0) AS series_at_s)").write_parquet(
        str(path), compression="zstd"
    )
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(duck, "MEMORY", "24MB")
    with pytest.raises(SourceMalformedError, match="Out of Memory"):
        read_results(tmp_path)


def test_bytes_that_are_no_parquet_are_told(tmp_path: Path) -> None:
    """Not there, a folder, empty, a text, and many files with some bytes changed: told, or read as a row."""
    path = write_row(tmp_path, ROW)
    good, rng = path.read_bytes(), random.Random(7)  # noqa: S311
    for _ in range(60):
        bad = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        path.write_bytes(bad)
        try:
            assert 1 == len(read_results(path))
        except NumaplaceError as error:
            assert str(path) in error.message
    for junk in (b"", b"PAR1", b"scenario,policy\n", good[:-1], b"\x80\x04\x95"):
        path.write_bytes(junk)
        with pytest.raises(SourceMalformedError):
            read_results(path)
    path.unlink()
    assert [] == read_results(tmp_path)
    path.mkdir()
    with pytest.raises(SourceUnreadableError):
        read_results(tmp_path)
    shutil.rmtree(tmp_path)
    with pytest.raises(SourceUnreadableError, match="bench run"):
        read_results(tmp_path)


def test_a_row_that_no_column_holds_is_not_written(tmp_path: Path) -> None:
    """Neither what is not finite nor a series that nobody knows: what is stored can always be read."""
    for row in (replace(ROW, metrics={"placed": float("inf")}), replace(ROW, series={"luck": [1]})):
        with pytest.raises(BadInputError, match="steady"):
            write_row(tmp_path, row)
    assert [] == [*tmp_path.iterdir()]
