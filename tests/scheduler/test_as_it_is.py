"""What a guest really has, as a placement: it counts for the same as before, and owns only what is its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from policies.host_rules import HostRules, OutstandingClaim
from policies.plan import MemoryMode, Placement
from policies.promise import host_capacity
from policies.request import HostName
from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.errors import BadInputError
from probe.snapshot import HostSnapshot, Hypervisor, Occupant, OccupantMemory, OccupantState
from scheduler.as_it_is import cpus_of_others, placement_as_it_is
from scheduler.executors.port import Observation
from tests.policies.hosts import GIB_KIB, snapshot_of, topology_of

TOPOLOGY = topology_of(cpus=4, nodes=2, memory_gib=16)
ONLINE = TOPOLOGY.online_cpus
H1 = HostName("h1")
cpu_sets = st.sets(st.sampled_from(sorted(ONLINE)), min_size=1).map(lambda ids: CpuSet(frozenset(ids)))
memories = st.lists(
    st.builds(
        OccupantMemory,
        node_id=st.sampled_from([None, NodeId(0), NodeId(1)]),
        kib=st.integers(1, 4).map(lambda gib: gib * GIB_KIB),
        nodes=st.sampled_from([None, NodeSet.of(0, 1)]),
    ),
    min_size=1,
    max_size=2,
).map(tuple)


def observed(*pins: CpuSet, emulator: CpuSet | None = None, nodes: NodeSet | None = None) -> Observation:
    return Observation(
        vcpu_cpus=dict(enumerate(pins)),
        emulator_cpus=emulator,
        memory_nodes_allowed=None if nodes is None else nodes.ids,
        resident_kib=None,
        how="test",
    )


def guest(name: str, *pins: CpuSet, memory: tuple[OccupantMemory, ...] | None = None) -> Occupant:
    return Occupant(
        guest=name,
        uuid=f"uuid of {name}",
        state=OccupantState.RUNNING,
        vcpus=len(pins),
        effective_cpus=CpuSet.union(pins),
        memory=memory or (OccupantMemory(node_id=NodeId(0), kib=GIB_KIB),),
    )


def seen_as(one: Occupant, snapshot: HostSnapshot, seen: Observation | None, **rules: CpuSet) -> Placement:
    others = cpus_of_others(one, snapshot, HostRules(**rules), ())  # type: ignore[arg-type]
    return placement_as_it_is(one, H1, snapshot, seen, others=others, overhead_kib=0)


def host(*guests: Occupant, hypervisor: Hypervisor = Hypervisor.KVM) -> HostSnapshot:
    return snapshot_of(TOPOLOGY, free_gib=15, occupants=guests, hypervisor=hypervisor)


@given(
    pins=st.lists(cpu_sets, min_size=1, max_size=4),
    memory=memories,
    other=cpu_sets,
    flavour=st.sampled_from(Hypervisor),
)
@pytest.mark.parametrize("marked", [True, False])
def test_adopting_a_guest_makes_no_room_and_takes_none(
    marked: bool, pins: list[CpuSet], memory: tuple[OccupantMemory, ...], other: CpuSet, flavour: Hypervisor
) -> None:
    """Memory and dedicable pCPUs are the same before and after, with our mark in it and without any.

    Shared vCPUs never count for less than before; only what the guest now owns leaves the shared.
    """
    one, two = guest("one", *pins, memory=memory), guest("two", other)
    snapshot = host(one, two, hypervisor=flavour)
    placed = seen_as(one, snapshot, observed(*pins))
    claim = OutstandingClaim(claim_id="c", placement=placed, uuid=one.uuid, adopted=True)
    bearing = replace(one, ledger="l", claim="c") if marked else one
    before = host_capacity(H1, snapshot, HostRules())
    after = host_capacity(H1, replace(snapshot, occupants=(bearing, two)), HostRules(), [claim])
    for old, new in zip(before.nodes, after.nodes, strict=True):
        assert (old.memory_kib, old.free_cpus) == (new.memory_kib, new.free_cpus)
        assert old.shared_cpus - after.dedicated_cpus == new.shared_cpus
        assert placed.dedicated or old.shared_vcpus <= new.shared_vcpus


@given(
    pins=st.lists(cpu_sets, min_size=1, max_size=4), other=cpu_sets, flavour=st.sampled_from(Hypervisor),
    housekeeping=st.sampled_from(["", "0"]),
)  # fmt: skip
def test_dedicated_is_only_what_nobody_else_may_use(
    pins: list[CpuSet], other: CpuSet, flavour: Hypervisor, housekeeping: str
) -> None:
    """Exactly where each vCPU has one pCPU, all different, and nobody else, dom0 included, may run there."""
    one, dom0 = guest("one", *pins), guest("Domain-0", other)
    kept = CpuSet.parse(housekeeping)
    placed = seen_as(one, host(one, dom0, hypervisor=flavour), observed(*pins), housekeeping_cpus=kept)
    cpus = [cpu for pin in pins for cpu in pin]
    alone = len(cpus) == len(pins) == len(set(cpus)) and not {*cpus} & {*other, *kept}
    assert alone is placed.dedicated
    assert placed.cpus == (None if all(pin == ONLINE for pin in pins) else CpuSet.union(pins))


def test_a_guest_that_does_not_run_owns_nothing() -> None:
    """Its configuration says where, and not of which vCPU; without any it may come up anywhere."""
    off = replace(guest("off", CpuSet.of(1)), state=OccupantState.SHUTOFF, effective_cpus=None)
    told = replace(off, declared_cpus=CpuSet.of(1))
    assert seen_as(off, host(off), None).cpus is None
    placed = seen_as(told, host(told), None)
    assert (CpuSet.of(1), False) == (placed.cpus, placed.dedicated)


def test_emulator_threads_that_may_run_anywhere_are_not_claimed() -> None:
    """As with strangers, whose emulator threads nobody tells; confined ones are claimed."""
    one = guest("one", CpuSet.of(1))
    assert seen_as(one, host(one), observed(CpuSet.of(1), emulator=ONLINE)).emulator_cpus is None
    confined = seen_as(one, host(one), observed(CpuSet.of(1), emulator=CpuSet.of(0, 2)))
    assert CpuSet.of(0, 2) == confined.emulator_cpus


@pytest.mark.parametrize(
    ("memory", "hypervisor", "allowed", "mode"),
    [
        (OccupantMemory(node_id=NodeId(0), kib=4), Hypervisor.KVM, NodeSet.of(0), MemoryMode.STRICT),
        (OccupantMemory(node_id=NodeId(0), kib=4), Hypervisor.KVM, NodeSet.of(0, 1), MemoryMode.PREFERRED),
        (OccupantMemory(node_id=NodeId(0), kib=4), Hypervisor.KVM, None, MemoryMode.STRICT),
        (OccupantMemory(node_id=None, kib=4), Hypervisor.KVM, NodeSet.of(0, 1), MemoryMode.NONE),
        (OccupantMemory(node_id=NodeId(0), kib=4), Hypervisor.XEN, None, MemoryMode.AFFINITY),
        (OccupantMemory(node_id=None, kib=8, nodes=NodeSet.of(0, 1)), Hypervisor.KVM, None, MemoryMode.STRICT),
    ],
)
def test_memory_is_bound_as_it_is_seen(
    memory: OccupantMemory, hypervisor: Hypervisor, allowed: NodeSet | None, mode: MemoryMode
) -> None:
    """Strict only where the kernel allows no other node."""
    one = guest("one", CpuSet.of(1), memory=(memory,))
    placed = seen_as(one, host(one, hypervisor=hypervisor), observed(CpuSet.of(1), nodes=allowed))
    assert [mode] == [cell.memory_mode for cell in placed.cells]
    assert memory.kib == sum(share.kib for cell in placed.cells for share in cell.memory)
    assert (memory.nodes or NodeSet(frozenset({memory.node_id} - {None}))) == placed.memory_nodes  # type: ignore[arg-type]


def test_a_guest_without_known_memory_is_not_adopted() -> None:
    """Nothing could be counted for it."""
    one = replace(guest("one", CpuSet.of(1)), memory=())
    with pytest.raises(BadInputError, match="guest one on h1: no source tells how much memory"):
        seen_as(one, host(one), observed(CpuSet.of(1)))
