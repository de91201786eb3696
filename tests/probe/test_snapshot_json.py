"""snapshot ↔ JSON: nothing is lost, and what is damaged is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from probe.errors import SourceMalformedError
from probe.snapshot import HostSnapshot
from probe.snapshot_json import snapshot_from_json, snapshot_to_json
from probe.sources.registry import read_source
from tests.conftest import ROOT
from tests.probe.damage import damaged
from tests.strategies import snapshots

DEMO = json.loads((ROOT / "scheduler/demo/h1.json").read_text())


@given(snapshots())
def test_a_snapshot_comes_back_from_its_json_text(snapshot: HostSnapshot) -> None:
    """Through text, so that keys are strings and numbers are JSON's."""
    text = json.dumps(snapshot_to_json(snapshot))
    assert snapshot_from_json(json.loads(text), origin="s") == snapshot


@given(snapshots().map(snapshot_to_json).flatmap(damaged) | damaged(DEMO))
def test_a_damaged_snapshot_is_read_or_refused(document: Any) -> None:
    """One typed error that names the source; never another exception."""
    try:
        snapshot_from_json(document, origin="host.json")
    except SourceMalformedError as error:
        assert "host.json" in error.message


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_file_is_a_snapshot_or_refused(content: bytes) -> None:
    """Also what is no JSON, or no text."""
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(content)
        file.flush()
        with pytest.raises(SourceMalformedError):
            read_source(file.name)


def test_a_later_schema_is_refused_and_other_keys_are_passed_over(tmp_path: Path) -> None:
    """Within a schema keys are only ever added."""
    path = tmp_path / "h.json"
    path.write_text(json.dumps({**DEMO, "added": 1}))
    assert read_source(str(path)).hostname == "h1"
    path.write_text(json.dumps({**DEMO, "schema": 2}))
    with pytest.raises(SourceMalformedError, match="schema"):
        read_source(str(path))
