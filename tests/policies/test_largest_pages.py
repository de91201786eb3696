"""`page_size: largest`: the largest pages whose pools hold the guest where it is placed, and never a refusal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from policies.check import violations
from policies.compose import Assigned
from policies.fleet import Fleet
from policies.headroom import Fits, how_many
from policies.homes import homes
from policies.online.fleet import OnlineFleet
from policies.pages import in_largest_pages
from policies.plan import Decision, Placement, Rejection
from policies.policy import Effort
from policies.registry import load_policy
from policies.request import AskedMemoryMode, GuestRequest, GuestShare
from probe.snapshot import Hypervisor
from tests.policies.hosts import GIB_KIB, host_of
from tests.policies.test_policies import ask
from tests.policies.test_solver import EFFORT
from tests.policies.tight import tight_batches

OURS = ("solver", "first-fit", "best-fit", "worst-fit", "round-robin", "random")
MIB_2, GIB_1 = 2048, GIB_KIB


def wants(name: str, vcpus: int, gib: int, **more: object) -> GuestRequest:
    return ask(name, vcpus, gib, largest_pages=True, **more)


def pages(decision: Decision) -> set[int]:
    assert isinstance(decision, Placement), decision
    return {share.page_kib for cell in decision.cells for share in cell.memory}


def could_be_larger(decisions: Sequence[Decision], requests: Sequence[GuestRequest], fleet: Fleet) -> list[str]:
    """Guests whose very shares would be whole larger pages that their nodes still have."""
    taken: Counter[tuple[str, int, int]] = Counter()
    placed = [d for d in decisions if isinstance(d, Placement)]
    for one in placed:
        for share in (share for cell in one.cells for share in cell.memory):
            taken[one.host, int(share.node_id or 0), share.page_kib] += share.kib
    asked = {request.name: request for request in requests if request.memory_mode != "restrictive"}
    found = []
    for one in placed:
        if one.guest not in asked or not asked[one.guest].largest_pages:
            continue
        shares = [share for cell in one.cells for share in cell.memory]
        if len(one.memory_nodes) < len(one.cpu_nodes or ()):
            continue  # each of its parts has whole pages, and those of two parts are on one node
        if fleet.host(one.host).hypervisor is Hypervisor.XEN:
            assert pages(one) == {4}
            continue
        for size in (MIB_2, GIB_1):
            need: Counter[int] = Counter()
            for share in shares:
                need[int(share.node_id or 0)] += share.kib
            whole = size > min(pages(one)) and not any(share.kib % size for share in shares)
            room = {n.node_id: n.memory_kib.get(size, 0) for n in fleet.host(one.host).nodes}
            if whole and all(room[n] - taken[one.host, n, size] >= kib for n, kib in need.items()):  # type: ignore[index]
                found.append(f"{one.guest} in {size} on {one.host}")
    return found


@given(batch=tight_batches(), policy=st.sampled_from(OURS))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_guest_has_smaller_pages_than_its_nodes_still_hold(
    batch: tuple[tuple[GuestRequest, ...], Fleet], policy: str
) -> None:
    """Every policy of ours, every guest made to want them that may."""
    asked, fleet = batch
    requests = tuple(replace(r, page_kib=4, largest_pages=True) if not r.cell_sizes else r for r in asked)
    decisions = load_policy(policy)(requests, fleet, EFFORT).decisions
    assert violations(decisions, requests, fleet) == ()
    assert could_be_larger(decisions, requests, fleet) == []


@pytest.mark.parametrize(("pools", "best"), [({MIB_2: 8, GIB_1: 4}, GIB_1), ({MIB_2: 8, GIB_1: 3}, MIB_2), ({}, 4)])
@pytest.mark.parametrize("policy", OURS)
def test_the_largest_pages_that_hold_the_guest(policy: str, pools: dict[int, int], best: int) -> None:
    host = host_of("h", nodes=1, memory_gib=8, pages_gib=pools)
    (decision,) = load_policy(policy)([wants("a", 2, 4)], Fleet.of([host]), Effort()).decisions
    assert {best} == pages(decision)


def test_only_pages_of_which_memory_is_a_whole_number() -> None:
    """Also the memory of each cell whose size is told; and restrictive is for 4 KiB pages."""
    half = replace(wants("a", 2, 4), memory_kib=4 * GIB_KIB + 512 * 1024)
    uneven = (GuestShare(vcpus=1, memory_kib=GIB_KIB * 5 // 2), GuestShare(vcpus=1, memory_kib=GIB_KIB * 3 // 2))
    assert [MIB_2, 4] == [one.page_kib for one in half.by_pages()]
    assert [MIB_2, 4] == [one.page_kib for one in wants("b", 2, 4, cells=2, cell_sizes=uneven).by_pages()]
    assert [4] == [one.page_kib for one in wants("c", 2, 4, memory_mode=AskedMemoryMode.RESTRICTIVE).by_pages()]
    assert [GIB_1, MIB_2, 4] == [one.page_kib for one in wants("d", 2, 4).by_pages()]


def test_larger_pages_are_given_out_at_the_end_in_the_order_of_the_guests() -> None:
    """The solver may have chosen any size: who goes up to 1 GiB pages leaves his 2 MiB pages to the next."""
    host = host_of("h", cpus=8, nodes=1, memory_gib=64, pages_gib={GIB_1: 5, MIB_2: 5})
    requests = [wants("a", 1, 4), wants("b", 1, 4), ask("c", 1, 1, page_kib=GIB_1), wants("d", 1, 1)]
    chosen = [
        Assigned(request=request, host=host.name, homes=homes(host), page_kib=page_kib)
        for request, page_kib in zip(requests, (MIB_2, 4, GIB_1, 4), strict=True)
    ]
    found = in_largest_pages(chosen, Fleet.of([host]))
    assert [GIB_1, MIB_2, GIB_1, MIB_2] == [choice.page_kib for choice in found]
    assert [choice.homes for choice in chosen] == [choice.homes for choice in found]


@pytest.mark.parametrize("policy", OURS)
def test_who_comes_too_late_for_the_pool_gets_smaller_pages_and_is_not_refused(policy: str) -> None:
    host = host_of("h", nodes=1, memory_gib=3, pages_gib={MIB_2: 4, GIB_1: 4})
    requests = [wants(f"g{i}", 1, 3) for i in range(3)]
    decisions = load_policy(policy)(requests, Fleet.of([host]), Effort()).decisions
    assert [{4}, {MIB_2}, {GIB_1}] == sorted((pages(d) for d in decisions), key=max)


def test_who_must_have_the_pages_goes_before_who_would_like_them() -> None:
    """The batch is seen as a whole: the pool goes to the guest that fits nowhere else."""
    host = host_of("h", nodes=1, memory_gib=8, pages_gib={GIB_1: 4})
    likes, must = wants("likes", 1, 4), ask("must", 1, 4, page_kib=GIB_1)
    decisions = load_policy("solver")([likes, must], Fleet.of([host]), Effort()).decisions
    assert [{4}, {GIB_1}] == [pages(d) for d in decisions]


def test_on_xen_it_is_4_kib() -> None:
    host = host_of("h", pages_gib={MIB_2: 8}, hypervisor=Hypervisor.XEN)
    assert {4} == pages(OnlineFleet(Fleet.of([host])).place_one(wants("a", 1, 2)))


def test_one_by_one_fewer_nodes_come_before_larger_pages() -> None:
    """The 1 GiB pages of two nodes are passed over for the 2 MiB pages of one."""
    host = host_of("h", nodes=2, memory_gib=8, pages_gib={GIB_1: 2, MIB_2: 4})
    online = OnlineFleet(Fleet.of([host]))
    decision = online.place_one(wants("a", 2, 4, cells="auto"))
    assert {MIB_2} == pages(decision)
    assert isinstance(decision, Placement)
    assert len(decision.cells) == 1
    assert {GIB_1} == pages(online.place_one(wants("b", 2, 2, cells="auto")))


def test_a_refusal_tells_what_lacks_in_the_pages_that_come_nearest() -> None:
    """Here the pool lacks 1 GiB, and the 4 KiB memory much more. A guest of 4 KiB is told of its own."""
    host = host_of("h", nodes=1, memory_gib=1, pages_gib={MIB_2: 5})
    fleet = Fleet.of([host])
    for refuse in (lambda r: load_policy("solver")([r], fleet, Effort()).decisions[0], OnlineFleet(fleet).place_one):
        refused = refuse(wants("a", 1, 6))
        assert isinstance(refused, Rejection)
        assert ("hugepages", "node 0 of h lacks 1GiB in 2MiB pages") == (refused.reason, refused.detail)
        plain = refuse(ask("b", 1, 6))
        assert isinstance(plain, Rejection)
        assert ("memory", "node 0 of h lacks 5GiB") == (plain.reason, plain.detail)


def test_capacity_counts_all_pages() -> None:
    """4 in the pool of 2 MiB, and 3 in 4 KiB."""
    host = host_of("h", cpus=16, nodes=1, memory_gib=7, pages_gib={MIB_2: 8})
    assert (Fits(7, 7),) == how_many(wants("a", 1, 2), Fleet.of([host]))
