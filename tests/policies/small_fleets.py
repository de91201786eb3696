"""Fleets of many small hosts: their tables are small, so that tests of large batches are quick."""

from __future__ import annotations

import numpy as np

from policies.patterns.question import Batch, Supply
from tests.policies.test_patterns import flavour_of, supply_of

FLAVOURS = (
    flavour_of(1, 2),
    flavour_of(2, 2),
    flavour_of(4, 16),
    flavour_of(6, 4),
    flavour_of(8, 8, 1, 2),
    flavour_of(12, 12, 2),
)


def small_fleet(hosts: int, *, demand: float = 1.2, seed: int = 1) -> tuple[Supply, Batch]:
    """Hosts of 1 to 4 nodes, half full; guests of six flavours, some of two cells, for so much of the free CPUs."""
    rng = np.random.default_rng(seed)
    nodes = rng.choice([1, 2, 2, 3, 4], hosts)
    supply = supply_of(*([(int(rng.integers(4, 17)), int(rng.integers(4, 33)), 0) for _ in range(n)] for n in nodes))
    guests = int(demand * supply.cpus.sum() / 5.5)
    return supply, Batch(flavours=FLAVOURS, flavour_of=rng.integers(0, len(FLAVOURS), guests))
