"""From "this guest on these nodes" to pCPUs, memory shares and modes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from policies.capacity import HostCapacity
from policies.check import violations
from policies.compose import Assigned, make_placement, settle_shared
from policies.compose_all import compose_all
from policies.cores import choose_cpus
from policies.errors import DoesNotFitError
from policies.fleet import Fleet
from policies.homes import Home, homes, part_counts, refusal, split
from policies.plan import MemoryMode, Placement, Reason
from policies.request import AskedMemoryMode, CpuPolicy, GuestName, GuestRequest, HostName
from probe.cpuset import CpuSet, NodeId
from probe.snapshot import Hypervisor
from probe.topology import HostTopology
from tests.policies.hosts import GIB_KIB, host_of, topology_of
from tests.policies.strategies import host_capacities, regular_topologies, requests

HOST = host_of("a", cpus=4, nodes=3, memory_gib=8)
XEN = replace(HOST, hypervisor=Hypervisor.XEN)


def ask(vcpus: int = 2, gib: int = 1, name: str = "g", **more: Any) -> GuestRequest:
    return GuestRequest(name=GuestName(name), vcpus=vcpus, memory_kib=gib * GIB_KIB, **more)


def put(request: GuestRequest, *nodes: int, host: HostCapacity = HOST) -> Placement:
    at = {home.cpu_node: home for home in homes(host)}
    return make_placement(request, host, [at[NodeId(n)] for n in nodes])


def pairs(host: HostCapacity) -> list[tuple[int, int]]:
    return [(home.cpu_node, home.memory_node) for home in homes(host)]


def modes(placement: Placement) -> list[MemoryMode]:
    return [cell.memory_mode for cell in placement.cells]


def test_a_home_is_a_node_with_pcpus_and_memory():
    """A CPU-less node is no home by itself."""
    assert pairs(host_of("a", topology=topology_of(nodes=3, cpuless=[1]))) == [(0, 0), (2, 2)]


def test_a_memory_less_node_takes_the_nearest_memory():
    """By distance, then id; a CPU-less node will do. Xen has no such homes."""
    rows = {0: {0: 10, 1: 20, 2: 17}, 1: {0: 20, 1: 10, 2: 12}, 2: {0: 17, 1: 12, 2: 10}}
    topology = topology_of(nodes=3, cpuless=[2], memoryless=[1], distances=rows)
    assert pairs(host_of("a", topology=topology)) == [(0, 0), (1, 2)]
    assert pairs(host_of("a", topology=topology, hypervisor=Hypervisor.XEN)) == [(0, 0)]
    assert pairs(host_of("a", topology=topology_of(nodes=3, memoryless=[2]))) == [(0, 0), (1, 1), (2, 0)]


def test_the_number_of_parts_is_what_the_request_and_the_host_allow():
    """1 unless allowed; a number exactly; auto up to nodes, vCPUs and the limit."""
    assert list(part_counts(ask(), HOST)) == [1]
    assert list(part_counts(ask(4, max_nodes=2), HOST)) == [1, 2]
    assert list(part_counts(ask(4, cells=2), HOST)) == [2]
    assert list(part_counts(ask(4, cells=4), HOST)) == []
    assert list(part_counts(ask(8, cells="auto"), HOST)) == [1, 2, 3]
    assert list(part_counts(ask(2, cells="auto"), HOST)) == [1, 2]
    tiny = GuestRequest(name=GuestName("t"), vcpus=4, memory_kib=1024, cells="auto")
    assert list(part_counts(tiny, HOST)) == [1]


def test_why_a_guest_cannot_live_on_a_host_at_all():
    """Not allowed, cordoned, guest cells or huge pages on Xen."""
    elsewhere = ask(hosts=frozenset({HostName("b")}))
    cases = [(elsewhere, HOST), (ask(), replace(HOST, schedulable=False)), (ask(cells=2), XEN)]
    cases += [(ask(page_kib=2048), XEN), (ask(), XEN), (ask(2, cells="auto"), XEN)]
    reasons = [found[0] if (found := refusal(request, host)) else None for request, host in cases]
    unsupported = Reason.UNSUPPORTED
    assert reasons == [Reason.HOST, Reason.HOST, unsupported, unsupported, None, None]


def test_cells_share_memory_in_proportion_and_one_cell_shares_it_evenly():
    """3 vCPUs and 3 GiB over two nodes: 2 + 1 GiB as cells, 1.5 + 1.5 GiB interleaved."""
    cells = split(ask(3, 3, cells="auto"), HOST, 2)
    assert [(s.vcpus, s.memory_kib / GIB_KIB) for s in cells] == [(2, 2), (1, 1)]
    for request, host in ((ask(3, 3, max_nodes=2), HOST), (ask(3, 3, cells="auto"), XEN)):
        assert [(s.vcpus, s.memory_kib / GIB_KIB) for s in split(request, host, 2)] == [(2, 1.5), (1, 1.5)]


@given(request=requests(), host=host_capacities(), parts=st.integers(1, 4))
def test_no_split_loses_anything(request: GuestRequest, host: HostCapacity, parts: int):
    """vCPUs and memory add up, in whole pages."""
    if parts > request.vcpus:
        return
    shares = split(request, host, parts)
    assert len(shares) == parts
    assert sum(s.vcpus for s in shares) == request.vcpus
    assert sum(s.memory_kib for s in shares) == request.memory_kib
    assert all(s.memory_kib % request.page_kib == 0 for s in shares)


@pytest.mark.parametrize(
    ("request_", "nodes", "host", "expected"),
    [
        (ask(), [0], HOST, [MemoryMode.RESTRICTIVE]),
        (ask(page_kib=2048), [0], HOST, [MemoryMode.STRICT]),
        (ask(cells=2), [0, 1], HOST, [MemoryMode.STRICT] * 2),
        (ask(cells="auto"), [0, 1], HOST, [MemoryMode.STRICT] * 2),
        (ask(cells="auto"), [0], HOST, [MemoryMode.RESTRICTIVE]),
        (ask(memory_mode=AskedMemoryMode.PREFERRED), [0], HOST, [MemoryMode.PREFERRED]),
        (ask(memory_mode=AskedMemoryMode.STRICT), [0], HOST, [MemoryMode.STRICT]),
        (ask(page_kib=2048, memory_mode=AskedMemoryMode.PREFERRED), [0], HOST, [MemoryMode.PREFERRED]),
        (ask(max_nodes=2), [0, 1], HOST, [MemoryMode.INTERLEAVE]),
        (ask(), [0], XEN, [MemoryMode.AFFINITY]),
        (ask(cells="auto"), [0, 1], XEN, [MemoryMode.AFFINITY]),
        (ask(), [0], replace(HOST, hypervisor=None), [MemoryMode.RESTRICTIVE]),
    ],
)
def test_the_memory_mode_is_that_of_the_design(
    request_: GuestRequest, nodes: list[int], host: HostCapacity, expected: list[MemoryMode]
):
    """Movable where it can be, bound where it must be, affinity on Xen."""
    assert modes(put(request_, *nodes, host=host)) == expected


def test_a_dedicated_guest_of_two_cells():
    """Each vCPU owns a pCPU of its cell's node; vCPUs count through."""
    placement = put(ask(3, 3, cells=2, cpus=CpuPolicy.DEDICATED, overhead_kib=4096), 2, 0)
    assert [str(cell.vcpus) for cell in placement.cells] == ["0-1", "2"]
    assert [str(cell.cpus) for cell in placement.cells] == ["8-9", "0"]
    assert [{v: str(p) for v, p in c.pins.items()} for c in placement.cells] == [{0: "8", 1: "9"}, {2: "0"}]
    assert [[(m.node_id, m.kib) for m in c.memory] for c in placement.cells] == [
        [(2, 2 * GIB_KIB)],
        [(0, GIB_KIB)],
    ]
    assert (placement.dedicated, placement.overhead_kib, str(placement.emulator_cpus)) == (True, 4096, "0,8-9")


def test_emulator_threads_go_to_housekeeping_pcpus_near_a_dedicated_guest():
    """Shared guests and Xen keep their own; so does one whose nodes have no housekeeping."""
    host = host_of("a", cpus=4, nodes=2, housekeeping="0")
    own = ask(cpus=CpuPolicy.DEDICATED)
    assert str(put(own, 0, host=host).emulator_cpus) == "0"
    assert str(put(own, 1, host=host).emulator_cpus) == "4-5"
    assert str(put(ask(), 0, host=host).emulator_cpus) == "1-3"
    assert str(put(own, 0, host=replace(host, hypervisor=Hypervisor.XEN)).emulator_cpus) == "1-2"


def test_a_node_without_enough_pcpus_is_refused():
    """Shared vCPUs never outnumber the pCPUs they float on; dedicated ones own theirs."""
    with pytest.raises(DoesNotFitError, match="node 1 of a: 5 vCPUs, and 4 pCPUs are shared"):
        put(ask(5), 1)
    with pytest.raises(DoesNotFitError, match="node 1 of a: needs 5 pCPUs, and 4 are free"):
        put(ask(5, cpus=CpuPolicy.DEDICATED), 1)


def test_two_memory_less_nodes_with_one_memory_node_have_one_share():
    """One cell over nodes 1 and 2, whose nearest memory is node 0: one share, not interleaved."""
    host = host_of("a", topology=topology_of(nodes=3, memoryless=[1, 2]))
    placement = put(ask(2, 2, max_nodes=2), 1, 2, host=host)
    assert [(m.node_id, m.kib) for m in placement.cells[0].memory] == [(0, 2 * GIB_KIB)]
    assert modes(placement) == [MemoryMode.RESTRICTIVE]
    assert violations([placement], [ask(2, 2, max_nodes=2)], Fleet.of([host])) == ()


def test_whole_l3_domains_and_whole_cores_come_first():
    """8 pCPUs, cores of two, L3 domains of four."""
    topology = topology_of(cpus=8, nodes=1, smt=2, l3_of=4)
    everything, none = CpuSet.parse("0-7"), CpuSet()

    def chosen(free: str, count: int, shared: CpuSet = none) -> str:
        return str(CpuSet.of(*choose_cpus(topology, CpuSet.parse(free), count, shared=shared)))

    assert chosen("0-7", 4) == "0-3"
    assert chosen("0-1,4-7", 2) == "0-1"  # the domain that is broken already
    assert chosen("0-1,4-7", 4) == "4-7"  # the one that holds it
    assert chosen("0-7", 6) == "0-5"
    assert chosen("0,2-3", 2) == "2-3"  # a whole core, not a half and a half
    assert chosen("0,2-3", 1) == "0"  # the core that is broken already
    assert chosen("0,2-3", 3) == "0,2-3"
    assert chosen("0-7", 2, CpuSet.parse("0-5")) == "6-7"  # nobody shares them
    assert chosen("0-7", 2, everything) == "0-1"
    with pytest.raises(ValueError, match="needs 3 pCPUs, and 2 are free"):
        chosen("0-1", 3)


@given(data=st.data(), topology=regular_topologies)
def test_chosen_pcpus_are_free_and_as_many_as_asked(data: st.DataObject, topology: HostTopology):
    """Distinct, free, and shared ones only when the others are gone."""
    some = st.frozensets(st.sampled_from(sorted(topology.online_cpus.ids))).map(CpuSet)
    free, shared = data.draw(some), data.draw(some)
    count = data.draw(st.integers(0, len(free)))
    chosen = choose_cpus(topology, free, count, shared=shared)
    assert len(set(chosen)) == len(chosen) == count
    assert set(chosen) <= free.ids
    assert len(set(chosen) & shared.ids) == max(0, count - len(free - shared))


def test_a_batch_is_composed_with_dedicated_guests_first():
    """The shared guest asks first, and floats on what the dedicated one leaves."""
    home = Home(cpu_node=NodeId(0), memory_node=NodeId(0))
    batch = [ask(2, name="s"), ask(2, name="d", cpus=CpuPolicy.DEDICATED)]
    chosen = [Assigned(request=r, host=HOST.name, homes=(home,), page_kib=4) for r in batch]
    placed = compose_all(chosen, Fleet.of([HOST]))
    assert list(placed) == ["s", "d"]
    assert (str(placed[GuestName("s")].cpus), str(placed[GuestName("d")].cpus)) == ("2-3", "0-1")
    assert violations(list(placed.values()), batch, Fleet.of([HOST])) == ()
    with pytest.raises(DoesNotFitError):
        compose_all(
            [*chosen, Assigned(request=ask(1, name="t"), host=HOST.name, homes=(home,), page_kib=4)], Fleet.of([HOST])
        )


def test_settling_moves_shared_guests_off_dedicated_pcpus():
    """Pins, cell and emulator threads; dedicated guests, other hosts and nodes stay."""
    shared, own = put(ask(2, name="s"), 0), put(ask(2, name="d", cpus=CpuPolicy.DEDICATED), 0)
    away = replace(shared, host=HostName("b"), guest=GuestName("away"))
    fleet = Fleet.of([HOST, replace(HOST, name=HostName("b"))])
    settled = settle_shared([shared, own, away], fleet)
    assert [str(p.cpus) for p in settled if isinstance(p, Placement)] == ["2-3", "0-1", "0-3"]
    assert [str(pin) for pin in settled[0].cells[0].pins.values()] == ["2-3", "2-3"]
    assert str(settled[0].emulator_cpus) == "2-3"
    assert settled[1:] == (own, away)
