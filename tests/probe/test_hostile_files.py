"""One hostile file, given to every source that reads a file: one typed error that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from probe.errors import BadInputError, SourceMalformedError
from probe.sources.registry import read_source
from tests.probe.test_safe_xml import BILLION, QUADRATIC, XXE

ATTACKS = {
    "entities in entities": BILLION,
    "one long entity": QUADRATIC,
    "an external entity": XXE,
    "deep XML": "<a>" * 100_000,
    "deep JSON lists": "[" * 200_000,
    "deep JSON objects": '{"a":' * 200_000,
    "a number of 5,000 digits": f'{{"schema":{"9" * 5000}}}',
    "no number": '{"schema":NaN}',
    "NUL bytes": "\0" * 100,
    "nothing": "",
}
SCHEMES = ("hwloc", "capabilities", "numactl", "xl", "snapshot", "sim", "sysfs")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_file_is_one_typed_error(tmp_path: Path, attack: str, scheme: str) -> None:
    """Whatever the format is, and whatever the file was made for."""
    path = tmp_path / "evil.json"
    path.write_text(ATTACKS[attack])
    with pytest.raises(BadInputError, match=r"evil\.json"):
        read_source(f"{scheme}:{path}")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path, scheme: str) -> None:
    """A TiB of nothing, which no disk has."""
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(SourceMalformedError, match=r"huge\.json"):
        read_source(f"{scheme}:{path}")
