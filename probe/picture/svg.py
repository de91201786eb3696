"""The picture of hosts as one self-contained SVG, for a ticket."""

from __future__ import annotations

import math
from collections.abc import Mapping
from xml.sax.saxutils import escape  # (writes only)

from probe.picture.layout import MANY, MOST_STRIPES, CpuCell, Layout, NodeBox, layout
from probe.snapshot import HostSnapshot
from probe.topology import L3Domain
from probe.units import format_kib_rounded

_CELL, _GAP, _PAD, _BOX_CELLS = 20, 4, 12, 16
Row = tuple[tuple[CpuCell, ...], ...]
"""Cores, each a tuple of CPUs."""

_FREE, _UNUSABLE, _LINE, _TEXT = "#ffffff", "#dddddd", "#555555", "#222222"


def hosts_svg(hosts: Mapping[str, HostSnapshot]) -> str:
    """Each host under its title: one box a node, cores and L3 domains, guests in colour, memory as a bar."""
    parts, y, right = [], 0, 320
    for title, snapshot in hosts.items():
        part, width, height = _host(layout(snapshot), title)
        parts.append(f'<g class="host" transform="translate(0,{y})">{part}</g>')
        right, y = max(right, width), y + height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right}" height="{y}" viewBox="0 0 {right} {y}"'
        f' font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="12" fill="{_TEXT}">'
        f'<rect width="100%" height="100%" fill="#fafafa"/>{"".join(parts)}</svg>\n'
    )


def _host(drawn: Layout, title: str) -> tuple[str, int, int]:
    """Title, boxes and legend of one host, with their width and height."""
    boxes = [_Box(box, drawn) for box in drawn.boxes]
    per_row = max(1, min(len(boxes), math.ceil(math.sqrt(len(boxes))), 4))
    parts, y, right = [], 48, 320
    for start in range(0, len(boxes), per_row):
        x, row = _PAD, boxes[start : start + per_row]
        for box in row:
            parts.append(f'<g class="node" transform="translate({x},{y})">{box.svg(max(b.height for b in row))}</g>')
            x += box.width + _PAD
        right = max(right, x)
        y += max(box.height for box in row) + _PAD
    legend, height = _legend(drawn, y, right)
    return f"{_text(_PAD, 28, title, size=18)}{''.join(parts)}{legend}", right, height


class _Box:
    """One node's box, measured before it is drawn."""

    def __init__(self, box: NodeBox, drawn: Layout) -> None:
        self.box, self.drawn = box, drawn
        self.domains = [(domain.l3, _rows(domain.cores)) for domain in box.domains]
        rows = [row for _, domain in self.domains for row in domain]
        self.width = max(330, max(map(_row_width, rows), default=0) + 2 * _PAD)
        self.height = 34 + len(rows or [0]) * (_CELL + _GAP) + len(self.domains) * _GAP + 46

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
        return "".join(parts) + self._memory(height - 36)

    def _row(self, row: Row, y: int) -> str:
        parts, x = [], _PAD
        for core in row:
            for cell in core:
                parts.append(self._cell(cell, x, y))
                x += _CELL
            x += _GAP
        return "".join(parts)

    def _cell(self, cell: CpuCell, x: int, y: int) -> str:
        fills = [self.drawn.colours[guest] for guest in cell.guests] or [_FREE if cell.usable else _UNUSABLE]
        fills = fills if len(fills) <= MOST_STRIPES else [MANY]
        wide = _CELL / len(fills)
        stripes = "".join(
            f'<rect x="{x + i * wide:g}" y="{y}" width="{wide:g}" height="{_CELL}" fill="{fill}"/>'
            for i, fill in enumerate(fills)
        )
        ink = "#ffffff" if cell.guests else _TEXT
        who = _clean(", ".join(cell.guests) or ("free" if cell.usable else "not usable"))
        return (
            f"<g><title>CPU {cell.cpu}: {who}</title>"
            f'{stripes}<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" fill="none" stroke="{_LINE}"/>'
            f'<text x="{x + _CELL / 2}" y="{y + 14}" font-size="9" text-anchor="middle" fill="{ink}">'
            f"{cell.cpu}</text></g>"
        )

    def _memory(self, y: int) -> str:
        memory, width = self.box.memory, self.width - 2 * _PAD
        if not memory.total_kib:
            return _text(_PAD, y + 24, "memory: " + ("none" if memory.total_kib == 0 else "not told"))
        free = memory.free_kib if memory.free_kib is not None else memory.total_kib - memory.declared_kib
        used = max(0, memory.total_kib - free - memory.hugepages_kib)
        widths = [max(0.0, width * part / memory.total_kib) for part in (used, memory.hugepages_kib)]
        label = f"{format_kib_rounded(max(0, free))} of {format_kib_rounded(memory.total_kib)} available"
        if memory.declared_kib:
            label += f", {format_kib_rounded(memory.declared_kib)} promised"
        return (
            f'<rect x="{_PAD}" y="{y}" width="{width}" height="10" fill="#e8e8e8"/>'
            f'<rect x="{_PAD}" y="{y}" width="{widths[0]:.1f}" height="10" fill="#777777"/>'
            f'<rect x="{_PAD + widths[0]:.1f}" y="{y}" width="{widths[1]:.1f}" height="10" fill="#bb8844"/>'
            + _text(_PAD, y + 24, label, size=11)
        )


def _backdrop(l3: L3Domain | None, rows: list[Row], y: int) -> str:
    """What shows that these rows share an L3 cache."""
    if l3 is None:
        return ""
    size = "" if l3.size_kib is None else f", {format_kib_rounded(l3.size_kib)}"
    width, height = max(map(_row_width, rows)) + _GAP, len(rows) * (_CELL + _GAP) + _GAP
    return (
        f"<g><title>L3 of CPUs {l3.cpus}{size}</title>"
        f'<rect x="{_PAD - _GAP}" y="{y - _GAP}" width="{width}" height="{height}" rx="4" fill="#dde6ee"/></g>'
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
    many = [(f"more than {MOST_STRIPES} guests", MANY)] if most > MOST_STRIPES else []
    l3 = [("share an L3 cache", "#dde6ee")] if any(d.l3 for box in drawn.boxes for d in box.domains) else []
    entries = [*drawn.colours.items(), *many, *l3, ("used", "#777777"), ("huge pages", "#bb8844")]
    parts, x = [], _PAD
    for name, colour in entries:
        width = 28 + 7 * len(name)
        if x + width > right and x > _PAD:
            x, y = _PAD, y + 20
        parts.append(f'<rect x="{x}" y="{y}" width="14" height="14" fill="{colour}"/>{_text(x + 20, y + 11, name)}')
        x += width
    return f'<g class="legend">{"".join(parts)}</g>', y + 26


def _text(x: float, y: float, content: str, *, size: int = 12, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" font-size="{size}"{weight}>{_clean(content)}</text>'


def _clean(content: str) -> str:
    """A text that XML can hold and that stays text."""
    return escape("".join(c if c.isprintable() else "?" for c in content))
