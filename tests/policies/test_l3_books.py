"""Groups that look at L3 domains, in the books: members that are there, and those that may be moved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.capacity import HostCapacity
from policies.compose import make_placement
from policies.fleet import Fleet
from policies.homes import homes
from policies.host_rules import HostRules, OutstandingClaim
from policies.online.fleet import OnlineFleet
from policies.plan import Placement, Rejection
from policies.promise import host_capacity, residents_of
from policies.rebalance.question import Question
from policies.rebalance.rebalance import rebalance
from policies.rebalance.verify import violations_of_steps
from policies.request import CpuPolicy, Group, GroupRule, GuestRequest, HostName, Membership
from probe.cpuset import CpuSet
from tests.policies.hosts import host_of, snapshot_of, topology_of
from tests.policies.test_policies import ask
from tests.policies.test_rebalance_cases import stands

APART = (Membership(group=Group(name="team", rule=GroupRule.ANTI_AFFINITY, level="l3")),)
TOPOLOGY = topology_of(cpus=8, nodes=2, l3_of=4)


def own(name: str, vcpus: int, groups: tuple[Membership, ...] = ()) -> GuestRequest:
    return ask(name, vcpus, cpus=CpuPolicy.DEDICATED, groups=groups)


def claim(request: GuestRequest, node: int = 0) -> OutstandingClaim:
    host = host_of("h", topology=TOPOLOGY)
    return OutstandingClaim(claim_id="c", placement=make_placement(request, host, [homes(host)[node]]))


def left_beside(*claims: OutstandingClaim) -> HostCapacity:
    return host_capacity(HostName("h"), snapshot_of(TOPOLOGY), HostRules(), claims)


def test_a_member_in_the_books_is_in_the_l3_of_the_pcpus_that_it_owns():
    """Its node has another L3 domain, where the next one goes."""
    host = left_beside(claim(own("there", 2, APART)))
    (there,) = host.residents
    assert there.cpus == CpuSet.parse("0-1")
    placed = OnlineFleet(Fleet.of([host])).place_one(ask("g", 1, cpus=CpuPolicy.DEDICATED, groups=APART))
    assert isinstance(placed, Placement)
    assert (placed.cpus or CpuSet()).isdisjoint(CpuSet.parse("0-3"))


def test_a_member_in_the_books_that_floats_is_in_the_l3s_of_all_that_is_shared_on_its_node():
    """Also where its pins are fewer, because a dedicated guest was there when it came."""
    floats = claim(ask("there", 1, groups=APART))
    (there,) = left_beside(floats).residents
    assert there.cpus == CpuSet.parse("0-7")
    (unread,) = residents_of([floats])
    assert unread.cpus == floats.placement.cpus


@pytest.mark.parametrize(("groups", "steps"), [((), 1), (APART, 0)])
def test_a_member_is_not_moved_where_the_others_are(groups: tuple[Membership, ...], steps: int):
    """Who needs a whole node gets it where the guest there may go beside the others, each in an L3 of its own."""
    host = host_of("h", topology=TOPOLOGY)
    first = make_placement(own("a", 2, groups), host, [homes(host)[0]])
    book = Fleet.of([host]).open()
    book.take(first)
    left = book.host(host.name)
    guests = (
        stands(own("a", 2, groups), host, 0),
        stands(own("b", 2, groups), _without(left, CpuSet.parse("0-3")), 0),
        stands(own("c", 2, groups), host, 1),
    )
    question = Question(fleet=Fleet.of([host]), guests=guests, wanted=(own("whole", 8),))
    answer = rebalance(question, time_limit_s=10.0)
    assert steps == len(answer.steps) == len(answer.placed)
    assert violations_of_steps(question, answer.steps, answer.placed) == ()
    assert answer.proven is not bool(groups)


def _without(host: HostCapacity, cpus: CpuSet) -> HostCapacity:
    return replace(host, nodes=tuple(replace(n, free_cpus=n.free_cpus - cpus) for n in host.nodes))


def test_a_guest_too_large_for_one_l3_is_told_which():
    """Affinity alone: nobody else is there, and no L3 domain holds it."""
    together = (Membership(group=Group(name="team", rule=GroupRule.AFFINITY, level="l3")),)
    refused = OnlineFleet(Fleet.of([host_of("h", topology=TOPOLOGY)])).place_one(own("g", 5, together))
    assert isinstance(refused, Rejection)
    domains = "h l3 domain of pCPUs 0-3, h l3 domain of pCPUs 4-7"
    assert (
        f"fits h, but group team (affinity, l3): it would be in {domains}; so it is wherever it fits" == refused.detail
    )
