"""The figures of one guest when it has come: where its vCPUs run, where its memory is, and who is beside it.

Each figure of `benchmarks.metrics` that is counted over guests has one function here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.simulator.hardware import Hardware
from policies.plan import PlacedCell, Placement

Shares = Mapping[int, float]
"""Node to a part of a whole; together 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSpread:
    """Where a guest cell is.

    Attributes:
        cpus: which part of its vCPUs' time is on each node, each pCPU that a vCPU may use being as likely.
        memory: which part of its memory is on each node.
        vcpus, kib: how many, and how much memory.
    """

    cpus: Shares
    memory: Shares
    vcpus: int
    kib: int


def spread_of(placement: Placement, hardware: Hardware, loose: Mapping[int, int] | None) -> tuple[CellSpread, ...]:
    """Where each cell is. A cell that is bound to nothing runs on all pCPUs of its host.

    Args:
        loose: node to the KiB that fell there of a guest whose memory is bound to nothing.
    """
    return tuple(
        CellSpread(
            cpus=_cpu_shares(cell, hardware),
            memory=_memory_shares(cell, loose or {}),
            vcpus=len(cell.vcpus),
            kib=sum(share.kib for share in cell.memory),
        )
        for cell in placement.cells
    )


def _cpu_shares(cell: PlacedCell, hardware: Hardware) -> Shares:
    if cell.cpus is None:
        return _parts(hardware.pcpus)
    if cell.cpu_nodes is not None and len(cell.cpu_nodes) == 1:
        return dict.fromkeys(cell.cpu_nodes.ids, 1.0)
    shares: Counter[int] = Counter()
    total: dict[int, float] = dict.fromkeys(hardware.pcpus, 0.0)
    for pin in cell.pins.values():
        if len(pin.ids) == 1:
            (cpu,) = pin.ids
            shares[hardware.node_of[cpu]] += 1
            continue
        for node, part in _parts(Counter(hardware.node_of[cpu] for cpu in pin.ids)).items():
            total[node] += part
    return {node: (total[node] + shares[node]) / len(cell.pins) for node in total if total[node] or shares[node]}


def _memory_shares(cell: PlacedCell, loose: Mapping[int, int]) -> Shares:
    where: Counter[int] = Counter()
    for share in cell.memory:
        if share.node_id is not None:
            where[share.node_id] += share.kib
    return _parts(where or loose)


def _parts(amounts: Mapping[int, int]) -> Shares:
    total = sum(amounts.values())
    return {node: amount / total for node, amount in amounts.items() if amount}


def is_in_one_node(spread: Sequence[CellSpread]) -> bool:
    """Whether all its pCPUs and all its memory are of one node."""
    return len({node for cell in spread for shares in (cell.cpus, cell.memory) for node in shares}) == 1


def nodes_spanned(spread: Sequence[CellSpread]) -> int:
    """Host nodes that its vCPUs may use."""
    return len({node for cell in spread for node in cell.cpus})


def mean_distance(spread: Sequence[CellSpread], hardware: Hardware) -> float:
    """SLIT distance from its vCPUs to the memory of their cell, as an average over vCPUs, their pCPUs, and bytes."""
    vcpus = sum(cell.vcpus for cell in spread)
    return sum(cell.vcpus * _distance(cell, hardware) for cell in spread) / vcpus


def _distance(cell: CellSpread, hardware: Hardware) -> float:
    slit = hardware.distances
    return sum(run * held * slit[a, b] for a, run in cell.cpus.items() for b, held in cell.memory.items())


def local_kib(spread: Sequence[CellSpread]) -> float:
    """Its memory on the nodes where the vCPUs of the cell run, weighted by the part of their time there."""
    return sum(cell.kib * sum(part * cell.memory.get(n, 0.0) for n, part in cell.cpus.items()) for cell in spread)


def splits_l3(placement: Placement, hardware: Hardware) -> bool:
    """Whether its own pCPUs lie, on some node, in more L3 domains than the fewest that hold so many."""
    if not placement.dedicated:
        return False
    by_node: dict[int, list[int]] = {}
    for cpu in placement.own_cpus.ids:
        by_node.setdefault(hardware.node_of[cpu], []).append(cpu)
    return any(_domains(cpus, hardware) > _fewest(len(cpus), hardware.l3_sizes[n]) for n, cpus in by_node.items())


def _domains(cpus: Sequence[int], hardware: Hardware) -> int:
    return len({hardware.l3_of.get(cpu) for cpu in cpus})


def _fewest(cpus: int, sizes: Sequence[int]) -> int:
    for number, size in enumerate(sizes, 1):
        cpus -= size
        if cpus <= 0:
            return number
    return len(sizes) + 1


def shares_a_core(placement: Placement, hardware: Hardware, idle: frozenset[int]) -> bool:
    """Whether a thread sibling of one of its own pCPUs is another's.

    Args:
        idle: pCPUs of its nodes that are nobody's now, and not shared either.
    """
    mine = placement.own_cpus.ids
    return any(hardware.siblings.get(cpu, frozenset()) - mine - idle for cpu in mine)
