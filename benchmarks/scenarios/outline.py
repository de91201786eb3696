"""What a scenario is, in a few words, without playing it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.scenarios.data import data_folder
from benchmarks.scenarios.file import GuestsEntry, HostsEntry, MixKeys, TraceEntry
from benchmarks.scenarios.flavour_lists import LISTS
from benchmarks.scenarios.hosts import read_shape
from benchmarks.scenarios.recordings import recordings
from benchmarks.scenarios.scenario import Scenario
from benchmarks.scenarios.shapes import SHAPES, snapshot_of_shape
from benchmarks.scenarios.traces import TRACES, trace_is_there
from probe.errors import NumaplaceError
from probe.snapshot import HostSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A scenario in a table.

    Attributes:
        hosts: how many.
        nodes: of all hosts together; None where the recordings that tell are not here.
        guests: how many events or guests, in words.
        origins: the data sets that it reads; none where everything is made up.
        is_there: whether all of them are on this machine.
    """

    name: str
    title: str
    hosts: int
    nodes: int | None
    guests: str
    origins: tuple[str, ...]
    is_there: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def outline_of(scenario: Scenario) -> Outline:
    """The scenario's outline. A recording that cannot be read counts as not there."""
    file = scenario.file
    counts = [(_hosts_of(entry), _nodes_of(entry, scenario)) for entry in file.hosts]
    known = [hosts * nodes for hosts, nodes in counts if nodes is not None]
    origins = tuple(dict.fromkeys([*_origins_of_hosts(file.hosts), *_origins_of_guests(file.guests)]))
    return Outline(
        name=scenario.name,
        title=file.title,
        hosts=sum(hosts for hosts, _ in counts),
        nodes=sum(known) if len(known) == len(counts) else None,
        guests=_guests_of(scenario),
        origins=origins,
        is_there=all(map(is_there, origins)),
    )


def _hosts_of(entry: HostsEntry) -> int:
    if entry.trace is None:
        return entry.count
    there = TRACES[entry.trace].hosts if entry.trace in TRACES else 0
    return min(there, entry.sample or there)


def _nodes_of(entry: HostsEntry, scenario: Scenario) -> int | None:
    """NUMA nodes of each of its hosts."""
    if entry.trace == "huawei-topology-aware":
        return 2
    try:
        return len(read_shape(entry.stand_in if entry.trace else entry.shape or "", scenario.folder).topology.nodes)
    except NumaplaceError:
        return None


def _guests_of(scenario: Scenario) -> str:
    guests = scenario.file.guests
    if guests.stream is not None:
        return f"{guests.stream.events:,} events"
    if guests.batch is not None:
        how = f"{guests.batch.guests:,} guests" if guests.batch.guests else f"{guests.batch.demand} % demand"
        return f"{how}, {_batches(guests.batch.batches)}"
    if guests.trace is not None:
        return _of_trace(guests.trace)
    if guests.ledger is not None:
        return "as the ledger tells"
    return f"{sum(len(event.arrivals) for event in scenario.written)} guests, written"


def _of_trace(entry: TraceEntry) -> str:
    trace = TRACES.get(entry.name)
    how = "come and go" if trace is not None and trace.is_timed else _batches(len(entry.batches) or 1)
    if entry.sample is not None:
        return f"sample of {entry.sample:,} guests, {how}"
    if trace is None or entry.batches:
        return f"guests of {', '.join(entry.batches) or entry.name}, {how}"
    return f"{trace.guests:,} guests, {how if trace.is_timed or trace.module != 'huawei' else _batches(2)}"


def _batches(count: int) -> str:
    return "one batch" if count == 1 else f"{count:,} batches"


def _origins_of_hosts(hosts: list[HostsEntry]) -> Iterator[str]:
    for entry in hosts:
        if entry.trace is not None:
            yield entry.trace
        elif entry.shape is not None and entry.shape.startswith("recording:"):
            yield entry.shape


def _origins_of_guests(guests: GuestsEntry) -> Iterator[str]:
    if guests.trace is not None:
        yield guests.trace.name
    mixes: list[MixKeys] = [mix for mix in (guests.stream, guests.batch) if mix is not None]
    yield from (mix.flavours_of.source for mix in mixes if mix.flavours_of is not None)
    if guests.stream is not None:
        yield from (like for like in (guests.stream.arrivals.like, guests.stream.lifetime.like) if like is not None)


def is_there(origin: str) -> bool:
    """Whether a data set, by its name in an outline, is on this machine."""
    if origin.startswith("recording:"):
        return origin.removeprefix("recording:") in recordings()
    if origin in LISTS:
        return (data_folder() / LISTS[origin][0]).is_file()
    return origin in TRACES and trace_is_there(TRACES[origin])


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOutline:
    """A named host in a table; None for what its source does not tell."""

    name: str
    title: str
    nodes: int
    cpus: int
    memory_kib: int | None


def host_outlines() -> Iterator[HostOutline]:
    """Every named shape, then every recording that is here; those that cannot be read are left out."""
    for name, shape in SHAPES.items():
        yield _host(name, shape.title, snapshot_of_shape(name))
    for name, source in recordings().items():
        try:
            snapshot = read_shape(f"recording:{name}", data_folder())
        except NumaplaceError:
            continue
        yield _host(f"recording:{name}", source.partition(":")[0], snapshot)


def _host(name: str, title: str, snapshot: HostSnapshot) -> HostOutline:
    amounts = [node.memory_total_kib for node in snapshot.topology.nodes]
    told = [kib for kib in amounts if kib is not None]
    return HostOutline(
        name=name,
        title=title,
        nodes=len(amounts),
        cpus=len(snapshot.topology.online_cpus),
        memory_kib=sum(told) if len(told) == len(amounts) else None,
    )
