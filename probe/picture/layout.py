"""What both pictures draw: boxes, cells, colours and bars, worked out once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuCell:
    """One CPU: its id and the guests that may run there; `usable` False where none may."""

    cpu: int
    guests: tuple[str, ...]
    usable: bool


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
    """How a guest is drawn, on all hosts of one picture alike. `dedicated`: it owns its pCPUs."""

    number: int
    dedicated: bool

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


def guests_shown(snapshots: Iterable[HostSnapshot]) -> tuple[str, ...]:
    """The guests of a picture, in order of appearance: those that are more than defined."""
    shown = (o.guest for snapshot in snapshots for o in snapshot.occupants if o.state is not OccupantState.SHUTOFF)
    return tuple(dict.fromkeys(shown))


def layout(
    snapshot: HostSnapshot, guests: Sequence[str] | None = None, dedicated: Collection[str] = frozenset()
) -> Layout:
    """Sort a snapshot into boxes. Guests that may run everywhere are in no cell, only in the legend.

    Args:
        guests: those of the whole picture (`guests_shown`); None: of this host.
        dedicated: those that own their pCPUs, as far as that is known.
    """
    shown = [o for o in snapshot.occupants if o.state is not OccupantState.SHUTOFF]
    numbers = {guest: number for number, guest in enumerate(guests or guests_shown([snapshot]))}
    marks = {o.guest: Mark(number=numbers[o.guest], dedicated=o.guest in dedicated) for o in shown}
    guests_of: dict[int, list[str]] = {}
    for occupant in shown:
        for cpu in _pinned(occupant, snapshot).ids:
            guests_of.setdefault(cpu, []).append(occupant.guest)
    cells = {
        cpu: CpuCell(cpu=cpu, guests=tuple(guests_of.get(cpu, ())), usable=cpu in snapshot.usable_cpus)
        for cpu in snapshot.topology.online_cpus
    }
    return Layout(boxes=tuple(_box(node, snapshot, cells) for node in snapshot.topology.nodes), marks=marks)


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
