"""The JSON of a plan: contract of the README, versioned by `"schema": 1`; and back.

Unknown keys are passed over, so a plan file may hold more than the plan. Of a decision `emulator`, `dedicated`, `smt`,
`booked_cpus`, `far_memory`, `overhead_kib`, `devices` and `groups` are read as not told, false, prefer, none, false, 0,
none and none where they are absent; `dedicated_vcpus` as all of them or none, by `dedicated`. `gap` is derived from
value and bound and is not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from policies.asked import EmulatorPolicy, NearDevice, Nearness, SmtPolicy
from policies.plan import (
    Decision,
    MemoryMode,
    PlacedCell,
    PlacedMemory,
    Placement,
    Plan,
    Reason,
    Rejection,
    SolveStatus,
    Tier,
)
from policies.plan_reader import Reader
from policies.request import Group, GroupRule, GuestName, HostName, Membership
from probe.cpuset import CpuSet, NodeId, NodeSet

SCHEMA = 1


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain dicts and lists; sets as libvirt writes them (`0-3,8`), ids as numbers."""
    return {
        "schema": SCHEMA,
        "policy": plan.policy,
        "seed": plan.seed,
        "status": plan.status.value,
        "wall_s": plan.wall_s,
        "limited_by": plan.limited_by,
        "objective": [_tier_to_json(tier) for tier in plan.objective],
        "decisions": [decision_to_json(decision) for decision in plan.decisions],
    }


def plan_from_json(value: object, *, origin: str) -> Plan:
    """Read what `plan_to_json` wrote.

    Raises:
        PlanMalformedError: it names `origin`, the key path, what was expected and what was found.
    """
    reader = Reader.of(value, origin)
    schema = reader["schema"]
    if schema.integer() != SCHEMA:
        raise schema.error(f"schema {SCHEMA}")
    return Plan(
        policy=reader["policy"].text(),
        seed=reader["seed"].integer(),
        status=reader["status"].choice(SolveStatus),
        wall_s=reader["wall_s"].number(),
        limited_by=reader["limited_by"].text() if "limited_by" in reader else "",
        objective=tuple(_tier_from_json(each) for each in reader["objective"].items()),
        decisions=tuple(decision_from_json(each) for each in reader["decisions"].items()),
    )


def decision_to_json(decision: Decision) -> dict[str, Any]:
    """A placement, or a guest and why it was rejected."""
    if isinstance(decision, Rejection):
        why = {"reason": decision.reason.value, "detail": decision.detail, "fits_if": decision.fits_if}
        return {"guest": decision.guest, "rejected": why}
    return {
        "guest": decision.guest,
        "host": decision.host,
        "cells": [_cell_to_json(cell) for cell in decision.cells],
        "emulator_cpus": _text(decision.emulator_cpus),
        "emulator": None if decision.emulator is None else decision.emulator.value,
        "dedicated": decision.dedicated,
        "dedicated_vcpus": str(decision.dedicated_vcpus),
        "smt": decision.smt.value,
        "booked_cpus": str(decision.booked_cpus),
        "far_memory": decision.far_memory,
        "overhead_kib": decision.overhead_kib,
        "devices": [{"address": d.address, "near": d.near, "must": d.must} for d in decision.devices],
        "groups": [_membership_to_json(member) for member in decision.groups],
    }


def decision_from_json(reader: Reader) -> Decision:
    """Read one decision.

    Raises:
        PlanMalformedError: as `plan_from_json`.
    """
    guest = GuestName(reader["guest"].text())
    if "rejected" in reader:
        why = reader["rejected"]
        return Rejection(
            guest=guest,
            reason=why["reason"].choice(Reason),
            detail=why["detail"].text(),
            fits_if=why["fits_if"].text(),
        )
    cells = tuple(_cell_from_json(each) for each in reader["cells"].items())
    if not cells:
        raise reader["cells"].error("at least one cell")
    return Placement(
        guest=guest,
        host=HostName(reader["host"].text()),
        cells=cells,
        emulator_cpus=reader["emulator_cpus"].optional_set(CpuSet),
        emulator=_emulator_from_json(reader),
        dedicated_vcpus=_dedicated_from_json(reader, cells),
        smt=reader["smt"].choice(SmtPolicy) if "smt" in reader else SmtPolicy.PREFER,
        booked_cpus=reader["booked_cpus"].set_of(CpuSet) if "booked_cpus" in reader else CpuSet(),
        far_memory="far_memory" in reader and reader["far_memory"].boolean(),
        overhead_kib=reader["overhead_kib"].integer() if "overhead_kib" in reader else 0,
        devices=tuple(map(_device_from_json, reader["devices"].items())) if "devices" in reader else (),
        groups=tuple(map(_membership_from_json, reader["groups"].items())) if "groups" in reader else (),
    )


def _emulator_from_json(reader: Reader) -> EmulatorPolicy | None:
    told = "emulator" in reader and reader["emulator"].value is not None
    return reader["emulator"].choice(EmulatorPolicy) if told else None


def _dedicated_from_json(reader: Reader, cells: Sequence[PlacedCell]) -> CpuSet:
    """Plans and claims of before there were mixed guests tell only whether all vCPUs are dedicated, or none."""
    everybody = CpuSet.union(cell.vcpus for cell in cells)
    some = "dedicated" in reader and reader["dedicated"].boolean()
    own = everybody if some else CpuSet()
    if "dedicated_vcpus" in reader:
        own = reader["dedicated_vcpus"].set_of(CpuSet)
        if bool(own) is not some:
            raise reader["dedicated_vcpus"].error("vCPUs where it is dedicated, and none where it is not")
    return own


def _device_from_json(reader: Reader) -> NearDevice:
    near = reader["near"].choice(Nearness)
    return NearDevice(address=reader["address"].text(), near=near, must=reader["must"].boolean())


def _membership_to_json(member: Membership) -> dict[str, Any]:
    group = member.group
    told = {"name": group.name, "rule": group.rule.value, "level": group.level, "part": member.part}
    return told if group.hard else {**told, "hard": False, "weight": group.weight}


def _membership_from_json(reader: Reader) -> Membership:
    group = Group(
        name=reader["name"].text(),
        rule=reader["rule"].choice(GroupRule),
        level=reader["level"].text(),
        hard="hard" not in reader or reader["hard"].boolean(),
        weight=reader["weight"].integer() if "weight" in reader else 1,
    )
    return Membership(group=group, part=reader["part"].text())


def _cell_to_json(cell: PlacedCell) -> dict[str, Any]:
    return {
        "cell": cell.cell,
        "vcpus": str(cell.vcpus),
        "cpus": _text(cell.cpus),
        "cpu_nodes": _text(cell.cpu_nodes),
        "pins": {str(vcpu): str(cpus) for vcpu, cpus in sorted(cell.pins.items())},
        "memory": [{"node": m.node_id, "kib": m.kib, "page_kib": m.page_kib} for m in cell.memory],
        "memory_mode": cell.memory_mode.value,
    }


def _cell_from_json(reader: Reader) -> PlacedCell:
    return PlacedCell(
        cell=reader["cell"].integer(),
        vcpus=reader["vcpus"].set_of(CpuSet),
        cpus=reader["cpus"].optional_set(CpuSet),
        cpu_nodes=reader["cpu_nodes"].optional_set(NodeSet),
        pins={vcpu: pin.set_of(CpuSet) for vcpu, pin in reader["pins"].numbered()},
        memory=tuple(_memory_from_json(each) for each in reader["memory"].items()),
        memory_mode=reader["memory_mode"].choice(MemoryMode),
    )


def _memory_from_json(reader: Reader) -> PlacedMemory:
    node, page_kib = reader["node"], reader["page_kib"]
    if page_kib.integer() == 0:
        raise page_kib.error("the size of a page")
    return PlacedMemory(
        node_id=None if node.value is None else NodeId(node.integer()),
        kib=reader["kib"].integer(),
        page_kib=page_kib.integer(),
    )


def _tier_to_json(tier: Tier) -> Mapping[str, Any]:
    return {
        "tier": tier.tier,
        "name": tier.name,
        "value": tier.value,
        "bound": tier.bound,
        "gap": tier.gap,
        "more_is_better": tier.more_is_better,
        "constant": tier.constant,
    }


def _tier_from_json(reader: Reader) -> Tier:
    bound = reader["bound"]
    return Tier(
        tier=reader["tier"].integer(),
        name=reader["name"].text(),
        value=reader["value"].integer(signed=True),
        bound=None if bound.value is None else bound.integer(signed=True),
        more_is_better="more_is_better" in reader and reader["more_is_better"].boolean(),
        constant="constant" in reader and reader["constant"].boolean(),
    )


def _text(ids: CpuSet | NodeSet | None) -> str | None:
    return None if ids is None else str(ids)
