"""The parts of a KVM domain that say where its memory is, and in which pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from policies.plan import MemoryMode, PlacedCell, Placement
from probe.cpuset import CpuSet
from probe.topology import LOCAL_DISTANCE, HostTopology
from scheduler.definitions.spans import element

_NUMATUNE_MODES = {
    MemoryMode.STRICT: "strict",
    MemoryMode.RESTRICTIVE: "restrictive",
    MemoryMode.PREFERRED: "preferred",
    MemoryMode.INTERLEAVE: "interleave",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestMemory:
    """What a plan says of a guest's memory, as XML; "" where there is nothing to say.

    Attributes:
        numa: the guest cells; none where there is only one.
        cells: vCPUs and KiB of each guest cell.
    """

    numatune: str = ""
    numa: str = ""
    hugepages: str = ""
    cells: tuple[tuple[CpuSet, int], ...] = ()
    page_kib: int = 4

    @classmethod
    def of(cls, placement: Placement, topology: HostTopology | None) -> Self:
        """`topology` gives the guest cells their distances; without it they have none."""
        cells, page_kib = placement.cells, placement.cells[0].memory[0].page_kib
        page = element("page", {"size": page_kib, "unit": "KiB"})
        return cls(
            numatune=_numatune(cells) if all(cell.memory_mode in _NUMATUNE_MODES for cell in cells) else "",
            numa=_guest_numa(cells, topology) if len(cells) > 1 else "",
            hugepages=element("hugepages", {}, page) if page_kib > 4 else "",
            cells=tuple((cell.vcpus, sum(m.kib for m in cell.memory)) for cell in cells),
            page_kib=page_kib,
        )


def _numatune(cells: tuple[PlacedCell, ...]) -> str:
    nodes = ",".join(str(n) for n in sorted({n for cell in cells for n in cell.memory_nodes}))
    mode = _NUMATUNE_MODES[cells[0].memory_mode]
    inner = element("memory", {"mode": mode, "nodeset": nodes})
    if len(cells) > 1:
        inner += "".join(
            element(
                "memnode",
                {"cellid": c.cell, "mode": _NUMATUNE_MODES[c.memory_mode], "nodeset": c.memory_nodes},
            )
            for c in cells
        )
    return element("numatune", {}, inner)


def _guest_numa(cells: tuple[PlacedCell, ...], topology: HostTopology | None) -> str:
    return element("numa", {}, "".join(_guest_cell(cell, cells, topology) for cell in cells))


def _guest_cell(cell: PlacedCell, cells: tuple[PlacedCell, ...], topology: HostTopology | None) -> str:
    """One guest cell; the guest sees the distances of the nodes that its memory is on."""
    attributes = {
        "id": cell.cell,
        "cpus": cell.vcpus,
        "memory": sum(m.kib for m in cell.memory),
        "unit": "KiB",
    }
    if topology is None or not cell.memory_nodes:
        return element("cell", attributes)
    siblings = "".join(
        element("sibling", {"id": other.cell, "value": _seen_distance(topology, cell, other)}) for other in cells
    )
    return element("cell", attributes, element("distances", {}, siblings))


def _seen_distance(topology: HostTopology, cell: PlacedCell, other: PlacedCell) -> int:
    """The host's distance, and between cells on one node the next after local, which is a cell's from itself only."""
    distance = topology.distance(min(cell.memory_nodes), min(other.memory_nodes))
    return max(distance, LOCAL_DISTANCE + 1) if cell is not other else distance
