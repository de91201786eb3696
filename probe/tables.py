"""Plain tables and running text that fit a terminal, without any library: the light commands print with them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from textwrap import wrap

_BETWEEN = "  "
_NUMBER = re.compile(r"[−-]?[0-9]+(\.[0-9]+)?(%|[KMGT]iB)?")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_WORD = re.compile(r"[^\s,]+,?")

Cells = list[list[str]]
"""Rows of texts, the header first."""


def columns(header: Sequence[str], rows: Iterable[Sequence[object]], *, width: int | None = None) -> str:
    """A table: left-aligned text, right-aligned numbers, two blanks between columns.

    What is wider than `width` has its longest texts broken at blanks and commas; where that does not do,
    each row becomes a paragraph with the header's words before the values. `width` None: as wide as it is.
    """
    cells = [list(header), *([("-" if c is None else str(c)) for c in row] for row in rows)]
    widths = _fitting(cells, width)
    return _paragraphs(cells, width or 0) if widths is None else _table(cells, widths)


def running(words: Iterable[str], *, width: int | None, indent: str = "") -> list[str]:
    """Items, two blanks apart, in lines of at most `width`; an item is not broken. All but the first are indented."""
    lines: list[str] = []
    for word in words:
        joined = f"{lines[-1]}{_BETWEEN if lines[-1].strip() else ''}{word}" if lines else word
        if lines and width is not None and visible(joined) > width:
            lines.append(indent + word)
        else:
            lines[-1:] = [joined]
    return lines


def visible(text: str) -> int:
    """Columns that a text takes, colours not counted."""
    return len(_COLOUR.sub("", text))


def _fitting(cells: Cells, width: int | None) -> list[int] | None:
    """A width for each column; None where no breaking of texts makes the table fit."""
    columns_of = list(zip(*cells, strict=True))
    widths = [max(map(len, column)) for column in columns_of]
    least = [max(len(word) for text in column for word in (_WORD.findall(text) or [""])) for column in columns_of]
    between = len(_BETWEEN) * (len(widths) - 1)
    while width is not None and sum(widths) + between > width:
        slack = [have - need for have, need in zip(widths, least, strict=True)]
        widest = max(range(len(widths)), key=lambda i: (slack[i] > 0, widths[i]))
        if slack[widest] <= 0:
            return None
        widths[widest] -= 1
    return [
        max(len(line) for text in column for line in broken_text(text, wide))
        for column, wide in zip(columns_of, widths, strict=True)
    ]


def _table(cells: Cells, widths: Sequence[int]) -> str:
    numeric = [len(cells) > 1 and all(_looks_numeric(row[i]) for row in cells[1:]) for i in range(len(widths))]
    lines = []
    for row in cells:
        broken = [broken_text(text, width) for text, width in zip(row, widths, strict=True)]
        for i in range(max(map(len, broken))):
            parts = [part[i] if i < len(part) else "" for part in broken]
            padded = [
                part.rjust(width) if right else part.ljust(width)
                for part, width, right in zip(parts, widths, numeric, strict=True)
            ]
            lines.append(_BETWEEN.join(padded).rstrip())
    return "\n".join(lines)


def broken_text(text: str, width: int) -> list[str]:
    """The text in lines of at most `width`, broken after blanks and commas; a longer word is cut."""
    if len(text) <= width:
        return [text]
    lines: list[str] = []
    for word in re.findall(r"\s*[^\s,]*,?", text):
        if lines and len(lines[-1] + word) <= width:
            lines[-1] += word
        elif word.strip():
            lines += wrap(word.strip(), max(1, width), break_on_hyphens=False)
    return lines


def _paragraphs(cells: Cells, width: int) -> str:
    """Each row by itself: its first value, below it the others as "HEADER value"; "-" and "" are left out."""
    header, *rows = cells
    paragraphs = []
    for row in rows:
        told = [
            f"{name} {text}".strip() for name, text in zip(header[1:], row[1:], strict=True) if text not in ("", "-")
        ]
        head = broken_text(f"{header[0]} {row[0]}".strip(), width)
        body = [line for item in running(told, width=width - 2) for line in broken_text(item, width - 2)]
        paragraphs.append("\n".join([*head, *(f"  {line}" for line in body)]))
    return "\n".join(paragraphs)


def _looks_numeric(text: str) -> bool:
    return text in ("-", "?") or _NUMBER.fullmatch(text) is not None
