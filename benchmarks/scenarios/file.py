"""Scenario files: hosts, and the guests that come and go (YAML or JSON, one schema)."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from scheduler.files.fields import DurationS, Entry, Ratio, SizeKib
from scheduler.files.fleet_file import MAX_GUESTS, GroupEntry, GuestEntry, GuestKeys
from scheduler.files.hosts_file import DEFAULT_RESERVE_KIB, CpuPartition

MOST_HOSTS = 200_000
MOST_EVENTS = 1_000_000_000
DAY_HOURS = 24
_NOT_HERE = frozenset({"template", "vars", "replace_pins", "lifetime"})
"""Keys of guests in fleet files that mean nothing here."""
_NOT_OF_TRACES = frozenset({"count", "node_reserve", "node_memory", "devices", "racks", "fault_domains"})


def _asks_beside_its_size(guest: GuestKeys) -> GuestKeys:
    if strange := sorted(guest.model_fields_set & (_NOT_HERE | {"vcpus", "memory", "groups"})):
        raise ValueError(f"guest has no {strange[0]} here")
    if isinstance(guest.cells, list):
        raise ValueError("guest has a number of cells here, or auto: not each is as large as the others")
    return guest


AskedBeside = Annotated[GuestKeys, AfterValidator(_asks_beside_its_size)]
"""What every guest of a trace or a list asks for beside its size."""


def _exactly_one(entry: Entry, keys: tuple[str, ...]) -> None:
    given = [key for key in keys if getattr(entry, key) not in (None, [])]
    if len(given) != 1:
        raise ValueError(f"needs exactly one of {', '.join(keys)}, and has {', '.join(given) or 'none'}")


class HostsEntry(Entry):
    """Hosts that are alike, or those of a trace. benchmarks/README.md gives the meaning of each key."""

    count: int = Field(default=1, ge=1, le=MOST_HOSTS, description="so many of them")
    shape: str | None = Field(
        default=None, max_length=500, description="a named server, recording:NAME, or a source that `probe` reads"
    )
    trace: str | None = Field(default=None, description="the hosts of a public trace, by its name")
    stand_in: str = Field(default="two-socket", description="of traces that tell no nodes: the shape taken instead")
    sample: int | None = Field(default=None, ge=1, description="of a trace: so many of its hosts, by the seed")
    name: str = Field(default="h", pattern=r"^[A-Za-z][A-Za-z0-9-]{0,30}$", description="names begin with it")
    reserve: SizeKib = Field(default=DEFAULT_RESERVE_KIB, description="memory kept back on each node")
    node_reserve: dict[int, SizeKib] = Field(default_factory=dict, description="node id: another reserve there")
    node_memory: list[SizeKib] = Field(default_factory=list, description="memory of the nodes in turn")
    devices: dict[str, int] = Field(default_factory=dict, description="PCI address: node id")
    cpus: CpuPartition = Field(default=CpuPartition(), description="the partition of the pCPUs")
    overcommit: Ratio = Field(default=Fraction(1), description="shared vCPUs per shared pCPU")
    racks: int | None = Field(default=None, ge=1, description="they stand in so many racks")
    fault_domains: dict[str, int] = Field(default_factory=dict, description="kind: so many domains")
    load: int = Field(default=0, ge=0, le=95, description="per cent that is taken when it begins, by the seed")

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        _exactly_one(self, ("shape", "trace"))
        if self.trace is None and self.sample is not None:
            raise ValueError("sample is of a trace's hosts; others have a count")
        if self.trace is not None and (strange := sorted(self.model_fields_set & _NOT_OF_TRACES)):
            raise ValueError(f"hosts of a trace have no {strange[0]}")
        return self


class FlavourEntry(GuestKeys):
    """One flavour: the keys of a guest, a name and a weight."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,40}$", description="the flavour's name")
    weight: float = Field(default=1.0, gt=0, le=1e9, description="how often it comes, beside the others")

    @model_validator(mode="after")
    def _has_what_a_flavour_has(self) -> Self:
        if strange := sorted(self.model_fields_set & (_NOT_HERE | {"groups"})):
            raise ValueError(f"a flavour has no {strange[0]}")
        return self


class FlavoursOf(Entry):
    """Flavours that a public list or a trace has."""

    source: str = Field(description="aws, azure, scs, or a trace's name")
    families: list[str] = Field(default_factory=list, description="of aws and azure: names that begin so")
    most_vcpus: int = Field(default=64, ge=1, description="larger ones are left out")
    guest: AskedBeside = Field(default=GuestKeys(), description="what each asks for beside its size")


class GroupsEntry(Entry):
    """Guests that come together and belong together."""

    share: int = Field(ge=1, le=100, description="per cent of the guests")
    members: int = Field(default=3, ge=2, le=1000, description="of each group")
    rule: Literal["affinity", "anti-affinity", "all-or-nothing"] = Field(default="anti-affinity")
    level: str = Field(default="host", description="as in fleet files")
    hard: bool = Field(default=True, description="false: a wish")


class MixKeys(Entry):
    """Which guests come."""

    flavours: list[FlavourEntry] = Field(default_factory=list, max_length=10_000, description="each with a weight")
    flavours_of: FlavoursOf | None = Field(default=None, description="instead: those of a list or a trace")
    groups: GroupsEntry | None = Field(default=None, description="some come as groups")

    @model_validator(mode="after")
    def _has_one_mix(self) -> Self:
        _exactly_one(self, ("flavours", "flavours_of"))
        return self


class ArrivalsEntry(Entry):
    """When guests come: by chance (a Poisson process) where nothing is said."""

    burstiness: float = Field(
        default=1.0, ge=0.1, le=100, description="coefficient of variation of the times between arrivals; 1: Poisson"
    )
    hours: list[float] = Field(default_factory=list, description="24 weights: how many come in each hour of a day")
    like: str | None = Field(default=None, description="instead: both as in this trace")

    @model_validator(mode="after")
    def _is_a_day(self) -> Self:
        if self.hours and (len(self.hours) != DAY_HOURS or min(self.hours) < 0 or not sum(self.hours)):
            raise ValueError(f"hours has {DAY_HOURS} weights, none negative and one at least over 0")
        if self.like is not None and self.model_fields_set - {"like"}:
            raise ValueError("like says all: leave burstiness and hours away")
        return self


class LifetimeEntry(Entry):
    """How long guests stay."""

    distribution: Literal["exponential", "lognormal", "fixed", "recorded"] = "exponential"
    mean: DurationS | None = Field(default=None, description="30m, 12h, 30d")
    sigma: float = Field(default=1.5, gt=0, le=5, description="of lognormal: standard deviation of the logarithm")
    like: str | None = Field(default=None, description="a trace: recorded takes its times, others are fitted to them")

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        _exactly_one(self, ("mean", "like"))
        if self.distribution == "recorded" and self.like is None:
            raise ValueError("recorded lifetimes are like those of a trace: name it")
        return self


class StreamEntry(MixKeys):
    """Guests that come and go one by one, made by a seed."""

    events: int = Field(ge=1, le=MOST_EVENTS, description="arrivals and departures in all")
    load: int = Field(ge=1, le=1000, description="per cent of what the hosts have, wanted at any time on the average")
    arrivals: ArrivalsEntry = Field(default=ArrivalsEntry())
    lifetime: LifetimeEntry = Field(default=LifetimeEntry(mean="1d"))  # type: ignore[arg-type]
    start: Literal["loaded", "empty"] = Field(default="loaded", description="whether the wanted load is there at once")
    told: bool = Field(default=False, description="whether requests tell how long they stay")


class BatchEntry(MixKeys):
    """Whole batches, made by a seed; nobody goes."""

    guests: int | None = Field(default=None, ge=1, le=MAX_GUESTS, description="in all")
    demand: int | None = Field(default=None, ge=1, le=1000, description="or: per cent of what the hosts have")
    batches: int = Field(default=1, ge=1, le=10_000, description="that come one after the other")
    every: DurationS = Field(default=3600, description="time between them")

    @model_validator(mode="after")
    def _has_one_size(self) -> Self:
        _exactly_one(self, ("guests", "demand"))
        return self


class WrittenEvent(Entry):
    """One moment."""

    at: DurationS = Field(default=0, description="since the beginning, which is the default")
    leave: list[str] = Field(default_factory=list, description="names of guests that go")
    guests: list[GuestEntry] = Field(default_factory=list, description="guests that come, as one batch")


class WrittenEntry(Entry):
    """Guests by name, as in fleet files."""

    defaults: GuestKeys = Field(default=GuestKeys(), description="keys that every guest starts from")
    groups: dict[str, GroupEntry] = Field(default_factory=dict, description="as in fleet files")
    events: list[WrittenEvent] = Field(min_length=1, max_length=100_000)


class TraceEntry(Entry):
    """The guests of a public trace."""

    name: str = Field(description="which")
    batches: list[str] = Field(default_factory=list, description="of huawei-topology-aware: C1, C2; default: all")
    sample: int | None = Field(default=None, ge=1, description="about so many of its guests, by the seed, groups whole")
    guest: AskedBeside = Field(default=GuestKeys(), description="what each asks for beside what the trace tells")


class LedgerEntry(Entry):
    """The guests that our own books knew, when they came and when they went."""

    path: str = Field(description="a ledger, relative to the scenario's file")


class GuestsEntry(Entry):
    """Where the guests are from: one of these."""

    stream: StreamEntry | None = None
    batch: BatchEntry | None = None
    written: WrittenEntry | None = None
    trace: TraceEntry | None = None
    ledger: LedgerEntry | None = None

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        _exactly_one(self, ("stream", "batch", "written", "trace", "ledger"))
        return self


class ScenarioFile(Entry):
    """A scenario."""

    keys_listed_by: ClassVar[str] = "numaplace bench list --schema"
    schema_: Literal[1] = Field(default=1, alias="schema", description="version of this schema")
    title: str = Field(min_length=1, max_length=200, description="one line for people")
    about: str = Field(default="", max_length=5000, description="more for people: what stands in for what")
    hosts: list[HostsEntry] = Field(min_length=1, max_length=1000, description="in the order of their names")
    guests: GuestsEntry
    room: list[FlavourEntry] = Field(
        default_factory=list,
        max_length=100,
        description="flavours of which a row tells how many more fit; default: the guests' own",
    )

    @model_validator(mode="after")
    def _is_no_larger_than_a_fleet(self) -> Self:
        if sum(entry.count for entry in self.hosts) > MOST_HOSTS:
            raise ValueError(f"more than {MOST_HOSTS:,} hosts in all")
        return self
