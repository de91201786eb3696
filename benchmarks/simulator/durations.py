"""Many durations in little memory: counted in steps of one per cent."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

_STEP = math.log(1.01)
_LEAST_S = 1e-7


class Durations:
    """How often something took how long; percentiles are right to one per cent.

    `counts` is what another one had, perhaps after it was JSON.
    """

    def __init__(self, counts: Mapping[Any, Any] | None = None) -> None:
        self.counts: Counter[int] = Counter({int(step): int(count) for step, count in (counts or {}).items()})

    def add(self, seconds: float) -> None:
        self.counts[round(math.log(max(seconds, _LEAST_S)) / _STEP)] += 1

    def percentile_ms(self, per_cent: int) -> float | None:
        """The least duration that so many of a hundred do not exceed; None where there are none."""
        rest = self.counts.total() * per_cent / 100
        for step in sorted(self.counts):
            rest -= self.counts[step]
            if rest <= 0:
                return math.exp(step * _STEP) * 1000
        return None
