"""What a reference reading tells and ours does not, or otherwise: more than two sources may list as a disagreement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from probe.compare import disagreements
from probe.cpuset import CpuSet
from probe.snapshot import HostSnapshot
from probe.topology import Core, Die, HostTopology, L3Domain, Package, PciDevice

Part = Package | Die | Core | L3Domain


def shortfalls(ours: HostSnapshot, theirs: HostSnapshot) -> list[str]:
    """Disagreements, and whatever the reference has and we lack; empty where all is as it says."""
    mine, reference = ours.topology, theirs.topology
    found = [d.what for d in disagreements(ours, theirs)]
    found += sorted(_told(reference) - _told(mine))
    found += [] if _dies_agree(mine, reference) else ["dies"]
    found += [] if _groups(reference) <= _groups(mine) else ["groups"]
    found += [] if mine.offline_cpus == reference.offline_cpus else ["offline CPUs"]
    found += [] if _pools(theirs) <= _pools(ours) else ["pools"]
    found += [] if _access(reference) <= _access(mine) else ["memory access"]
    found += sorted(d.address for d in reference.devices if not _has(mine, d))
    found += ["hostname"] if theirs.hostname not in ("", ours.hostname) else []
    return found


def _told(topology: HostTopology) -> set[str]:
    """What there is any word of: `disagreements` is silent where a source does not tell."""
    told = {
        "any package": bool(topology.packages),
        "any L3": bool(topology.l3),
        "any L3 size": any(domain.size_kib for domain in topology.l3),
    }
    for node in topology.nodes:
        told[f"distances of node {node.node_id}"] = node.distances is not None
        told[f"memory of node {node.node_id}"] = node.memory_total_kib is not None
    return {what for what, is_told in told.items() if is_told}


def sets(parts: Iterable[Part]) -> set[CpuSet]:
    return {part.cpus for part in parts if part.cpus}


def _dies_agree(mine: HostTopology, reference: HostTopology) -> bool:
    """hwloc leaves a die out that has the CPUs of its package, or is one CPU alone."""
    alone = sets(mine.packages) | {CpuSet.of(cpu) for cpu in mine.online_cpus}
    return sets(reference.dies) <= sets(mine.dies) <= sets(reference.dies) | alone


def _groups(topology: HostTopology) -> set[tuple[str, CpuSet]]:
    return {(group.kind, group.cpus) for group in topology.groups}


def _has(topology: HostTopology, told: PciDevice) -> bool:
    """With its node and class, of which a reference may know the beginning."""
    for device in topology.devices:
        if device.address == told.address:
            return device.node_id == told.node_id and (device.class_code or "").startswith(told.class_code or "")
    return False


def _pools(snapshot: HostSnapshot) -> set[tuple[int, int, int]]:
    return set(_each_pool(snapshot))


def _each_pool(snapshot: HostSnapshot) -> Iterator[tuple[int, int, int]]:
    for memory in snapshot.memory:
        for pool in memory.hugepages:
            yield int(memory.node_id), pool.size_kib, pool.total


def _access(topology: HostTopology) -> set[tuple[object, ...]]:
    """Without the kernel's access class, which hwloc does not tell."""
    return {
        (int(each.target), str(each.initiators), each.read_bandwidth_mib_s, each.write_bandwidth_mib_s,
         each.read_latency_ns, each.write_latency_ns)
        for each in topology.memory_access
    }  # fmt: skip
