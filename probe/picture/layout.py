"""What both pictures draw: boxes, cells, colours and bars, worked out once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from probe.cpuset import CpuSet
from probe.snapshot import HostSnapshot, Occupant, OccupantState
from probe.topology import L3Domain, NumaNode

PALETTE = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#44bb99", "#99ddff", "#bbcc33")
"""Colours that people with any colour vision tell apart (Paul Tol, "bright" and "light")."""

SHADES = (1.0, 0.72, 0.5)
"""The palette once more and once more in darker shades, before it repeats."""

MOST_STRIPES = 4
"""So many guests share a CPU's cell as stripes; more make it grey."""

MANY = "#8c8c8c"


class Use(StrEnum):
    """What a guest has a CPU of its own for."""

    VCPU = "vcpu"
    IDLE = "idle"
    """A thread sibling of its CPUs, which is kept idle."""
    EMULATOR = "emulator"
    """For the hypervisor's own threads alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """What the books promise a guest of a host.

    Attributes:
        own: the CPUs that are nobody else's, and what for.
        floats: whether some of its vCPUs share CPUs with others.
    """

    own: Mapping[int, Use]
    floats: bool

    def cpus(self, use: Use) -> CpuSet:
        """Those of its own CPUs that are for this."""
        return CpuSet.of(*(cpu for cpu, its in self.own.items() if its is use))


SHARES = Booked(own={}, floats=True)
"""Of a guest that is in no books."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuCell:
    """One CPU: its id and the guests that may run there, or to whom it is booked; `usable` False where none may.

    `own`: what it is for, where it is its only guest's own.
    """

    cpu: int
    guests: tuple[str, ...]
    usable: bool
    own: Use | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """CPUs of a node that share an L3 cache, by core; `l3` None: no L3 is known of them."""

    l3: L3Domain | None
    cores: tuple[tuple[CpuCell, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBar:
    """The memory of a node: what is free, promised to guests and not used yet, and in huge pages, of the total."""

    total_kib: int | None
    free_kib: int | None
    declared_kib: int
    promised_kib: int
    hugepages_kib: int

    @property
    def parts_kib(self) -> tuple[int, int, int]:
        """Used, in huge pages, promised and not used yet; what is left of the total may be promised."""
        total = self.total_kib or 0
        free = total - self.declared_kib if self.free_kib is None else self.free_kib
        used = max(0, total - free - self.hugepages_kib)
        left = max(0, total - used - self.hugepages_kib)
        return used, min(self.hugepages_kib, total), min(self.promised_kib if self.free_kib is not None else 0, left)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeBox:
    """One NUMA node, the packages that it is in or reaches over (none is told of one), its CPUs and its memory."""

    node: NumaNode
    packages: tuple[int, ...]
    domains: tuple[Domain, ...]
    memory: MemoryBar


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How a guest is drawn, on all hosts of one picture alike."""

    number: int
    booked: Booked = SHARES

    @property
    def colour(self) -> str:
        base, shade = PALETTE[self.number % len(PALETTE)], SHADES[self.number // len(PALETTE) % len(SHADES)]
        return "#" + "".join(f"{round(int(base[i : i + 2], 16) * shade):02x}" for i in (1, 3, 5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A host as boxes, and its guests by name."""

    boxes: tuple[NodeBox, ...]
    marks: Mapping[str, Mark]

    @property
    def cells(self) -> Iterator[CpuCell]:
        """The CPUs of all boxes."""
        return (cell for box in self.boxes for domain in box.domains for core in domain.cores for cell in core)


def guests_shown(snapshots: Iterable[HostSnapshot], books: Iterable[Iterable[str]] = ()) -> tuple[str, ...]:
    """The guests of a picture, in order of appearance: those that are more than defined, then those in the books."""
    shown = [o.guest for snapshot in snapshots for o in snapshot.occupants if o.state is not OccupantState.SHUTOFF]
    return tuple(dict.fromkeys([*shown, *(guest for some in books for guest in some)]))


def layout(
    snapshot: HostSnapshot, guests: Sequence[str] | None = None, booked: Mapping[str, Booked] = MappingProxyType({})
) -> Layout:
    """Sort a snapshot into boxes. Guests that may run everywhere are in no cell, only in the legend.

    Args:
        guests: those of the whole picture (`guests_shown`); None: of this host.
        booked: guests of this host that own CPUs, as far as that is known; they need not run.
    """
    shown = [o for o in snapshot.occupants if o.state is not OccupantState.SHUTOFF]
    numbers = {guest: number for number, guest in enumerate(guests or guests_shown([snapshot], [booked]))}
    here = dict.fromkeys([*(o.guest for o in shown), *booked])
    marks = {guest: Mark(number=numbers[guest], booked=booked.get(guest, SHARES)) for guest in here}
    guests_of: dict[int, dict[str, Use | None]] = {}
    for occupant in shown:
        for cpu in _pinned(occupant, snapshot).ids:
            guests_of.setdefault(cpu, {})[occupant.guest] = None
    for guest, promised in booked.items():
        for cpu, use in promised.own.items():
            guests_of.setdefault(cpu, {})[guest] = use
    cells = {cpu: _cell(cpu, guests_of.get(cpu, {}), snapshot) for cpu in snapshot.topology.online_cpus}
    return Layout(boxes=tuple(_box(node, snapshot, cells) for node in snapshot.topology.nodes), marks=marks)


def _cell(cpu: int, guests: Mapping[str, Use | None], snapshot: HostSnapshot) -> CpuCell:
    own = next(iter(guests.values())) if len(guests) == 1 else None
    return CpuCell(cpu=cpu, guests=tuple(guests), usable=cpu in snapshot.usable_cpus, own=own)


def _pinned(occupant: Occupant, snapshot: HostSnapshot) -> CpuSet:
    online = snapshot.topology.online_cpus
    cpus = occupant.possible_cpus(online)
    return CpuSet() if cpus == online else cpus


def _box(node: NumaNode, snapshot: HostSnapshot, cells: Mapping[int, CpuCell]) -> NodeBox:
    topology = snapshot.topology
    memory = snapshot.memory_of(node.node_id)
    groups: list[tuple[L3Domain | None, CpuSet]] = [
        (domain, domain.cpus & node.cpus) for domain in topology.l3 if not domain.cpus.isdisjoint(node.cpus)
    ]
    rest = node.cpus - CpuSet.union(cpus for _, cpus in groups)
    domains = []
    for l3, group in [*groups, *([(None, rest)] if rest else [])]:
        cores = [core.cpus & group for core in topology.cores if not core.cpus.isdisjoint(group)]
        singles = [CpuSet.of(cpu) for cpu in group - CpuSet.union(cores)]
        drawn = tuple(tuple(cells[cpu] for cpu in core) for core in [*cores, *singles])
        domains.append(Domain(l3=l3, cores=drawn))
    return NodeBox(
        node=node,
        packages=tuple(p.package_id for p in topology.packages if not p.cpus.isdisjoint(node.cpus)),
        domains=tuple(domains),
        memory=MemoryBar(
            total_kib=memory.total_kib if memory.total_kib is not None else node.memory_total_kib,
            free_kib=memory.available_kib,
            declared_kib=snapshot.declared_kib(node.node_id),
            promised_kib=_promised_kib(node, snapshot),
            hugepages_kib=memory.hugepages_kib,
        ),
    )


def _promised_kib(node: NumaNode, snapshot: HostSnapshot) -> int:
    """What guests were promised there in 4 KiB pages and have not touched; where nobody looked, none is told."""
    shares = (m for o in snapshot.occupants for m in o.memory if m.node_id == node.node_id and m.page_kib == 4)
    return sum(max(0, m.kib - m.resident_kib) for m in shares if m.resident_kib is not None)
