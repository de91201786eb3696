"""Sizes: KiB (`int`) inside, `8GiB` where people read and write."""

from __future__ import annotations

import re

_KIB_PER_UNIT = {
    "kib": 1, "k": 1, "mib": 1024, "m": 1024, "gib": 1024**2, "g": 1024**2, "tib": 1024**3, "t": 1024**3,
}  # fmt: skip
_SIZE = re.compile(r"\s*(?P<number>\d{1,18}(?:\.\d{1,6})?)\s*(?P<unit>[A-Za-z]*)\s*", re.ASCII)


def parse_size_kib(text: str | int, *, default_unit: str = "") -> int:
    """Read a size with its binary unit: ``8GiB``, ``512M``, ``1.5G``; the answer is whole KiB.

    A bare number is refused unless `default_unit` (a unit as above) says what it counts.

    Raises:
        ValueError: no number, no or an unknown unit (``GB`` is refused: it is not ``GiB``), or
            not a whole number of KiB.
    """
    match = _SIZE.fullmatch(str(text))
    if match is None:
        raise ValueError(f"cannot read the size {str(text)[:40]!r}; write it like '8GiB'.")
    unit = (match["unit"] or default_unit).lower()
    if unit not in _KIB_PER_UNIT:
        raise ValueError(f"the size {str(text)[:40]!r} needs a unit: KiB, MiB, GiB or TiB.")
    whole, _, fraction = match["number"].partition(".")
    scaled = int(whole + fraction) * _KIB_PER_UNIT[unit]
    if scaled % 10 ** len(fraction):
        raise ValueError(f"the size {str(text)[:40]!r} is not a whole number of KiB.")
    return int(scaled // 10 ** len(fraction))


def format_kib(kib: int) -> str:
    """Write KiB exactly, in the largest unit that stays whole: ``8GiB``, ``1536MiB``, ``7KiB``."""
    for unit, factor in (("TiB", 1024**3), ("GiB", 1024**2), ("MiB", 1024)):
        if kib and kib % factor == 0:
            return f"{kib // factor}{unit}"
    return f"{kib}KiB"


def round_up_to_mib(kib: int) -> int:
    """The next whole MiB, in KiB: an amount that people can act on and that is enough."""
    return -(-kib // 1024) * 1024


def format_kib_rounded(kib: int) -> str:
    """Write KiB for people, with at most one decimal: ``62.7GiB``. Not read back exactly."""
    for unit, factor in (("TiB", 1024**3), ("GiB", 1024**2), ("MiB", 1024)):
        if abs(kib) >= factor:
            return f"{kib / factor:.1f}{unit}".replace(".0", "")
    return f"{kib}KiB"
