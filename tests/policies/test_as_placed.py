"""The request that is made of a placement: the placement answers it, so nothing is asked for that is not so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from policies.as_placed import housekeeping_near, request_as_placed
from policies.asked import EmulatorPolicy
from policies.check import violations
from policies.compose import make_placement, make_unpinned
from policies.fleet import Fleet
from policies.homes import homes
from policies.plan import PlacedMemory, Placement
from policies.request import CpuPolicy, GuestName, GuestRequest, RequestInvalidError
from probe.cpuset import CpuSet
from tests.policies.hosts import host_of
from tests.policies.strategies import fleets, tries

SMALL = GuestRequest(name=GuestName("g"), vcpus=3, memory_kib=4096)


@given(fleets(), st.data())
def test_a_placement_answers_its_own_request(fleet: Fleet, data: st.DataObject) -> None:
    """Whatever it breaks of the one that was made from it, it broke of the one that it was made for."""
    found = data.draw(tries(fleet, "g"))
    if found is None:
        return
    request, placement = found
    again = request_as_placed(placement, most_nodes=8)
    broken = {each.rule for each in violations([placement], [request], fleet)}
    assert {each.rule for each in violations([placement], [again], fleet)} <= broken
    assert (request.vcpus, request.memory_kib, request.page_kib) == (again.vcpus, again.memory_kib, again.page_kib)
    assert (request.cpus, request.overhead_kib, request.groups) == (again.cpus, again.overhead_kib, again.groups)


def test_a_guest_that_is_bound_to_nothing_may_spread() -> None:
    again = request_as_placed(make_unpinned(SMALL, host_of("h1")), most_nodes=4)
    assert replace(SMALL, max_nodes=4) == again


def adopted(*kib: int, page_kib: int = 4) -> Placement:
    """As `adopt` writes it: the first cell has all vCPUs."""
    plain = make_unpinned(SMALL, host_of("h1"))
    first = plain.cells[0]
    cells = [
        replace(first, cell=i, vcpus=CpuSet() if i else first.vcpus, memory=(_memory(each, page_kib),))
        for i, each in enumerate(kib)
    ]
    return replace(plain, cells=tuple(cells))


def _memory(kib: int, page_kib: int) -> PlacedMemory:
    return PlacedMemory(node_id=None, kib=kib, page_kib=page_kib)


def test_an_adopted_guest_has_one_cell_and_whole_mib() -> None:
    """Which vCPUs belong to which of its cells is not known, and nobody could ask for a part of a MiB."""
    again = request_as_placed(adopted(4000, 1025), most_nodes=1)
    assert (1, 3, 6 * 1024) == (again.cells, again.vcpus, again.memory_kib)


def test_what_nobody_could_ask_for() -> None:
    with pytest.raises(RequestInvalidError, match="page size 16384 KiB"):
        request_as_placed(adopted(16384, page_kib=16384), most_nodes=1)


@pytest.mark.parametrize("asked", EmulatorPolicy)
def test_where_its_emulator_runs_is_asked_again(asked: EmulatorPolicy) -> None:
    """As it was; also of records that do not tell what was asked, as far as that makes a difference there."""
    kept = CpuSet.of(0, 4)
    host = replace(host_of("h1"), housekeeping_cpus=kept)
    host = replace(
        host, nodes=tuple(replace(n, free_cpus=n.free_cpus - kept, shared_cpus=CpuSet()) for n in host.nodes)
    )
    request = replace(SMALL, vcpus=2, cpus=CpuPolicy.DEDICATED, emulator=asked)
    placement = make_placement(request, host, homes(host)[:1])
    assert asked is request_as_placed(placement, most_nodes=1).emulator
    near = housekeeping_near(placement, host.topology, kept)
    again = request_as_placed(replace(placement, emulator=None), most_nodes=1, housekeeping_cpus=near)
    there = [make_placement(one, host, homes(host)[1:]).emulator_cpus for one in (request, again)]
    assert there[0] == there[1]
