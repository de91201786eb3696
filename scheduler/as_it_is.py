"""The placement that a guest really has: what is adopted is what is seen. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from policies.host_rules import HostRules, OutstandingClaim
from policies.plan import MemoryMode, PlacedCell, PlacedMemory, Placement
from policies.request import GuestName, HostName
from policies.tenants import tenants
from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.errors import BadInputError
from probe.snapshot import HostSnapshot, Hypervisor, Occupant, OccupantMemory
from probe.topology import NumaNode
from scheduler.executors.port import Observation

Pins = Mapping[int, CpuSet]


def cpus_of_others(
    occupant: Occupant, snapshot: HostSnapshot, rules: HostRules, claims: Sequence[OutstandingClaim]
) -> CpuSet:
    """The pCPUs on which anybody else may run: other guests, dom0, and the host by itself."""
    online = snapshot.topology.online_cpus
    others = (t for t in tenants(snapshot, rules, claims) if t.occupant is not occupant)
    return CpuSet.union(t.may_run_on(online) for t in others) | rules.housekeeping_cpus


def placement_as_it_is(
    occupant: Occupant,
    host: HostName,
    snapshot: HostSnapshot,
    seen: Observation | None,
    *,
    others: CpuSet,
    overhead_kib: int,
) -> Placement:
    """What the guest has, as a placement.

    Args:
        seen: its vCPUs one by one; None where it does not run: its configuration tells then.
        others: where anybody else may run; dedicated is only what is outside.
        overhead_kib: of its process, as the host's rules count it for strangers.

    Raises:
        BadInputError: its memory is not told by any source.
    """
    if not occupant.memory:
        raise BadInputError(
            f"guest {occupant.guest} on {host}: no source tells how much memory it has.",
            advice="Maybe add the hypervisor's own source to the host.",
        )
    pins = _pins(occupant, snapshot, seen)
    emulator = None if seen is None else seen.emulator_cpus
    confined = emulator is not None and not snapshot.topology.online_cpus <= emulator
    cells = tuple(_cells(occupant, snapshot, pins, seen))
    return Placement(
        guest=GuestName(occupant.guest),
        host=host,
        cells=cells,
        emulator_cpus=emulator if confined else None,
        far_memory=any(_is_far(cell, snapshot) for cell in cells),
        dedicated_vcpus=CpuSet(frozenset(pins)) if seen is not None and are_their_own(pins, others) else CpuSet(),
        overhead_kib=overhead_kib,
    )


def _is_far(cell: PlacedCell, snapshot: HostSnapshot) -> bool:
    """Whether memory of a cell is bound to a node without pCPUs, though those where it runs have some of their own."""
    nodes: dict[int, NumaNode] = {node.node_id: node for node in snapshot.topology.nodes}
    runs = nodes.keys() if cell.cpu_nodes is None else nodes.keys() & cell.cpu_nodes.ids
    own = any(nodes[n].cpus and nodes[n].memory_total_kib != 0 for n in runs)
    return own and any(n in nodes and not nodes[n].cpus for n in cell.memory_nodes)


def are_their_own(pins: Pins, others: CpuSet) -> bool:
    """Hard: each vCPU has one pCPU, no two the same, and nobody else may run on any of them."""
    cpus = CpuSet.union(pins.values())
    one_each = bool(pins) and len(cpus) == len(pins) and all(len(pin) == 1 for pin in pins.values())
    return one_each and cpus.isdisjoint(others)


def _pins(occupant: Occupant, snapshot: HostSnapshot, seen: Observation | None) -> Pins:
    """vCPU to the pCPUs that it may use; empty where all of them may use every one."""
    online = snapshot.topology.online_cpus
    pins = dict.fromkeys(range(occupant.vcpus), occupant.possible_cpus(online))
    if seen is not None:
        pins |= {vcpu: cpus & online for vcpu, cpus in seen.vcpu_cpus.items()}
    return {} if all(online <= cpus for cpus in pins.values()) else pins


def _cells(occupant: Occupant, snapshot: HostSnapshot, pins: Pins, seen: Observation | None) -> Iterator[PlacedCell]:
    """One for each share of its memory (Xen: one); which vCPUs belong to which is not told, so the first has all."""
    shares = [tuple(_shares(memory, snapshot)) for memory in occupant.memory]
    if snapshot.hypervisor is Hypervisor.XEN:
        shares = [tuple(share for part in shares for share in part)]
    mode = _mode(shares, snapshot, seen)
    vcpus = CpuSet(frozenset(range(occupant.vcpus)))
    cpus = CpuSet.union(pins.values()) if pins else None
    nodes = None if cpus is None else snapshot.topology.nodes_of_cpus(cpus)
    for i, memory in enumerate(shares):
        yield PlacedCell(
            cell=i,
            vcpus=CpuSet() if i else vcpus,
            cpus=cpus,
            cpu_nodes=nodes,
            pins={} if i else pins,
            memory=memory,
            memory_mode=mode,
        )


def _shares(memory: OccupantMemory, snapshot: HostSnapshot) -> Iterator[PlacedMemory]:
    """A share on its node; one that is bound among several lies evenly on them, in whole pages."""
    bound = NodeSet() if memory.nodes is None else memory.nodes & snapshot.topology.node_ids
    if memory.node_id is not None or not bound:
        yield PlacedMemory(node_id=memory.node_id, kib=memory.kib, page_kib=memory.page_kib)
        return
    pages, spare = divmod(memory.kib // memory.page_kib, len(bound))
    for i, node in enumerate(bound):
        kib = (pages + (i < spare)) * memory.page_kib
        yield PlacedMemory(node_id=NodeId(node), kib=kib, page_kib=memory.page_kib)


def _mode(shares: Sequence[Sequence[PlacedMemory]], snapshot: HostSnapshot, seen: Observation | None) -> MemoryMode:
    """How it is bound: `strict` only where the kernel leaves it no other node, as far as that is seen."""
    nodes = frozenset(share.node_id for part in shares for share in part)
    if None in nodes:
        return MemoryMode.NONE
    if snapshot.hypervisor is Hypervisor.XEN:
        return MemoryMode.AFFINITY
    allowed = None if seen is None else seen.memory_nodes_allowed
    return MemoryMode.STRICT if allowed is None or allowed == nodes else MemoryMode.PREFERRED
