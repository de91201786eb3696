"""Scenarios by name: those that come with numaplace, and files of the user's own."""

from __future__ import annotations

from pathlib import Path

from benchmarks.scenarios.outline import outline_of
from benchmarks.scenarios.scenario import Scenario, read_scenario
from probe.errors import BadInputError

LIBRARY = Path(__file__).with_name("library")
SMALL = (
    "traps",
    "batch-mixed",
    "cxl",
    "dedicated-nps4",
    "steady-small",
    "huawei-small",
    "bitbrains",
    "recorded-hosts",
)
"""Those that every policy gets through in seconds; the last three read public data."""


def scenario_names() -> tuple[str, ...]:
    """The built-in scenarios, sorted."""
    return tuple(sorted(path.stem for path in LIBRARY.glob("*.yaml")))


def small_scenarios() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of `SMALL` those whose data is here, and those whose data is not."""
    here = [name for name in SMALL if outline_of(load_scenario(name)).is_there]
    return tuple(here), tuple(name for name in SMALL if name not in here)


def load_scenario(name_or_path: str) -> Scenario:
    """A built-in scenario by its name, or a file by its path (`.yaml`, `.yml` or `.json`).

    Raises:
        BadInputError: there is none of this name.
        FileInvalidError: the file does not follow its schema.
    """
    if name_or_path in scenario_names():
        return read_scenario(LIBRARY / f"{name_or_path}.yaml", name=name_or_path)
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml", ".json"):
        return read_scenario(path, name=name_or_path)
    raise BadInputError(
        f"no scenario is called {name_or_path[:80]!r}; there are: {', '.join(scenario_names())}.",
        advice="Maybe give a file: its name ends in .yaml, .yml or .json.",
    )
