"""Groups: who lives together and who apart, at each level, residents included."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.capacity import HostCapacity, Resident
from policies.check import violations
from policies.fleet import Fleet
from policies.groups import away
from policies.plan import Placement, Reason, Rejection
from policies.policy import Effort
from policies.registry import load_policy
from policies.request import Group, GroupRule, GuestRequest, HostName, Membership, RequestInvalidError
from policies.solver import improve
from policies.solver.budget import Budget
from policies.solver.improve import Neighbourhoods
from policies.solver.problem import classes_of, problem_of
from policies.solver.solve import solver
from probe.cpuset import CpuSet, NodeSet
from probe.topology import L3Domain, Package
from tests.policies.hosts import host_of, topology_of
from tests.policies.test_policies import EFFORT, ask

POLICIES = ("solver", "first-fit", "best-fit", "worst-fit", "round-robin", "random")
TOGETHER, APART, PARTS = GroupRule.AFFINITY, GroupRule.ANTI_AFFINITY, GroupRule.FAULT_DOMAINS


def member(rule: GroupRule, level: str = "host", part: str = "") -> tuple[Membership, ...]:
    return (Membership(group=Group(name="team", rule=rule, level=level), part=part),)


def rack(name: str, of: str, **more: int) -> HostCapacity:
    return replace(host_of(name, **more), domains={"rack": of})  # type: ignore[arg-type]


def decide(policy: str, requests: list[GuestRequest], *hosts: HostCapacity) -> list[Placement | Rejection]:
    return list(load_policy(policy)(requests, Fleet.of(hosts), EFFORT).decisions)


def homes(decisions: list[Placement | Rejection]) -> list[str]:
    """The host of each guest, "" for none."""
    return [d.host if isinstance(d, Placement) else "" for d in decisions]


@pytest.mark.parametrize("policy", POLICIES)
class TestEachPolicy:
    """All of them keep to groups, whatever else they aim at."""

    def test_apart_on_hosts(self, policy: str):
        """Three guests, two hosts: one has no place, and is told what would help."""
        guests = [ask(f"g{n}", 1, groups=member(APART)) for n in range(3)]
        decisions = decide(policy, guests, host_of("h1"), host_of("h2"))
        assert ["", "h1", "h2"] == sorted(homes(decisions))
        (refused,) = [d for d in decisions if isinstance(d, Rejection)]
        assert (refused.reason, refused.fits_if) == (Reason.CONTENTION, "groups: without team")

    def test_apart_on_racks(self, policy: str):
        """Two hosts of one rack are one domain; a host without a rack is one by itself."""
        guests = [ask(f"g{n}", 1, groups=member(APART, "rack")) for n in range(3)]
        placed = homes(decide(policy, guests, rack("h1", "r1"), rack("h2", "r1"), host_of("h3")))
        assert ["", "h3", "r1"] == sorted("r1" if host in ("h1", "h2") else host for host in placed)

    def test_apart_on_nodes(self, policy: str):
        """A guest on each node of one host, though one node would hold all."""
        guests = [ask(f"g{n}", 1, groups=member(APART, "node")) for n in range(2)]
        decisions = decide(policy, guests, host_of("h", nodes=2))
        assert [[0], [1]] == sorted(sorted(d.memory_nodes.ids) for d in decisions if isinstance(d, Placement))

    def test_apart_on_packages(self, policy: str):
        """Two nodes of one package do not do."""
        topology = topology_of(cpus=4, nodes=4)
        sockets = tuple(Package(package_id=i, cpus=CpuSet.of(*range(8 * i, 8 * i + 8))) for i in range(2))
        host = host_of("h", topology=replace(topology, packages=sockets))
        guests = [ask(f"g{n}", 1, groups=member(APART, "package")) for n in range(2)]
        nodes = [min(d.memory_nodes) // 2 for d in decide(policy, guests, host) if isinstance(d, Placement)]
        assert [0, 1] == sorted(nodes)

    def test_apart_on_l3_domains(self, policy: str):
        """Three nodes, two of them with one L3 cache: two guests have a place; all three where each has its own."""
        topology = topology_of(cpus=4, nodes=3)
        guests = [ask(f"g{n}", 1, groups=member(APART, "l3")) for n in range(3)]
        for sets, expected in ((("0-7", "8-11"), 2), (("0-3", "4-7", "8-9", "10-11"), 3)):
            caches = tuple(L3Domain(cpus=CpuSet.parse(cpus), size_kib=None) for cpus in sets)
            decisions = decide(policy, guests, host_of("h", topology=replace(topology, l3=caches)))
            assert expected == sum(isinstance(d, Placement) for d in decisions)

    def test_together_in_a_rack(self, policy: str):
        """Nobody crosses to another rack, even where there is room."""
        hosts = (rack("h1", "r1", nodes=1), rack("h2", "r2", nodes=1), rack("h3", "r2", nodes=1))
        guests = [ask(f"g{n}", 3, groups=member(TOGETHER, "rack")) for n in range(2)]
        placed = homes(decide(policy, guests, *hosts))
        assert 1 == len({"r1" if host == "h1" else "r2" for host in placed if host})

    def test_all_or_nothing(self, policy: str):
        """A crew of three with room for two: none of it, and the guest behind it has the room."""
        crew = [ask(f"g{n}", 3, groups=member(GroupRule.ALL_OR_NOTHING)) for n in range(3)]
        hosts = [host_of(f"h{n}", nodes=1) for n in range(2)]
        decisions = decide(policy, [*crew, ask("last", 4)], *hosts)
        assert ["", "", ""] == homes(decisions)[:3]
        assert homes(decisions)[3]
        told = [d for d in decisions if isinstance(d, Rejection)]
        assert {"groups: without team"} == {d.fits_if for d in told}
        assert all("all or nothing" in d.detail for d in told if d.reason is not Reason.TIME_LIMIT)
        assert all(homes(decide(policy, crew, *hosts, host_of("h2", nodes=1))))

    def test_together_with_a_resident(self, policy: str):
        """Where a member lives already, also on a host that nobody reaches."""
        there = Resident(groups=member(TOGETHER, "rack"), nodes=None)
        gone = away(HostName("h3"), {"rack": "r2"}, (there,))
        guest = ask("g", 1, groups=member(TOGETHER, "rack"))
        assert ["h2"] == homes(decide(policy, [guest], rack("h1", "r1"), rack("h2", "r2"), gone))

    def test_a_rack_serves_one_part(self, policy: str):
        """Two parts on two racks; members of one part may share a host."""
        guests = [ask(f"g{n}{part}", 1, groups=member(PARTS, "rack", part)) for part in "ab" for n in range(2)]
        placed = homes(decide(policy, guests, rack("h1", "r1"), rack("h2", "r1"), rack("h3", "r2")))
        pairs = {
            ("r2" if host == "h3" else "r1", g.groups[0].part) for g, host in zip(guests, placed, strict=True) if host
        }
        assert len(pairs) == len({of for of, _ in pairs})
        assert policy != "solver" or "" not in placed

    def test_a_resident_keeps_others_out(self, policy: str):
        """A guest that fits, but for the member that is there: no counter, a reason."""
        there = Resident(groups=member(APART), nodes=NodeSet.of(0))
        (refused,) = decide(policy, [ask("g", 1, groups=member(APART))], replace(host_of("h"), residents=(there,)))
        assert isinstance(refused, Rejection)
        assert (refused.reason, refused.fits_if) == (Reason.GROUP, "groups: without team")
        why = "fits h, but group team (anti-affinity, host): a member is in h; so it is wherever it fits"
        assert why == refused.detail


def test_the_solver_finds_the_rack_that_holds_all():
    """First fit begins in the first rack, and has no place for the second guest there."""
    hosts = (rack("h1", "r1", nodes=1), rack("h2", "r2", nodes=1), rack("h3", "r2", nodes=1))
    guests = [ask(f"g{n}", 3, groups=member(TOGETHER, "rack")) for n in range(2)]
    assert ["", "h1"] == sorted(homes(decide("first-fit", guests, *hosts)))
    assert ["h2", "h3"] == sorted(homes(decide("solver", guests, *hosts)))


@pytest.mark.parametrize(("rule", "part"), [(APART, ""), (PARTS, "a"), (TOGETHER, "")])
def test_members_elsewhere_count_while_a_few_hosts_are_filled_again(rule: GroupRule, part: str):
    """One lives on h1; what the search then puts on the other hosts keeps to that, though all would fit there."""
    hosts = [rack("h1", "r1", nodes=1), rack("h2", "r2" if rule is TOGETHER else "r1", nodes=1), rack("h3", "r3")]
    first, second = member(rule, "rack", part), member(rule, "rack", part and "b")
    guests = [ask("a", 1, groups=first), ask("b", 1, groups=second, hosts=frozenset({HostName("h2")}))]
    fleet = Fleet.of(hosts)
    problem = problem_of(classes_of(guests), fleet, {})
    at_h1 = next(way for way in problem.ways if way.of_class == 0 and way.host == "h1")
    search = Neighbourhoods(problem, Budget(EFFORT))
    assert {at_h1: 1} == search._refilled({at_h1: 1}, frozenset({"h2", "h3"}))


@pytest.mark.parametrize(
    ("groups", "complaint"),
    [
        (member(PARTS), "needs the name of a part"),
        (member(APART, part="a"), "has no parts"),
        (member(APART) * 2, "is in one group twice"),
    ],
)
def test_a_membership_that_means_nothing(groups: tuple[Membership, ...], complaint: str):
    """A part belongs to fault domains, and to them only."""
    with pytest.raises(RequestInvalidError, match=complaint):
        ask("g", 1, groups=groups)


def test_all_or_nothing_is_no_wish():
    with pytest.raises(RequestInvalidError, match="all or nothing, which is no wish"):
        ask("g", 1, groups=(Membership(group=Group(name="crew", rule=GroupRule.ALL_OR_NOTHING, hard=False)),))


def test_groups_that_share_a_member_stand_and_fall_together():
    """One guest of both crews has no place, so neither crew has."""
    one, two = (Membership(group=Group(name=n, rule=GroupRule.ALL_OR_NOTHING)) for n in ("one", "two"))
    guests = [ask("a", 1, groups=(one,)), ask("b", 1, groups=(two,)), ask("c", 5, groups=(one, two)), ask("d", 1)]
    for policy in ("first-fit", "solver"):
        assert ["", "", "", "h"] == homes(decide(policy, guests, host_of("h", nodes=1)))


def test_the_members_of_a_crew_are_counted_over_all_hosts_while_a_few_are_filled_again():
    """No neighbourhood takes a member away, or adds one, by itself."""
    crew = [ask(f"g{n}", 3, groups=member(GroupRule.ALL_OR_NOTHING)) for n in range(6)]
    fleet = Fleet.of([host_of(f"h{n}", nodes=1) for n in range(6)])
    others = [ask(f"o{n}", 4) for n in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(improve, "LARGEST_NEIGHBOURHOOD", 2)
        answer = solver([*crew, *others], fleet, Effort(time_limit_s=None, deterministic_limit=0.5))
    assert violations(answer.decisions, [*crew, *others], fleet) == ()
    assert 6 == answer.objective[0].value
