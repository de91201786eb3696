"""The fleet solver over the engines: the same answer as in one process, byte for byte, whoever dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.sweeps.on_dask import OnDask
from benchmarks.sweeps.processes import Processes
from policies.patterns import pieces
from policies.patterns.place import place
from tests.benchmarks.sweeps.cluster import cluster
from tests.policies.small_fleets import small_fleet
from tests.policies.test_pieces import same

pytestmark = pytest.mark.xdist_group("dask")


@pytest.fixture(autouse=True)
def all_is_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what is too small to be worth it."""
    monkeypatch.setattr(pieces, "FEWEST_SPREAD", 1)
    monkeypatch.setattr(pieces, "HEAVY_STATES", 1)


def test_on_processes() -> None:
    """Two of them share the pieces."""
    question = small_fleet(200, seed=5)
    with Processes(2) as engine:
        assert same(place(*question, seed=5), place(*question, seed=5, spread=engine.map))


def test_on_dask_while_a_worker_is_killed(tmp_path: Path) -> None:
    """Two workers, one of which dies by SIGKILL in the midst."""
    question = small_fleet(60, seed=6)
    left = [3]
    with cluster(tmp_path) as it, OnDask(it.address) as engine:

        def kills(function, items, /):  # type: ignore[no-untyped-def]
            left[0] -= 1
            if not left[0]:
                it.kill(it.workers.pop())
            return engine.map(function, items)

        answer = place(*question, seed=6, spread=kills)
    assert left[0] < 0
    assert same(place(*question, seed=6), answer)
