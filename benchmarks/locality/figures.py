"""From what was seen of a guest to figures, and from all guests of one way to a row. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from policies.plan import Placement
from probe.cpuset import CpuSet
from probe.topology import HostTopology
from scheduler.executors.port import Observation

WHOLLY = 0.9995
"""A guest with so much of its memory local counts as wholly local: some pages of QEMU's own lie in its mappings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSeen:
    """Where one guest of one way came to be.

    Attributes:
        local_ratio: bytes on the nodes of the pCPUs that its vCPUs use ÷ resident bytes, each vCPU with the memory of
            its own cell (`benchmarks.metrics`, "local_ratio"); None: it does not run, or nothing is resident.
        resident_ratio: resident ÷ configured bytes.
        distance: mean SLIT distance between its vCPUs and its resident bytes.
        cpu_nodes: nodes that its vCPUs may use.
        memory_kib: node to KiB that are there.
        note: why it does not run; "" where it does.
    """

    guest: str
    host: str
    local_ratio: float | None = None
    resident_ratio: float | None = None
    distance: float | None = None
    cpu_nodes: tuple[int, ...] = ()
    memory_kib: Mapping[int, int] | None = None
    note: str = ""

    @property
    def runs(self) -> bool:
        return self.local_ratio is not None

    @property
    def in_one_node(self) -> bool:
        nodes = {*self.cpu_nodes, *(node for node, kib in (self.memory_kib or {}).items() if kib)}
        return len(nodes) == 1


def guest_seen(placement: Placement, seen: Observation, topology: HostTopology) -> GuestSeen:
    """The figures of a guest; `placement` tells its cells and how much memory they have."""
    masks = {vcpu: seen.soft_cpus.get(vcpu, cpus) for vcpu, cpus in seen.vcpu_cpus.items()}
    local, distance, weight = 0.0, 0.0, 0
    for cpus, kib in _with_own_memory(placement, seen, masks):
        for node, share in _shares(cpus, topology).items():
            local += share * kib.get(node, 0)
            distance += share * sum(topology.distance(node, target) * each for target, each in kib.items())
        weight += sum(kib.values())
    resident = dict(seen.resident_kib or {})
    configured = sum(memory.kib for cell in placement.cells for memory in cell.memory)
    return GuestSeen(
        guest=placement.guest,
        host=placement.host,
        local_ratio=local / weight if weight else None,
        resident_ratio=sum(resident.values()) / configured,
        distance=distance / weight if weight else None,
        cpu_nodes=tuple(sorted(topology.nodes_of_cpus(CpuSet.union(masks.values())).ids)),
        memory_kib=resident,
        note="" if weight else "nothing of its memory could be seen",
    )


def _with_own_memory(
    placement: Placement, seen: Observation, masks: Mapping[int, CpuSet]
) -> Iterator[tuple[CpuSet, Mapping[int, int]]]:
    """What each vCPU may use, with the memory of its own guest cell where cells can be told apart."""
    cells = seen.cells if seen.cells is not None and len(seen.cells) == len(placement.cells) else None
    for vcpu, cpus in masks.items():
        own = next((cell.cell for cell in placement.cells if vcpu in cell.vcpus), 0)
        memory = seen.resident_kib if cells is None else cells[own].resident_kib
        if cpus and memory:
            yield cpus, memory


def _shares(cpus: CpuSet, topology: HostTopology) -> dict[int, float]:
    """Node to the part of its time that a vCPU is there: on each pCPU that it may use for the same time."""
    return {node.node_id: len(cpus & node.cpus) / len(cpus) for node in topology.nodes if cpus & node.cpus}


def metrics_of(guests: Sequence[GuestSeen]) -> dict[str, float]:
    """The figures of one way, by their names in `benchmarks.metrics`; those of no guest are left out."""
    ran = [guest for guest in guests if guest.runs]
    counts = {"placed": float(len(ran)), "refused": float(len(guests) - len(ran))}
    if not ran:
        return counts
    kib = [sum((guest.memory_kib or {}).values()) for guest in ran]
    local = [guest.local_ratio or 0.0 for guest in ran]
    return {
        **counts,
        "one_node_ratio": sum(guest.in_one_node for guest in ran) / len(ran),
        "mean_nodes": sum(len(guest.cpu_nodes) for guest in ran) / len(ran),
        "mean_distance": sum(guest.distance or 0.0 for guest in ran) / len(ran),
        "local_ratio": sum(share * each for share, each in zip(local, kib, strict=True)) / sum(kib),
        "least_local_ratio": min(local),
        "wholly_local": float(sum(share >= WHOLLY for share in local)),
        "resident_ratio": sum(guest.resident_ratio or 0.0 for guest in ran) / len(ran),
    }


def distances_of(guests: Sequence[GuestSeen]) -> dict[str, int]:
    """SLIT distance, rounded down, to the number of guests with that mean distance from their memory."""
    found = Counter(int(guest.distance) for guest in guests if guest.distance is not None)
    return {str(distance): found[distance] for distance in sorted(found)}
