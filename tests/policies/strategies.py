"""Requests, hosts, fleets and plans for the property tests of the policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from policies.asked import EmulatorPolicy, NearDevice, Nearness, SmtPolicy
from policies.capacity import HostCapacity, NodeCapacity
from policies.compose import make_placement, make_unpinned
from policies.cpu_partition import cpus_by_node
from policies.errors import DoesNotFitError
from policies.fleet import Fleet
from policies.homes import has_own_pcpus, homes_for, part_counts, refusal
from policies.plan import (
    Decision,
    MemoryMode,
    PlacedCell,
    PlacedMemory,
    Placement,
    Plan,
    Reason,
    Rejection,
    SolveStatus,
    Tier,
)
from policies.request import (
    PAGE_SIZES_KIB,
    AskedMemoryMode,
    CpuPolicy,
    Group,
    GroupRule,
    GuestName,
    GuestRequest,
    GuestShare,
    HostName,
    Membership,
)
from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.snapshot import Hypervisor
from probe.topology import HostTopology, PciDevice
from tests.policies.hosts import topology_of
from tests.strategies import topologies

GIB_KIB = 1024**2

guest_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,9}", fullmatch=True).map(GuestName)
host_names = st.sampled_from([HostName(name) for name in ("h1", "h2", "h3")])
page_sizes = st.sampled_from([4, 4, 4, *PAGE_SIZES_KIB])
cpu_ids = st.frozensets(st.integers(0, 70), max_size=6)


@st.composite
def bound_somehow(draw: st.DrawFn, request: GuestRequest) -> GuestRequest:
    """Now and then the request in a memory mode that it may ask for."""
    one = request.cells == 1 and request.node_limit == 1
    modes = [AskedMemoryMode.AUTO] * 6
    modes += [AskedMemoryMode.STRICT] if one or request.cells != 1 else []
    modes += [AskedMemoryMode.PREFERRED] if one else []
    modes += [AskedMemoryMode.RESTRICTIVE] if one and request.page_kib == 4 else []
    return replace(request, memory_mode=draw(st.sampled_from(modes)))


@st.composite
def on_cpus(draw: st.DrawFn, request: GuestRequest) -> GuestRequest:
    """Now and then the request with a wish for its cores or its emulator threads."""
    emulators = [EmulatorPolicy.AUTO] * 4 + [EmulatorPolicy.GUEST, EmulatorPolicy.HOUSEKEEPING]
    if not has_own_pcpus(request):
        return replace(request, emulator=draw(st.sampled_from(emulators)))
    smt = draw(st.sampled_from([SmtPolicy.PREFER] * 3 + [SmtPolicy.ISOLATE, SmtPolicy.REQUIRE]))
    return replace(request, smt=smt, emulator=draw(st.sampled_from([*emulators, EmulatorPolicy.OWN])))


DEVICES = ("0000:3b:00.0", "0000:5e:00.1")


@st.composite
def near_devices(draw: st.DrawFn, request: GuestRequest) -> GuestRequest:
    """Seldom the request with a device, or two, that it must or should be near."""
    if draw(st.integers(0, 5)):
        return request
    named = draw(st.lists(st.sampled_from(DEVICES), min_size=1, max_size=2, unique=True))
    wishes = [
        NearDevice(address=address, near=draw(st.sampled_from(Nearness)), must=draw(st.booleans())) for address in named
    ]
    return replace(request, devices=tuple(wishes))


@st.composite
def pci_devices(draw: st.DrawFn, nodes: Sequence[NodeId]) -> tuple[PciDevice, ...]:
    """Those devices, some absent, some nobody tells where."""
    where = st.sampled_from([None, *nodes, *nodes])
    return tuple(PciDevice(address=address, node_id=draw(where)) for address in DEVICES if draw(st.integers(0, 3)))


@st.composite
def cpu_policies(draw: st.DrawFn, vcpus: int) -> dict[str, Any]:
    """What a guest of so many vCPUs asks of its pCPUs; of mixed ones some are its own."""
    cpus = draw(st.sampled_from(CpuPolicy if vcpus > 1 else [CpuPolicy.SHARED, CpuPolicy.DEDICATED]))
    if cpus is not CpuPolicy.MIXED:
        return {"cpus": cpus}
    own = draw(st.sets(st.integers(0, vcpus - 1), min_size=1, max_size=vcpus - 1))
    return {"cpus": cpus, "dedicated_vcpus": CpuSet(frozenset(own))}


@st.composite
def uneven(draw: st.DrawFn, request: GuestRequest) -> GuestRequest:
    """Now and then the request with cells that may be stacked, or have sizes of their own, where it has several."""
    if request.cells not in (1, "auto") and draw(st.booleans()):
        request = replace(request, stack_cells=True, max_nodes=draw(st.sampled_from([None, 1, 2])))
    grain = max(request.page_kib, 1024)
    pages, cells = request.memory_kib // grain, request.cells
    if not isinstance(cells, int) or cells < 2 or pages < cells or draw(st.booleans()):
        return request
    vcpus, memory = draw(cuts(request.vcpus, cells)), draw(cuts(pages, cells))
    sizes = tuple(GuestShare(vcpus=n, memory_kib=m * grain) for n, m in zip(vcpus, memory, strict=True))
    return replace(request, cell_sizes=sizes)


@st.composite
def cuts(draw: st.DrawFn, whole: int, parts: int) -> list[int]:
    """So many numbers, none of them zero, that make the whole."""
    ends = sorted(draw(st.sets(st.integers(1, whole - 1), min_size=parts - 1, max_size=parts - 1)))
    return [end - start for start, end in zip([0, *ends], [*ends, whole], strict=True)]


@st.composite
def requests(draw: st.DrawFn, name: str | None = None) -> GuestRequest:
    """One guest that contradicts itself nowhere: small, so that several fit a made-up host."""
    vcpus = draw(st.integers(1, 6))
    page_kib = draw(page_sizes)
    cells = draw(st.sampled_from([1, "auto", *range(2, min(vcpus, 3) + 1)]))
    free_limit = st.one_of(st.none(), st.integers(1, 4))
    request = GuestRequest(
        name=GuestName(name) if name is not None else draw(guest_names),
        vcpus=vcpus,
        memory_kib=draw(st.integers(1, 4096 if page_kib == 4 else 4)) * max(page_kib, 1024),
        page_kib=page_kib,
        largest_pages=page_kib == 4 and draw(st.integers(0, 4)) == 0,
        cells=cells,
        max_nodes=draw(free_limit) if cells in (1, "auto") else None,
        max_distance=draw(st.sampled_from([None, None, None, 10, 20, 30])),
        far_memory=draw(st.sampled_from([False, False, False, True])),
        **draw(cpu_policies(vcpus)),
        priority=draw(st.integers(1, 10)),
        hosts=draw(st.sampled_from([None] * 6 + [frozenset({HostName("h1")})])),
        overhead_kib=draw(st.sampled_from([0, 0, 4096])),
    )
    return draw(near_devices(draw(on_cpus(draw(uneven(draw(bound_somehow(request))))))))


@st.composite
def batches(draw: st.DrawFn, max_size: int = 6) -> tuple[GuestRequest, ...]:
    """Guests of distinct names."""
    count = draw(st.integers(0, max_size))
    return tuple(draw(requests(name=f"g{i}")) for i in range(count))


@st.composite
def node_capacities(draw: st.DrawFn, node_id: NodeId, cpus: CpuSet) -> NodeCapacity:
    """Some of the node's pCPUs free, some shared, some both; memory up to 8 GiB."""
    some = st.frozensets(st.sampled_from(sorted(cpus.ids)) if cpus else st.nothing())
    sets = st.one_of(*[st.just(cpus)] * 4, some.map(CpuSet))
    pages = draw(st.sampled_from([(4,), (4, 2048, GIB_KIB), (4, 2048, GIB_KIB)]))
    amounts = st.one_of(*[st.just(8 * GIB_KIB)] * 3, st.integers(0, 8 * GIB_KIB))
    return NodeCapacity(
        node_id=node_id,
        free_cpus=draw(sets),
        shared_cpus=draw(sets),
        shared_vcpus=draw(st.sampled_from([0, 0, 1, 3])),
        memory_kib={page: draw(amounts) // page * page for page in pages},
    )


regular_topologies = st.builds(
    topology_of,
    cpus=st.sampled_from([4, 8, 2]),
    nodes=st.sampled_from([4, 4, 3, 2, 1]),
    cpuless=st.sampled_from([(), (), (1,)]),
    memoryless=st.sampled_from([(), (), (2,)]),
    smt=st.sampled_from([1, 2]),
    l3_of=st.sampled_from([0, 2, 4]),
)
"""Hosts as they are bought: equal nodes, now and then one without pCPUs or without memory."""


@st.composite
def host_capacities(draw: st.DrawFn, name: str = "h1", topology: HostTopology | None = None) -> HostCapacity:
    """A host of any topology that the probe may find, with anything left."""
    topology = draw(st.one_of(regular_topologies, regular_topologies, topologies())) if topology is None else topology
    topology = replace(topology, devices=draw(pci_devices([n.node_id for n in topology.nodes])))
    owned = cpus_by_node(topology)
    housekeeping = st.frozensets(st.sampled_from(sorted(topology.online_cpus.ids)), max_size=2).map(CpuSet)
    kept = draw(st.one_of(st.just(CpuSet()), housekeeping))
    return HostCapacity(
        name=HostName(name),
        topology=topology,
        nodes=tuple(draw(node_capacities(n.node_id, owned[n.node_id] - kept)) for n in topology.nodes),
        overcommit=draw(st.sampled_from([Fraction(1), Fraction(1), Fraction(3, 2), Fraction(1, 2), Fraction(4)])),
        hypervisor=draw(st.sampled_from([None, Hypervisor.KVM, Hypervisor.KVM, Hypervisor.XEN])),
        schedulable=draw(st.sampled_from([True] * 7 + [False])),
        housekeeping_cpus=kept,
    )


@st.composite
def fleets(draw: st.DrawFn, max_hosts: int = 3) -> Fleet:
    count = draw(st.integers(1, max_hosts))
    return Fleet.of([draw(host_capacities(name=f"h{i + 1}")) for i in range(count)])


def needs_pins(request: GuestRequest) -> bool:
    """Whether an unpinned placement would break what it asks for."""
    bound = any(device.must for device in request.devices) or request.max_nodes is not None
    bound = bound or request.memory_mode is not AskedMemoryMode.AUTO or request.emulator is not EmulatorPolicy.AUTO
    return has_own_pcpus(request) or bound


@st.composite
def tries(draw: st.DrawFn, fleet: Fleet, name: str) -> tuple[GuestRequest, Placement] | None:
    """A request, and a placement that a policy might try on an untouched host, fitting or not."""
    request = replace(draw(requests(name=name)), max_distance=None, devices=())  # the book knows no request
    host = draw(st.sampled_from(fleet.hosts))
    if refusal(request, host) is not None:
        return None
    if draw(st.integers(0, 9)) == 9:
        return None if needs_pins(request) else (request, make_unpinned(request, host))
    counts = part_counts(request, host)
    if not counts:
        return None
    chosen = draw(st.permutations(homes_for(request, host)))[: draw(st.sampled_from(counts))]
    try:
        return request, make_placement(request, host, chosen)
    except DoesNotFitError:
        return None


def candidates(fleet: Fleet, name: str) -> st.SearchStrategy[Placement | None]:
    """The placement of `tries`."""
    return tries(fleet, name).map(lambda found: None if found is None else found[1])


def placed(fleet: Fleet, name: str) -> st.SearchStrategy[Placement]:
    """The same with memory in every cell, and where there was none an unpinned guest: nothing is filtered out."""
    small = GuestRequest(name=GuestName(name), vcpus=1, memory_kib=1024)
    unpinned = make_unpinned(small, fleet.hosts[0])
    found = candidates(fleet, name)
    return found.map(lambda one: unpinned if one is None or not all(cell.memory for cell in one.cells) else one)


def _some(kind: type[CpuSet] | type[NodeSet]) -> st.SearchStrategy[CpuSet | NodeSet | None]:
    return st.one_of(st.none(), cpu_ids.map(kind))


memories = st.builds(
    PlacedMemory,
    node_id=st.one_of(st.none(), st.integers(0, 70).map(NodeId)),
    kib=st.integers(1, 2**50),
    page_kib=page_sizes,
)
placed_cells = st.builds(
    PlacedCell,
    cell=st.integers(0, 5),
    vcpus=cpu_ids.map(CpuSet),
    cpus=_some(CpuSet),
    cpu_nodes=_some(NodeSet),
    pins=st.dictionaries(st.integers(0, 300), cpu_ids.map(CpuSet), max_size=3),
    memory=st.lists(memories, max_size=2).map(tuple),
    memory_mode=st.sampled_from(MemoryMode),
)
hard_groups = st.builds(
    Group, name=st.text(min_size=1, max_size=5), rule=st.sampled_from(GroupRule), level=st.text(max_size=5)
)
groups = st.one_of(hard_groups, st.builds(replace, hard_groups, hard=st.just(False), weight=st.integers(1, 1000)))
placements = st.builds(
    Placement,
    guest=guest_names,
    host=host_names,
    cells=st.lists(placed_cells, min_size=1, max_size=3).map(tuple),
    emulator_cpus=_some(CpuSet),
    emulator=st.none() | st.sampled_from(EmulatorPolicy),
    dedicated_vcpus=cpu_ids.map(CpuSet),
    smt=st.sampled_from(SmtPolicy),
    booked_cpus=cpu_ids.map(CpuSet),
    far_memory=st.booleans(),
    overhead_kib=st.integers(0, 2**40),
    devices=st.lists(
        st.builds(NearDevice, address=st.sampled_from(DEVICES), near=st.sampled_from(Nearness), must=st.booleans()),
        max_size=2,
    ).map(tuple),
    groups=st.lists(st.builds(Membership, group=groups, part=st.text(max_size=3)), max_size=2).map(tuple),
)
rejections = st.builds(
    Rejection, guest=guest_names, reason=st.sampled_from(Reason), detail=st.text(), fits_if=st.text()
)
decisions: st.SearchStrategy[Decision] = st.one_of(placements, rejections)
tiers = st.builds(
    Tier,
    tier=st.integers(1, 4),
    name=st.text(min_size=1, max_size=8),
    value=st.integers(-(2**40), 2**40),
    bound=st.one_of(st.none(), st.integers(-(2**40), 2**40)),
    more_is_better=st.booleans(),
    constant=st.booleans(),
)
plans = st.builds(
    Plan,
    decisions=st.lists(decisions, max_size=4).map(tuple),
    policy=st.text(max_size=10),
    seed=st.integers(0, 2**63),
    objective=st.lists(tiers, max_size=3).map(tuple),
    status=st.sampled_from(SolveStatus),
    wall_s=st.floats(0, 1e6),
    limited_by=st.text(max_size=9),
)
"""Any plan whatever, sound or not: what JSON must carry."""
