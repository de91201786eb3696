"""Guests that must, or should, be near a PCI device: by node or package, and told why not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policies.asked import NearDevice, Nearness
from policies.capacity import HostCapacity
from policies.check import violations
from policies.fleet import Fleet
from policies.headroom import Fits, how_many
from policies.online.fleet import OnlineFleet
from policies.plan import Decision, Placement, Reason, Rejection
from policies.policy import Effort
from policies.registry import load_policy
from policies.request import GuestRequest, RequestInvalidError
from probe.cpuset import CpuSet, NodeId
from probe.topology import Package, PciDevice
from tests.policies.hosts import host_of, topology_of
from tests.policies.test_policies import ask

NIC, GPU, LOST = "0000:3b:00.0", "0000:5e:00.1", "0000:99:00.0"
OURS = ("solver", "first-fit", "best-fit", "worst-fit", "round-robin", "random")


def host_with(name: str = "h", **nodes: int | None) -> HostCapacity:
    """Two packages of two nodes; `nic`, `gpu` and `lost` are on these nodes."""
    packages = tuple(Package(package_id=i, cpus=CpuSet.of(*range(8 * i, 8 * i + 8))) for i in (0, 1))
    devices = [
        PciDevice(address={"nic": NIC, "gpu": GPU, "lost": LOST}[key], node_id=None if node is None else NodeId(node))
        for key, node in nodes.items()
    ]
    made = topology_of(cpus=4, nodes=4, memory_gib=8)
    topology = replace(made, packages=packages, devices=tuple(devices))
    return host_of(name, topology=topology)


HOST = host_with(nic=3, gpu=0, lost=None)


def near(address: str, level: Nearness = Nearness.NODE, *, must: bool = True) -> NearDevice:
    return NearDevice(address=address, near=level, must=must)


def asked(name: str, vcpus: int, gib: int, *devices: NearDevice, **more: object) -> GuestRequest:
    return ask(name, vcpus, gib, devices=devices, **more)


def decided(requests: list[GuestRequest], *hosts: HostCapacity, policy: str = "solver") -> tuple[Decision, ...]:
    fleet = Fleet.of(hosts or [HOST])
    decisions = load_policy(policy)(requests, fleet, Effort()).decisions
    assert violations(decisions, requests, fleet) == ()
    return decisions


def nodes(decision: Decision) -> str:
    assert isinstance(decision, Placement), decision
    return str(decision.cpu_nodes)


def why_not(decision: Decision) -> tuple[Reason, str, str]:
    assert isinstance(decision, Rejection), decision
    return decision.reason, decision.detail, decision.fits_if


@pytest.mark.parametrize("policy", OURS)
def test_it_is_on_the_node_of_the_device(policy: str) -> None:
    """However full the node is, and all of two devices where it spans two nodes."""
    first, second = decided([ask("full", 3, 5, max_nodes=1), asked("a", 1, 2, near(NIC))], policy=policy)
    assert "3" == nodes(second)
    (both,) = decided([asked("a", 2, 2, near(NIC), near(GPU), cells=2)], policy=policy)
    assert "0,3" == nodes(both)
    assert isinstance(first, Placement)


def test_near_the_package_is_wider() -> None:
    """Node 2 is of the package of node 3."""
    full = ask("full", 4, 8, devices=(near(NIC),))
    first, second = decided([full, asked("a", 1, 1, near(NIC, Nearness.PACKAGE))])
    assert ["3", "2"] == [nodes(first), nodes(second)]


def test_a_wish_is_a_soft_one() -> None:
    """Counted as such: fewer nodes come first, and it refuses nobody; then hosts and devices that are there."""
    should = near(NIC, must=False)
    answer = load_policy("solver")([asked("a", 4, 1, should), asked("b", 4, 1, should)], Fleet.of([HOST]), Effort())
    assert [("soft-wishes", 1, 1)] == [(t.name, t.value, t.bound) for t in answer.objective if t.name == "soft-wishes"]
    (elsewhere,) = decided([asked("a", 2, 1, near("0000:00:00.0", must=False))])
    assert isinstance(elsewhere, Placement)
    for policy in ("first-fit", "best-fit", "worst-fit"):
        assert ["3"] == [nodes(d) for d in decided([asked("a", 1, 1, should)], policy=policy)]


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("0000:00:00.0", "h has no device 0000:00:00.0"),
        (LOST, "no source tells which node of h device 0000:99:00.0 is attached to"),
    ],
)
def test_a_device_of_which_nothing_is_known_has_a_refusal_of_its_own(address: str, text: str) -> None:
    (refused,) = decided([asked("a", 1, 1, near(address))])
    assert (Reason.DEVICE, text, f"devices: without {address}") == why_not(refused)
    online = OnlineFleet(Fleet.of([HOST])).place_one(asked("a", 1, 1, near(address)))
    assert (Reason.DEVICE, text) == why_not(online)[:2]


def test_what_lacks_is_told_of_the_nodes_that_are_near() -> None:
    (refused,) = decided([asked("a", 1, 9, near(NIC))])
    text = "node 3 of h lacks 1GiB; near device 0000:3b:00.0 (node) is node 3 of h"
    assert (Reason.MEMORY, text) == why_not(refused)[:2]
    _, late = decided([asked("first", 4, 1, near(NIC), priority=5), asked("a", 1, 1, near(NIC))])
    assert "devices: without 0000:3b:00.0" == why_not(late)[2]


def test_on_a_host_of_one_node_all_is_near() -> None:
    """The kernel tells no node there."""
    topology = replace(topology_of(nodes=1), devices=(PciDevice(address=NIC, node_id=None),))
    assert ["0"] == [nodes(d) for d in decided([asked("a", 1, 1, near(NIC))], host_of("h", topology=topology))]


def test_one_by_one_hosts_that_are_alike_in_all_else_differ() -> None:
    """The device is on another node of each, or absent."""
    online = OnlineFleet(Fleet.of([host_with("a"), host_with("b", nic=2), host_with("c", nic=1)]))
    found = [online.place_one(asked(f"g{i}", 4, 1, near(NIC))) for i in range(3)]
    assert [("b", "2"), ("c", "1")] == sorted((d.host, nodes(d)) for d in found if isinstance(d, Placement))
    online.give_back(next(d for d in found if isinstance(d, Placement)))
    assert isinstance(online.place_one(asked("again", 4, 1, near(NIC))), Placement)


def test_capacity_counts_near_nodes_only() -> None:
    assert (Fits(4, 4), Fits(0, 0)) == how_many(asked("a", 1, 1, near(NIC)), Fleet.of([HOST, host_with("none")]))
    assert (Fits(8, 8),) == how_many(asked("a", 1, 1, near(NIC, Nearness.PACKAGE)), Fleet.of([HOST]))


def test_an_address_is_a_pci_address_and_named_once() -> None:
    with pytest.raises(RequestInvalidError, match="device 'eth0' is no PCI address"):
        asked("a", 1, 1, near("eth0"))
    with pytest.raises(RequestInvalidError, match="names a device twice"):
        asked("a", 1, 1, near(NIC), near(NIC, must=False))
