"""Where a guest is, in three figures (design.md), by comparing its plan with an observation. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from policies.plan import MemoryMode, PlacedCell, Placement
from probe.cpuset import CpuSet, NodeSet
from probe.topology import HostTopology
from probe.units import format_kib
from scheduler.executors.port import Observation

_BINDING_MODES = frozenset({MemoryMode.STRICT, MemoryMode.RESTRICTIVE, MemoryMode.INTERLEAVE})
"""Modes that leave the guest no other node; `preferred` allows all, on Xen the pages tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Where threads and pages of a guest are.

    Attributes:
        binding_ok: masks and policy say what the plan says, as far as they can be seen.
        on_plan_ratio: bytes on planned nodes ÷ resident; None: not yet known (nothing resident,
            or it cannot be seen), or nothing was planned.
        locality_ratio: bytes that are on the node of the pCPU that touches them ÷ resident, averaged
            over the vCPUs, each with its own guest cell's bytes where cells can be told apart; None:
            not yet known. A vCPU is taken to be on each pCPU that it may use for the same time, so
            that a guest that may run anywhere on 4 equal nodes has 25 %, wherever its memory is.
        resident_ratio: resident ÷ configured; None where it cannot be seen.
        problems: what is not as planned, as sentences without a full stop.
    """

    binding_ok: bool
    on_plan_ratio: float | None
    locality_ratio: float | None
    resident_ratio: float | None
    problems: tuple[str, ...]


def figures(placement: Placement, observation: Observation, topology: HostTopology) -> Figures:
    """Compare a placement with what was observed. With nothing resident nothing is known of pages."""
    parts = tuple(_parts(placement, observation))
    resident = observation.resident_kib
    unbound = (*_cpu_problems(placement, observation), *_node_problems(parts), *_page_problems(parts))
    configured = sum(memory.kib for cell in placement.cells for memory in cell.memory)
    return Figures(
        binding_ok=not unbound,
        on_plan_ratio=_on_plan(parts),
        locality_ratio=_locality(parts, observation, topology),
        resident_ratio=None if resident is None else sum(resident.values()) / configured,
        problems=(*unbound, *_stray_problems(parts)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Guest cells whose memory can be told apart from that of the others; `name` says which, or ""."""

    cells: tuple[PlacedCell, ...]
    nodes_allowed: frozenset[int] | None
    resident_kib: Mapping[int, int] | None
    page_kib: frozenset[int] = frozenset()
    name: str = ""

    @property
    def planned(self) -> NodeSet:
        return NodeSet.union(cell.memory_nodes for cell in self.cells)

    @property
    def on_plan_kib(self) -> int:
        return sum(kib for node, kib in (self.resident_kib or {}).items() if node in self.planned)


def _parts(placement: Placement, seen: Observation) -> Iterator[_Part]:
    """Cell by cell where that was seen, else all of the guest in one."""
    if seen.cells is None or len(seen.cells) != len(placement.cells):
        yield _Part(cells=placement.cells, nodes_allowed=seen.memory_nodes_allowed, resident_kib=seen.resident_kib)
        return
    for cell, memory in zip(placement.cells, seen.cells, strict=True):
        yield _Part(
            cells=(cell,),
            nodes_allowed=memory.nodes_allowed,
            resident_kib=memory.resident_kib,
            page_kib=memory.page_kib,
            name=f" of cell {cell.cell}" if len(placement.cells) > 1 else "",
        )


def _cpu_problems(placement: Placement, observation: Observation) -> Iterator[str]:
    """A vCPU that is not there is offline (`<vcpu current>`, `maxvcpus`): it uses no pCPU."""
    pins = {vcpu: cpus for cell in placement.cells for vcpu, cpus in cell.pins.items()}
    if pins and not observation.vcpu_cpus:
        yield "none of its vCPUs can be seen"
    for vcpu, seen in sorted(observation.vcpu_cpus.items()):
        if vcpu in pins and seen != pins[vcpu]:
            yield f"vCPU {vcpu} may use CPUs {seen}, planned {pins[vcpu]}"
    emulator = observation.emulator_cpus
    if emulator is not None and placement.emulator_cpus is not None and emulator != placement.emulator_cpus:
        yield f"emulator threads may use CPUs {emulator}, planned {placement.emulator_cpus}"


def _node_problems(parts: Sequence[_Part]) -> Iterator[str]:
    for part in parts:
        binds = all(cell.memory_mode in _BINDING_MODES for cell in part.cells)
        if binds and part.nodes_allowed is not None and part.nodes_allowed != part.planned.ids:
            yield f"memory{part.name} may be on nodes {NodeSet(part.nodes_allowed)}, planned {part.planned}"


def _page_problems(parts: Sequence[_Part]) -> Iterator[str]:
    """Huge pages that were planned, and others that hold the memory; what is resident only can tell."""
    for part in parts:
        planned = {memory.page_kib for cell in part.cells for memory in cell.memory}
        if part.page_kib - planned:
            sizes = ", ".join(format_kib(kib) for kib in sorted(part.page_kib))
            yield f"memory{part.name} is in pages of {sizes}, planned {', '.join(map(format_kib, sorted(planned)))}"


def _stray_problems(parts: Sequence[_Part]) -> Iterator[str]:
    for part in parts:
        total = sum((part.resident_kib or {}).values())
        if not part.planned or not total or part.on_plan_kib == total:
            continue
        stray = NodeSet(frozenset(n for n, kib in (part.resident_kib or {}).items() if kib and n not in part.planned))
        portion = max(0.001, 1 - part.on_plan_kib / total)
        yield f"{portion:.1%} of its memory{part.name} is on node {stray}, planned on {part.planned}"


def _on_plan(parts: Sequence[_Part]) -> float | None:
    """With nothing there the answer is "not yet known", never 100 %."""
    total = sum(sum((part.resident_kib or {}).values()) for part in parts)
    if not total or not all(part.planned for part in parts):
        return None
    return sum(part.on_plan_kib for part in parts) / total


def _locality(parts: Sequence[_Part], seen: Observation, topology: HostTopology) -> float | None:
    """Each vCPU with the memory of its own part."""
    local_kib = total_kib = 0.0
    for part in parts:
        resident = part.resident_kib or {}
        vcpus = CpuSet.union(cell.vcpus for cell in part.cells)
        masks = [cpus for vcpu, cpus in seen.vcpu_cpus.items() if vcpu in vcpus and cpus]
        local_kib += sum(_local_kib(cpus, resident, topology) for cpus in masks)
        total_kib += len(masks) * sum(resident.values())
    return local_kib / total_kib if total_kib else None


def _local_kib(cpus: CpuSet, resident_kib: Mapping[int, int], topology: HostTopology) -> float:
    """What is local to a vCPU that is on each of these pCPUs for the same time."""
    return sum(len(cpus & node.cpus) * resident_kib.get(node.node_id, 0) for node in topology.nodes) / len(cpus)
