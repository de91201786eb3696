"""One capped way to read a recorded file, for every source that has one."""

from __future__ import annotations

from pathlib import Path

from probe.errors import SourceMalformedError, SourceUnreadableError
from probe.limits import ReadLimits


def read_bytes_file(path: str | Path, *, limits: ReadLimits) -> bytes:
    """The bytes of a file, at most `limits.file_bytes` of them (also of a device or a pipe).

    Raises:
        SourceUnreadableError: there is no such file, it is a folder, or it may not be read.
        SourceMalformedError: it is larger than the limit.
    """
    origin = str(path)
    if not origin:
        raise SourceUnreadableError("(no file)", "no file name is given", advice="Maybe write SCHEME:FILE.")
    try:
        with Path(path).open("rb") as file:
            content = file.read(limits.file_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SourceUnreadableError(origin, why) from error
    if len(content) > limits.file_bytes:
        raise SourceMalformedError(
            origin, f"at most {limits.file_bytes} bytes", "more", advice="Maybe it is not the file you meant."
        )
    return content


def read_text_file(path: str | Path, *, limits: ReadLimits) -> str:
    """The UTF-8 text of a file, without a byte order mark.

    Raises:
        SourceUnreadableError, SourceMalformedError: as `read_bytes_file`, or it is not UTF-8.
    """
    content = read_bytes_file(path, limits=limits)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = content[error.start : error.start + 8]
        raise SourceMalformedError(str(path), f"UTF-8 text (byte {error.start})", found) from error
