"""A recorded tree in a tar archive, read in memory and never extracted.

The archive is untrusted (research on CPython's `tarfile`: zip-slip names, links out of the root,
decompression bombs, gigabyte-long PAX headers): it is read once, as a stream, behind a counter
that stops at the limits. Names count too: each is kept once for every folder above it.
"""

from __future__ import annotations

import lzma
import tarfile
import zlib
from pathlib import Path
from typing import IO, Protocol

from probe.errors import SourceError, SourceMalformedError, SourceUnreadableError
from probe.limits import ReadLimits
from probe.sources.filetree import MemoryTree

_MAX_PATH = 4_096
_TAR_OVERHEAD_BYTES = 2_048
"""Header and padding of one member, allowed for in the count of what a stream unpacks to."""

_HEADERS_BYTES = 256 * 1024
"""What may stand before one member's content: `tarfile` keeps all of its PAX headers in memory."""

_BROKEN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, OverflowError, MemoryError,
           IndexError, OSError)  # fmt: skip
"""What `tarfile` and the decompressors raise on damaged input (OSError: bad gzip or bzip2 data)."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _CountedStream:
    """A stream that gives no more than `limit` bytes in all, and no more than was granted last."""

    def __init__(self, stream: _Readable, *, origin: str, limit: int) -> None:
        self._stream, self._origin, self._limit, self._given = stream, origin, limit, 0
        self._end = 0

    def grant(self, size: int) -> None:
        """Allow `size` bytes more than were given up to now."""
        self._end = min(self._given + size, self._limit)

    def read(self, size: int) -> bytes:
        content = self._stream.read(min(size, self._end + 1 - self._given))
        self._given += len(content)
        if self._given > self._limit:
            raise _too_much(self._origin, f"at most {self._limit} unpacked bytes", "more")
        if self._given > self._end:
            raise _too_much(self._origin, f"at most {_HEADERS_BYTES} bytes of headers before a member", "more")
        return content


def read_archive(path: Path, *, limits: ReadLimits) -> MemoryTree:
    """Read `.tar`, `.tar.gz`, `.tar.bz2` or `.tar.xz`, told apart by their first bytes.

    Raises:
        SourceUnreadableError: there is no such file, or it may not be read.
        SourceMalformedError: not such an archive, damaged, hostile, or over the limits.
    """
    try:
        raw = path.open("rb")
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SourceUnreadableError(str(path), why) from error
    with raw:
        try:
            return _read_members(_unpacked(raw), origin=str(path), limits=limits)
        except SourceError:
            raise
        except _BROKEN as error:
            expected = "a whole tar archive (.tar, .tar.gz, .tar.bz2 or .tar.xz)"
            raise SourceMalformedError(str(path), expected, error or type(error).__name__) from error


def _unpacked(raw: IO[bytes]) -> _Readable:
    magic = raw.read(6)
    raw.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        import gzip

        return gzip.GzipFile(fileobj=raw)
    if magic.startswith(b"BZh"):
        import bz2

        return bz2.BZ2File(raw)
    return lzma.LZMAFile(raw) if magic.startswith(b"\xfd7zXZ\0") else raw


def _read_members(stream: _Readable, *, origin: str, limits: ReadLimits) -> MemoryTree:
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    folders: list[str] = []
    overhead = _TAR_OVERHEAD_BYTES * limits.archive_members
    counted = _CountedStream(stream, origin=origin, limit=limits.archive_bytes + overhead)
    counted.grant(_HEADERS_BYTES)
    members, unpacked = 0, 0
    with tarfile.open(fileobj=counted, mode="r|") as archive:  # type: ignore[call-overload]
        while (member := archive.next()) is not None:
            archive.members.clear()  # else tarfile keeps every header
            name = _normal_name(member.name, origin)
            members, unpacked = members + 1, unpacked + _bytes_kept(member, name)
            if members > limits.archive_members:
                raise _too_much(origin, f"at most {limits.archive_members} members", "more")
            if unpacked > limits.archive_bytes:
                raise _too_much(origin, f"at most {limits.archive_bytes} unpacked bytes", unpacked)
            counted.grant(max(member.size, 0) + _HEADERS_BYTES)
            if member.isdir():
                folders.append(name)
            elif member.issym():
                links[name] = _short(member.linkname, origin)
            elif member.islnk():
                links[name] = "/" + _normal_name(member.linkname, origin)
            elif member.isreg():
                files[name] = _member_bytes(archive, member, f"{origin}#{name}", limits)
    return MemoryTree(origin, files, links, folders)


def _member_bytes(archive: tarfile.TarFile, member: tarfile.TarInfo, origin: str, limits: ReadLimits) -> bytes:
    if member.size > limits.file_bytes:
        raise _too_much(origin, f"at most {limits.file_bytes} bytes", member.size)
    file = archive.extractfile(member)
    content = b"" if file is None else file.read()
    if len(content) != member.size:
        raise SourceMalformedError(origin, f"{member.size} bytes", f"{len(content)} bytes")
    return content


def _bytes_kept(member: tarfile.TarInfo, name: str) -> int:
    return max(member.size, 0) + len(member.linkname) + len(name) * (1 + name.count("/"))


def _normal_name(name: str, origin: str) -> str:
    """The member's name without `.` and a leading `/`; a name that climbs out is refused."""
    parts = [part for part in _short(name, origin).split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise SourceMalformedError(origin, "member names that stay inside the archive", name)
    return "/".join(parts)


def _short(path: str, origin: str) -> str:
    if len(path) > _MAX_PATH:
        raise SourceMalformedError(origin, f"paths of at most {_MAX_PATH} letters", path)
    return path


def _too_much(origin: str, expected: str, found: object) -> SourceMalformedError:
    return SourceMalformedError(origin, expected, found, advice="Maybe it is not the recording you meant.")
