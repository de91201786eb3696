"""What a row was measured with."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version


def versions() -> dict[str, str]:
    """What the row was measured with, and on which day (UTC)."""
    return {
        "day": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        **{name: version(name) for name in ("numaplace", "numpy", "ortools")},
    }
