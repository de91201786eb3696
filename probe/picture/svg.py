"""The picture of hosts as one self-contained SVG, for a ticket."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from xml.sax.saxutils import escape  # (writes only)

from probe.cpuset import NodeSet
from probe.picture.layout import MANY, MOST_STRIPES, Booked, CpuCell, Layout, NodeBox, Use, guests_shown, layout
from probe.snapshot import HostSnapshot
from probe.topology import L3Domain
from probe.units import format_kib_rounded

_CELL, _GAP, _PAD, _BOX_CELLS = 20, 4, 12, 16
Row = tuple[tuple[CpuCell, ...], ...]
"""Cores, each a tuple of CPUs."""
Drawn = tuple[str, int, int]
"""A part of the picture with its width and height."""

_FREE, _UNUSABLE, _LINE, _TEXT = "#ffffff", "#dddddd", "#555555", "#222222"
_USED, _HUGE, _PROMISED, _SHARED_L3 = "#777777", "#bb8844", "#b9a3d3", "#dde6ee"
_LABEL = 18
"""Height of a package's label, and of a line of distances."""

_MOST_DISTANCES = 16

_FOR: Mapping[Use | None, str] = {Use.IDLE: ", kept idle", Use.EMULATOR: ", its emulator threads"}
_KEYS = {Use.VCPU: "owns its CPUs", Use.IDLE: "kept idle for its guest", Use.EMULATOR: "emulator threads alone"}
_PALE = ' fill-opacity="0.3"'


def hosts_svg(
    hosts: Mapping[str, HostSnapshot], booked: Mapping[str, Mapping[str, Booked]] = MappingProxyType({})
) -> str:
    """Each host under its title: packages around nodes, cores and L3 domains, guests in colour, memory as a bar.

    `booked`: by title, guests that own CPUs, as far as that is known. The cells of these have a thick border: pale
    where they are kept idle, dashed where they are for the guest's emulator threads.
    """
    parts, y, right = [], 0, 320
    guests = guests_shown(hosts.values(), booked.values())
    for title, snapshot in hosts.items():
        part, width, height = _host(layout(snapshot, guests, booked.get(title, {})), title)
        parts.append(f'<g class="host" transform="translate(0,{y})">{part}</g>')
        right, y = max(right, width), y + height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right}" height="{y}" viewBox="0 0 {right} {y}"'
        f' font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="12" fill="{_TEXT}">'
        f'<rect width="100%" height="100%" fill="#fafafa"/>{"".join(parts)}</svg>\n'
    )


def _host(drawn: Layout, title: str) -> tuple[str, int, int]:
    """Title, packages with their boxes, and legend of one host, with their width and height."""
    parts, y, right = [], 48, 320
    by_package: dict[tuple[int, ...], list[_Box]] = {}
    for box in drawn.boxes:
        by_package.setdefault(box.packages, []).append(_Box(box, drawn))
    framed = [_package(packages, boxes) for packages, boxes in by_package.items()]
    for row in _in_rows(framed):
        x = _PAD
        for part, width, _ in row:
            parts.append(f'<g transform="translate({x},{y})">{part}</g>')
            x += width + _PAD
        right, y = max(right, x), y + max(height for _, _, height in row) + _PAD
    legend, height = _legend(drawn, y, right)
    return f"{_text(_PAD, 28, title, size=18)}{''.join(parts)}{legend}", right, height


def _in_rows(drawn: list[Drawn]) -> list[list[Drawn]]:
    """Side by side so far that the whole is wider than high."""
    widest = max((width for _, width, _ in drawn), default=0)
    room = max(widest, round(1.6 * math.sqrt(sum(width * height for _, width, height in drawn))))
    rows: list[list[Drawn]] = []
    for each in drawn:
        if rows and sum(width for _, width, _ in (*rows[-1], each)) <= room:
            rows[-1].append(each)
        else:
            rows.append([each])
    return rows


def _package(packages: tuple[int, ...], boxes: list[_Box]) -> Drawn:
    """The nodes of one package in its frame; of none (memory only) or of several without one."""
    framed = len(packages) == 1
    left, y = (_PAD, _LABEL + 6) if framed else (0, 0)
    per_row = max(1, min(len(boxes), math.ceil(math.sqrt(len(boxes))), 4))
    parts, right = [], 0
    for start in range(0, len(boxes), per_row):
        x, row = left, boxes[start : start + per_row]
        tallest = max(box.height for box in row)
        for box in row:
            parts.append(f'<g class="node" transform="translate({x},{y})">{box.svg(tallest)}</g>')
            x += box.width + _PAD
        right = max(right, x if framed else x - _PAD)
        y += tallest + _PAD
    height = y if framed else y - _PAD
    if framed:
        frame = (
            f'<rect width="{right}" height="{height}" rx="8" fill="#f0f0f0" stroke="{_LINE}" stroke-dasharray="6 3"/>'
        )
        parts = [frame, _text(_PAD, _LABEL, f"package {packages[0]}"), *parts]
    return "".join(parts), right, height


class _Box:
    """One node's box, measured before it is drawn."""

    def __init__(self, box: NodeBox, drawn: Layout) -> None:
        self.box, self.drawn = box, drawn
        self.domains = [(domain.l3, _rows(domain.cores)) for domain in box.domains]
        rows = [row for _, domain in self.domains for row in domain]
        self.width = max(330, max(map(_row_width, rows), default=0) + 2 * _PAD)
        self.distances = self._told_distances()
        lines = _LABEL * bool(self.distances)
        self.height = 34 + len(rows or [0]) * (_CELL + _GAP) + len(self.domains) * _GAP + 46 + lines

    def svg(self, height: int) -> str:
        node = self.box.node
        parts = [
            f'<rect width="{self.width}" height="{height}" rx="6" fill="#ffffff" stroke="{_LINE}"/>',
            _text(_PAD, 22, f"node {node.node_id}", size=13, bold=True),
        ]
        y = 34
        for l3, rows in self.domains:
            parts.append(_backdrop(l3, rows, y))
            for row in rows:
                parts.append(self._row(row, y))
                y += _CELL + _GAP
            y += _GAP
        if not self.domains:
            parts.append(_text(_PAD, y + 14, "no CPUs: memory only"))
        if self.distances:
            parts.append(_text(_PAD, height - 8, self.distances, size=10))
        return "".join(parts) + self._memory(height - 36 - _LABEL * bool(self.distances))

    def _told_distances(self) -> str:
        """To all nodes in their order, where they are few enough to be read."""
        told = self.box.node.distances or {}
        if not 1 < len(told) <= _MOST_DISTANCES:
            return ""
        return f"distances to nodes {NodeSet(frozenset(told))}: {', '.join(str(told[node]) for node in sorted(told))}"

    def _row(self, row: Row, y: int) -> str:
        parts, x = [], _PAD
        for core in row:
            for cell in core:
                parts.append(self._cell(cell, x, y))
                x += _CELL
            x += _GAP
        return "".join(parts)

    def _cell(self, cell: CpuCell, x: int, y: int) -> str:
        fills = [self.drawn.marks[guest].colour for guest in cell.guests] or [_FREE if cell.usable else _UNUSABLE]
        fills = fills if len(fills) <= MOST_STRIPES else [MANY]
        wide = _CELL / len(fills)
        stripes = "".join(
            f'<rect x="{x + i * wide:g}" y="{y}" width="{wide:g}" height="{_CELL}" fill="{fill}"{_pale(cell.own)}/>'
            for i, fill in enumerate(fills)
        )
        ink = "#ffffff" if cell.guests and cell.own is not Use.IDLE else _TEXT
        size = 9 if cell.cpu < 1000 else 7
        who = ", ".join(cell.guests) or ("free" if cell.usable else "not usable")
        return (
            f"<g><title>CPU {cell.cpu}: {_clean(who)}{_FOR.get(cell.own, '')}</title>"
            f'{stripes}<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" fill="none"{_border(cell.own)}/>'
            f'<text x="{x + _CELL / 2}" y="{y + 14}" font-size="{size}" text-anchor="middle" fill="{ink}">'
            f"{cell.cpu}</text></g>"
        )

    def _memory(self, y: int) -> str:
        memory, width = self.box.memory, self.width - 2 * _PAD
        if not memory.total_kib:
            return _text(_PAD, y + 24, "memory: " + ("none" if memory.total_kib == 0 else "not told"))
        parts, x = [f'<rect x="{_PAD}" y="{y}" width="{width}" height="10" fill="#e8e8e8"/>'], float(_PAD)
        for kib, colour in zip(memory.parts_kib, (_USED, _HUGE, _PROMISED), strict=True):
            wide = min(width * kib / memory.total_kib, _PAD + width - x)
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="10" fill="{colour}"/>')
            x += wide
        free = memory.free_kib if memory.free_kib is not None else memory.total_kib - memory.declared_kib
        label = f"{format_kib_rounded(max(0, free))} of {format_kib_rounded(memory.total_kib)} available"
        if memory.declared_kib:
            label += f", {format_kib_rounded(memory.declared_kib)} promised"
        return "".join(parts) + _text(_PAD, y + 24, label, size=11)


def _backdrop(l3: L3Domain | None, rows: list[Row], y: int) -> str:
    """What shows that these rows share an L3 cache."""
    if l3 is None:
        return ""
    size = "" if l3.size_kib is None else f", {format_kib_rounded(l3.size_kib)}"
    width, height = max(map(_row_width, rows)) + _GAP, len(rows) * (_CELL + _GAP) + _GAP
    return (
        f"<g><title>L3 of CPUs {l3.cpus}{size}</title>"
        f'<rect x="{_PAD - _GAP}" y="{y - _GAP}" width="{width}" height="{height}" rx="4" fill="{_SHARED_L3}"/></g>'
    )


def _rows(cores: Row) -> list[Row]:
    """The cores of one L3 domain in rows of at most `_BOX_CELLS` CPUs."""
    rows: list[list[tuple[CpuCell, ...]]] = [[]]
    for core in cores:
        if rows[-1] and sum(len(each) for each in rows[-1]) + len(core) > _BOX_CELLS:
            rows.append([])
        rows[-1].append(core)
    return [tuple(row) for row in rows]


def _row_width(row: Row) -> int:
    return sum(len(core) * _CELL + _GAP for core in row)


def _legend(drawn: Layout, y: int, right: int) -> tuple[str, int]:
    """Guests with their colours, wrapped; and the height of the whole picture."""
    most = max((len(cell.guests) for cell in drawn.cells), default=0)
    bars = [box.memory.parts_kib for box in drawn.boxes]
    keys = (
        (f"more than {MOST_STRIPES} guests", MANY, most > MOST_STRIPES),
        ("share an L3 cache", _SHARED_L3, any(d.l3 for box in drawn.boxes for d in box.domains)),
        ("memory used", _USED, True),
        ("huge pages", _HUGE, any(huge for _, huge, _ in bars)),
        ("promised, not touched yet", _PROMISED, any(promised for _, _, promised in bars)),
    )
    own = {cell.own for cell in drawn.cells}
    uses = [(name, MANY, use) for use, name in _KEYS.items() if use in own]
    guests = [(name, mark.colour, Use.VCPU if mark.booked.own else None) for name, mark in drawn.marks.items()]
    parts, x = [], _PAD
    entries = [
        *((name, colour, _border(use)) for name, colour, use in guests),
        *((name, colour, "") for name, colour, is_drawn in keys if is_drawn),
        *((name, _FREE if use is Use.VCPU else colour, _border(use) + _pale(use)) for name, colour, use in uses),
    ]
    for name, colour, style in entries:
        width = 30 + round(7.6 * len(name))
        if x + width > right and x > _PAD:
            x, y = _PAD, y + 20
        swatch = f'<rect x="{x}" y="{y}" width="14" height="14" fill="{colour}"{style}/>'
        parts.append(f"{swatch}{_text(x + 20, y + 11, name)}")
        x += width
    return f'<g class="legend">{"".join(parts)}</g>', y + 26


def _border(own: Use | None) -> str:
    """Thick around a CPU that is its guest's own."""
    dashes = ' stroke-dasharray="4 2"' if own is Use.EMULATOR else ""
    return f' stroke="{_LINE}" stroke-width="{1 if own is None else 3}"{dashes}'


def _pale(own: Use | None) -> str:
    return _PALE if own is Use.IDLE else ""


def _text(x: float, y: float, content: str, *, size: int = 12, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" font-size="{size}"{weight}>{_clean(content)}</text>'


def _clean(content: str) -> str:
    """A text that XML can hold and that stays text."""
    return escape("".join(c if c.isprintable() else "?" for c in content))
