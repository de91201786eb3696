"""A small matplotlib figure that becomes part of a page.

matplotlib knows colours only as numbers, so each of the page's colours has a number that is drawn with, and is put
back in what was drawn. Ids are taken out, except those that are referred to.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.report.looks import COLOURS
from probe.errors import BadInputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMES = ("ink", "faint", "line", "base", "other", "surface", *(f"p{i}" for i in range(COLOURS)))
COLOUR = {name: f"#01fe{i:02x}" for i, name in enumerate(_NAMES)}
"""What is drawn with, by the name that style.css gives it."""
WIDTH, HEIGHT = 4.2, 2.9
"""Inches: a card of the page is about as wide, so that text keeps its size."""
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "text.parse_math": False,
    "text.color": COLOUR["ink"],
    "axes.labelcolor": COLOUR["ink"],
    "axes.edgecolor": COLOUR["line"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLOUR["faint"],
    "grid.linewidth": 0.5,
    "xtick.color": COLOUR["line"],
    "ytick.color": COLOUR["line"],
    "xtick.labelcolor": COLOUR["ink"],
    "ytick.labelcolor": COLOUR["ink"],
    "path.simplify": True,
}


class Drawing:
    """A figure that is being drawn, and its SVG when that is done."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self.axes: Axes = figure.add_subplot()
        self.svg = ""


@contextmanager
def drawing(name: str, height: float = HEIGHT) -> Iterator[Drawing]:
    """Axes to draw on; the name is what makes this plot's ids differ from those of others.

    Raises:
        BadInputError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BadInputError("matplotlib is not installed.", advice="pip install 'numaplace[report]'") from error
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        done = Drawing(Figure(figsize=(WIDTH, height), layout="constrained", dpi=72))
        yield done
        text = io.StringIO()
        plain = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        done.figure.savefig(text, format="svg", transparent=True, metadata=plain)
        done.svg = in_page(text.getvalue())


def in_page(svg: str) -> str:
    """What matplotlib wrote, as an element of an HTML page whose style.css has its colours, font and joins."""
    size = re.search(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"', svg)
    assert size is not None, "matplotlib always writes a viewBox"  # noqa: S101
    body = svg[svg.index("</defs>") + len("</defs>") : svg.rindex("</svg>")]
    for name, number in COLOUR.items():
        body = body.replace(number, f"var(--{name})")
    body = re.sub(r" font-family: '[^']*';| transform=\"rotate\(-0 [^\"]*\"", "", body)
    body = re.sub(r'<g id="[^"]*"', "<g", body.replace("xlink:href=", "href="))
    body = re.sub(r"(?<![\w.#])-?\d+\.\d{3,}", lambda found: _short(float(found[0])), body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    return f'<svg viewBox="0 0 {float(size[1]):g} {float(size[2]):g}">{body}</svg>'


def _short(number: float) -> str:
    """A tenth of a pixel; the small figures of markers finer."""
    return f"{number:.{1 if abs(number) >= 10 else 2}f}".rstrip("0").rstrip(".")
