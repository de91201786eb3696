"""The engine of many machines: a real scheduler and real workers, some of which die."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.sweeps import on_dask
from benchmarks.sweeps.engine import Ended, EngineLostError, Serial, WorkFailedError
from benchmarks.sweeps.on_dask import OnDask, Tls
from benchmarks.sweeps.results import read_results
from benchmarks.sweeps.sweep import sweep
from benchmarks.sweeps.worker import measure
from probe.errors import BadInputError
from tests.benchmarks.sweeps import works
from tests.benchmarks.sweeps.cluster import Cluster, certificate, cluster
from tests.benchmarks.sweeps.owned import asked, without_times

LISTENS, LOOPBACK = "0A", "0100007F"
"""As /proc/net/tcp writes them on a little-endian machine."""
pytestmark = pytest.mark.xdist_group("dask")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("dask")) as it:
        yield it


def by_number(ended: Iterator[Ended]) -> list[tuple[int, object, str]]:
    return sorted((each.number, each.value, each.failure) for each in ended)


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, str, str]] = []

    def tell(self, number: int, where: str, text: str) -> None:
        self.heard.append((number, where, text))


def test_each_item_ends_once_and_failures_are_told(two: Cluster) -> None:
    """As in this process, twice over one connection; and `map` in order."""
    with OnDask(two.address) as engine:
        for _ in range(2):
            assert [(n, 2 * n, "") for n in range(5)] == by_number(engine.run(works.doubled, range(5)))
        ended = {each.number: each for each in engine.run(works.odd_ones_fail, range(6))}
        assert [0, 2, 4, 6, 8, 10] == engine.map(works.twice, range(6))
        with pytest.raises(WorkFailedError, match="item 1 failed"):
            engine.map(works.twice, [1, None])  # type: ignore[list-item]
    assert "3 is odd" == ended[3].failure
    assert ended[5].failure.startswith("ZeroDivisionError: five (works.py:")
    assert {0: 0, 2: 4, 4: 8} == {number: each.value for number, each in ended.items() if not each.failure}


def test_who_looks_on_is_told_which_worker_has_what(two: Cluster) -> None:
    """Each item's beginning, with the worker's address."""
    listener = Listener()
    with OnDask(two.address) as engine:
        list(engine.run(works.slowly, range(6), listener))
    assert {0, 1, 2, 3, 4, 5} == {number for number, _, _ in listener.heard}
    assert all(where.startswith("tcp://127.0.0.1:") for _, where, _ in listener.heard)


def test_a_worker_that_is_killed_takes_nothing_along(two: Cluster, tmp_path: Path) -> None:
    """One of two dies by SIGKILL while items are under way: each item ends once, with the value that it has anyway."""
    with OnDask(two.address) as engine:
        running = engine.run(works.slowly, range(12))
        ended = [next(running)]
        two.kill(two.workers.pop())
        ended += [*running]
    two.add_worker()
    assert [(number, 2 * number, "") for number in range(12)] == by_number(iter(ended))


def test_a_sweep_of_which_a_worker_is_killed_has_the_same_table(two: Cluster, tmp_path: Path) -> None:
    """Times aside as in one process, each row once, for a scenario and a policy whose files no worker has."""
    tasks, watch = asked(tmp_path), Killer(two)
    for name in ("one process", "cluster"):
        (tmp_path / name).mkdir()
    with Serial() as engine:
        sweep(tasks, tmp_path / "one process", engine, work=measure, watch=Killer(None))
    with OnDask(two.address) as engine:
        done = sweep(tasks, tmp_path / "cluster", engine, work=measure, watch=watch)
    two.add_worker()
    assert watch.has_killed
    assert ({}, len(tasks), 0) == (done.failed, done.measured, done.missing)
    there = read_results(tmp_path / "cluster")
    assert without_times(read_results(tmp_path / "one process")) == without_times(there)


class Killer(Listener):
    """Kills a worker when the first row has ended."""

    def __init__(self, of: Cluster | None) -> None:
        super().__init__()
        self.of, self.has_killed = of, False

    def ended(self, number: int, failure: str) -> None:
        if self.of is not None and not self.has_killed:
            self.of.kill(self.of.workers.pop())
            self.has_killed = True


def test_our_clusters_listen_on_loopback_only(two: Cluster) -> None:
    """Every TCP port that its processes listen on, as the kernel tells it."""
    found = set()
    for process in (two.scheduler, *two.workers):
        assert process is not None
        sockets = {path.readlink().name for path in Path(f"/proc/{process.pid}/fd").iterdir() if path.is_symlink()}
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{process.pid}/net/{table}").read_text().splitlines()[1:]:
                _, local, _, state, *_, inode = line.split()[:10]
                if state == LISTENS and f"socket:[{inode}]" in sockets:
                    found.add(local.partition(":")[0])
    assert {LOOPBACK} == found


def test_a_scheduler_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers: told at once. It dies while items are under way: what has ended has ended, the rest is told."""
    monkeypatch.setattr(on_dask, "CONNECT_S", 1.0)
    monkeypatch.setattr(on_dask, "LOST_AFTER_S", 2.0)
    with cluster(tmp_path, workers=1) as it:
        with OnDask(it.address) as engine:
            running = engine.run(works.slowly, range(50))
            next(running)
            it.kill(it.scheduler)
            with pytest.raises(EngineLostError, match="scheduler is gone"):
                list(running)
        with pytest.raises(EngineLostError, match="no Dask scheduler answers"), OnDask(it.address):
            pass


def test_tls_is_asked_for_and_used(tmp_path: Path) -> None:
    """A tls:// address needs files; with them the cluster is used, and nobody comes in without."""
    files = certificate(tmp_path)
    options = ("--tls-ca-file", files["ca"], "--tls-cert", files["cert"], "--tls-key", files["key"])
    with cluster(tmp_path, workers=1, tls=options) as it:
        assert it.address.startswith("tls://127.0.0.1:")
        with OnDask(it.address, Tls(**files)) as engine:
            assert [0, 2, 4] == engine.map(works.twice, range(3))
        with pytest.raises(BadInputError, match="needs --tls-ca"), OnDask(it.address):
            pass
        with pytest.raises(EngineLostError), OnDask(it.address.replace("tls", "tcp")):
            pass
