"""What `lstopo -v` printed, as a tree of objects: the expectation of hwloc's own tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_LINE = re.compile(r"(?P<blanks> *)(?P<kind>[A-Za-z]\w*)(?P<told>.*)")
_SIZE = re.compile(r"(?P<key>local|total|size)=(?P<number>\d+)(?P<unit>[KMGT]iB)")
_KIB = {"KiB": 1, "MiB": 1024, "GiB": 1024**2, "TiB": 1024**3}


@dataclass(slots=True)
class Object:
    """One object. `sizes`: key to (KiB, the unit that it was rounded to)."""

    kind: str
    os_index: int | None
    sizes: dict[str, tuple[int, int]]
    parent: Object | None = None
    children: list[Object] = field(default_factory=list)

    def all(self, kind: str) -> Iterator[Object]:
        """Itself and everything below, of one kind."""
        if self.kind == kind:
            yield self
        for child in self.children:
            yield from child.all(kind)

    @property
    def pus(self) -> frozenset[int]:
        return frozenset(pu.os_index for pu in self.all("PU") if pu.os_index is not None)

    @property
    def near_pus(self) -> frozenset[int]:
        """Of a NUMA node: the PUs of the object that it is attached to."""
        return self.parent.pus if self.parent else frozenset()


def parse_console(text: str) -> Object:
    """The tree down to the last indented line before the summary ("depth 0: …")."""
    root = Object("Machine", 0, {})
    stack = [(-1, root)]
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if line.lstrip().startswith("depth "):
            break
        if match is None:  # "16 x { PCI … }", collapsed devices
            continue
        depth, told = len(match["blanks"]) // 2, match["told"]
        index = re.search(r"\(P#(\d+)", told)
        sizes = {m["key"]: (int(m["number"]) * _KIB[m["unit"]], _KIB[m["unit"]]) for m in _SIZE.finditer(told)}
        while stack[-1][0] >= depth:
            stack.pop()
        parent = stack[-1][1]
        made = Object(match["kind"], int(index[1]) if index else None, sizes, parent)
        parent.children.append(made)
        stack.append((depth, made))
    return root
