"""Where the files of a Linux host lie in a tree, and how one of them becomes a number or a set.

The readers name files as the live machine does (`sys/devices/system/cpu/online`,
`proc/meminfo`); `HostFiles` knows where they are in a recording that begins lower down.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from probe.cpuset import MAX_ID, CpuSet, NodeSet
from probe.errors import BadInputError, SourceMalformedError
from probe.sources.filetree import FileTree, join

SYSTEM = "sys/devices/system"
_BLANK = " \t\r\n\0"
_NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)
_ENTRY = re.compile(r"(?P<prefix>[a-z_]+)(?P<id>\d{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Layout:
    """The parts of a recorded tree: its root, its `/sys` and its `/sys/devices/system`."""

    root: str
    sys: str
    system: str


LIVE = Layout("", "sys", SYSTEM)


@dataclass(frozen=True, slots=True)
class HostFiles:
    """The files of one host. Malformed content raises `SourceMalformedError` with its place."""

    tree: FileTree
    layout: Layout = LIVE
    _sets: dict[tuple[type, bool, str], CpuSet | NodeSet] = field(default_factory=dict, repr=False)

    def at(self, path: str) -> str:
        """Where the live machine's `path` is in the tree."""
        if path == SYSTEM or path.startswith(f"{SYSTEM}/"):
            return join(self.layout.system, path[len(SYSTEM) + 1 :])
        if path == "sys" or path.startswith("sys/"):
            return join(self.layout.sys, path[4:])
        return join(self.layout.root, path)

    def origin(self, path: str) -> str:
        """What an error calls the file."""
        return f"{self.tree.origin.rstrip('/')}/{self.at(path)}"

    def text(self, path: str) -> str | None:
        """The text without white space and NUL bytes around it; None where absent."""
        found = self.tree.read_text(self.at(path))
        return None if found is None else found.strip(_BLANK)

    def exists(self, path: str) -> bool:
        return self.tree.exists(self.at(path))

    def names(self, path: str) -> tuple[str, ...]:
        return self.tree.list_dir(self.at(path))

    def ids(self, path: str, prefix: str) -> list[int]:
        """The numbers of a folder's entries `<prefix><N>`, ascending; ids over `MAX_ID` are none."""
        matches = (_ENTRY.fullmatch(name) for name in self.names(path))
        return sorted({int(m["id"]) for m in matches if m and m["prefix"] == prefix and int(m["id"]) <= MAX_ID})

    def number(self, path: str) -> int | None:
        """A decimal number; None where the file is absent or empty."""
        text = self.text(path)
        if not text:
            return None
        if not _NUMBER.fullmatch(text):
            raise SourceMalformedError(self.origin(path), "a number", text)
        return int(text)

    def cpus(self, path: str) -> CpuSet | None:
        """A list of CPUs (`0-3,8`); None where absent. "(null)" is an old kernel's empty list."""
        found = self._set(CpuSet, path, mask=False)
        return found if isinstance(found, CpuSet) else None

    def nodes(self, path: str) -> NodeSet | None:
        """A list of nodes; None where absent."""
        found = self._set(NodeSet, path, mask=False)
        return found if isinstance(found, NodeSet) else None

    def cpus_of(self, *stems: str, holding: int | None = None) -> CpuSet | None:
        """The first that is there and not empty of the lists `<stem>_list` and the masks `<stem>`.

        With `holding`, the first that has this CPU in it: what a CPU shares, it shares with itself.
        """
        for stem in stems:
            lists = f"{stem[:-3]}list" if stem.endswith("map") else f"{stem}_list"
            for path, mask in ((lists, False), (stem, True)):
                found = self._set(CpuSet, path, mask=mask)
                if isinstance(found, CpuSet) and found and (holding is None or holding in found):
                    return found
        return None

    def _set(self, kind: type[CpuSet] | type[NodeSet], path: str, *, mask: bool) -> CpuSet | NodeSet | None:
        text = self.text(path)
        if text is None or text == "(null)":
            return None if text is None else kind()
        key = (kind, mask, text)
        if key not in self._sets:
            try:
                self._sets[key] = kind.parse_mask(text) if mask else kind.parse(text)
            except ValueError as error:
                expected = "a bit mask" if mask else "a list like 0-3,8"
                raise SourceMalformedError(self.origin(path), expected, text) from error
        return self._sets[key]


def find_layout(tree: FileTree, inside: str) -> Layout:
    """Where the one recorded host begins in `tree`, at or below the folder `inside` ("": anywhere).

    The root is the folder that holds `sys/devices/system`; dumps that begin at `devices`,
    `system` (libvirt's) or at `cpu` and `node` themselves are known too.

    Raises:
        SourceMalformedError: there is none.
        BadInputError: there are several.
    """
    inside = inside.strip("/")
    found: dict[str, Layout] = {}
    for folder in _system_folders(tree):
        layout = _layout_of(folder)
        if not inside or layout.root == inside or layout.root.startswith(f"{inside}/"):
            found.setdefault(layout.root, layout)
    if inside in found and inside:
        return found[inside]
    if not found:
        origin = f"{tree.origin}#{inside}" if inside else tree.origin
        raise SourceMalformedError(
            origin, "a folder with sys/devices/system/cpu or node", " ".join(tree.list_dir(inside)) or "none"
        )
    if len(found) > 1:
        listed = ", ".join(sorted(found)[:20])
        raise BadInputError(
            f"{tree.origin}: expected one recorded host, got {len(found)}: {listed}.",
            advice=f"Maybe sysfs:{tree.origin}#{min(found)}",
        )
    return next(iter(found.values()))


def _system_folders(tree: FileTree) -> Iterator[str]:
    """Folders that look like `/sys/devices/system`: `cpu` or `node` below, with what is in those."""
    for folder in tree.folders():
        if is_system_folder(tree, join(folder, SYSTEM)):
            yield join(folder, SYSTEM)
        elif is_system_folder(tree, folder):
            yield folder


def is_system_folder(tree: FileTree, folder: str) -> bool:
    """Whether `folder` has `cpu` with CPUs or `node` with nodes."""
    for kind in ("cpu", "node"):
        names = tree.list_dir(join(folder, kind))
        if any(m["prefix"] == kind for m in map(_ENTRY.fullmatch, names) if m):
            return True
    return False


def _layout_of(system: str) -> Layout:
    """Split the place of `/sys/devices/system` into the parts of a tree."""
    above = system.split("/")
    if above[-1] != "system":
        return Layout(system, join(system, "sys"), system)
    above.pop()
    if not above or above[-1] != "devices":
        root = "/".join(above)
        return Layout(root, join(root, "sys"), system)
    above.pop()
    sysfs = "/".join(above)
    return Layout("/".join(above[:-1]) if above and above[-1] == "sys" else sysfs, sysfs, system)
