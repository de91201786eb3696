"""What is read of the public data sets, against the files themselves; and what is made of damaged ones."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.events import Event
from benchmarks.scenarios.arrivals import HOURS
from benchmarks.scenarios.file import ArrivalsEntry, FlavoursOf, LifetimeEntry, TraceEntry
from benchmarks.scenarios.fitted import arrivals_of, lifetimes_of
from benchmarks.scenarios.flavour_lists import LISTS, mix_like
from benchmarks.scenarios.recordings import recordings
from benchmarks.scenarios.traces import TRACES
from benchmarks.scenarios.traces.bitbrains import guests as bitbrains_guests
from benchmarks.scenarios.traces.coming import Coming, events_of, sampled
from benchmarks.scenarios.traces.roadef import read_instance
from policies.request import GroupRule
from probe import read_source
from probe.errors import BadInputError, NumaplaceError, SourceMalformedError
from tests.benchmarks.scenarios.test_stream import come_and_gone
from tests.benchmarks.scenarios.written import scenario
from tests.conftest import DATA
from tests.policies.test_policies import ask

pytestmark = pytest.mark.data


@pytest.fixture(autouse=True)
def folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMAPLACE_DATA", str(data))
    return data


def rows_of(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def events_like(trace: str, **keys: object) -> list[Event]:
    return list(scenario({"trace": {"name": trace, **keys}}).play(1).events())


def test_alibaba_is_read_whole() -> None:
    """Every pod comes when it was created and goes when it was deleted; vCPUs and MiB are those of the file."""
    rows = rows_of("traces/alibaba-gpu-v2023/openb_pod_list_default.first_half.csv")
    events = events_like("alibaba-gpu-v2023", guest={"cells": "auto"})
    came, gone = come_and_gone(events)
    assert len(rows) == len(came) == len(gone)
    assert {row["name"] for row in rows} == {guest.name for guest in came}
    assert sum(-(-int(row["cpu_milli"]) // 1000) or 1 for row in rows) == sum(guest.vcpus for guest in came)
    assert sum(int(row["memory_mib"]) or 1 for row in rows) == sum(guest.memory_kib // 1024 for guest in came)
    assert {float(row["creation_time"]) for row in rows} == {event.at_s for event in events if event.arrivals}
    hosts = (
        scenario({"trace": {"name": "bitbrains-small"}}, [{"trace": "alibaba-gpu-v2023", "reserve": 0}]).play(1).fleet
    )
    nodes = rows_of("traces/alibaba-gpu-v2023/openb_node_list_all_node.csv")
    assert len(nodes) == len(hosts)
    assert sum(int(row["cpu_milli"]) // 1000 for row in nodes) == int(hosts.free_cpus.sum())
    assert sum(int(row["memory_mib"]) for row in nodes) == int(hosts.memory_kib[4].sum()) // 1024


def test_huawei_is_read_whole() -> None:
    """Guests, cells, groups and what the hosts have left; the second batch comes an hour later."""
    rows = [row for batch in ("C1", "C2") for row in rows_of(f"traces/huawei-topology-aware/csv/VM_data_{batch}.csv")]
    play = scenario({"trace": {"name": "huawei-topology-aware"}}, [{"trace": "huawei-topology-aware"}]).play(1)
    events = list(play.events())
    came = [guest for event in events for guest in event.arrivals]
    assert [0, 3600] == [event.at_s for event in events]
    assert [(int(r["flavor_vcpus"]), int(r["flavor_ram"]), int(r["numa"])) for r in rows] == [
        (guest.vcpus, guest.memory_kib >> 20, guest.cells) for guest in came
    ]
    rules = Counter(member.group.rule for guest in came for member in guest.groups)
    told = Counter(row["strategy"] for row in rows)
    assert told["fault_domain"] == rules[GroupRule.FAULT_DOMAINS]
    assert told["anti-affinity"] == rules[GroupRule.ANTI_AFFINITY]
    first, second = ({m.group.name for guest in event.arrivals for m in guest.groups} for event in events)
    assert first.isdisjoint(second)
    hosts = rows_of("traces/huawei-topology-aware/csv/PM_res.csv")
    assert sum(int(h["CPU1"]) + int(h["CPU2"]) for h in hosts) == int(play.fleet.free_cpus.sum())
    assert all("rack" in host.domains for host in play.fleet)


def test_bitbrains_is_read_whole() -> None:
    """50 guests; those who are there at the end go then."""
    rows = rows_of("traces/bitbrains-small/meta.csv")
    came, gone = come_and_gone(events_like("bitbrains-small"))
    assert sorted(int(row["cpu_count"]) for row in rows) == sorted(guest.vcpus for guest in came)
    assert len(rows) == len(gone)
    assert sum(-(-int(row["mem_capacity"]) // 1024) for row in rows) == sum(guest.memory_kib // 1024 for guest in came)


@pytest.mark.parametrize("name", [name for name in TRACES if name.startswith("roadef")])
def test_a_roadef_instance_is_read_to_its_end(name: str, folder: Path) -> None:
    """Its own assignment fits what was read, and keeps services apart: so every number is where it belongs."""
    model, assignment = (folder / file for file in TRACES[name].files)
    instance = read_instance(model, assignment)
    used: Counter[tuple[int, int]] = Counter()
    for process, machine in zip(instance.processes, instance.assignment, strict=True):
        for resource, amount in enumerate(process.amounts):
            used[machine, resource] += amount
    for (machine, resource), amount in used.items():
        assert amount <= instance.machines[machine].capacities[resource]
    pairs = [(p.service, machine) for p, machine in zip(instance.processes, instance.assignment, strict=True)]
    assert len(pairs) == len(set(pairs))


def test_a_sample_is_a_part_of_the_trace_with_whole_groups() -> None:
    """By the seed, in the trace's order."""
    everybody = scenario({"trace": {"name": "huawei-topology-aware", "batches": ["C1"]}}).play(1)
    some = scenario({"trace": {"name": "huawei-topology-aware", "batches": ["C1"], "sample": 100}})
    all_names = [guest.name for event in everybody.events() for guest in event.arrivals]
    sizes = Counter(g.groups[0].group.name for e in everybody.events() for g in e.arrivals if g.groups)
    drawn = {seed: [g for e in some.play(seed).events() for g in e.arrivals] for seed in (1, 2)}
    assert [g.name for g in drawn[1]] != [g.name for g in drawn[2]]
    for guests in drawn.values():
        names = {guest.name for guest in guests}
        assert [name for name in all_names if name in names] == [guest.name for guest in guests]
        assert len(guests) >= 100
        for group, count in Counter(g.groups[0].group.name for g in guests if g.groups).items():
            assert sizes[group] == count


def test_arrivals_and_lifetimes_are_fitted_to_a_trace() -> None:
    """The lifetimes' mean is the trace's, and the lognormal has their median; some hours are busier than others."""
    rows = rows_of("traces/alibaba-gpu-v2023/openb_pod_list_default.first_half.csv")
    stays = sorted(float(row["deletion_time"]) - float(row["creation_time"]) for row in rows)
    recorded = lifetimes_of(LifetimeEntry(distribution="recorded", like="alibaba-gpu-v2023"))
    assert stays == list(recorded.recorded_s)
    assert sum(stays) / len(stays) == pytest.approx(recorded.mean_s)
    lognormal = lifetimes_of(LifetimeEntry(distribution="lognormal", like="alibaba-gpu-v2023"))
    median = lognormal.mean_s / 2.718281828 ** (lognormal.sigma**2 / 2)
    assert stays[len(stays) // 2] == pytest.approx(median, rel=0.3)
    arrivals = arrivals_of(ArrivalsEntry(like="alibaba-gpu-v2023"))
    assert HOURS == len(arrivals.hours)
    assert max(arrivals.hours) > 2 * min(arrivals.hours)
    assert arrivals.burstiness > 1


def test_a_trace_without_times_fits_nothing() -> None:
    with pytest.raises(BadInputError, match="alibaba-gpu-v2023"):
        lifetimes_of(LifetimeEntry(like="huawei-topology-aware"))


@pytest.mark.parametrize("source", [*LISTS, "bitbrains-small"])
def test_flavours_of_lists_and_traces(source: str) -> None:
    """Each is a valid guest of at most so many vCPUs, and the weights add up to one."""
    mix = mix_like(FlavoursOf(source=source, most_vcpus=16), None)
    assert len(mix.flavours) > 2
    assert {flavour.vcpus <= 16 for flavour in mix.flavours} == {True}
    assert sum(mix.weights) == pytest.approx(1)


def test_aws_families_are_chosen() -> None:
    names = [f.name for f in mix_like(FlavoursOf(source="aws", families=["m5.", "c5."]), None).flavours]
    assert {name.partition(".")[0] for name in names} == {"m5", "c5"}
    assert "m5.large" in names


def test_every_recording_is_a_host_by_name() -> None:
    """The names are unique, and each source can be read."""
    found = recordings()
    assert len(found) > 100
    some = list(found.values())[::12]
    assert all(read_source(source).topology.online_cpus is not None for source in some)


def test_a_recording_is_asked_for_by_name() -> None:
    play = scenario({"trace": {"name": "bitbrains-small"}}, [{"shape": "recording:hwloc/linux/16amd64-8n2c"}]).play(1)
    assert 8 == len(play.fleet.hosts[0].nodes)
    with pytest.raises(BadInputError, match="no recording is called 'hwloc/none'"):
        scenario({"trace": {"name": "bitbrains-small"}}, [{"shape": "recording:hwloc/none"}]).play(1)


def test_bitbrains_is_read_as_it_is_published_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Parquet file has the same guests; a damaged one is a typed error."""
    told = events_like("bitbrains-small")
    path = tmp_path / "traces/bitbrains-small/meta.parquet"
    path.parent.mkdir(parents=True)
    shutil.copy(folder / "traces/bitbrains-small/meta.parquet", path)
    monkeypatch.setenv("NUMAPLACE_DATA", str(tmp_path))
    assert told == events_like("bitbrains-small")
    content = path.read_bytes()
    for damaged in (b"", b"PAR1" * 9, content[: len(content) // 2], content[:200] + b"x" * 90 + content[290:]):
        path.write_bytes(damaged)
        with pytest.raises(SourceMalformedError, match=r"meta\.parquet"):
            events_like("bitbrains-small")


DAMAGES = {
    "empty": (b"", "a column"),
    "other columns": (b"a,b\n1,2\n", "a column"),
    "short row": (b"id,start_time,stop_time,cpu_count,mem_capacity\n1,2\n", ":2: expected 5 cells"),
    "no number": (b"id,start_time,stop_time,cpu_count,mem_capacity\n1,2013-08-12,2013-08-13,many,4\n", "cpu_count"),
    "not a number": (b"id,start_time,stop_time,cpu_count,mem_capacity\n1,2013-08-12,2013-08-13,nan,4\n", "cpu_count"),
    "endless": (b"id,start_time,stop_time,cpu_count,mem_capacity\n1,2013-08-12,2013-08-13,1e99,4\n", "cpu_count"),
    "negative": (b"id,start_time,stop_time,cpu_count,mem_capacity\n1,2013-08-12,2013-08-13,-1,4\n", "cpu_count"),
    "no time": (b"id,start_time,stop_time,cpu_count,mem_capacity\n1,soon,2013-08-13,1,4\n", "start_time"),
    "a bad name": (b"id,start_time,stop_time,cpu_count,mem_capacity\n$(id),2013-08-12,2013-08-13,1,4\n", "a name has"),
    "not text": (b"\xff\xfe\x00", "UTF-8"),
    "a NUL": (b"id,start_time,stop_time,cpu_count,mem_capacity\n\x00,2013-08-12,2013-08-13,1,4\n", ""),
    "a huge field": (b"id,start_time,stop_time,cpu_count,mem_capacity\n" + b"9" * 200_000 + b"\n", "CSV"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_is_a_typed_error(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the file, and where it can line and column."""
    content, named = DAMAGES[damage]
    path = tmp_path / TRACES["bitbrains-small"].files[0]
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    monkeypatch.setenv("NUMAPLACE_DATA", str(tmp_path))
    with pytest.raises(NumaplaceError) as caught:
        bitbrains_guests(TraceEntry(name="bitbrains-small"))
    assert named in str(caught.value)


@pytest.mark.parametrize("file", range(4))
def test_a_damaged_huawei_file_is_a_typed_error(
    file: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut in the middle, with nonsense behind: each of the tables and the workbook."""
    for name in TRACES["huawei-topology-aware"].files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, tmp_path / name)
    path = tmp_path / TRACES["huawei-topology-aware"].files[file]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\nx,x,x,x,x,x\n")
    monkeypatch.setenv("NUMAPLACE_DATA", str(tmp_path))
    with pytest.raises(SourceMalformedError):
        list(
            scenario({"trace": {"name": "huawei-topology-aware"}}, [{"trace": "huawei-topology-aware"}])
            .play(1)
            .events()
        )


@pytest.mark.parametrize("words", ["", "99", "2\n1 1 1 1\n4\n", "2 0 1 0 1 99999999", "2 0 1 0 1 x"])
def test_a_damaged_roadef_model_is_a_typed_error(words: str, tmp_path: Path) -> None:
    for name in ("model", "assignment"):
        (tmp_path / name).write_text(words, encoding="utf-8")
    with pytest.raises(SourceMalformedError):
        read_instance(tmp_path / "model", tmp_path / "assignment")


def test_events_of_guests_with_times() -> None:
    """Who comes at once is one batch, first guests go and then guests come; who goes at once never was."""
    comings = [
        Coming(request=ask("a", 1), at_s=5, until_s=9),
        Coming(request=ask("b", 1), at_s=0),
        Coming(request=ask("c", 1), at_s=9),
        Coming(request=ask("d", 1), at_s=3, until_s=3),
        Coming(request=ask("e", 1), at_s=0, until_s=5),
    ]
    told = [(e.at_s, e.departures, tuple(g.name for g in e.arrivals)) for e in events_of(comings)]
    assert [(0, (), ("b", "e")), (5, ("e",), ("a",)), (9, ("a",), ("c",))] == told
    assert 2 == len(sampled(comings, 2, seed=1))
