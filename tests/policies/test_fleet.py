"""The fleet's arrays, and the book in which placements are taken and given back."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

from policies.capacity import HostCapacity, NodeCapacity
from policies.check import violations
from policies.compose import make_placement, make_unpinned
from policies.errors import DoesNotFitError, NotTakenError
from policies.fleet import Fleet
from policies.homes import Home, homes
from policies.open_fleet import OpenFleet
from policies.places import all_ways, placed
from policies.plan import Placement
from policies.request import CpuPolicy, GuestName, GuestRequest
from probe.cpuset import CpuSet
from tests.policies.hosts import GIB_KIB, host_of
from tests.policies.strategies import batches, candidates, fleets


def guest(name: str, vcpus: int, *, dedicated: bool = False, gib: int = 1, **more: object) -> GuestRequest:
    cpus = CpuPolicy.DEDICATED if dedicated else CpuPolicy.SHARED
    base = GuestRequest(name=GuestName(name), vcpus=vcpus, memory_kib=gib * GIB_KIB, cpus=cpus)
    return replace(base, **more)  # type: ignore[arg-type]


def place(request: GuestRequest, host: HostCapacity, *nodes: int) -> Placement:
    chosen = [home for home in homes(host) if home.cpu_node in nodes]
    return make_placement(request, host, chosen)


def books(book: OpenFleet) -> tuple[object, ...]:
    """Everything that a book knows, as one comparable value."""
    arrays = (book.free_cpus, book.own_room, book.shared_cpus, book.both_cpus, book.shared_vcpus, book.shared_room)
    hosts = tuple(book.host(h.name) for h in book.fleet)
    loose = ([int(n) for n in book.loose_vcpus], [+c for c in book.loose_memory_kib])
    memory = {page: list(array) for page, array in book.memory_kib.items()}
    return ([list(a) for a in arrays], memory, hosts, loose, dict(book.taken))


def capacities(book: OpenFleet) -> list[tuple[NodeCapacity, ...]]:
    return [book.host(h.name).nodes for h in book.fleet]


def test_the_arrays_say_what_the_hosts_say():
    """Rows are host order, then node order; absent page sizes are 0."""
    one = host_of("a", cpus=4, nodes=2, memory_gib=8)
    two = host_of("b", cpus=2, nodes=1, memory_gib=4, pages_gib={2048: 1}, overcommit=Fraction(3, 2))
    fleet = Fleet.of([one, two])
    assert fleet.first_row.tolist() == [0, 2, 3]
    assert fleet.node_host.tolist() == [0, 0, 1]
    assert fleet.node_ids.tolist() == [0, 1, 0]
    assert fleet.free_cpus.tolist() == fleet.both_cpus.tolist() == [4, 4, 2]
    assert fleet.shared_room.tolist() == [4, 4, 3]
    assert fleet.memory_kib[4].tolist() == [8 * GIB_KIB, 8 * GIB_KIB, 4 * GIB_KIB]
    assert fleet.memory_kib[2048].tolist() == [0, 0, GIB_KIB]
    assert [h.name for h in fleet] == ["a", "b"]
    assert fleet.host("b") is two
    assert list(fleet.rows(two.name)) == [2]


def test_the_arrays_of_a_fleet_cannot_be_written():
    """A fleet is a value."""
    fleet = Fleet.of([host_of("a")])
    with pytest.raises(ValueError, match="read-only"):
        fleet.memory_kib[4][0] = 0


def test_two_hosts_of_one_name_are_refused():
    """Else a placement would not say where."""
    with pytest.raises(ValueError, match="repeat"):
        Fleet.of([host_of("a"), host_of("a")])


@given(data=st.data(), fleet=fleets())
def test_what_is_given_back_is_there_again(data: st.DataObject, fleet: Fleet):
    """Take several, give them back in any order: the books are as before each of them."""
    book = fleet.open()
    before = books(book)
    taken: list[Placement] = []
    for i in range(4):
        placement = data.draw(candidates(fleet, f"g{i}"))
        untouched = books(book)
        if placement is None or not book.fits(placement):
            assert books(book) == untouched
            continue
        book.take(placement)
        between = books(book)
        book.give_back(placement)
        assert books(book) == untouched
        book.take(placement)
        assert books(book) == between
        taken.append(placement)
    for placement in data.draw(st.permutations(taken)):
        book.give_back(placement)
    assert books(book) == before


@given(data=st.data(), fleet=fleets())
def test_nothing_is_lost_and_nothing_is_made(data: st.DataObject, fleet: Fleet):
    """What was there = what is left + what the placements hold, for pCPUs and every page size."""
    book = fleet.open()
    for i in range(4):
        placement = data.draw(candidates(fleet, f"g{i}"))
        if placement is not None and book.fits(placement):
            book.take(placement)
    placed = book.taken.values()
    owned = sum(len(p.own_cpus) for p in placed)
    assert int(fleet.free_cpus.sum()) == int(book.free_cpus.sum()) + owned
    for page in fleet.memory_kib:
        bound = sum(m.kib for p in placed for c in p.cells for m in c.memory if m.page_kib == page)
        bound += sum(p.overhead_kib for p in placed) if page == 4 else 0
        loose = sum(counter[page] for counter in book.loose_memory_kib)
        assert int(fleet.memory_kib[page].sum()) == int(book.memory_kib[page].sum()) + bound - loose


@given(data=st.data(), fleet=fleets())
def test_arrays_and_capacities_tell_the_same_at_any_time(data: st.DataObject, fleet: Fleet):
    """The rows are a fresh fleet's of what is left."""
    book = fleet.open()
    assert len(book.whole_cores) == len(fleet.free_cpus)  # from here on it is kept up to date
    for i in range(3):
        placement = data.draw(candidates(fleet, f"g{i}"))
        if placement is not None and book.fits(placement):
            book.take(placement)
    again = Fleet.of([book.host(h.name) for h in fleet])
    for name in ("free_cpus", "shared_cpus", "both_cpus", "shared_vcpus", "shared_room"):
        np.testing.assert_array_equal(getattr(again, name), getattr(book, name), err_msg=name)
    np.testing.assert_array_equal(again.open().whole_cores, book.whole_cores)
    for page, array in again.memory_kib.items():
        np.testing.assert_array_equal(array, book.memory_kib[page])


def test_a_dedicated_pcpu_leaves_the_shared_ones():
    """An undivided host of 4 pCPUs with 2 dedicated has room for 2 shared vCPUs, not 3."""
    host = host_of("a", cpus=4, nodes=1)
    book = Fleet.of([host]).open()
    book.take(place(guest("d", 2, dedicated=True), host, 0))
    assert book.shared_room.tolist() == [2]
    assert not book.fits(place(guest("s", 3), host, 0))
    assert book.fits(place(guest("s", 2), host, 0))


def test_shared_guests_keep_their_room_from_later_dedicated_ones():
    """3 shared vCPUs on 4 pCPUs leave one pCPU to dedicate, not two."""
    host = host_of("a", cpus=4, nodes=1)
    book = Fleet.of([host]).open()
    book.take(place(guest("s", 2), host, 0))
    book.take(place(guest("t", 1), host, 0))
    assert not book.fits(place(guest("d", 2, dedicated=True), host, 0))
    assert book.fits(place(guest("d", 1, dedicated=True), host, 0))


def test_no_guest_is_overcommitted_against_itself():
    """With overcommit 4, a guest of 3 vCPUs still needs 3 pCPUs to float on, now and later."""
    host = host_of("a", cpus=4, nodes=1, overcommit=Fraction(4))
    book = Fleet.of([host]).open()
    book.take(place(guest("s", 3), host, 0))
    with pytest.raises(DoesNotFitError, match="3 shared vCPUs on 2 shared pCPUs"):
        book.take(place(guest("d", 2, dedicated=True), host, 0))
    book.take(place(guest("d", 1, dedicated=True), host, 0))
    assert not book.fits(place(guest("t", 4), host, 0))
    assert book.fits(place(guest("t", 3), host, 0))


def test_a_guest_that_left_needs_no_room_any_more():
    """After the guest of 3 vCPUs has gone, one of 1 vCPU needs one pCPU only."""
    host = host_of("a", cpus=4, nodes=1, overcommit=Fraction(4))
    book = Fleet.of([host]).open()
    large = place(guest("s", 3), host, 0)
    book.take(large)
    book.take(place(guest("t", 1), host, 0))
    book.give_back(large)
    assert book.fits(place(guest("d", 3, dedicated=True), host, 0))


def test_a_pcpu_that_was_not_shared_is_not_shared_when_it_comes_back():
    """pCPUs 0-3 are free, 0-1 shared too."""
    host = host_of("a", cpus=4, nodes=1)
    node = replace(host.nodes[0], shared_cpus=CpuSet.parse("0-1"))
    book = Fleet.of([replace(host, nodes=(node,))]).open()
    own = place(guest("d", 4, dedicated=True), book.fleet.hosts[0], 0)
    book.take(own)
    assert book.shared_cpus.tolist() == [0]
    book.give_back(own)
    assert book.host(host.name).nodes == (node,)


def test_what_fitted_is_looked_at_again_when_something_was_taken():
    """Asked for, then another takes the same pCPUs, then it comes; and once more when that one has gone."""
    host = host_of("h", cpus=2, nodes=1)
    book = Fleet.of([host]).open()
    mine, other = (place(guest(name, 2, dedicated=True), host, 0) for name in "ab")
    assert book.fits(mine)
    book.take(other)
    with pytest.raises(DoesNotFitError):
        book.take(mine)
    book.give_back(other)
    assert book.fits(mine)
    book.take(mine)
    assert not book.fits(mine)


def test_overcommit_is_exact():
    """1.1 × 10 pCPUs are 11 shared vCPUs."""
    host = host_of("a", cpus=10, nodes=1, overcommit=Fraction("1.1"), memory_gib=64)
    book = Fleet.of([host]).open()
    book.take(place(guest("s", 10), host, 0))
    assert book.shared_room.tolist() == [1]


def test_memory_and_overhead_come_out_of_the_node():
    """8 GiB hold a guest of 7 GiB with 1 GiB of overhead, and not a KiB more."""
    host = host_of("a", cpus=4, nodes=2, memory_gib=8)
    book = Fleet.of([host]).open()
    assert not book.fits(place(guest("s", 1, gib=7, overhead_kib=GIB_KIB + 4), host, 0))
    book.take(place(guest("s", 1, gib=7, overhead_kib=GIB_KIB), host, 0))
    assert book.memory_kib[4].tolist() == [0, 8 * GIB_KIB]


def test_an_unpinned_guest_counts_against_the_sum_of_the_host():
    """12 GiB fit 2 × 8 GiB unpinned; then a bound guest of 8 GiB does not, one of 4 GiB does."""
    host = host_of("a", cpus=4, nodes=2, memory_gib=8)
    book = Fleet.of([host]).open()
    book.take(make_unpinned(guest("u", 2, gib=12), host))
    assert book.host_memory_left_kib(host.name, 4) == 4 * GIB_KIB
    assert not book.fits(place(guest("s", 1, gib=8), host, 0))
    assert book.fits(place(guest("s", 1, gib=4), host, 0))
    assert not book.fits(make_unpinned(guest("v", 7), host))
    assert book.fits(make_unpinned(guest("v", 6), host))


def test_an_unpinned_guest_never_stands_beside_a_dedicated_one():
    """It may run on any pCPU; whoever comes second is refused."""
    host = host_of("a", cpus=4, nodes=2)
    loose, own = make_unpinned(guest("u", 1), host), place(guest("d", 1, dedicated=True), host, 0)
    for first, second in ((loose, own), (own, loose)):
        book = Fleet.of([host]).open()
        book.take(first)
        assert not book.fits(second)
        book.give_back(first)
        assert book.fits(second)


def test_an_unpinned_guest_never_comes_to_a_host_where_pcpus_are_owned():
    """By an earlier batch: the checker says the same."""
    host = replace(host_of("a", cpus=4, nodes=2), dedicated_cpus=CpuSet.of(0))
    loose = make_unpinned(guest("u", 1), host)
    assert not Fleet.of([host]).open().fits(loose)
    found = violations([loose], [guest("u", 1)], Fleet.of([host]))
    assert [v.rule for v in found] == ["nobody_else_runs_on_dedicated_pcpus"]


def test_what_was_not_taken_cannot_be_given_back():
    """Nor can a guest be taken twice."""
    host = host_of("a", cpus=4, nodes=2)
    book = Fleet.of([host]).open()
    placement = place(guest("s", 1), host, 0)
    with pytest.raises(NotTakenError):
        book.give_back(placement)
    book.take(placement)
    with pytest.raises(NotTakenError):
        book.take(placement)
    with pytest.raises(NotTakenError):
        book.give_back(place(guest("s", 1), host, 1))
    assert capacities(book)[0][0].shared_vcpus == 1


def test_cells_of_one_guest_on_one_node_are_one_guest():
    """Two stacked cells of a vCPU each keep two shared pCPUs, also from who comes later, whatever the overcommit."""
    host = host_of("h", cpus=3, nodes=1, overcommit=Fraction(4))
    stacked = place(guest("s", 2, cells=2, stack_cells=True), host, 0)
    own = place(guest("d", 2, dedicated=True), host, 0)
    book = Fleet.of([host]).open()
    book.take(stacked)
    assert not book.fits(own)
    asked = [guest("s", 2, cells=2, stack_cells=True), guest("d", 2, dedicated=True)]
    left = CpuSet.of(2)
    squeezed = replace(
        stacked, emulator_cpus=left, cells=tuple(replace(c, cpus=left, pins={c.cell: left}) for c in stacked.cells)
    )
    broken = violations([squeezed, own], asked, Fleet.of([host]))
    assert [v.rule for v in broken] == ["no_guest_is_overcommitted_against_itself"]


def test_a_fleet_with_other_hosts_is_the_fleet_of_these_hosts() -> None:
    fleet = Fleet.of([host_of("a", pages_gib={2048: 1}), host_of("b", nodes=3), host_of("c")])
    fuller = [host_of("b", nodes=3, cpus=2, memory_gib=8), host_of("c", schedulable=False)]
    changed = fleet.with_hosts({2: fuller[1], 1: fuller[0]})
    expected = Fleet.of([fleet.hosts[0], *fuller])
    assert changed == expected
    for name in ("free_cpus", "shared_cpus", "both_cpus", "shared_vcpus", "shared_room", "schedulable", "node_ids"):
        assert getattr(changed, name).tolist() == getattr(expected, name).tolist(), name
    assert {p: a.tolist() for p, a in changed.memory_kib.items()} == {
        p: a.tolist() for p, a in expected.memory_kib.items()
    }


@given(fleet=fleets(), requests=batches())
def test_so_many_pcpus_may_become_a_guests_own_as_fit(fleet: Fleet, requests: tuple[GuestRequest, ...]) -> None:
    """Also where shared guests float on pCPUs that are free: what these need is not to be had."""
    book = fleet.open()
    for request in requests:
        places = (placed(request, book, host, way) for host in fleet for way in all_ways(request, book, host))
        if (placement := next((place for place in places if place is not None), None)) is not None:
            book.take(placement)
    for row, node in enumerate(node for host in fleet for node in host.nodes):
        host, most = fleet.hosts[int(fleet.node_host[row])], int(book.own_room[row])
        home = Home(cpu_node=node.node_id, memory_node=node.node_id)
        if int(book.memory_kib[4][row]) >= 1024:
            fitting = [n for n in range(1, len(node.free_cpus) + 1) if _owns(n, book, host, home)]
            assert most == max(fitting, default=0)


def _owns(vcpus: int, book: OpenFleet, host: HostCapacity, home: Home) -> bool:
    asked = GuestRequest(name=GuestName("own"), vcpus=vcpus, memory_kib=1024, cpus=CpuPolicy.DEDICATED)
    try:
        return book.fits(make_placement(asked, book.host(host.name), [home]))
    except DoesNotFitError:
        return False
