"""Causes of a refusal: they suffice, none can be spared, and what they say would do does."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from policies.asked import SmtPolicy
from policies.capacity import HostCapacity, NodeCapacity
from policies.fleet import Fleet
from policies.homes import Home, homes_for, is_bound_to_places
from policies.request import GuestRequest
from policies.shortfall import CpuLack, Lack
from policies.why.causes import Cause, causes
from probe.cpuset import CpuSet
from tests.policies.hosts import host_of, topology_of
from tests.policies.oracle import best_vector
from tests.policies.test_policies import ask
from tests.policies.tight import tight_batches

PLENTY = 10**9
LIMITS = ("may span", "apart", "group ", "nodes for its")


def fits(request: GuestRequest, host: HostCapacity) -> bool:
    """By exhaustive search."""
    return best_vector([request], [host])[0] > 0


def with_only(host: HostCapacity, told: Collection[Cause]) -> HostCapacity:
    """The host with plenty on every node but those that the causes name."""
    named = {at for cause in told for at in nodes_named(host, cause)}
    return replace(host, nodes=tuple(node if node.node_id in named else _plenty(node) for node in host.nodes))


def nodes_named(host: HostCapacity, cause: Cause) -> set[int]:
    return {lack.node_id for lack in cause.lacks}


def _plenty(node: NodeCapacity) -> NodeCapacity:
    many = CpuSet.of(*range(1000 * node.node_id + 100, 1000 * node.node_id + 600))
    memory = dict.fromkeys((4, 2048, 1048576), PLENTY)
    return replace(node, free_cpus=many, shared_cpus=many, shared_vcpus=0, memory_kib=memory)


def with_more(host: HostCapacity, cause: Cause) -> HostCapacity:
    """As much more as the cause says: pCPUs that are free, or shared, and memory."""
    for lack in cause.lacks:
        host = replace(host, nodes=tuple(_raised(n, lack) if n.node_id == lack.node_id else n for n in host.nodes))
    return host


def _raised(node: NodeCapacity, lack: Lack) -> NodeCapacity:
    if lack.page_kib is not None:
        kib = node.memory_kib.get(lack.page_kib, 0) + lack.amount
        return replace(node, memory_kib={**node.memory_kib, lack.page_kib: kib})
    if lack.cpus is CpuLack.SHARED:
        return replace(node, shared_cpus=node.shared_cpus | CpuSet.of(*range(9000, 9000 + lack.amount)))
    return replace(node, free_cpus=node.free_cpus | CpuSet.of(*range(9500, 9500 + lack.amount)))


@given(batch=tight_batches())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_causes_suffice_and_none_can_be_spared(batch: tuple[tuple[GuestRequest, ...], Fleet]):
    """With plenty on all other nodes the host does not hold the guest; with what lacks on any one of them it does."""
    requests, fleet = batch
    for request in requests:
        for host in fleet:
            told = causes(request, Fleet.of([host]).open(), host)
            assert bool(told) == (not fits(request, host)) or _is_joint(request, host)
            if not told or not told[0].lacks or _is_joint(request, host):
                continue
            only = with_only(host, told)
            assert not fits(request, only)
            assert all(fits(request, with_more(only, cause)) for cause in told)


def _is_joint(request: GuestRequest, host: HostCapacity) -> bool:
    """Where parts of one guest share what is counted for each: a node's memory, pages of several sizes, whole cores.

    Or where one of its homes must have what not all have.
    """
    by_cores = request.smt is not SmtPolicy.PREFER or is_bound_to_places(request)
    return request.largest_pages or by_cores or _is_shared(homes_for(request, host))


def _is_shared(there: tuple[Home, ...]) -> bool:
    return len({home.memory_node for home in there}) < len(there)


@pytest.mark.parametrize(("cells", "nodes", "has"), [(4, 2, "2 nodes"), (2, 1, "1 node")])
def test_a_host_with_fewer_nodes_than_cells_says_both_numbers(cells: int, nodes: int, has: str):
    host = host_of("h", nodes=nodes)
    (told,) = causes(ask("g", 4, cells=cells), Fleet.of([host]).open(), host)
    assert f"h has {has} that can hold a cell, and the guest needs {cells}" == told.text


def test_a_host_without_any_node_for_it_says_so():
    """No memory anywhere: `auto` needs one node at least."""
    topology = topology_of(cpus=4, nodes=1)
    bare = replace(topology, nodes=tuple(replace(node, memory_total_kib=0) for node in topology.nodes))
    host = host_of("h", topology=bare)
    (told,) = causes(ask("g", 4, cells="auto"), Fleet.of([host]).open(), host)
    assert "h has 0 nodes that can hold a cell, and the guest needs 1" == told.text
