"""How a contender is drawn: the same colour, line and marker in every plot of a report.

The colours are those of Okabe and Ito, which colour-blind people tell apart, brightened for dark pages in style.css.
Here they are only numbers: what is drawn takes the page's colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

COLOURS = 7
"""Beside the base: more lines in one plot cannot be told apart."""
_DASHES: tuple[tuple[float, ...], ...] = (
    (),
    (6, 2),
    (2, 1.5),
    (6, 2, 1.5, 2),
    (4, 1.5),
    (8, 1.5, 1.5, 1.5, 1.5, 1.5),
    (1, 1),
)
_MARKERS = "osD^vPX"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Of one contender.

    Attributes:
        colour: its number in style.css: `base`, `p0` … `p6`, or `other`, which is grey.
        dashes: lengths of line and gap; none is a whole line.
        marker: as matplotlib calls it.
    """

    colour: str
    dashes: tuple[float, ...]
    marker: str

    @property
    def is_highlighted(self) -> bool:
        return self.colour != "other"


def looks(order: Sequence[str], base: str) -> dict[str, Look]:
    """The base in the colour of the text, the first seven of the others in colours, the rest in grey."""
    found = {base: Look(colour="base", dashes=(5, 2), marker="h")}
    for i, contender in enumerate(each for each in order if each != base):
        if i < COLOURS:
            found[contender] = Look(colour=f"p{i}", dashes=_DASHES[i], marker=_MARKERS[i])
        else:
            found[contender] = Look(colour="other", dashes=(), marker="o")
    return found
