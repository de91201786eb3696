"""How long changes are looked for, and what is tried now."""

from __future__ import annotations

import time
from collections.abc import Callable


def _nobody(_: str) -> None:
    return None


class Watch:
    """Begins when it is made.

    Attributes:
        tell: called with what is tried next, for people who wait.
        ended: whether something was not tried, or not to its end, because the time was over.
    """

    def __init__(self, time_limit_s: float | None = None, tell: Callable[[str], None] = _nobody) -> None:
        """Args:
        time_limit_s: None for no limit.
        """
        self._limit_s, self._began, self.tell = time_limit_s, time.monotonic(), tell
        self.ended = False

    @property
    def left_s(self) -> float | None:
        """Seconds that are left, never negative; None without a limit."""
        return None if self._limit_s is None else max(0.0, self._limit_s - (time.monotonic() - self._began))

    def is_over(self, *, keeping: float = 0.0) -> bool:
        """Whether no more of the time is left than this part of all. Who asks does not try what comes next, then."""
        over = self.left_s is not None and self._limit_s is not None and self.left_s <= keeping * self._limit_s
        self.ended = self.ended or over
        return over

    @property
    def limited_by(self) -> str:
        """ "the time limit of 30s", where it has ended something; else ""."""
        if not self.ended:
            return ""
        return "the effort of each new plan" if self._limit_s is None else f"the time limit of {self._limit_s:g}s"
