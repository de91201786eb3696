"""Where a guest is, in three figures (design.md), by comparing its plan with an observation. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from policies.plan import MemoryMode, Placement
from probe.cpuset import NodeSet
from probe.topology import HostTopology
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
        locality_ratio: bytes on the nodes of the pCPUs that a vCPU may use ÷ resident, averaged
            over the vCPUs; None: not yet known.
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
    resident = observation.resident_kib
    unbound = (*_cpu_problems(placement, observation), *_node_problems(placement, observation))
    configured = sum(memory.kib for cell in placement.cells for memory in cell.memory)
    return Figures(
        binding_ok=not unbound,
        on_plan_ratio=_on_plan(placement.memory_nodes, resident),
        locality_ratio=_locality(observation, topology),
        resident_ratio=None if resident is None else sum(resident.values()) / configured,
        problems=(*unbound, *_stray_problems(placement.memory_nodes, resident)),
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


def _node_problems(placement: Placement, observation: Observation) -> Iterator[str]:
    allowed, planned = observation.memory_nodes_allowed, placement.memory_nodes
    binds = all(cell.memory_mode in _BINDING_MODES for cell in placement.cells)
    if binds and allowed is not None and allowed != planned.ids:
        yield f"memory may be on nodes {NodeSet(allowed)}, planned {planned}"


def _stray_problems(planned: NodeSet, resident: Mapping[int, int] | None) -> Iterator[str]:
    on_plan = _on_plan(planned, resident)
    if resident is None or on_plan is None or on_plan == 1:
        return
    stray = NodeSet(frozenset(node for node, kib in resident.items() if kib and node not in planned))
    yield f"{max(0.001, 1 - on_plan):.1%} of its memory is on node {stray}, planned on {planned}"


def _on_plan(planned: NodeSet, resident: Mapping[int, int] | None) -> float | None:
    if resident is None or not planned:
        return None
    return _ratio(sum(kib for node, kib in resident.items() if node in planned), sum(resident.values()))


def _locality(observation: Observation, topology: HostTopology) -> float | None:
    resident = observation.resident_kib
    if not resident or not sum(resident.values()) or not observation.vcpu_cpus:
        return None
    near = [topology.nodes_of_cpus(cpus) for cpus in observation.vcpu_cpus.values()]
    local_kib = sum(kib for nodes in near for node, kib in resident.items() if node in nodes)
    return local_kib / (len(near) * sum(resident.values()))


def _ratio(part: int, whole: int) -> float | None:
    """With nothing there the answer is "not yet known", never 100 %."""
    return part / whole if whole else None
