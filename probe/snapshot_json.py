"""A snapshot as JSON, schema 1: the contract that scripts may rely on (README, "JSON").

Further keys, which the contract does not name, are optional when read: `hypervisor`,
`nohz_full_cpus`, `groups`, `memory_access`, `memory_tiers`, `cpupools`; in a node
`memory_reclaimable_kib`, `memory_side_caches`, `source` and, where the hardware's total differs
from the memory reading's, `memory_hardware_kib`; in a pool `surplus`; in a core `efficiency`; in
an occupant `ledger`, `source` and each share's `resident_kib` and `nodes`. Unknown keys are passed over.
`memory_available_kib`, `memory_declared_kib` and `memory_resident_kib` are derived on writing and
not read back.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC

from probe.cpuset import NodeId
from probe.errors import SourceMalformedError
from probe.json_fields import JsonFields
from probe.snapshot import (
    Cpupool,
    Disagreement,
    HostSnapshot,
    HugepagePool,
    Hypervisor,
    NodeMemory,
    Occupant,
    OccupantMemory,
    OccupantState,
)
from probe.topology import (
    HostTopology,
    MemorySideCache,
    NumaNode,
    TopologyInvalidError,
)
from probe.topology_json import parts_from_json, parts_to_json

SCHEMA = 1


def snapshot_to_json(snapshot: HostSnapshot) -> dict[str, object]:
    """The snapshot as what `json.dumps` takes."""
    return {
        "schema": SCHEMA,
        "hostname": snapshot.hostname,
        "sources": list(snapshot.sources),
        "taken_at": snapshot.taken_at.astimezone(UTC).isoformat(),
        "hypervisor": snapshot.hypervisor,
        "nodes": [_node_to_json(snapshot, node) for node in snapshot.topology.nodes],
        **parts_to_json(snapshot.topology),
        "usable_cpus": str(snapshot.usable_cpus),
        "occupants": [_occupant_to_json(occupant) for occupant in snapshot.occupants],
        "cpupools": [
            {"name": p.name, "cpus": str(p.cpus), "scheduler": p.scheduler, "domains": p.domains}
            for p in snapshot.cpupools
        ],
        "disagreements": [{"what": d.what, "readings": dict(d.readings)} for d in snapshot.disagreements],
    }


def _node_to_json(snapshot: HostSnapshot, node: NumaNode) -> dict[str, object]:
    memory = snapshot.memory_of(node.node_id)
    hardware = {} if node.memory_total_kib == memory.total_kib else {"memory_hardware_kib": node.memory_total_kib}
    return {
        "id": node.node_id,
        "cpus": str(node.cpus),
        "memory_total_kib": memory.total_kib,
        "memory_free_kib": memory.free_kib,
        "memory_available_kib": memory.available_kib,
        "memory_declared_kib": snapshot.declared_kib(node.node_id),
        "memory_resident_kib": snapshot.resident_kib(node.node_id),
        "memory_reclaimable_kib": memory.reclaimable_kib,
        **hardware,
        "hugepages": [
            {"size_kib": p.size_kib, "total": p.total, "free": p.free, "surplus": p.surplus} for p in memory.hugepages
        ],
        "distances": None if node.distances is None else {str(k): v for k, v in node.distances.items()},
        "memory_side_caches": [
            {"level": c.level, "size_kib": c.size_kib, "line_size_bytes": c.line_size_bytes}
            for c in node.memory_side_caches
        ],
        "source": memory.source,
    }


def _occupant_to_json(occupant: Occupant) -> dict[str, object]:
    return {
        "guest": occupant.guest,
        "uuid": occupant.uuid,
        "state": occupant.state,
        "vcpus": occupant.vcpus,
        "declared_cpus": None if occupant.declared_cpus is None else str(occupant.declared_cpus),
        "effective_cpus": None if occupant.effective_cpus is None else str(occupant.effective_cpus),
        "memory": [
            {
                "node": m.node_id,
                "nodes": None if m.nodes is None else str(m.nodes),
                "kib": m.kib,
                "page_kib": m.page_kib,
                "resident_kib": m.resident_kib,
            }
            for m in occupant.memory
        ],
        "ledger": occupant.ledger,
        "claim": occupant.claim,
        "source": occupant.source,
    }


def snapshot_from_json(value: object, *, origin: str) -> HostSnapshot:
    """The snapshot that `snapshot_to_json` wrote as `value`; `origin` names it in errors.

    Raises:
        SourceMalformedError: a key is absent or of the wrong kind, the parts contradict each
            other, or a newer numaplace wrote it.
    """
    fields = JsonFields.of(value, origin=origin)
    _schema_is_known(fields)
    topology = _topology_from_json(fields)
    usable = fields.cpus("usable_cpus")
    if not usable <= topology.online_cpus:
        raise fields.error("usable_cpus", "CPUs that are among online_cpus")
    return HostSnapshot(
        hostname=fields.text("hostname"),
        sources=fields.texts("sources"),
        taken_at=fields.moment("taken_at"),
        topology=topology,
        memory=fields.each("nodes", _memory_from_json),
        usable_cpus=usable,
        hypervisor=fields.word("hypervisor", Hypervisor) if fields.optional_text("hypervisor") else None,
        occupants=fields.each("occupants", _occupant_from_json),
        cpupools=fields.optional_each("cpupools", _cpupool_from_json),
        disagreements=fields.each("disagreements", _disagreement_from_json),
    )


def _schema_is_known(fields: JsonFields) -> None:
    schema = fields.integer("schema")
    if schema > SCHEMA:
        raise SourceMalformedError(
            f"{fields.origin}: schema",
            f"schema {SCHEMA}",
            schema,
            advice="Maybe a newer numaplace wrote it; upgrade this one, or probe the host again.",
        )
    if schema != SCHEMA:
        raise fields.error("schema", f"schema {SCHEMA}")


def _topology_from_json(fields: JsonFields) -> HostTopology:
    nodes = fields.each("nodes", _node_from_json)
    try:
        return HostTopology(nodes=nodes, **parts_from_json(fields))
    except TopologyInvalidError as error:
        raise SourceMalformedError(fields.origin, "a host that does not contradict itself", error.message) from error


def _node_from_json(fields: JsonFields) -> NumaNode:
    total = "memory_hardware_kib" if "memory_hardware_kib" in fields.values else "memory_total_kib"
    return NumaNode(
        node_id=fields.node("id"),
        cpus=fields.cpus("cpus"),
        memory_total_kib=fields.optional_integer(total),
        distances=_distances_from_json(fields),
        memory_side_caches=fields.optional_each("memory_side_caches", _side_cache_from_json),
    )


def _distances_from_json(fields: JsonFields) -> Mapping[NodeId, int] | None:
    if fields.values.get("distances") is None:
        return None
    row = fields.object("distances")
    for key in row.values:
        if not (key.isascii() and key.isdecimal() and len(key) < 10):
            raise fields.error("distances", f"node ids as keys, not {key[:20]!r}")
    return {NodeId(int(key)): row.integer(key) for key in row.values}


def _side_cache_from_json(fields: JsonFields) -> MemorySideCache:
    return MemorySideCache(
        level=fields.integer("level"),
        size_kib=fields.optional_integer("size_kib"),
        line_size_bytes=fields.optional_integer("line_size_bytes"),
    )


def _memory_from_json(fields: JsonFields) -> NodeMemory:
    return NodeMemory(
        node_id=fields.node("id"),
        total_kib=fields.optional_integer("memory_total_kib"),
        free_kib=fields.optional_integer("memory_free_kib"),
        reclaimable_kib=fields.optional_integer("memory_reclaimable_kib"),
        hugepages=fields.each("hugepages", _pool_from_json),
        source=fields.optional_text("source") or "",
    )


def _pool_from_json(fields: JsonFields) -> HugepagePool:
    return HugepagePool(
        size_kib=fields.integer("size_kib", minimum=1),
        total=fields.integer("total"),
        free=fields.optional_integer("free"),
        surplus=fields.optional_integer("surplus"),
    )


def _occupant_from_json(fields: JsonFields) -> Occupant:
    return Occupant(
        guest=fields.text("guest"),
        uuid=fields.optional_text("uuid"),
        state=fields.word("state", OccupantState),
        vcpus=fields.integer("vcpus"),
        declared_cpus=fields.optional_cpus("declared_cpus"),
        effective_cpus=fields.optional_cpus("effective_cpus"),
        memory=fields.each("memory", _share_from_json),
        ledger=fields.optional_text("ledger"),
        claim=fields.optional_text("claim"),
        source=fields.optional_text("source") or "",
    )


def _share_from_json(fields: JsonFields) -> OccupantMemory:
    return OccupantMemory(
        node_id=fields.optional_node("node"),
        kib=fields.integer("kib"),
        page_kib=fields.integer("page_kib", minimum=1),
        resident_kib=fields.optional_integer("resident_kib"),
        nodes=None if fields.values.get("nodes") is None else fields.nodes("nodes"),
    )


def _cpupool_from_json(fields: JsonFields) -> Cpupool:
    return Cpupool(
        name=fields.text("name"),
        cpus=fields.cpus("cpus"),
        scheduler=fields.optional_text("scheduler"),
        domains=fields.optional_integer("domains"),
    )


def _disagreement_from_json(fields: JsonFields) -> Disagreement:
    readings = fields.object("readings")
    return Disagreement(what=fields.text("what"), readings={key: readings.text(key) for key in readings.values})
