"""Scenarios that tests write down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from benchmarks.scenarios.scenario import Scenario, parse_scenario

FLAVOURS = [
    {"name": "small", "vcpus": 2, "memory": "4GiB", "weight": 6},
    {"name": "medium", "vcpus": 4, "memory": "8GiB", "weight": 3},
    {"name": "large", "vcpus": 8, "memory": "16GiB", "weight": 1, "max_nodes": 2},
]
HOSTS = [{"count": 4, "shape": "two-socket-small"}]


def scenario(guests: dict[str, Any], hosts: list[dict[str, Any]] | None = None, **more: Any) -> Scenario:
    """A scenario of these guests, read as from a file."""
    written = {"title": "a test", "hosts": hosts or HOSTS, "guests": guests, **more}
    return parse_scenario(yaml.safe_dump(written), origin=Path("test.yaml"), name="test")


def stream(**keys: Any) -> dict[str, Any]:
    """Guests that come and go, a few hundred events at 80 %."""
    return {"stream": {"flavours": FLAVOURS, "events": 300, "load": 80, "lifetime": {"mean": "2h"}, **keys}}
