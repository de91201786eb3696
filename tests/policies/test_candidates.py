"""The ways in which one guest can live on a host, and the search among too many of them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from policies import candidates as module
from policies.candidates import Candidate, are_enumerable, candidates, kinds_of_parts
from policies.fleet import Fleet
from policies.homes import homes, homes_for, part_counts, refusal
from policies.nearest import from_each_home, table
from policies.nearest.from_each_home import nearest_candidates
from policies.places import all_ways, placed
from policies.request import CpuPolicy, GuestName, GuestRequest, GuestShare
from probe.snapshot import Hypervisor
from tests.policies.hosts import GIB_KIB, host_of, topology_of
from tests.policies.tight import tight_hosts, tight_requests

HOST = host_of("h", cpus=8, nodes=3, memory_gib=16)


def ask(vcpus: int, gib: int = 2, **more: object) -> GuestRequest:
    base = GuestRequest(name=GuestName("g"), vcpus=vcpus, memory_kib=gib * GIB_KIB)
    return replace(base, **more)  # type: ignore[arg-type]


def nodes(ways: tuple[Candidate, ...]) -> list[tuple[int, ...]]:
    return [tuple(home.cpu_node for home in way.homes) for way in ways]


def unordered(way: Candidate) -> object:
    return frozenset((p.home, p.vcpus, tuple(sorted(p.memory_kib.items()))) for p in way.parts)


def test_equal_shares_come_in_one_order():
    """Two equal cells on nodes 0 and 1 are the same as on 1 and 0."""
    assert [(0, 1), (0, 2), (1, 2)] == nodes(candidates(ask(4, cells=2), HOST, 2))


def test_uneven_shares_come_in_both_orders():
    """peers.md section 9: with 2 + 1 vCPUs it matters which node gets the larger share."""
    ways = candidates(ask(3, cells=2), HOST, 2)
    assert [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] == sorted(nodes(ways))
    assert {(2, 1)} == {tuple(part.vcpus for part in way.parts) for way in ways}


def test_the_overhead_makes_the_first_part_another_one():
    """It lies on the first cell's node, so equal shares are not interchangeable."""
    ways = candidates(ask(4, cells=2, overhead_kib=4096), HOST, 2)
    assert len(ways) == 6
    assert {4096} == {way.parts[0].memory_kib[4] - way.parts[1].memory_kib[4] for way in ways}


def test_the_overhead_of_a_huge_page_guest_is_in_small_pages():
    """Beside its own memory, never out of the pool."""
    (way, *_) = candidates(ask(1, page_kib=2048, overhead_kib=4096), HOST, 1)
    assert {2048: 2 * GIB_KIB, 4: 4096} == way.parts[0].memory_kib


def test_memory_is_in_proportion_with_cells_and_even_without():
    """Guest cells have memory for their vCPUs; interleaved memory is even over its nodes."""
    (cells, *_), (one, *_) = (
        candidates(ask(3, 3, cells="auto"), HOST, 2),
        candidates(ask(3, 3, max_nodes=2), HOST, 2),
    )
    assert [2 * GIB_KIB, GIB_KIB] == [part.memory_kib[4] for part in cells.parts]
    assert [3 * GIB_KIB // 2] * 2 == [part.memory_kib[4] for part in one.parts]


@pytest.mark.parametrize(("there", "back"), [(255, 20), (20, 255), (255, 255)])
def test_nodes_without_a_path_are_not_spanned(there: int, back: int):
    """Hard: 255 in either direction (0xFF; asymmetric as xenopsd's users met it)."""
    rows = {0: {0: 10, 1: there, 2: 20}, 1: {0: back, 1: 10, 2: 20}, 2: {0: 20, 1: 20, 2: 10}}
    host = host_of("h", topology=topology_of(nodes=3, distances=rows))
    assert [(0, 2), (1, 2)] == nodes(candidates(ask(4, cells=2), host, 2))
    assert [] == nodes(candidates(ask(6, cells=3), host, 3))


def test_the_nearest_come_first_by_the_larger_direction():
    """An asymmetric distance counts as its worse one."""
    rows = {0: {0: 10, 1: 11, 2: 15}, 1: {0: 40, 1: 10, 2: 16}, 2: {0: 15, 1: 16, 2: 10}}
    host = host_of("h", topology=topology_of(nodes=3, distances=rows))
    ways = candidates(ask(4, cells=2), host, 2)
    assert [((0, 2), 15), ((1, 2), 16), ((0, 1), 40)] == list(zip(nodes(ways), (w.distance for w in ways), strict=True))


def test_memory_beyond_the_cpu_nodes_counts_as_distance():
    """A memory-less node pays what its memory is farther than local."""
    rows = {0: {0: 10, 1: 17}, 1: {0: 17, 1: 10}}
    host = host_of("h", topology=topology_of(nodes=2, memoryless=[1], distances=rows))
    assert [((0,), 0), ((1,), 7)] == [
        (tuple(h.cpu_node for h in w.homes), w.distance) for w in candidates(ask(2), host, 1)
    ]


def test_one_cell_has_its_memory_evenly_or_in_one_place():
    """Two memory-less nodes and one of their own cannot interleave evenly."""
    topology = topology_of(nodes=3, memoryless=[1, 2])
    host = host_of("h", topology=topology)
    assert [{0}] * 3 == [{h.memory_node for h in w.homes} for w in candidates(ask(4, max_nodes=2), host, 2)]
    host = host_of("h", topology=topology_of(nodes=4, memoryless=[1, 2]))
    sizes = {len({h.memory_node for h in w.homes}) for w in candidates(ask(6, max_nodes=3), host, 3)}
    assert sizes <= {1, 3}


@pytest.mark.parametrize("memoryless", [[1, 2], [1, 2, 3], []])
@pytest.mark.parametrize("parts", [2, 3])
def test_the_search_keeps_one_cell_evenly_in_memory_too(memoryless: list[int], parts: int):
    """From each home on, as by enumeration: on memory nodes of their own all, or all on one."""
    host = host_of("h", topology=topology_of(nodes=5, memoryless=memoryless))
    request = ask(6, max_nodes=parts)
    found, complete = nearest_candidates(request, host, [homes(host)] * parts)
    assert {unordered(way) for way in candidates(request, host, parts)} == {unordered(way) for way in found}
    assert complete


@given(host=tight_hosts("h0", 4), request=tight_requests("g", 1))
@settings(max_examples=150, deadline=None)
def test_the_search_finds_what_enumeration_finds(host, request):
    """On hosts of few nodes, where both are possible: the same ways, and it knows that these are all."""

    for parts in part_counts(request, host) if refusal(request, host) is None else ():
        roomy = {n.node_id for n in host.nodes if len(n.free_cpus) > 1}
        kinds = kinds_of_parts(request, host, parts)
        more = [roomy if kind == kinds[0] else {*roomy, 0} for kind in kinds]
        able = [{home for home in homes_for(request, host) if home.cpu_node in nodes} for nodes in more]
        found, complete = nearest_candidates(request, host, able)
        every = [
            way
            for way in candidates(request, host, parts)
            if all(home in some for home, some in zip(way.homes, able, strict=True))
        ]
        assert {(w.distance, unordered(w)) for w in every} >= {(w.distance, unordered(w)) for w in found}
        assert {unordered(way) for way in every} == {unordered(way) for way in found}
        assert complete


@given(
    host=tight_hosts("h0", 4),
    request=tight_requests("g", 1).filter(lambda r: r.cells == "auto" or (r.max_nodes or 1) > 1),
    most=st.integers(1, 3),
)
@settings(max_examples=100, deadline=None)
def test_a_place_is_found_among_too_many_ways(host, request, most):
    """If any ordered choice of nodes holds the guest, some way that is looked at does."""
    fleet = Fleet.of([host])
    before = any(placed(request, fleet.open(), host, way) for way in all_ways(request, fleet.open(), host))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_CANDIDATES", most)
        patch.setattr(from_each_home, "MOST_CANDIDATES", most)
        patch.setattr(table, "MOST_SETS", most - 1)
        after = any(placed(request, fleet.open(), host, way) for way in all_ways(request, fleet.open(), host))
    assert before == after


def test_many_nodes_are_searched_and_not_enumerated():
    """8 of 64 nodes are 4 billion sets."""
    host = host_of("h", cpus=2, nodes=64)
    request = ask(16, 16, cells=8, cpus=CpuPolicy.DEDICATED)
    assert not are_enumerable(request, host, 8)
    found, complete = nearest_candidates(request, host, [homes(host)] * 8)
    assert not complete
    assert {8} == {len(set(way.homes)) for way in found}
    assert set(homes(host)) == set(itertools.chain.from_iterable(way.homes for way in found))


def test_xen_splits_evenly_in_one_cell():
    """No guest cells there: vCPUs and memory go round the nodes of the affinity."""
    xen = replace(HOST, hypervisor=Hypervisor.XEN)
    (way, *_) = candidates(ask(3, 3, cells="auto"), xen, 2)
    assert [(2, 3 * GIB_KIB // 2), (1, 3 * GIB_KIB // 2)] == [(p.vcpus, p.memory_kib[4]) for p in way.parts]


def test_no_two_nodes_are_farther_than_allowed():
    """Hard: in either direction, and the node of the memory counts too."""
    rows = {0: {0: 10, 1: 12, 2: 20}, 1: {0: 12, 1: 10, 2: 12}, 2: {0: 12, 1: 12, 2: 10}}
    host = host_of("h", topology=topology_of(nodes=3, distances=rows))
    assert [(0, 1), (1, 2)] == nodes(candidates(ask(4, cells=2, max_distance=12), host, 2))
    far = host_of("h", topology=topology_of(nodes=2, memoryless=[1]))
    assert [(0,)] == nodes(candidates(ask(2, max_distance=19), far, 1))


def placed_cells(request: GuestRequest, *memory_gib: int) -> list[list[tuple[int, int, int]]]:
    """(node, vCPUs, GiB) of each cell, for each way to live on a host whose nodes have so much memory."""
    left = (replace(n, memory_kib={4: gib * GIB_KIB}) for n, gib in zip(HOST.nodes, memory_gib, strict=True))
    host = replace(HOST, nodes=tuple(left))
    book = Fleet.of([host]).open()
    found = [placed(request, book, host, way) for way in all_ways(request, book, host)]
    return sorted(
        [(int(m.node_id or 0), len(cell.vcpus), m.kib // GIB_KIB) for cell in p.cells for m in cell.memory]
        for p in found
        if p is not None
    )


def test_cells_of_uneven_sizes_keep_their_memory_and_find_their_nodes():
    """peers.md section 9: KubeVirt split memory evenly over 3 + 1 vCPUs. Here no node order fits both."""
    few, many = GuestShare(vcpus=1, memory_kib=12 * GIB_KIB), GuestShare(vcpus=7, memory_kib=2 * GIB_KIB)
    request = ask(8, 14, cells=2, cell_sizes=(many, few))
    assert placed_cells(request, 3, 16, 3) == [[(0, 7, 2), (1, 1, 12)], [(2, 7, 2), (1, 1, 12)]]
    assert placed_cells(replace(request, cell_sizes=(few, many)), 3, 16, 1) == [[(1, 1, 12), (0, 7, 2)]]
    assert placed_cells(request, 3, 3, 3) == []


def test_cells_are_stacked_where_they_may_be():
    """Four cells on two nodes, dealt out in order; without leave there is no place for them."""
    request = ask(4, 8, cells=4, stack_cells=True)
    assert placed_cells(request, 1, 4, 4) == [[(1, 1, 2), (1, 1, 2), (2, 1, 2), (2, 1, 2)]]
    assert placed_cells(replace(request, stack_cells=False), 1, 4, 4) == []
    assert placed_cells(replace(request, max_nodes=1), 1, 4, 4) == []
    own = replace(request, cpus=CpuPolicy.DEDICATED)
    assert placed_cells(own, 1, 8, 1) == [[(1, 1, 2)] * 4]
