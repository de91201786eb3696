"""A small host, placements on it, and looks at it: what the tests of the books work with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from policies.capacity import HostCapacity
from policies.host_rules import HostRules, OutstandingClaim
from policies.plan import MemoryMode, PlacedCell, PlacedMemory, Placement
from policies.promise import host_capacity
from policies.request import GuestName, HostName
from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.snapshot import HugepagePool, Occupant, OccupantMemory, OccupantState
from tests.policies.hosts import GIB_KIB, snapshot_of, topology_of

SNAPSHOT = snapshot_of(
    topology_of(cpus=4, nodes=2, memory_gib=8), free_gib=8, pools=[HugepagePool(size_kib=2048, total=512, free=512)]
)
"""Two nodes of 4 pCPUs and 8 GiB, 1 GiB of it in 2 MiB pages; 7 GiB in 4 KiB pages may be promised."""


def look(
    claims: Iterable[OutstandingClaim] = (), host: str = "h1", strangers: Iterable[Placement] = ()
) -> HostCapacity:
    """What the host may still promise beside these claims and strangers; nothing is reserved for itself."""
    seen = replace(SNAPSHOT, occupants=tuple(occupant_of(placed) for placed in strangers))
    return host_capacity(HostName(host), seen, HostRules(), tuple(claims))


def occupant_of(placed: Placement) -> Occupant:
    """A running guest that somebody else made so, without a mark."""
    return Occupant(
        guest=placed.guest,
        uuid=f"uuid of {placed.guest}",
        state=OccupantState.RUNNING,
        vcpus=sum(len(cell.vcpus) for cell in placed.cells),
        effective_cpus=placed.cpus,
        memory=tuple(
            OccupantMemory(node_id=share.node_id, kib=share.kib, page_kib=share.page_kib)
            for cell in placed.cells
            for share in cell.memory
        ),
    )


def placement(
    guest: str,
    *,
    node: int = 0,
    cpus: str = "0-3",
    vcpus: int = 1,
    gib: int = 1,
    page_kib: int = 4,
    dedicated: bool = False,
    host: str = "h1",
) -> Placement:
    """A guest of one cell; dedicated: vCPU i owns the i-th of `cpus`."""
    chosen = CpuSet.parse(cpus)
    pins = {v: CpuSet.of(cpu) for v, cpu in enumerate(chosen)} if dedicated else dict.fromkeys(range(vcpus), chosen)
    cell = PlacedCell(
        cell=0,
        vcpus=CpuSet(frozenset(pins)),
        cpus=chosen,
        cpu_nodes=NodeSet.of(node),
        pins=pins,
        memory=(PlacedMemory(node_id=NodeId(node), kib=gib * GIB_KIB, page_kib=page_kib),),
        memory_mode=MemoryMode.RESTRICTIVE if page_kib == 4 else MemoryMode.STRICT,
    )
    return Placement(
        guest=GuestName(guest),
        host=HostName(host),
        cells=(cell,),
        emulator_cpus=chosen,
        dedicated_vcpus=cell.vcpus if dedicated else CpuSet(),
    )


def unpinned(guest: str, *, vcpus: int = 1, gib: int = 1) -> Placement:
    """A guest that is bound to nothing."""
    cell = PlacedCell(
        cell=0,
        vcpus=CpuSet(frozenset(range(vcpus))),
        cpus=None,
        cpu_nodes=None,
        pins={},
        memory=(PlacedMemory(node_id=None, kib=gib * GIB_KIB),),
        memory_mode=MemoryMode.NONE,
    )
    return Placement(guest=GuestName(guest), host=HostName("h1"), cells=(cell,), emulator_cpus=None)
