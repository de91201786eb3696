"""Guests of several policies at work at once: the bandwidth that each gets where its policy puts it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.memory.measuring import LEAST_KIB, Course
from benchmarks.memory.tools import Bound, bandwidth_mib_s
from policies.plan import MemoryMode, PlacedCell, Placement, Plan
from policies.policy import Effort
from probe.cpuset import NodeSet
from probe.errors import BadInputError
from scheduler.files.fleet_file import FleetGuest
from scheduler.planning import HostView, plan_fleet

_NUMACTL = {MemoryMode.INTERLEAVE: "interleave", MemoryMode.PREFERRED: "preferred"}
"""Everything else that binds is --membind: numactl knows no milder word that keeps memory off the other nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSpeed:
    """What one guest of a policy got while all of them were at work; None: it has no place, and `note` says why."""

    policy: str
    guest: str
    bandwidth_mib_s: float | None
    cpus: str = ""
    nodes: str = ""
    note: str = ""


def plans(guests: Sequence[FleetGuest], view: HostView, policies: Sequence[str], seed: int) -> Mapping[str, Plan]:
    """The plan of each policy. Raises as `plan_fleet`."""
    effort = Effort(time_limit_s=30.0, seed=seed)
    return {policy: plan_fleet(guests, {}, [view], policy, effort).plan for policy in policies}


def memory_of_each_kib(compared: Iterable[Plan], plan: Course, room_kib: Mapping[int, int]) -> int:
    """What each cell of a guest takes, alike for all policies.

    However many may come to lie on one node, they take no more than `room_kib` there. What is bound to nothing lies on
    nodes with CPUs: the kernel goes to others when those are full.

    Raises:
        BadInputError: that is too little to measure anything but caches.
    """
    most = max(amounts.stream_kib for amounts in plan.amounts.values())
    for each in compared:
        cells = [cell for placement in each.placements for cell in placement.cells]
        users = Counter(node for cell in cells for node in _nodes(cell, plan))
        most = min([most, *(room_kib[node] // count for node, count in users.items())])
    if most < LEAST_KIB:
        raise BadInputError(
            f"so many guests at once have {most // 1024}MiB each within the share of a node.",
            advice="Maybe fewer guests (--fleet), or a larger --share.",
        )
    return most


def _nodes(cell: PlacedCell, plan: Course) -> NodeSet:
    """Nodes on which all of its memory may come to lie."""
    return cell.memory_nodes or NodeSet.of(*plan.cpus)


def measure_plan(policy: str, plan: Plan, *, memory_kib: int, seconds: float) -> list[GuestSpeed]:
    """All placed guests at work at once; each vCPU streams. Raises `ToolFailedError`."""
    jobs = [(placement, cell) for placement in plan.placements for cell in placement.cells]

    def run(job: tuple[Placement, PlacedCell]) -> float:
        _, cell = job
        return bandwidth_mib_s(bound(cell), instances=len(cell.vcpus), memory_kib=memory_kib, seconds=seconds)

    with ThreadPoolExecutor(max_workers=max(1, len(jobs))) as pool:
        speeds = list(pool.map(run, jobs))
    found = [
        GuestSpeed(
            policy=policy,
            guest=placement.guest,
            bandwidth_mib_s=sum(s for (p, _), s in zip(jobs, speeds, strict=True) if p is placement),
            cpus="any" if placement.cpus is None else str(placement.cpus),
            nodes=str(placement.memory_nodes) or "any",
        )
        for placement in plan.placements
    ]
    refused = [
        GuestSpeed(policy=policy, guest=rejection.guest, bandwidth_mib_s=None, note=rejection.detail)
        for rejection in plan.rejections
    ]
    return [*found, *refused]


def bound(cell: PlacedCell) -> Bound:
    """A cell's pCPUs and nodes, as numactl takes them."""
    return Bound(
        cpus=cell.cpus,
        nodes=cell.memory_nodes or None,
        policy=_NUMACTL.get(cell.memory_mode, "membind"),
    )
