"""What both pictures draw: boxes, cells, colours and bars, worked out once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from probe.cpuset import CpuSet
from probe.snapshot import HostSnapshot, Occupant, OccupantState
from probe.topology import L3Domain, NumaNode

PALETTE = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#44bb99", "#99ddff", "#bbcc33")
"""Colours that people with any colour vision tell apart (Paul Tol, "bright" and "light"); they repeat."""

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
    """The memory of a node: what is used, promised to guests, and in huge pages, of the total."""

    total_kib: int | None
    free_kib: int | None
    declared_kib: int
    hugepages_kib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeBox:
    """One NUMA node, its CPUs and its memory."""

    node: NumaNode
    domains: tuple[Domain, ...]
    memory: MemoryBar


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A host as boxes. `colours`: guest name to its colour, in order of appearance."""

    boxes: tuple[NodeBox, ...]
    colours: Mapping[str, str]

    @property
    def cells(self) -> Iterator[CpuCell]:
        """The CPUs of all boxes."""
        return (cell for box in self.boxes for domain in box.domains for core in domain.cores for cell in core)


def layout(snapshot: HostSnapshot) -> Layout:
    """Sort a snapshot into boxes. Guests that may run everywhere are in no cell, only in the legend."""
    shown = [o for o in snapshot.occupants if o.state is not OccupantState.SHUTOFF]
    colours = {o.guest: PALETTE[i % len(PALETTE)] for i, o in enumerate(shown)}
    guests_of: dict[int, list[str]] = {}
    for occupant in shown:
        for cpu in _pinned(occupant, snapshot).ids:
            guests_of.setdefault(cpu, []).append(occupant.guest)
    cells = {
        cpu: CpuCell(cpu=cpu, guests=tuple(guests_of.get(cpu, ())), usable=cpu in snapshot.usable_cpus)
        for cpu in snapshot.topology.online_cpus
    }
    return Layout(boxes=tuple(_box(node, snapshot, cells) for node in snapshot.topology.nodes), colours=colours)


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
        domains=tuple(domains),
        memory=MemoryBar(
            total_kib=memory.total_kib if memory.total_kib is not None else node.memory_total_kib,
            free_kib=memory.available_kib,
            declared_kib=snapshot.declared_kib(node.node_id),
            hugepages_kib=memory.hugepages_kib,
        ),
    )
