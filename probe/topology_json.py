"""The parts of a topology besides its nodes as JSON: the keys `packages` to `devices` of schema 1."""

from __future__ import annotations

from typing import TypedDict

from probe.cpuset import CpuSet
from probe.json_fields import JsonFields
from probe.topology import (
    Core,
    CpuGroup,
    Die,
    HostTopology,
    L3Domain,
    MemoryAccess,
    MemoryTier,
    Package,
    PciDevice,
)


class TopologyParts(TypedDict):
    """The arguments of `HostTopology` besides `nodes`."""

    online_cpus: CpuSet
    offline_cpus: CpuSet
    isolated_cpus: CpuSet
    nohz_full_cpus: CpuSet
    packages: tuple[Package, ...]
    dies: tuple[Die, ...]
    groups: tuple[CpuGroup, ...]
    l3: tuple[L3Domain, ...]
    cores: tuple[Core, ...]
    devices: tuple[PciDevice, ...]
    memory_access: tuple[MemoryAccess, ...]
    memory_tiers: tuple[MemoryTier, ...]


def parts_to_json(topology: HostTopology) -> dict[str, object]:
    """Every key of the contract that describes the topology, `nodes` apart."""
    return {
        "packages": [{"id": p.package_id, "cpus": str(p.cpus)} for p in topology.packages],
        "dies": [{"id": d.die_id, "package": d.package_id, "cpus": str(d.cpus)} for d in topology.dies],
        "groups": [{"kind": g.kind, "id": g.group_id, "cpus": str(g.cpus)} for g in topology.groups],
        "l3": [{"cpus": str(d.cpus), "size_kib": d.size_kib} for d in topology.l3],
        "cores": [
            {"cpus": str(c.cpus), "node": c.node_id, "package": c.package_id, "efficiency": c.efficiency}
            for c in topology.cores
        ],
        "online_cpus": str(topology.online_cpus),
        "offline_cpus": str(topology.offline_cpus),
        "isolated_cpus": str(topology.isolated_cpus),
        "nohz_full_cpus": str(topology.nohz_full_cpus),
        "devices": [{"address": d.address, "node": d.node_id, "class": d.class_code} for d in topology.devices],
        "memory_access": [_access_to_json(access) for access in topology.memory_access],
        "memory_tiers": [{"id": t.tier_id, "nodes": str(t.nodes)} for t in topology.memory_tiers],
    }


def _access_to_json(access: MemoryAccess) -> dict[str, object]:
    return {
        "target": access.target,
        "initiators": str(access.initiators),
        "access_class": access.access_class,
        "read_bandwidth_mib_s": access.read_bandwidth_mib_s,
        "write_bandwidth_mib_s": access.write_bandwidth_mib_s,
        "read_latency_ns": access.read_latency_ns,
        "write_latency_ns": access.write_latency_ns,
    }


def parts_from_json(fields: JsonFields) -> TopologyParts:
    """What `parts_to_json` wrote. Raises `SourceMalformedError`."""
    return TopologyParts(
        online_cpus=fields.cpus("online_cpus"),
        offline_cpus=fields.cpus("offline_cpus"),
        isolated_cpus=fields.cpus("isolated_cpus"),
        nohz_full_cpus=fields.optional_cpus("nohz_full_cpus") or CpuSet(),
        packages=fields.each("packages", _package),
        dies=fields.each("dies", _die),
        groups=fields.optional_each("groups", _group),
        l3=fields.each("l3", _l3),
        cores=fields.each("cores", _core),
        devices=fields.each("devices", _device),
        memory_access=fields.optional_each("memory_access", _access),
        memory_tiers=fields.optional_each("memory_tiers", _tier),
    )


def _package(fields: JsonFields) -> Package:
    return Package(package_id=fields.integer("id", minimum=-1), cpus=fields.cpus("cpus"))


def _die(fields: JsonFields) -> Die:
    return Die(
        die_id=fields.integer("id", minimum=-1),
        package_id=fields.optional_integer("package"),
        cpus=fields.cpus("cpus"),
    )


def _group(fields: JsonFields) -> CpuGroup:
    return CpuGroup(kind=fields.text("kind"), group_id=fields.integer("id", minimum=-1), cpus=fields.cpus("cpus"))


def _l3(fields: JsonFields) -> L3Domain:
    return L3Domain(cpus=fields.cpus("cpus"), size_kib=fields.optional_integer("size_kib"))


def _core(fields: JsonFields) -> Core:
    return Core(
        cpus=fields.cpus("cpus"),
        node_id=fields.optional_node("node"),
        package_id=fields.optional_integer("package"),
        efficiency=fields.optional_integer("efficiency"),
    )


def _device(fields: JsonFields) -> PciDevice:
    return PciDevice(
        address=fields.text("address"),
        node_id=fields.optional_node("node"),
        class_code=fields.optional_text("class"),
    )


def _access(fields: JsonFields) -> MemoryAccess:
    return MemoryAccess(
        target=fields.node("target"),
        initiators=fields.nodes("initiators"),
        access_class=fields.integer("access_class"),
        read_bandwidth_mib_s=fields.optional_integer("read_bandwidth_mib_s"),
        write_bandwidth_mib_s=fields.optional_integer("write_bandwidth_mib_s"),
        read_latency_ns=fields.optional_integer("read_latency_ns"),
        write_latency_ns=fields.optional_integer("write_latency_ns"),
    )


def _tier(fields: JsonFields) -> MemoryTier:
    return MemoryTier(tier_id=fields.integer("id"), nodes=fields.nodes("nodes"))
