"""Where a guest is, in three figures (design.md), by comparing its plan with an observation."""

from __future__ import annotations

from dataclasses import dataclass

from policies.plan import Placement
from probe.topology import HostTopology
from scheduler.executors.port import Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Where threads and pages of a guest are.

    Attributes:
        binding_ok: masks and policy say what the plan says.
        on_plan_ratio: bytes on planned nodes ÷ resident; None: not yet known (nothing resident,
            or it cannot be seen), or nothing was planned.
        locality_ratio: bytes on the nodes of the pCPUs that its vCPUs may use ÷ resident, averaged
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
    """Compare a placement with what was observed."""
    problems = tuple(_binding_problems(placement, observation))
    resident = dict(observation.resident_kib or {})
    total = sum(resident.values())
    planned = placement.memory_nodes
    on_plan = _ratio(sum(kib for node, kib in resident.items() if node in planned), total) if planned else None
    if on_plan is not None and on_plan < 1:
        stray = ", ".join(str(node) for node in sorted(set(resident) - planned.ids))
        problems += (f"{1 - on_plan:.1%} of its memory is on node {stray}, planned on {planned}",)
    configured = sum(memory.kib for cell in placement.cells for memory in cell.memory)
    return Figures(
        binding_ok=not _binding_problems(placement, observation),
        on_plan_ratio=on_plan,
        locality_ratio=_locality(observation, topology, resident, total),
        resident_ratio=None if observation.resident_kib is None else total / configured,
        problems=problems,
    )


def _binding_problems(placement: Placement, observation: Observation) -> list[str]:
    problems = []
    pins = {vcpu: cpus for cell in placement.cells for vcpu, cpus in cell.pins.items()}
    for vcpu, cpus in sorted(pins.items()):
        seen = observation.vcpu_cpus.get(vcpu)
        if seen != cpus:
            problems.append(f"vCPU {vcpu} may use CPUs {seen if seen is not None else 'unknown'}, planned {cpus}")
    emulator = observation.emulator_cpus
    if emulator is not None and placement.emulator_cpus is not None and emulator != placement.emulator_cpus:
        problems.append(f"emulator threads may use CPUs {emulator}, planned {placement.emulator_cpus}")
    allowed, planned = observation.memory_nodes_allowed, placement.memory_nodes.ids
    if allowed is not None and planned and allowed != planned:
        found, wanted = (", ".join(map(str, sorted(nodes))) for nodes in (allowed, planned))
        problems.append(f"memory may be on nodes {found}, planned {wanted}")
    return problems


def _locality(observation: Observation, topology: HostTopology, resident: dict[int, int], total: int) -> float | None:
    ratios = []
    for cpus in observation.vcpu_cpus.values():
        near = topology.nodes_of_cpus(cpus)
        ratio = _ratio(sum(kib for node, kib in resident.items() if node in near), total)
        if ratio is None:
            return None
        ratios.append(ratio)
    return sum(ratios) / len(ratios) if ratios else None


def _ratio(part: int, whole: int) -> float | None:
    """With nothing there the answer is "not yet known", never 100 %."""
    return part / whole if whole else None
