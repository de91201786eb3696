"""A read-only tree of small text files: the live machine, a folder, an archive, another host.

Every tree answers alike: a file that is absent, unreadable or no plain file is `None`, because
sysfs itself has files that exist and cannot be read (EINVAL, ENODATA, EACCES). Paths are relative,
with `/` between names, and never leave the root: a link that points outside leads nowhere.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from probe.errors import SourceMalformedError
from probe.limits import ReadLimits

MAX_HOPS = 40
"""Links followed on the way to one file, as in Linux (`MAXSYMLINKS`)."""

_MAX_FOLDER_DEPTH = 3
_MAX_FOLDERS = 2_000


class FileTree(Protocol):
    """What the sysfs readers ask of a tree."""

    @property
    def origin(self) -> str:
        """What errors call the tree: the folder, archive or host as the user wrote it."""

    def read_text(self, path: str) -> str | None:
        """The text of a file, bytes that are not UTF-8 replaced; None where there is none."""

    def list_dir(self, path: str) -> tuple[str, ...]:
        """The sorted names in a folder; empty where there is no such folder."""

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there, links followed."""

    def folders(self) -> Iterator[str]:
        """Folders in which a recorded tree may begin, the root ("") first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryTree:
    """The files below a folder, read when they are asked for; `/` is the live machine."""

    root: Path
    limits: ReadLimits

    @property
    def origin(self) -> str:
        return str(self.root)

    def read_text(self, path: str) -> str | None:
        full = self._inside(path)
        content = None if full is None else _read_plain_file(full, self.limits.file_bytes)
        if content is not None and len(content) > self.limits.file_bytes:
            raise SourceMalformedError(str(full), f"at most {self.limits.file_bytes} bytes", "more")
        return None if content is None else content.decode("utf-8", errors="replace")

    def list_dir(self, path: str) -> tuple[str, ...]:
        full = self._inside(path)
        try:
            return () if full is None else tuple(sorted(os.listdir(full)))  # noqa: PTH208 (twice as fast)
        except OSError:
            return ()

    def exists(self, path: str) -> bool:
        full = self._inside(path)
        return full is not None and os.path.exists(full)  # noqa: PTH110

    def folders(self) -> Iterator[str]:
        level, seen = [""], 0
        for _ in range(_MAX_FOLDER_DEPTH + 1):
            yield from level
            seen += len(level)
            if seen > _MAX_FOLDERS:
                return
            level = [
                join(folder, name)
                for folder in level
                for name in self.list_dir(folder)
                if (self.root / folder / name).is_dir() and not (self.root / folder / name).is_symlink()
            ]

    def _inside(self, path: str) -> str | None:
        """The path on this machine, or None where it leads out of the root (or holds a NUL)."""
        if "\0" in path:
            return None
        full = f"{self.root}/{path}"
        if str(self.root) == "/":
            return full
        try:
            real, root = os.path.realpath(full), os.path.realpath(self.root)
        except OSError:
            return None
        return real if real == root or real.startswith(f"{root}/") else None


def _read_plain_file(path: str, limit: int) -> bytes | None:
    """At most `limit` + 1 bytes; None for a folder, a pipe (never waits for it) or no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        parts, size = [], 0
        while size <= limit and (part := os.read(descriptor, min(65_536, limit + 1 - size))):
            parts.append(part)
            size += len(part)
        return b"".join(parts)
    except OSError:
        return None
    finally:
        os.close(descriptor)


class MemoryTree:
    """Files and links held in memory: what an archive unpacked to, or what another host sent.

    `files` maps a normal path (no leading `/`, no `.`, no `..`) to its bytes, `links` to the text
    of a symbolic link. Links are resolved here, inside the tree, after at most `MAX_HOPS` hops.
    """

    def __init__(
        self, origin: str, files: Mapping[str, bytes], links: Mapping[str, str], folders: Iterable[str] = ()
    ) -> None:
        self._origin = origin
        self._files = files
        self._links = links
        self._children: dict[str, set[str]] = {"": set()}
        for path in (*files, *links):
            self._add(path)
        for folder in folders:
            self._add(folder)
            self._children.setdefault(folder, set())

    def _add(self, path: str) -> None:
        """Make each folder above `path` list the name below it."""
        while path:
            folder, _, name = path.rpartition("/")
            known = folder in self._children
            self._children.setdefault(folder, set()).add(name)
            if known:
                return
            path = folder

    @property
    def origin(self) -> str:
        return self._origin

    def read_text(self, path: str) -> str | None:
        content = self._files.get(path)
        if content is None:
            content = self._files.get(self._resolve(path) or "")
        return None if content is None else content.decode("utf-8", errors="replace")

    def list_dir(self, path: str) -> tuple[str, ...]:
        real = path if path in self._children else self._resolve(path)
        return () if real is None else tuple(sorted(self._children.get(real, ())))

    def exists(self, path: str) -> bool:
        real = self._resolve(path)
        return real is not None and (real in self._files or real in self._children)

    def folders(self) -> Iterator[str]:
        yield from sorted(self._children)

    def _resolve(self, path: str) -> str | None:
        """The path with every link followed; None where it leads out, or round in circles."""
        todo, done, hops = path.split("/")[::-1], list[str](), 0
        while todo:
            name = todo.pop()
            if name == ".." and not done:
                return None
            if name == "..":
                done.pop()
            elif name not in ("", "."):
                target = self._links.get("/".join([*done, name])) if self._links else None
                if target is None:
                    done.append(name)
                    continue
                hops += 1
                if hops > MAX_HOPS:
                    return None
                done = [] if target.startswith("/") else done
                todo.extend(target.split("/")[::-1])
        return "/".join(done)


def join(*parts: str) -> str:
    """Join path parts, leaving out empty ones."""
    return "/".join(part for part in parts if part)
