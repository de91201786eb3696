"""What a guest asks of its cores and of its emulator threads: it gets it, or is told why not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.asked import EmulatorPolicy, SmtPolicy
from policies.capacity import HostCapacity
from policies.check import violations
from policies.compose import make_placement
from policies.fleet import Fleet
from policies.headroom import Fits, how_many
from policies.homes import homes
from policies.host_rules import HostRules, OutstandingClaim
from policies.online.fleet import OnlineFleet
from policies.plan import Decision, Placement, Reason, Rejection
from policies.policy import Effort
from policies.promise import host_capacity
from policies.registry import load_policy
from policies.request import CpuPolicy, GuestRequest
from probe.cpuset import CpuSet
from probe.snapshot import Hypervisor
from scheduler.definitions.parse_back import disagreements, parse_back
from scheduler.ledger.holding import holding_of, holding_of_present
from tests.policies.hosts import host_of, snapshot_of, topology_of
from tests.policies.test_policies import ask
from tests.scheduler.definitions.made import KVM
from tests.scheduler.definitions.test_render import definition_of

ISOLATE, REQUIRE = SmtPolicy.ISOLATE, SmtPolicy.REQUIRE
OWN, HOUSEKEEPING = EmulatorPolicy.OWN, EmulatorPolicy.HOUSEKEEPING
TWO_THREADS = topology_of(cpus=4, nodes=2, smt=2)
SMT = host_of("h", topology=TWO_THREADS)


def own(name: str, vcpus: int, gib: int = 1, **more: object) -> GuestRequest:
    return ask(name, vcpus, gib, cpus=CpuPolicy.DEDICATED, **more)


def decided(requests: list[GuestRequest], host: HostCapacity, policy: str = "solver") -> tuple[Decision, ...]:
    decisions = load_policy(policy)(requests, Fleet.of([host]), Effort()).decisions
    assert violations(decisions, requests, Fleet.of([host])) == ()
    return decisions


def there(decision: Decision) -> Placement:
    assert isinstance(decision, Placement), decision
    return decision


def why_not(decision: Decision) -> tuple[Reason, str, str]:
    assert isinstance(decision, Rejection), decision
    return decision.reason, decision.detail, decision.fits_if


def one_thread_busy(host: HostCapacity) -> HostCapacity:
    """Of each core one thread is not free."""
    even = CpuSet.parse("0,2,4,6")
    return replace(host, nodes=tuple(replace(n, free_cpus=n.free_cpus & even) for n in host.nodes))


def test_isolated_vcpus_have_a_core_each_and_nobody_has_the_rest_of_it() -> None:
    """Not a shared guest either; and who comes next finds no whole core."""
    first, shared = decided(
        [own("a", 1, smt=ISOLATE, max_nodes=1), ask("s", 2)], host_of("h", topology=topology_of(cpus=4, nodes=1, smt=2))
    )
    a, s = there(first), there(shared)
    assert ("0", "1") == (str(a.cpus), str(a.booked_cpus))
    assert "2-3" == str(s.cpus)
    lone = host_of("h", topology=topology_of(cpus=4, nodes=1, smt=2))
    left = [there(d).own_cpus for d in decided([own("a", 1, smt=ISOLATE), own("b", 1, smt=ISOLATE)], lone)]
    assert sorted(["0-1", "2-3"]) == sorted(str(cpus) for cpus in left)


def test_cores_that_nobody_shares_go_first() -> None:
    """So that the shared guest has room beside; one with a shared half goes before one that is shared wholly."""
    host = host_of("h", topology=topology_of(cpus=8, nodes=1, smt=2))
    parted = replace(host, nodes=(replace(host.nodes[0], shared_cpus=CpuSet.parse("0-2")),))
    alone, _ = decided([own("a", 2, smt=ISOLATE), ask("s", 3)], parted)
    assert "4-7" == str(there(alone).own_cpus)
    three, _ = decided([own("a", 6, smt=REQUIRE), ask("s", 2)], parted)
    assert "2-7" == str(there(three).own_cpus)


def test_required_siblings_fill_cores_and_what_is_left_over_stays_idle() -> None:
    (placed,) = decided([own("a", 3, smt=REQUIRE)], SMT)
    assert ("0-2", "3") == (str(there(placed).cpus), str(there(placed).booked_cpus))
    assert [("0", "1")] == [(str(p.pins[0]), str(p.pins[1])) for p in there(placed).cells]
    (even,) = decided([own("a", 4, smt=REQUIRE)], SMT)
    assert not there(even).booked_cpus


@pytest.mark.parametrize("policy", ["solver", "best-fit", "first-fit", "round-robin", "random"])
def test_cores_that_are_used_by_halves_are_no_whole_ones(policy: str) -> None:
    """The refusal says so, and what would help."""
    for smt in (ISOLATE, REQUIRE):
        (refused,) = decided([own("a", 2, smt=smt)], one_thread_busy(SMT), policy)
        cores = "2 whole free cores" if smt is ISOLATE else "1 whole free core"
        assert (Reason.PCPUS, f"node 0 of h lacks {cores}", "smt: prefer") == why_not(refused)


def test_where_there_is_no_smt_isolation_is_free_and_siblings_cannot_be_had() -> None:
    plain, untold = host_of("h"), host_of("h", topology=replace(topology_of(), cores=()))
    assert not there(decided([own("a", 2, smt=ISOLATE)], plain)[0]).booked_cpus
    (refused,) = decided([own("a", 2, smt=REQUIRE)], plain)
    assert (Reason.UNSUPPORTED, "h has no SMT: one thread per core", "smt: prefer") == why_not(refused)
    (refused,) = decided([own("a", 2, smt=ISOLATE)], untold)
    assert (Reason.UNSUPPORTED, "no source tells the cores of h", "smt: prefer") == why_not(refused)


def test_an_emulator_has_a_pcpu_of_its_own_on_the_first_node() -> None:
    """It is the guest's: booked, nobody else's, and counted where room is short."""
    (placed,) = decided([own("a", 3, emulator=OWN)], SMT)
    assert ("0-2", "3", "3") == (
        str(there(placed).cpus),
        str(there(placed).emulator_cpus),
        str(there(placed).booked_cpus),
    )
    first, second = decided([own("a", 6, cells=2, emulator=OWN), own("b", 1)], SMT)
    assert CpuSet.parse("0-3") == there(first).own_cpus & CpuSet.parse("0-3")
    assert there(second).cpus == CpuSet.of(7)
    (refused,) = decided([own("a", 4, emulator=OWN)], SMT)
    assert (Reason.PCPUS, "node 0 of h lacks 1 free pCPU", "max_nodes: 2") == why_not(refused)


def test_an_emulator_breaks_no_core_that_another_guest_needs() -> None:
    """Two vCPUs on cores and two emulators on six free pCPUs, of which two are halves of cores."""
    host = host_of("h", topology=topology_of(cpus=8, nodes=1, smt=2, l3_of=4))
    host = replace(host, nodes=(replace(host.nodes[0], free_cpus=CpuSet.parse("0-3,4,6")),))
    requests = [own("a", 1, smt=ISOLATE, emulator=OWN), own("b", 1, smt=ISOLATE, emulator=OWN)]
    assert {"0-1", "2-3"} == {
        str(there(d).own_cpus - (there(d).emulator_cpus or CpuSet())) for d in decided(requests, host)
    }


def test_emulators_that_want_housekeeping_pcpus_keep_to_nodes_that_have_some() -> None:
    host = host_of("h", topology=TWO_THREADS, housekeeping="4")
    (placed,) = decided([ask("a", 2, 1, emulator=HOUSEKEEPING)], host)
    assert ("5-7", "4") == (str(there(placed).cpus), str(there(placed).emulator_cpus))
    (wide,) = decided([ask("a", 6, 1, cells=2, emulator=HOUSEKEEPING)], host)
    assert "4" == str(there(wide).emulator_cpus)
    (refused,) = decided([ask("a", 4, 1, emulator=HOUSEKEEPING)], host)
    text = "node 1 of h lacks 1 shared pCPU; housekeeping pCPUs are on node 1 of h"
    assert (Reason.PCPUS, text, "max_nodes: 2") == why_not(refused)
    (refused,) = decided([ask("a", 2, 1, emulator=HOUSEKEEPING)], SMT)
    text = "h has no housekeeping pCPUs for its emulator threads"
    assert (Reason.PCPUS, text, "emulator: auto") == why_not(refused)


@pytest.mark.parametrize("emulator", [EmulatorPolicy.GUEST, OWN, HOUSEKEEPING])
def test_on_xen_no_emulator_threads_are_bound(emulator: EmulatorPolicy) -> None:
    (refused,) = decided([own("a", 2, emulator=emulator)], replace(SMT, hypervisor=Hypervisor.XEN))
    text = "h is Xen, where no guest's emulator threads are bound"
    assert (Reason.UNSUPPORTED, text, "emulator: auto") == why_not(refused)
    assert isinstance(
        OnlineFleet(Fleet.of([replace(SMT, hypervisor=Hypervisor.XEN)])).place_one(own("a", 2)), Placement
    )


def test_what_is_booked_is_nobodys_once_it_is_claimed() -> None:
    """Neither free nor shared: on the host, in the ledger, and for a guest that is adopted as it is."""
    (placed,) = decided([own("a", 1, smt=ISOLATE, emulator=OWN)], SMT)
    placement = there(placed)
    claim = OutstandingClaim(claim_id="c", placement=placement, uuid=None)
    left = host_capacity(SMT.name, snapshot_of(TWO_THREADS), HostRules(), [claim])
    node = left.nodes[0]
    assert 3 == len(placement.own_cpus)
    assert node.free_cpus == node.shared_cpus == CpuSet.parse("0-3") - placement.own_cpus
    assert left.dedicated_cpus == placement.own_cpus
    for holding in (holding_of(placement, SMT), holding_of_present(placement, SMT)):
        assert placement.own_cpus == holding.own_cpus


def test_the_definition_binds_the_emulator_to_its_own_pcpu() -> None:
    """And reads back as the plan says."""
    request = own("g", 2, 1, smt=ISOLATE, emulator=OWN)
    placement = make_placement(request, host_of("h", topology=topology_of(cpus=8, smt=2)), homes(SMT)[:1])
    definition = definition_of(placement, KVM)
    assert f"<emulatorpin cpuset='{placement.booked_cpus - CpuSet.of(1, 3)}'/>" in definition.text.replace('"', "'")
    assert disagreements(placement, parse_back(definition)) == ()


def test_capacity_counts_cores_and_emulators() -> None:
    """2 cores a node; 3 pCPUs for a vCPU and its emulator; one emulator breaks a core."""
    fleet = Fleet.of([SMT])
    assert (Fits(4, 4),) == how_many(own("a", 1, smt=ISOLATE), fleet)
    assert (Fits(2, 2),) == how_many(own("a", 3, smt=REQUIRE), fleet)
    assert (Fits(4, 4),) == how_many(own("a", 1, emulator=OWN), fleet)
    assert (Fits(2, 2),) == how_many(own("a", 1, smt=ISOLATE, emulator=OWN), fleet)
    assert (Fits(0, 0),) == how_many(own("a", 1, smt=ISOLATE), Fleet.of([one_thread_busy(SMT)]))
    kept = host_of("h", topology=TWO_THREADS, housekeeping="4")
    assert (Fits(3, 3),) == how_many(ask("a", 1, 1, emulator=HOUSEKEEPING), Fleet.of([kept]))
