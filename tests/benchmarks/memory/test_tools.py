"""What stress-ng 0.15.06 said, read; and what is no such answer."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from benchmarks.memory import tools
from benchmarks.memory.tools import (
    Bound,
    ToolFailedError,
    ToolMissingError,
    TooShortError,
    bandwidth_mib_s,
    latency_ns,
    parse_cpu_s,
    parse_stream,
)
from probe.cpuset import CpuSet, NodeSet
from tests.conftest import ROOT

RECORDED = ROOT / "tests/data/stress-ng"


def recorded(name: str) -> str:
    return (RECORDED / name).read_text()


def test_streams_of_all_instances_are_added_up() -> None:
    """Reads and writes: 5745.40 + 3830.27 of the one, 5230.26 + 3486.84 of the other."""
    assert 18292.77 == pytest.approx(parse_stream(recorded("stream-2.txt"), instances=2))


@pytest.mark.parametrize("instances", [1, 3])
def test_an_instance_too_many_or_too_few_is_no_answer(instances: int) -> None:
    with pytest.raises(ToolFailedError, match=f"each of {instances} instances"):
        parse_stream(recorded("stream-2.txt"), instances=instances)


def test_a_run_that_was_too_short_says_what_to_do() -> None:
    with pytest.raises(TooShortError, match="--seconds"):
        parse_stream(recorded("stream-too-short.txt"), instances=2)


@pytest.mark.parametrize(("needed", "durations"), [(8, [8]), (20, [8, 16, 32]), (100, [8, 16, 32])])
def test_an_instance_that_says_nothing_is_given_longer(
    monkeypatch: pytest.MonkeyPatch, needed: float, durations: list[int]
) -> None:
    """Twice and four times as long, then it is an error; only the first instance would say that it was too short."""
    ran: list[int] = []

    def said(argv: list[str], timeout_s: float) -> str:
        ran.append(int(argv[-1]))
        return recorded("stream-2.txt" if ran[-1] >= needed else "stream-too-short.txt")

    monkeypatch.setattr(tools, "_said", said)
    if needed > durations[-1]:
        with pytest.raises(TooShortError):
            bandwidth_mib_s(Bound(cpus=None, nodes=None), instances=2, memory_kib=1024, seconds=8)
    else:
        assert 18292.77 == pytest.approx(
            bandwidth_mib_s(Bound(cpus=None, nodes=None), instances=2, memory_kib=1024, seconds=8)
        )
    assert durations == ran


def test_later_versions_say_more_in_the_same_line() -> None:
    """0.18 (stress-stream.c): "double precision Mflop/sec"."""
    line = "stress-ng: info:  [7] stream: memory rate: 10.50 MB read/sec, 2.25 MB write/sec, 1.00 double precision "
    assert 12.75 == parse_stream(line + "Mflop/sec (instance 0)\n", instances=1)


def test_the_time_of_a_run_is_its_cpu_time() -> None:
    """user-time + system-time, not what others took of the clock."""
    assert 0.441574 == pytest.approx(parse_cpu_s(recorded("randlist-3.yaml"), stressor="randlist", operations=3))
    with pytest.raises(ToolFailedError, match="of 4 operations"):
        parse_cpu_s(recorded("randlist-3.yaml"), stressor="randlist", operations=4)
    with pytest.raises(ToolFailedError):
        parse_cpu_s(recorded("randlist-3.yaml"), stressor="stream", operations=3)


@given(st.text(max_size=200))
def test_nothing_else_is_an_answer(text: str) -> None:
    with pytest.raises(ToolFailedError):
        parse_stream(text, instances=1)
    with pytest.raises(ToolFailedError):
        parse_cpu_s(text, stressor="randlist", operations=1)


def test_setting_up_falls_out_of_the_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two operations more, each along the list twice."""
    setup_s, each_ns = 5.0, 120.0

    def ran(bound: Bound, items: int, operations: int) -> float:
        return setup_s + operations * 2 * items * each_ns / 1e9

    monkeypatch.setattr(tools, "_list_s", ran)
    assert each_ns == pytest.approx(latency_ns(Bound(cpus=None, nodes=None), memory_kib=1024 * 1024))


def test_a_run_that_was_disturbed_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """One operation took longer than three; the least time of each counts then. It gives up at last."""
    times = iter([6.0, 3.0, 1.0, 5.0])
    monkeypatch.setattr(tools, "_list_s", lambda *_: next(times))
    items = 1024 * 1024 // tools.LIST_BYTES
    assert (3.0 - 1.0) / (4 * items) * 1e9 == latency_ns(Bound(cpus=None, nodes=None), memory_kib=1024)
    monkeypatch.setattr(tools, "_list_s", lambda *_: 1.0)
    with pytest.raises(ToolFailedError, match="more CPU time"):
        latency_ns(Bound(cpus=None, nodes=None), memory_kib=1024)


@pytest.mark.parametrize(
    ("bound", "argv"),
    [
        (Bound(cpus=CpuSet.parse("0-3"), nodes=NodeSet.of(1)), ["numactl", "--physcpubind=0-3", "--membind=1"]),
        (Bound(cpus=None, nodes=NodeSet.of(1, 2), policy="interleave"), ["numactl", "--interleave=1-2"]),
        (Bound(cpus=None, nodes=None), []),
    ],
)
def test_words_of_numactl(bound: Bound, argv: list[str]) -> None:
    assert argv == bound.argv


def test_a_missing_tool_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolMissingError, match="apt install numactl"):
        tools.tools_are_there()
