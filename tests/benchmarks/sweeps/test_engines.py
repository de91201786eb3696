"""Each engine ends each item once, whatever dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.sweeps.engine import Ended, Engine, Serial, WorkFailedError
from benchmarks.sweeps.processes import Processes
from tests.benchmarks.sweeps import works


@pytest.fixture(params=["serial", "processes"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with Serial() if request.param == "serial" else Processes(2) as engine:
        yield engine


def by_number(ended: Iterator[Ended]) -> list[tuple[int, object, str]]:
    return sorted((each.number, each.value, each.failure) for each in ended)


def test_each_item_ends_once(engine: Engine) -> None:
    """Every item has its own value, whatever the order they end in; and a second run finds the engine as it was."""
    expected = [(number, 2 * number, "") for number in range(7)]
    for _ in range(2):
        assert expected == by_number(engine.run(works.doubled, range(7)))
    assert [] == by_number(engine.run(works.doubled, []))


def test_what_fails_says_why_and_the_others_go_on(engine: Engine) -> None:
    """Our errors tell themselves; what is none of ours tells where it happened."""
    ended = {each.number: each for each in engine.run(works.odd_ones_fail, range(6))}
    assert [0, 2, 4] == [number for number, each in sorted(ended.items()) if not each.failure]
    assert (None, "3 is odd") == (ended[3].value, ended[3].failure)
    assert ended[5].failure.startswith("ZeroDivisionError: five (works.py:")


def test_a_map_keeps_the_order_and_fails_as_a_whole(engine: Engine) -> None:
    """`map` is what the solver uses: all values in order, or none."""
    assert [0, 2, 4, 6] == engine.map(works.twice, range(4))
    with pytest.raises(WorkFailedError, match="item 1 failed"):
        engine.map(works.twice, [1, None])  # type: ignore[list-item]


def test_an_item_whose_worker_is_killed_is_tried_again(tmp_path: Path) -> None:
    """Four items, each killed once: four values, two tries each, and nothing is counted twice."""
    with Processes(2) as engine:
        ended = by_number(engine.run(works.kills_once, [(str(tmp_path), number) for number in range(4)]))
    assert [(number, 2 * number, "") for number in range(4)] == ended
    assert 8 == len(list(tmp_path.iterdir()))


def test_an_item_that_always_kills_fails_alone() -> None:
    """Three deaths are enough; the others end as ever."""
    with Processes(2) as engine:
        ended = {each.number: each for each in engine.run(works.kills_always, range(5))}
    assert "its process died 3 times, at last by SIGKILL" == ended.pop(2).failure
    assert {0: 0, 1: 2, 3: 6, 4: 8} == {number: each.value for number, each in ended.items()}


@pytest.mark.parametrize("afresh", [False, True])
def test_processes_are_shared_or_one_for_each_item(afresh: bool) -> None:
    """With `afresh` no two items meet in a process; without, two workers do all; none is left, and none is ours."""
    with Processes(2, afresh=afresh) as engine:
        pids = [ended.value for ended in engine.run(works.process_of, range(6))]
    assert len(set(pids)) == 6 if afresh else len(set(pids)) <= 2
    assert os.getpid() not in pids
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_run_that_is_left_stops_its_workers() -> None:
    """As Ctrl-C leaves it."""
    with Processes(2) as engine:
        running = engine.run(works.process_of, range(100))
        first = next(running).value
        running.close()
        assert by_number(engine.run(works.doubled, range(3))) == [(0, 0, ""), (1, 2, ""), (2, 4, "")]
    assert not Path(f"/proc/{first}").exists()
