"""How many more fit: equal to exhaustive search; what is stranded: nobody could use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from policies.asked import EmulatorPolicy, SmtPolicy
from policies.capacity import HostCapacity
from policies.fleet import Fleet
from policies.headroom import Fits, how_many, stranded
from policies.homes import refusal
from policies.policy import Effort
from policies.registry import load_policy
from policies.request import CpuPolicy, GuestName, GuestRequest, HostName
from policies.solver import count
from probe.cpuset import CpuSet
from tests.policies.hosts import GIB_KIB, host_of, topology_of
from tests.policies.oracle import Option, host_holds, options_of
from tests.policies.strategies import cpu_policies, on_cpus
from tests.policies.test_policies import ask
from tests.policies.tight import tight_batches, tight_guests

EFFORT = Effort(time_limit_s=None, deterministic_limit=5.0)


def most_by_trying(request: GuestRequest, host: HostCapacity) -> int:
    """Every multiset of ways, each no earlier than the one before: what holds n guests holds fewer."""
    options = list(options_of(request, [host]))

    def more(taken: Sequence[Option], start: int) -> int:
        best = len(taken)
        for i in range(start, len(options)):
            longer = [*taken, options[i]]
            if host_holds(host, 0, longer):
                best = max(best, more(longer, i))
        return best

    return more([], 0)


@given(batch=tight_batches())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_count_is_that_of_exhaustive_search(batch: tuple[tuple[GuestRequest, ...], Fleet]):
    """For every kind of guest on every host, spans, cells, huge pages and memory-less nodes among them."""
    requests, fleet = batch
    for request in {replace(r, name=GuestName("any"), groups=(), memory_kib=r.memory_kib) for r in requests}:
        tried = [Fits(n, n) for n in (most_by_trying(request, host) for host in fleet)]
        assert tried == list(how_many(request, fleet))


@given(asked=tight_guests(), more=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_guests_of_one_node_are_counted_without_a_model(asked: tuple[GuestRequest, HostCapacity], more: st.DataObject):
    """Mixed ones, on whole cores, with an emulator of their own, beside memory-less nodes: as many as by trying."""
    request, host = asked
    one = replace(
        request,
        cells=1,
        cell_sizes=(),
        stack_cells=False,
        max_nodes=1,
        groups=(),
        smt=SmtPolicy.PREFER,
        emulator=EmulatorPolicy.AUTO,
        far_memory=False,
        **{"dedicated_vcpus": CpuSet(), **more.draw(cpu_policies(request.vcpus))},
    )
    one = more.draw(on_cpus(one))
    tried = most_by_trying(one, host)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(count, "most_alike", None)
        assert (Fits(tried, tried),) == how_many(one, Fleet.of([host]))


@given(batch=tight_batches())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_where_nothing_is_left_for_a_flavour_nothing_is_placed(batch: tuple[tuple[GuestRequest, ...], Fleet]):
    """The solver places as many of one flavour as fit, and no more."""
    requests, fleet = batch
    flavour = replace(requests[0], groups=(), priority=1)
    count = sum(fits.count for fits in how_many(flavour, fleet))
    guests = [replace(flavour, name=GuestName(f"g{n}")) for n in range(count + 1)]
    assert count == load_policy("solver")(guests, fleet, EFFORT).objective[0].value


def test_a_host_that_may_not_be_used_takes_none():
    """Closed, or not among the flavour's hosts."""
    fleet = Fleet.of([host_of("h1"), host_of("h2", schedulable=False)])
    assert (Fits(8, 8), Fits(0, 0)) == how_many(ask("a", 1), fleet)
    assert (Fits(0, 0), Fits(0, 0)) == how_many(ask("a", 1, hosts=frozenset({HostName("h2")})), fleet)


def test_large_hosts_are_counted_at_once():
    """64 nodes: each has the pCPUs of four cells, and the memory of three; what is left of eight makes one more."""
    host = host_of("h", topology=topology_of(cpus=32, nodes=64, memory_gib=50))
    assert (Fits(96, 96),) == how_many(ask("a", 16, 32, cells=2), Fleet.of([host]))
    assert (Fits(24, 24),) == how_many(ask("a", 64, 128, cells=8), Fleet.of([host]))
    assert (Fits(200, 200),) == how_many(ask("a", 8, 16, cells="auto"), Fleet.of([host]))


def test_what_is_stranded():
    """pCPUs beside full memory, memory beside used pCPUs, memory without pCPUs, and pages that nobody asks for."""
    topology = topology_of(cpus=4, nodes=4, cpuless=[3])
    host = host_of("h", topology=topology)
    full, used, whole, far = host.nodes
    host = replace(
        host,
        nodes=(
            replace(full, memory_kib={4: GIB_KIB}),
            replace(used, free_cpus=CpuSet(), shared_vcpus=4, memory_kib={4: 8 * GIB_KIB}),
            replace(whole, memory_kib={4: 8 * GIB_KIB, 2048: 2 * GIB_KIB}),
            replace(far, memory_kib={4: 3 * GIB_KIB}),
        ),
    )
    found = stranded([ask("a", 2, 4), ask("b", 1, 2, cpus=CpuPolicy.DEDICATED)], host)
    assert (4, {4: 11 * GIB_KIB}, {2048: 2 * GIB_KIB}) == (found.vcpus, found.memory_kib, found.odd_pages_kib)


@given(batch=tight_batches())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_is_stranded_where_each_node_takes_a_guest(batch: tuple[tuple[GuestRequest, ...], Fleet]):
    """A node on which some flavour fits wholly strands neither pCPUs nor memory of the sizes asked for."""
    requests, fleet = batch
    for host in fleet:
        if all(refusal(r, host) is None for r in requests) and stranded(requests, host).vcpus:
            assert any(f.count == 0 or len(host.nodes) > 1 for r in requests for f in how_many(r, Fleet.of([host])))
