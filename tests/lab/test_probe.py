"""What the probe tells of real kernels and hypervisors, against the machines as they were built."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from probe import HostSnapshot, read_source
from probe.combine import combine
from probe.cpuset import CpuSet
from probe.snapshot import Hypervisor
from tests.lab.lab import Lab
from tests.lab.shapes import SHAPES, Shape

HOSTS = ("h1", "h2", "xen")
SOURCES = [
    *((name, kind) for name in ("h1", "h2") for kind in ("libvirt", "sysfs+ssh")),
    *(("xen", kind) for kind in ("libvirt", "xl+ssh")),
]


def read(lab: Lab, name: str, kind: str) -> HostSnapshot:
    host = lab.hosts[name]
    return read_source(host.libvirt_uri if kind == "libvirt" else f"{kind}://{host.ssh}")


@pytest.mark.parametrize(("name", "kind"), SOURCES)
def test_nodes_cpus_memory_and_distances_are_as_built(lab: Lab, name: str, kind: str) -> None:
    """Firmware and kernel keep some MiB of each node; the rest is there."""
    shape, host = SHAPES[name], read(lab, name, kind)
    assert [n.cpus for n in host.topology.nodes] == [CpuSet.parse(n.cpus or "") for n in shape.nodes]
    for node, built in zip(host.topology.nodes, shape.nodes, strict=True):
        if node.memory_total_kib is not None:
            assert 0.9 * built.mib * 1024 < node.memory_total_kib <= built.mib * 1024
        told = host.memory_of(node.node_id)
        assert 0 < (told.free_kib or 0) <= built.mib * 1024
        assert dict(node.distances or {}) == dict(_distances(shape, node.node_id))


def _distances(shape: Shape, node: int) -> Iterator[tuple[int, int]]:
    for other in range(len(shape.nodes)):
        yield other, 10 if other == node else shape.distances[min(node, other), max(node, other)]


@pytest.mark.parametrize("name", HOSTS)
def test_all_sources_of_a_host_agree(lab: Lab, name: str) -> None:
    """Hardware, memory and guests."""
    both = combine([read(lab, name, kind) for host, kind in SOURCES if host == name])
    assert both.disagreements == ()


@pytest.mark.parametrize("kind", ["libvirt", "sysfs+ssh"])
def test_huge_pages_are_on_one_node_only(lab: Lab, kind: str) -> None:
    """256 pages of 2 MiB on node 3, all of them free."""
    host = read(lab, "h1", kind)
    pools = {m.node_id: [(p.total, p.free) for p in m.hugepages if p.size_kib == 2048] for m in host.memory}
    assert {node: pool for node, pool in pools.items() if pool != [(0, 0)]} == {3: [(256, 256)]}


@pytest.mark.parametrize("kind", ["libvirt", "sysfs+ssh"])
def test_smt_siblings_share_a_core(lab: Lab, kind: str) -> None:
    """Two threads a core on h2, one on h1."""
    assert [str(core.cpus) for core in read(lab, "h2", kind).topology.cores] == ["0-1", "2-3", "4-5", "6-7"]
    assert [str(core.cpus) for core in read(lab, "h1", kind).topology.cores] == [str(cpu) for cpu in range(8)]


def test_the_hmat_is_told_as_it_was_given_to_the_firmware(lab: Lab) -> None:
    """Linux tells of each node what its nearest initiator reaches."""
    shape, told = SHAPES["h2"], read(lab, "h2", "sysfs+ssh").topology.memory_access
    assert told
    for access in told:
        (initiator,) = access.initiators
        assert access.read_latency_ns == shape.latency_ns[initiator, access.target]
        assert access.read_bandwidth_mib_s == 1024 * shape.bandwidth_gib_s[initiator, access.target]


def test_a_device_behind_an_expander_bridge_is_on_its_node(lab: Lab) -> None:
    """The bridge, its root port and the device behind it on node 1; the others on none."""
    devices = read(lab, "h2", "sysfs+ssh").topology.devices
    near = {device.address: device.node_id for device in devices if device.node_id is not None}
    assert set(near.values()) == {1}
    assert any(address.startswith("0000:81:") for address in near)


@pytest.mark.parametrize("kind", ["libvirt", "xl+ssh"])
def test_dom0_is_an_occupant_with_the_cpus_that_it_may_really_use(lab: Lab, kind: str) -> None:
    """It was booted onto node 0."""
    host = read(lab, "xen", kind)
    (dom0,) = host.occupants
    assert (host.hypervisor, dom0.guest, str(dom0.effective_cpus)) == (Hypervisor.XEN, "Domain-0", "0-1")
