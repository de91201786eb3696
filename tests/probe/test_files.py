"""Recorded files are read with a cap, and a failure says which file."""

from __future__ import annotations

from pathlib import Path

import pytest

from probe.errors import SourceMalformedError, SourceUnreadableError
from probe.limits import DEFAULT_LIMITS, ReadLimits
from probe.sources.files import read_bytes_file, read_text_file


def test_text_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    """A file saved by an editor that writes a BOM reads like any other."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfnode 0")
    assert read_text_file(path, limits=DEFAULT_LIMITS) == "node 0"


@pytest.mark.parametrize("name", ["absent", ".", "a\0b", ""])
def test_an_unreadable_file_is_a_typed_error(tmp_path: Path, name: str) -> None:
    """Absent, a folder, an impossible name and no name at all: one type of error."""
    with pytest.raises(SourceUnreadableError):
        read_text_file(str(tmp_path / name) if name else "", limits=DEFAULT_LIMITS)


def test_the_cap_stops_even_an_endless_file(tmp_path: Path) -> None:
    """/dev/zero has no size that could be asked beforehand."""
    limits = ReadLimits(file_bytes=100)
    exact = tmp_path / "exact"
    exact.write_bytes(b"x" * 100)
    assert len(read_bytes_file(exact, limits=limits)) == 100
    with pytest.raises(SourceMalformedError, match="at most 100 bytes"):
        read_bytes_file("/dev/zero", limits=limits)


def test_other_encodings_are_refused_by_name(tmp_path: Path) -> None:
    """Latin-1 is not guessed at."""
    path = tmp_path / "latin1.txt"
    path.write_bytes("nœud é".encode("cp1252"))
    with pytest.raises(SourceMalformedError, match=r"latin1.txt: expected UTF-8 text"):
        read_text_file(path, limits=DEFAULT_LIMITS)
