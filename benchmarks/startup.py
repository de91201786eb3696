"""How long the command line takes to start, in units of an empty Python."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

COMMANDS: tuple[tuple[str, tuple[str, ...], int | None], ...] = (
    ("python -c pass", ("-c", "pass"), None),
    ("numaplace --help", ("-m", "scheduler.cli.main", "--help"), 10),
    ("numaplace probe", ("-m", "scheduler.cli.main", "probe"), 20),
)
"""What is run, with its limit as a multiple of the first."""


def measure_startup(repeat: int) -> list[dict[str, Any]]:
    """Wall time of each command, the least of `repeat` runs taken in turns, in seconds.

    In turns, so that a noisy minute of the machine hits all of them alike.
    """
    best = [float("inf")] * len(COMMANDS)
    for _ in range(repeat):
        for position, (_, arguments, _) in enumerate(COMMANDS):
            best[position] = min(best[position], _wall_s(arguments))
    return [
        {"command": name, "wall_s": wall_s, "ratio": wall_s / best[0], "limit": limit}
        for (name, _, limit), wall_s in zip(COMMANDS, best, strict=True)
    ]


def _wall_s(arguments: tuple[str, ...]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - began
