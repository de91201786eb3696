"""The request that a placement answers, as far as the placement tells: for guests whose request nobody has kept."""

from __future__ import annotations

from policies.asked import EmulatorPolicy
from policies.plan import MemoryMode, Placement
from policies.request import AskedMemoryMode, CpuPolicy, GuestRequest, GuestShare
from probe.cpuset import CpuSet, NodeSet
from probe.topology import HostTopology


def request_as_placed(placement: Placement, *, most_nodes: int, housekeeping_cpus: CpuSet = CpuSet()) -> GuestRequest:
    """Ask for the guest again as it is: its size, its cells, its page size, what it owns, its groups.

    A guest keeps the NUMA cells that it was started with, and spans no more nodes than now. What a placement
    does not tell is not asked for: allowed hosts, a largest distance, a lifetime; the priority is 1.

    Args:
        most_nodes: over how many nodes a guest may spread that is bound to none.
        housekeeping_cpus: of its nodes, as far as known: who could run there and does not asked not to.

    Raises:
        RequestInvalidError: nobody could ask for such a guest, e.g. for its page size.
    """
    shares = [share for cell in placement.cells for share in cell.memory]
    page_kib = max((share.page_kib for share in shares), default=4)
    nodes = NodeSet.union(cell.cpu_nodes for cell in placement.cells if cell.cpu_nodes is not None)
    limit = most_nodes if placement.cpu_nodes is None else max(1, len(nodes))
    grain = max(page_kib, 1024)
    sizes = tuple(
        GuestShare(vcpus=len(cell.vcpus), memory_kib=-(-sum(share.kib for share in cell.memory) // grain) * grain)
        for cell in placement.cells
    )
    several = len(sizes) > 1 and all(size.vcpus and size.memory_kib for size in sizes)
    stacked = several and limit < len(sizes)
    return GuestRequest(
        name=placement.guest,
        vcpus=sum(size.vcpus for size in sizes),
        memory_kib=sum(size.memory_kib for size in sizes),
        page_kib=page_kib,
        cells=len(sizes) if several else 1,
        cell_sizes=sizes if several else (),
        stack_cells=stacked,
        max_nodes=limit if stacked or (not several and limit > 1) else None,
        cpus=_cpus(placement),
        dedicated_vcpus=placement.dedicated_vcpus if placement.floating_pins else CpuSet(),
        smt=placement.smt,
        emulator=_asked_emulator(placement, housekeeping_cpus),
        far_memory=placement.far_memory,
        memory_mode=_asked_mode(placement) if not several and limit == 1 else AskedMemoryMode.AUTO,
        overhead_kib=placement.overhead_kib,
        devices=placement.devices,
        groups=placement.groups,
    )


def housekeeping_near(placement: Placement, topology: HostTopology, housekeeping_cpus: CpuSet) -> CpuSet:
    """Those of the host's housekeeping pCPUs that are on the guest's nodes."""
    return housekeeping_cpus & CpuSet.union(topology.node(node).cpus for node in placement.cpu_nodes or ())


def _cpus(placement: Placement) -> CpuPolicy:
    if not placement.dedicated:
        return CpuPolicy.SHARED
    return CpuPolicy.MIXED if placement.floating_pins else CpuPolicy.DEDICATED


def _asked_emulator(placement: Placement, housekeeping_cpus: CpuSet) -> EmulatorPolicy:
    """Where it must have asked its emulator threads to be, if nobody has kept that; else "auto" gives the same."""
    if placement.emulator is not None:
        return placement.emulator
    where, mine = placement.emulator_cpus or CpuSet(), placement.cpus or CpuSet()
    if where and where <= placement.booked_cpus:
        return EmulatorPolicy.OWN
    on_kvm = placement.cells[0].memory_mode is not MemoryMode.AFFINITY
    if where and where <= mine and placement.dedicated and housekeeping_cpus and on_kvm:
        return EmulatorPolicy.GUEST
    elsewhere = bool(where) and where.isdisjoint(mine)
    return EmulatorPolicy.HOUSEKEEPING if elsewhere and not placement.dedicated else EmulatorPolicy.AUTO


def _asked_mode(placement: Placement) -> AskedMemoryMode:
    """What a guest of one cell on one node may have asked for; else "auto" gives the same."""
    mode = placement.cells[0].memory_mode
    return AskedMemoryMode(mode.value) if mode in (MemoryMode.STRICT, MemoryMode.PREFERRED) else AskedMemoryMode.AUTO
