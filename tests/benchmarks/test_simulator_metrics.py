"""Each figure of a row on cases that are worked out by hand, or against the code that the commands use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from benchmarks.events import Event
from benchmarks.simulator.durations import Durations
from benchmarks.simulator.guest import (
    CellSpread,
    is_in_one_node,
    local_kib,
    mean_distance,
    nodes_spanned,
    shares_a_core,
    splits_l3,
    spread_of,
)
from benchmarks.simulator.hardware import hardware_of
from benchmarks.simulator.loose import shared_out
from benchmarks.simulator.options import Options
from benchmarks.simulator.playing import Run, gap_of
from benchmarks.simulator.run import measure_row
from benchmarks.simulator.series import MOST_NODES, MOST_SAMPLES, Series, of_neighbours
from benchmarks.simulator.state import FleetState
from benchmarks.simulator.tally import Means, Tally
from policies.compose import make_placement, make_unpinned
from policies.fleet import Fleet
from policies.headroom import stranded
from policies.homes import homes
from policies.plan import Placement, Tier
from policies.request import CpuPolicy, GuestRequest
from policies.usage import load_percent, use_of
from probe.cpuset import CpuSet
from tests.benchmarks.plays import FLAVOURS, ask, hosts, stream, told
from tests.policies.hosts import GIB_KIB, host_of, topology_of

FAR = topology_of(cpus=4, nodes=2, distances={0: {0: 10, 1: 21}, 1: {0: 31, 1: 10}}, smt=2, l3_of=4)
HOST = host_of("h", topology=FAR)
OWN = CpuPolicy.DEDICATED
EACH = Options(sample_every=1)


def spread(request: GuestRequest, *nodes: int) -> tuple[CellSpread, ...]:
    placement = make_placement(request, HOST, [home for home in homes(HOST) if home.cpu_node in nodes])
    return spread_of(placement, hardware_of(FAR), None)


@pytest.mark.parametrize("cpus", list(CpuPolicy)[:2])
def test_a_guest_on_one_node_is_local(cpus: CpuPolicy) -> None:
    there = spread(ask("g", 3, 2, cpus=cpus), 1)
    assert (mean_distance(there, hardware_of(FAR)), local_kib(there)) == (10, 2 * GIB_KIB)
    assert (nodes_spanned(there), is_in_one_node(there)) == (1, True)


def test_a_guest_of_two_cells_is_local_on_two_nodes() -> None:
    there = spread(ask("g", 4, 2, cells=2, cpus=OWN), 0, 1)
    assert (mean_distance(there, hardware_of(FAR)), local_kib(there)) == (10, 2 * GIB_KIB)
    assert (nodes_spanned(there), is_in_one_node(there)) == (2, False)


@pytest.mark.parametrize("cpus", list(CpuPolicy)[:2])
def test_one_cell_over_two_nodes_has_half_of_its_memory_far(cpus: CpuPolicy) -> None:
    """Three vCPUs, two of them on node 0: 2/3 × (10 + 21)/2 + 1/3 × (31 + 10)/2."""
    there = spread(ask("g", 3, 2, max_nodes=2, cpus=cpus), 0, 1)
    assert mean_distance(there, hardware_of(FAR)) == pytest.approx(2 / 3 * 15.5 + 1 / 3 * 20.5)
    assert local_kib(there) == pytest.approx(GIB_KIB)


def test_what_is_bound_to_nothing_is_everywhere() -> None:
    """vCPUs on both nodes alike, memory where it fell: 3 GiB of 4 on node 1."""
    loose = {0: GIB_KIB, 1: 3 * GIB_KIB}
    there = spread_of(make_unpinned(ask("g", 2, 4), HOST), hardware_of(FAR), loose)
    expected = 0.5 * (0.25 * 10 + 0.75 * 21) + 0.5 * (0.25 * 31 + 0.75 * 10)
    assert mean_distance(there, hardware_of(FAR)) == pytest.approx(expected)
    assert local_kib(there) == pytest.approx(2 * GIB_KIB)
    assert (nodes_spanned(there), is_in_one_node(there)) == (2, False)


def test_what_is_bound_to_nothing_falls_where_memory_is_left() -> None:
    """Node 0 has 16 of 64 GiB left when the unpinned guest of 8 comes: a fifth falls there."""
    full = ask("full", 1, 48)
    run = Run(told(Fleet.of([HOST])), "unpinned", 1, EACH)
    decider = run._decider
    decider.put_back(full, make_placement(full, HOST, homes(HOST)[:1]), 0.0)
    run.step(Event(at_s=0.0, arrivals=(ask("loose", 2, 8),)))
    fallen = decider.world.loose_of(ask("loose").name)
    assert fallen == {0: pytest.approx(8 / 5 * GIB_KIB, abs=4), 1: pytest.approx(32 / 5 * GIB_KIB, abs=4)}
    assert sum(fallen.values()) == 8 * GIB_KIB


@given(amount=st.integers(0, 1000), room=st.lists(st.integers(0, 400), min_size=1, max_size=6))
def test_shares_add_up_and_are_within_the_room(amount: int, room: list[int]) -> None:
    shares = shared_out(amount, room)
    assert sum(shares) == amount
    assert amount > sum(room) or all(share <= most for share, most in zip(shares, room, strict=True))


def own(*cpus: int) -> Placement:
    large = host_of("h", cpus=8)
    made = make_placement(ask("g", len(cpus), cpus=OWN), large, homes(large)[:1])
    pins = {vcpu: CpuSet.of(cpu) for vcpu, cpu in enumerate(cpus)}
    return replace(made, cells=(replace(made.cells[0], pins=pins, cpus=CpuSet.of(*cpus)),))


def test_l3_domains_are_split_where_fewer_would_hold_as_many() -> None:
    hardware = hardware_of(topology_of(cpus=8, nodes=1, l3_of=4))
    split = {cpus: splits_l3(own(*cpus), hardware) for cpus in ((0, 1), (0, 4), (0, 1, 2, 3, 4), (3, 4, 5, 6))}
    assert split == {(0, 1): False, (0, 4): True, (0, 1, 2, 3, 4): False, (3, 4, 5, 6): True}
    assert not splits_l3(own(0, 4), hardware_of(topology_of(cpus=8, nodes=1)))


def test_a_core_is_shared_where_a_sibling_is_neither_mine_nor_idle() -> None:
    """Siblings are 0 and 1, 2 and 3."""
    hardware = hardware_of(FAR)
    assert not shares_a_core(own(0, 1), hardware, frozenset())
    assert shares_a_core(own(0, 1, 2), hardware, frozenset())
    assert not shares_a_core(own(0, 1, 2), hardware, frozenset({3}))


def test_guests_on_cores_of_strangers_are_counted_in_the_row() -> None:
    """0 to 2 are for dedicated guests, 3 is shared. They get 2, beside 3; 0, beside nobody; 1, beside 0."""
    divided = replace(HOST.nodes[0], free_cpus=CpuSet.of(0, 1, 2), shared_cpus=CpuSet.of(3))
    fleet = Fleet.of([replace(HOST, nodes=(divided,), topology=topology_of(cpus=4, nodes=1, smt=2))])
    events = [Event(at_s=float(i), arrivals=(ask(f"g{i}", 1, cpus=OWN),)) for i in range(3)]
    shared = [measure_row(told(fleet, *events[:n]), "first-fit", 1, EACH).metrics["smt_shared"] for n in (1, 2, 3)]
    assert shared == [1, 1, 2]


def test_samples_count_for_the_time_until_the_next_one() -> None:
    means = Means()
    for at_s, value in ((0.0, 4.0), (1.0, 2.0), (4.0, 9.0)):
        means.add(at_s, {"x": value})
    means.until(4.0)
    assert means.means() == {"x": (4 * 1 + 2 * 3) / 4}
    alone = Means()
    alone.add(7.0, {"x": 5.0})
    assert alone.means() == {"x": 5.0}


def test_empty_hosts_are_averaged_over_time() -> None:
    """Two hosts: one is in use for 3 of 10 seconds, then none."""
    guest = ask("g", 1)
    events = (
        Event(at_s=0.0, arrivals=(guest,)),
        Event(at_s=3.0, departures=(guest.name,)),
        Event(at_s=10.0),
    )
    row = measure_row(told(hosts(2), *events), "first-fit", 1, EACH)
    assert row.metrics["empty_hosts"] == pytest.approx((1 * 3 + 2 * 7) / 10)
    assert (row.series["at_s"], row.series["here"]) == ([0.0, 3.0, 10.0], [1, 0, 0])


def test_p99_is_what_99_of_100_do_not_exceed() -> None:
    tally = Tally(placed=200)
    tally.distances.update({1000: 197, 1550: 1, 2100: 2})
    metrics = tally.metrics(Durations())
    assert metrics["p99_distance"] == 15.5
    assert tally.whole_distances() == {"10": 197, "15": 1, "21": 2}


@given(st.lists(st.floats(1e-6, 10), min_size=1, max_size=50), st.integers(1, 100))
def test_durations_are_right_to_one_per_cent(seconds: list[float], per_cent: int) -> None:
    took = Durations()
    for each in seconds:
        took.add(each)
    exact = sorted(seconds)[-(-len(seconds) * per_cent // 100) - 1] * 1000
    assert took.percentile_ms(per_cent) == pytest.approx(exact, rel=0.01)


def test_a_gap_is_what_the_bound_leaves_open() -> None:
    assert gap_of(Tier(tier=1, name="placed", value=8, bound=10, more_is_better=True)) == 0.25
    assert gap_of(Tier(tier=1, name="placed", value=0, bound=0, more_is_better=True)) == 0
    assert gap_of(Tier(tier=1, name="placed", value=8)) is None


def states(seed: int) -> Iterator[tuple[Run, FleetState]]:
    """A run on hosts of many shapes, looked at now and then."""
    made = [
        host_of("a", topology=topology_of(nodes=4, cpus=8, memory_gib=16)),
        host_of("b", topology=topology_of(nodes=3, cpus=8, memory_gib=32, memoryless=(1,), cpuless=(2,))),
        host_of("c", topology=topology_of(nodes=2, cpus=16, memory_gib=24), pages_gib={2048: 8}),
        host_of("d", topology=topology_of(nodes=2, cpus=4), schedulable=False),
    ]
    mix = (
        *FLAVOURS,
        ask("large", 6, 12, max_nodes=2),
        ask("huge", 2, 2, page_kib=2048),
        ask("isolated", 2, 2, cpus=OWN, smt="isolate"),
    )
    fleet = Fleet.of(made)
    for policy in ("place-one", "random"):
        run = Run(told(fleet, *stream(90, here=40, flavours=mix)(seed), flavours=mix), policy, seed, EACH)
        state = FleetState(run.world, mix)
        for number, event in enumerate(run.play.events()):
            run.step(event)
            if number % 10 == 9:
                yield run, state


@given(st.integers(0, 1000))
@settings(max_examples=4, deadline=None)
def test_what_is_stranded_and_how_full_nodes_are_is_what_the_commands_say(seed: int) -> None:
    """`policies.headroom` and `policies.usage` count host by host; the simulator counts in arrays."""
    for run, state in states(seed):
        left, flavours = run.world.left(), run.play.flavours
        by_host = [stranded(flavours, host) for host in left]
        found = state.stranded()
        assert found.vcpus == sum(host.vcpus for host in by_host)
        assert found.kib == sum(host.memory_kib.get(4, 0) for host in by_host)
        used = use_of(run.world.book.taken.values(), run.world.fleet)
        nodes = [(host, node) for host in run.world.fleet for node in host.nodes]
        loads = [load_percent(host, node, used[host.name, node.node_id]) for host, node in nodes]
        assert state.loads().tolist() == loads


def test_series_stay_small_and_keep_the_last_sample() -> None:
    series = Series()
    for number in range(1000):
        series.add(at_s=float(number), here=number)
    columns = series.columns()
    assert len(columns["at_s"]) <= MOST_SAMPLES + 1
    assert (columns["at_s"][0], columns["at_s"][-1]) == (0.0, 999.0)
    steps = {after - before for before, after in zip(columns["here"][:-2], columns["here"][1:-1], strict=True)}
    assert len(steps) == 1
    again = Series.from_json(series.to_json())
    again.add(at_s=1000.0, here=1000)
    series.add(at_s=1000.0, here=1000)
    assert again.columns() == series.columns()


def test_many_nodes_are_averaged_with_their_neighbours() -> None:
    loads = of_neighbours(np.arange(1000))
    assert len(loads) <= MOST_NODES
    assert loads[:2] == [1.5, 5.5]
    assert of_neighbours(np.arange(4)) == [0, 1, 2, 3]
