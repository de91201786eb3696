"""Columns for plots, thinned so that they stay small however long a scenario is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from policies.fleet import Counts

MOST_SAMPLES = 200
MOST_NODES = 256


class Series:
    """The samples of a row: at most 200 of them, and of each at most 256 figures of nodes.

    Where there are more samples, every second, fourth … is kept, and the last one. Where there are more nodes, each
    figure is the average of as many neighbours, in the order of hosts and nodes; the last one of those that are left.
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[Any]] = {}
        self._last: dict[str, Any] = {}
        self._stride, self._seen = 1, 0

    def add(self, **values: Any) -> None:
        """One sample; the names are the same each time."""
        self._last = values
        if self._seen % self._stride == 0:
            for name, value in values.items():
                self._columns.setdefault(name, []).append(value)
            if len(next(iter(self._columns.values()))) > MOST_SAMPLES:
                self._columns = {name: column[::2] for name, column in self._columns.items()}
                self._stride *= 2
        self._seen += 1

    def columns(self) -> dict[str, list[Any]]:
        """All of them, equally long, the last sample included."""
        whole = {name: list(column) for name, column in self._columns.items()}
        if self._last and (self._seen - 1) % self._stride:
            for name, value in self._last.items():
                whole[name].append(value)
        return whole

    def to_json(self) -> dict[str, Any]:
        return {"columns": self._columns, "last": self._last, "stride": self._stride, "seen": self._seen}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Series:
        """What `to_json` wrote."""
        made = cls()
        made._columns, made._last = dict(value["columns"]), dict(value["last"])
        made._stride, made._seen = int(value["stride"]), int(value["seen"])
        return made


def of_neighbours(loads: Counts) -> list[float]:
    """At most 256 averages of as many neighbours each."""
    group = -(-len(loads) // MOST_NODES)
    if group <= 1:
        return [float(load) for load in loads]
    return [round(float(np.mean(loads[i : i + group])), 1) for i in range(0, len(loads), group)]
