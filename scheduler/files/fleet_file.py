"""Fleet files: the guests that a batch asks for (YAML or JSON, one schema).

A template gives what an entry leaves out: `TemplateDefaults` are read from it by the caller,
who knows the kinds of definition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from policies.asked import MOST_VCPUS, EmulatorPolicy, NearDevice, Nearness, SmtPolicy
from policies.request import (
    AskedMemoryMode,
    CpuPolicy,
    Group,
    GroupRule,
    GuestName,
    GuestRequest,
    GuestShare,
    HostName,
    Membership,
    RequestInvalidError,
)
from probe.cpuset import CpuSet
from probe.errors import SourceError
from probe.limits import DEFAULT_LIMITS
from probe.sources.files import read_text_file
from scheduler.files.document import Document, read_document
from scheduler.files.fields import Cpus, DeviceEntry, DurationS, Entry, PageSize, SizeKib

DEFAULT_OVERHEAD_KIB = 64 * 1024
"""4 KiB memory of the hypervisor's own process per guest, where an entry says nothing.

An idle QEMU 7.2 was seen with 20 to 45 MiB beside guest memory (recorded/kvm/h1/dom)."""

MAX_GUESTS = 1_000_000


class CellEntry(Entry):
    """One guest cell under `cells`."""

    vcpus: int = Field(ge=1, le=MOST_VCPUS, description="number of vCPUs of this cell")
    memory: SizeKib = Field(description="memory of this cell, e.g. 6GiB")


class GuestKeys(Entry):
    """The keys of a guest that `defaults` may give too. README, "Fleet files", explains each."""

    vcpus: int | None = Field(default=None, ge=1, le=MOST_VCPUS, description="how many; default: the template's")
    memory: SizeKib | None = Field(default=None, description="guest memory, e.g. 8GiB; default: the template's")
    page_size: PageSize | None = Field(
        default=None, description="page size behind it: 4KiB (default), 2MiB, 1GiB; or the largest that holds it"
    )
    cells: int | Literal["auto"] | list[CellEntry] = Field(
        default=1, description="guest NUMA cells: a number, auto, or the size of each: [{vcpus: 3, memory: 6GiB}, …]"
    )
    stack_cells: bool = Field(default=False, description="whether a host node may have several of its cells")
    max_nodes: int | None = Field(default=None, ge=1, description="most host nodes that it may span")
    max_distance: int | None = Field(default=None, ge=10, le=254, description="largest SLIT distance between its nodes")
    cpus: Literal["shared", "dedicated", "mixed"] = Field(default="shared", description="whether its vCPUs own pCPUs")
    dedicated_vcpus: Cpus = Field(default=CpuSet(), description="of mixed: the vCPUs that own a pCPU each, e.g. 0-1")
    smt: Literal["prefer", "isolate", "require"] = Field(
        default="prefer", description="what else may run on the cores of its dedicated pCPUs"
    )
    emulator: Literal["auto", "guest", "own", "housekeeping"] = Field(
        default="auto", description="where the hypervisor's own threads for it run"
    )
    memory_mode: Literal["auto", "strict", "preferred", "restrictive"] = Field(
        default="auto", description="how its memory is bound, in libvirt's words"
    )
    far_memory: bool = Field(default=False, description="whether its memory may be on nodes without pCPUs (CXL, HBM)")
    priority: int = Field(default=1, ge=1, le=1000, description="weight of placing it")
    hosts: list[str] | None = Field(default=None, description="the only hosts that it may live on")
    lifetime: DurationS | None = Field(default=None, description="how long it is expected to stay: 90m, 12h, 30d")
    overhead: SizeKib = Field(default=DEFAULT_OVERHEAD_KIB, description="memory of the hypervisor's process for it")
    devices: list[DeviceEntry] = Field(default_factory=list, description="PCI devices that it is to be near")
    groups: list[str] | dict[str, str] = Field(
        default_factory=list, description="groups it is in; for fault-domains also which part: {shard: a}"
    )
    template: str | None = Field(default=None, description="domain XML or xl.cfg, relative to this file")
    replace_pins: bool = Field(default=False, description="give up the pins that the template has")
    vars: dict[str, str | int] = Field(default_factory=dict, description="what {key} in the template becomes")


class GuestEntry(GuestKeys):
    """One entry under `guests`."""

    name: str = Field(description="the guest's name; with `count`, what stands before -1, -2, …")
    count: int | None = Field(default=None, ge=1, le=MAX_GUESTS, description="so many guests: NAME-1, NAME-2, …")

    def with_defaults(self, defaults: GuestKeys) -> GuestEntry:
        """This entry, with what it leaves out taken from `defaults`; `vars` are merged."""
        given = {key: getattr(self, key) for key in self.model_fields_set}
        base = {key: getattr(defaults, key) for key in defaults.model_fields_set}
        return GuestEntry.model_construct(**{**base, **given, "vars": {**defaults.vars, **self.vars}})


class GroupEntry(Entry):
    """One entry under `groups`."""

    rule: Literal["affinity", "anti-affinity", "fault-domains", "all-or-nothing"] = Field(
        description="how its members stand to each other"
    )
    level: str = Field(default="host", description="host, package, node, l3, rack, or a kind in hosts.yaml")
    hard: bool = Field(default=True, description="false: a wish; a plan that breaks it less is better")
    weight: int = Field(default=1, ge=1, le=1000, description="of a wish: how much each breach counts")

    def group(self, name: str) -> Group:
        return Group(name=name, rule=GroupRule(self.rule), level=self.level, hard=self.hard, weight=self.weight)


class FleetFile(Entry):
    """A fleet file."""

    schema_: Literal[1] = Field(default=1, alias="schema", description="version of this schema")
    defaults: GuestKeys = Field(default=GuestKeys(), description="keys that every entry starts from")
    groups: dict[str, GroupEntry] = Field(default_factory=dict, description="name: who lives with whom, and who apart")
    guests: list[GuestEntry] = Field(min_length=1, description="the guests, in order")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateDefaults:
    """What a template says about the guest's size; None where it says nothing."""

    vcpus: int | None = None
    memory_kib: int | None = None
    page_kib: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetGuest:
    """One guest of a fleet: the request, and what its definition is made from.

    Attributes:
        index: from 1 within its entry; `{index}` in a template.
        template: key into the batch's templates; None for the built-in one.
    """

    request: GuestRequest
    index: int = 1
    template: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    replace_pins: bool = False


ReadDefaults = Callable[[str, str], TemplateDefaults]
"""(text of a template, its path) to what it says."""


def read_fleet(path: Path, read_defaults: ReadDefaults) -> tuple[tuple[FleetGuest, ...], dict[str, str]]:
    """The guests of a fleet file in the file's order, and the text of each template by its path.

    Raises:
        FileInvalidError: the file does not follow its schema; names file, line and key.
        SourceUnreadableError: the file, or a template, cannot be read.
    """
    document = read_document(path)
    fleet = document.validate(FleetFile)
    guests: list[FleetGuest] = []
    templates: dict[str, str] = {}
    for position, written in enumerate(fleet.guests):
        entry = written.with_defaults(fleet.defaults)
        defaults = TemplateDefaults()
        if entry.template is not None:
            text = templates.setdefault(entry.template, "") or _template(document, position, entry.template, path)
            templates[entry.template] = text
            defaults = read_defaults(text, str(path.parent / entry.template))
        member_of = _memberships(document, position, entry, fleet.groups)
        guests.extend(_expand(document, position, entry, defaults, member_of))
        if len(guests) > MAX_GUESTS:
            raise document.error(["guests", position, "count"], f"more than {MAX_GUESTS} guests in all.")
    _names_are_unique(document, fleet, guests)
    return tuple(guests), templates


def kinds_of(requests: Sequence[GuestRequest]) -> dict[str, GuestRequest]:
    """Each kind of guest once, by the name of its entry; groups, and how long it stays, do not matter."""
    found: dict[GuestRequest, str] = {}
    names = {request.name for request in requests}
    for request in requests:
        name = request.name if request.name.removesuffix("-1") in names else request.name.removesuffix("-1")
        found.setdefault(replace(request, name=GuestName("any"), groups=(), lifetime_s=None), name)
    return {name: replace(request, name=GuestName(name)) for request, name in found.items()}


def _template(document: Document, position: int, name: str, fleet_path: Path) -> str:
    try:
        return read_text_file(fleet_path.parent / name, limits=DEFAULT_LIMITS)
    except SourceError as error:
        raise document.error(["guests", position, "template"], error.message, advice=error.advice) from error


def _memberships(
    document: Document, position: int, entry: GuestEntry, groups: Mapping[str, GroupEntry]
) -> tuple[Membership, ...]:
    parts = entry.groups if isinstance(entry.groups, dict) else dict.fromkeys(entry.groups, "")
    if unknown := [name for name in parts if name not in groups]:
        known = ", ".join(groups) or "none"
        raise document.error(["guests", position, "groups"], f"no group is called {unknown[0]!r}; there are {known}.")
    return tuple(Membership(group=groups[name].group(name), part=part) for name, part in parts.items())


def _expand(
    document: Document,
    position: int,
    entry: GuestEntry,
    defaults: TemplateDefaults,
    member_of: tuple[Membership, ...],
) -> Iterator[FleetGuest]:
    path: list[int | str] = ["guests", position]
    for key, value in (
        ("vcpus", _vcpus(entry, defaults)),
        ("memory", _memory_kib(entry, defaults)),
    ):
        if not value:
            raise document.error([*path, key], "is missing, and no template gives it.")
    contradictions = _contradictions(entry, defaults)
    if contradictions:
        raise document.error([*path, contradictions[0]], f"contradicts the template {entry.template}.")
    for index in range(1, (entry.count or 1) + 1):
        try:
            request = request_of(entry, defaults, index, member_of)
        except RequestInvalidError as error:
            raise document.error([*path, "name"], error.message) from error
        yield FleetGuest(
            request=request,
            index=index,
            template=entry.template,
            variables={key: str(value) for key, value in entry.vars.items()},
            replace_pins=entry.replace_pins,
        )


def _contradictions(entry: GuestEntry, defaults: TemplateDefaults) -> list[str]:
    pairs = (
        ("vcpus", entry.vcpus, defaults.vcpus),
        ("memory", entry.memory, defaults.memory_kib),
        ("page_size", entry.page_size, defaults.page_kib),
    )
    return [key for key, asked, told in pairs if asked is not None and told is not None and asked != told]


def _sizes(entry: GuestEntry) -> tuple[GuestShare, ...]:
    """The sizes of its cells, where the entry names them."""
    cells = entry.cells if isinstance(entry.cells, list) else []
    return tuple(GuestShare(vcpus=cell.vcpus, memory_kib=cell.memory) for cell in cells)


def _vcpus(entry: GuestEntry, defaults: TemplateDefaults) -> int:
    """The entry's, the template's, or those of its cells; 0 where nobody tells."""
    return entry.vcpus or defaults.vcpus or sum(size.vcpus for size in _sizes(entry))


def _memory_kib(entry: GuestEntry, defaults: TemplateDefaults) -> int:
    return entry.memory or defaults.memory_kib or sum(size.memory_kib for size in _sizes(entry))


def request_of(
    entry: GuestEntry, defaults: TemplateDefaults, index: int, member_of: tuple[Membership, ...]
) -> GuestRequest:
    """The guest of an entry, the `index`-th where it has a count. Raises `RequestInvalidError`."""
    return GuestRequest(
        name=GuestName(entry.name if entry.count is None else f"{entry.name}-{index}"),
        vcpus=_vcpus(entry, defaults),
        memory_kib=_memory_kib(entry, defaults),
        page_kib=4 if entry.page_size == "largest" else entry.page_size or defaults.page_kib or 4,
        largest_pages=entry.page_size == "largest",
        cells=len(entry.cells) if isinstance(entry.cells, list) else entry.cells,
        cell_sizes=_sizes(entry),
        stack_cells=entry.stack_cells,
        max_nodes=entry.max_nodes,
        max_distance=entry.max_distance,
        cpus=CpuPolicy(entry.cpus),
        dedicated_vcpus=entry.dedicated_vcpus,
        smt=SmtPolicy(entry.smt),
        emulator=EmulatorPolicy(entry.emulator),
        memory_mode=AskedMemoryMode(entry.memory_mode),
        far_memory=entry.far_memory,
        priority=entry.priority,
        hosts=None if entry.hosts is None else frozenset(HostName(name) for name in entry.hosts),
        overhead_kib=entry.overhead,
        devices=tuple(NearDevice(address=d.address, near=Nearness(d.near), must=d.must) for d in entry.devices),
        groups=member_of,
        lifetime_s=entry.lifetime,
    )


def _names_are_unique(document: Document, fleet: FleetFile, guests: Sequence[FleetGuest]) -> None:
    seen: set[str] = set()
    for guest in guests:
        if guest.request.name in seen:
            position = max(i for i, e in enumerate(fleet.guests) if guest.request.name.startswith(e.name))
            raise document.error(["guests", position, "name"], f"two guests would be called {guest.request.name!r}.")
        seen.add(guest.request.name)
