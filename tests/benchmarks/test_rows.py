"""Rows come from files that anybody may have written: what is no row is said to be none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.rows import Row, row_from_json
from probe.errors import BadInputError

ROW = Row(
    scenario="two-socket",
    policy="solver",
    seed=1,
    digest="d1",
    metrics={"placed": 3, "local_ratio": 0.5, "refused[memory]": 1},
    series={"at_s": [0.0, 1.5], "refused": [0, 1], "node_load": [[0, 50.0], [100, 50]]},
    distances={"10": 2, "21": 1},
    options={"rebalance": "1h"},
    versions={"numaplace": "0.1.0"},
    command="numaplace bench run two-socket",
)


def test_a_row_comes_back_from_its_json() -> None:
    assert ROW == row_from_json(json.loads(json.dumps(ROW.to_json())), origin="f:1")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scenario", 3),
        ("seed", "1"),
        ("seed", True),
        ("metrics", [1]),
        ("metrics", {"placed": "3"}),
        ("metrics", {"placed": float("nan")}),
        ("metrics", {"placed": float("inf")}),
        ("metrics", {"placed": None}),
        ("metrics", {"placed": 10**400}),
        ("series", {"at_s": [1], "refused": [1, 2]}),
        ("series", {"at_s": ["now"]}),
        ("series", {"node_load": [1]}),
        ("series", {"node_load": [[1], [1, 2]]}),
        ("series", {"node_load": [["full"]]}),
        ("distances", {"10": -1}),
        ("distances", {"10": 1.5}),
        ("distances", {"far": 1}),
        ("options", {"rebalance": 1}),
        ("versions", None),
        ("limited_by_clock", "no"),
    ],
)
def test_what_is_not_of_its_kind_is_named(field: str, value: Any) -> None:
    """The error says where, which field, and what was found."""
    with pytest.raises(BadInputError, match=f"f:7: {field}: expected"):
        row_from_json({**ROW.to_json(), field: value}, origin="f:7")


@pytest.mark.parametrize("value", [None, [], {"schema": 2}, {"schema": 1}, {**ROW.to_json(), "more": 1}])
def test_what_is_no_row_is_refused(value: Any) -> None:
    with pytest.raises(BadInputError, match="f:7"):
        row_from_json(value, origin="f:7")
