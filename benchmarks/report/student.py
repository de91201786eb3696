"""Student's t for a whole number of degrees of freedom, in closed form.

Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4. scipy has it too, at 114 MB for
these two functions, so `numaplace bench compare` would no longer run where only numaplace is installed.
"""

from __future__ import annotations

import math

_HALVINGS = 80
"""Of the angle: beyond the precision of a float."""


def two_sided_p(t: float, degrees: int) -> float:
    """How probable a |T| of at least `t` is where nothing differs."""
    return max(0.0, 1.0 - _within(math.atan(abs(t) / math.sqrt(degrees)), degrees))


def quantile(confidence: float, degrees: int) -> float:
    """The t that |T| stays below with this probability: 12.706 for 0.95 and one degree of freedom."""
    low, high = 0.0, math.pi / 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < confidence else (low, middle)
    return math.tan(low) * math.sqrt(degrees)


def _within(angle: float, degrees: int) -> float:
    """The probability of |T| < tan(angle) · √degrees."""
    odd = degrees % 2
    term = math.cos(angle) if odd else 1.0
    total = term if degrees > 1 else 0.0
    for n in range(2 + odd, degrees - 1, 2):
        term *= math.cos(angle) ** 2 * (n - 1) / n
        total += term
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total
