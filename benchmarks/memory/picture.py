"""The matrices of a host beside its SLIT: for a terminal, and as one self-contained SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape  # (writes only)

from benchmarks.memory.measuring import Pair, Speed
from probe.topology import HostTopology

SHADES = " ░▒▓█"
"""From the worst to the best of a matrix; a matrix of one value has no shade."""

_WORST, _BEST = (255, 255, 255), (68, 119, 170)
_CELL, _ROW, _PAD, _HEAD = 58, 26, 16, 66


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """A figure for each pair of nodes: rows are nodes with CPUs, columns nodes with memory.

    Attributes:
        values: None where there is none.
        more_is_better: else less is.
    """

    title: str
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    values: Mapping[tuple[int, int], float | None]
    more_is_better: bool
    digits: int = 0

    def goodness(self, row: int, column: int) -> float | None:
        """From 0, the worst of the matrix, to 1; None where all are alike, or there is no figure."""
        told = [value for value in self.values.values() if value is not None]
        value = self.values.get((row, column))
        if value is None or max(told) == min(told):
            return None
        part = (value - min(told)) / (max(told) - min(told))
        return part if self.more_is_better else 1 - part

    def text(self, row: int, column: int) -> str:
        value = self.values.get((row, column))
        return "-" if value is None else f"{value:.{self.digits}f}"


def matrices(topology: HostTopology, speeds: Mapping[Pair, Speed]) -> tuple[Matrix, Matrix, Matrix]:
    """Bandwidth, latency and the firmware's distances of the same pairs."""
    rows = tuple(sorted({int(pair.cpu_node) for pair in speeds}))
    columns = tuple(sorted({int(pair.memory_node) for pair in speeds}))

    def of(title: str, value: Callable[[Pair, Speed], float], *, more: bool, digits: int = 0) -> Matrix:
        values = {(int(p.cpu_node), int(p.memory_node)): value(p, speed) for p, speed in speeds.items()}
        return Matrix(title=title, rows=rows, columns=columns, values=values, more_is_better=more, digits=digits)

    return (
        of("bandwidth, GiB/s", lambda _, speed: speed.bandwidth_mib_s / 1024, more=True, digits=1),
        of("latency, ns", lambda _, speed: speed.latency_ns, more=False),
        of("SLIT distance", lambda pair, _: topology.distance(pair.cpu_node, pair.memory_node), more=False),
    )


def for_terminal(drawn: Sequence[Matrix], *, width: int) -> str:
    """Side by side as far as the width goes, else one below the other."""
    blocks = [_block(matrix) for matrix in drawn]
    across = sum(len(block[0]) for block in blocks) + 3 * (len(blocks) - 1)
    if across > width:
        return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks)
    return "\n".join("   ".join(parts).rstrip() for parts in zip(*blocks, strict=True))


def _block(matrix: Matrix) -> list[str]:
    """Lines of one width."""
    wide = max(len(matrix.text(r, c)) for r in matrix.rows for c in matrix.columns)
    wide = max(wide, *(len(str(column)) for column in matrix.columns))
    names = max(4, *(len(str(row)) for row in matrix.rows))
    lines = [matrix.title, f"{'node':>{names}}" + "".join(f"  {column:>{wide}} " for column in matrix.columns)]
    for row in matrix.rows:
        cells = "".join(f"  {matrix.text(row, c):>{wide}}{_shade(matrix.goodness(row, c))}" for c in matrix.columns)
        lines.append(f"{row:>{names}}{cells}")
    across = max(map(len, lines))
    return [line.ljust(across) for line in lines]


def _shade(goodness: float | None) -> str:
    return " " if goodness is None else SHADES[round(goodness * (len(SHADES) - 1))]


def as_svg(drawn: Sequence[Matrix], title: str) -> str:
    """The matrices side by side; darker is better, and each cell says its pair when it is pointed at."""
    parts, x = [_text(_PAD, 26, title, font_size="16", font_weight="bold")], _PAD
    for matrix in drawn:
        parts.append(f'<g transform="translate({x},{_HEAD})">{_grid(matrix)}</g>')
        x += _width(matrix) + 2 * _PAD
    width = max(x - _PAD, 420)
    height = _HEAD + max(_ROW * len(matrix.rows) for matrix in drawn) + 3 * _PAD
    note = "rows: node of the CPUs; columns: node of the memory; darker is better, within each matrix"
    parts.append(_text(_PAD, height - _PAD, note, font_size="11"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        ' font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="12" fill="#222222">'
        f'<rect width="100%" height="100%" fill="#fafafa"/>{"".join(parts)}</svg>\n'
    )


def _width(matrix: Matrix) -> int:
    return max(_CELL * (len(matrix.columns) + 1), 9 * len(matrix.title))


def _grid(matrix: Matrix) -> str:
    parts = [_text(0, -22, matrix.title, font_weight="bold")]
    parts += [
        _text(_CELL * (i + 1) + _CELL // 2, -6, str(c), text_anchor="middle") for i, c in enumerate(matrix.columns)
    ]
    for down, row in enumerate(matrix.rows):
        y = down * _ROW
        parts.append(_text(_CELL // 2, y + 17, f"node {row}", text_anchor="middle"))
        for right, column in enumerate(matrix.columns):
            x = _CELL * (right + 1)
            fill, ink = _colours(matrix.goodness(row, column))
            told = f"{matrix.title}: CPUs of node {row}, memory of node {column}: {matrix.text(row, column)}"
            parts.append(
                f"<g><title>{escape(told)}</title>"
                f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_ROW}" fill="{fill}" stroke="#555555"/>'
                f"{_text(x + _CELL // 2, y + 17, matrix.text(row, column), text_anchor='middle', fill=ink)}</g>"
            )
    return "".join(parts)


def _colours(goodness: float | None) -> tuple[str, str]:
    """Of a cell and of the figure in it."""
    part = goodness or 0.0
    mixed = (round(low + (high - low) * part) for low, high in zip(_WORST, _BEST, strict=True))
    return "#" + "".join(f"{each:02x}" for each in mixed), "#ffffff" if part > 0.6 else "#222222"


def _text(x: int, y: int, text: str, **style: str) -> str:
    """`style` are attributes of SVG with _ for -."""
    attributes = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in style.items())
    return f'<text x="{x}" y="{y}"{attributes}>{escape(text)}</text>'
