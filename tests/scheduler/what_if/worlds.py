"""Fleets with guests on them: placed by a policy, then seen on their hosts as a hypervisor would show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from policies.fleet import Fleet
from policies.host_rules import HostRules, OutstandingClaim
from policies.plan import PlacedCell, Placement
from policies.policy import Effort
from policies.registry import load_policy
from policies.request import GuestRequest, HostName
from probe.snapshot import HugepagePool, Hypervisor, NodeMemory, Occupant, OccupantMemory, OccupantState
from scheduler.files.fleet_file import FleetGuest
from scheduler.files.hosts_file import HostConfig
from scheduler.planning import HostView, Standing
from scheduler.what_if.supposed import Supposed
from tests.policies.hosts import snapshot_of
from tests.policies.strategies import regular_topologies, requests

FIRST = load_policy("first-fit")
POOLS = (HugepagePool(size_kib=2048, total=1024, free=1024), HugepagePool(size_kib=1024**2, total=4, free=4))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is supposed of a fleet as it is, and its hosts as they were before anybody came."""

    supposed: Supposed
    empty: tuple[HostView, ...]

    @property
    def standing(self) -> tuple[Placement, ...]:
        return tuple(claim.placement for view in self.supposed.views for claim in view.claims)


@st.composite
def worlds(draw: st.DrawFn, *, max_hosts: int = 3, max_guests: int = 5) -> World:
    """Some guests stand, some of them are in the fleet file, and the file asks for some more."""
    names = [f"h{i + 1}" for i in range(draw(st.integers(1, max_hosts)))]
    empty = tuple(draw(empty_hosts(name)) for name in names)
    there = [draw(requests(name=f"there{i}")) for i in range(draw(st.integers(0, max_guests)))]
    new = [draw(requests(name=f"new{i}")) for i in range(draw(st.integers(0, 2)))]
    fleet = Fleet.of([view.capacity for view in empty])
    homes = [d for d in FIRST(there, fleet, Effort()).decisions if isinstance(d, Placement)]
    views = tuple(with_guests(view, [home for home in homes if home.host == view.config.name]) for view in empty)
    known = draw(st.sets(st.sampled_from([home.guest for home in homes]))) if homes else set()
    asked = [request for request in [*there, *new] if request.name in known or request in new]
    return World(
        supposed=Supposed(
            guests=tuple(FleetGuest(request=request) for request in asked),
            views=views,
            standing=Standing(homes={home.guest: home for home in homes if home.guest in known}),
        ),
        empty=empty,
    )


@st.composite
def empty_hosts(draw: st.DrawFn, name: str) -> HostView:
    topology = draw(regular_topologies)
    hypervisor = draw(st.sampled_from([None, Hypervisor.KVM, Hypervisor.KVM, Hypervisor.XEN]))
    pools = () if hypervisor is Hypervisor.XEN else draw(st.sampled_from([(), POOLS]))
    rules = HostRules(reserve_kib=draw(st.sampled_from([0, 1024**2])), overcommit=draw(st.sampled_from([1, 2])))
    snapshot = snapshot_of(topology, free_gib=draw(st.sampled_from([8, 50])), pools=pools, hypervisor=hypervisor)
    return HostView(config=HostConfig(name=HostName(name), sources=(), rules=rules), snapshot=snapshot)


def with_guests(view: HostView, homes: Sequence[Placement]) -> HostView:
    """The host once these guests run there and have touched all of their memory."""
    snapshot, used = view.snapshot, Counter[tuple[int, int]]()
    xen = snapshot.hypervisor is Hypervisor.XEN
    for home in homes:
        for share in (share for cell in home.cells for share in cell.memory):
            pooled = any(pool.size_kib == share.page_kib for pool in snapshot.memory_of(share.node_id or 0).hugepages)
            used[share.node_id or 0, share.page_kib if pooled else 4] += share.kib
        if xen:
            used[home.cells[0].memory[0].node_id or 0, 4] += home.overhead_kib
    return replace(
        view,
        snapshot=replace(
            snapshot,
            occupants=tuple(_occupant(home) for home in homes),
            memory=tuple(_used(memory, used) for memory in snapshot.memory),
        ),
        claims=tuple(OutstandingClaim(claim_id=f"claim of {home.guest}", placement=home) for home in homes),
    )


def _used(memory: NodeMemory, used: Counter[tuple[int, int]]) -> NodeMemory:
    pools = [
        replace(pool, free=(pool.free or 0) - used[memory.node_id, pool.size_kib] // pool.size_kib)
        for pool in memory.hugepages
    ]
    return replace(memory, free_kib=(memory.free_kib or 0) - used[memory.node_id, 4], hugepages=tuple(pools))


def _occupant(home: Placement) -> Occupant:
    return Occupant(
        guest=home.guest,
        uuid=None,
        state=OccupantState.RUNNING,
        vcpus=sum(len(cell.vcpus) for cell in home.cells),
        effective_cpus=home.cpus,
        memory=tuple(share for cell in home.cells for share in _shares(cell)),
        ledger="ledger",
        claim=f"claim of {home.guest}",
    )


def _shares(cell: PlacedCell) -> list[OccupantMemory]:
    """As libvirt tells it: one share per cell, bound to a node or among several."""
    kib, nodes = sum(share.kib for share in cell.memory), cell.memory_nodes
    one = cell.memory[0].node_id if len(nodes) == 1 else None
    return [
        OccupantMemory(
            node_id=one,
            kib=kib,
            page_kib=cell.memory[0].page_kib,
            resident_kib=kib,
            nodes=None if len(nodes) == 1 else nodes,
        )
    ]


def asked(supposed: Supposed) -> list[GuestRequest]:
    """What a plan of it has to place."""
    return [g.request for g in supposed.guests if g.request.name not in supposed.standing.homes]
