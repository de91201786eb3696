"""plan ↔ JSON."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given

from policies.errors import PlanMalformedError
from policies.plan import (
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
from policies.plan_json import plan_from_json, plan_to_json
from policies.request import Group, GroupRule, GuestName, HostName, Membership
from probe.cpuset import CpuSet, NodeId, NodeSet
from tests.policies.strategies import plans

WEB = Placement(
    guest=GuestName("web-1"),
    host=HostName("h1"),
    cells=(
        PlacedCell(
            cell=0,
            vcpus=CpuSet.parse("0-1"),
            cpus=CpuSet.parse("4-5"),
            cpu_nodes=NodeSet.of(2),
            pins={0: CpuSet.of(4), 1: CpuSet.of(5)},
            memory=(PlacedMemory(node_id=NodeId(2), kib=1048576),),
            memory_mode=MemoryMode.STRICT,
        ),
    ),
    emulator_cpus=CpuSet.parse("4-5"),
    dedicated_vcpus=CpuSet.parse("0-1"),
    overhead_kib=4096,
    groups=(Membership(group=Group(name="shard", rule=GroupRule.FAULT_DOMAINS, level="rack"), part="a"),),
)
PLAN = Plan(
    decisions=(
        WEB,
        Rejection(guest=GuestName("big"), reason=Reason.MEMORY, detail="lacks", fits_if="less"),
    ),
    policy="solver",
    seed=7,
    objective=(Tier(tier=1, name="placed", value=1, bound=2, more_is_better=True),),
    status=SolveStatus.FEASIBLE,
    wall_s=0.5,
    limited_by="the time limit of 30s",
)
TEXT: dict[str, Any] = {
    "schema": 1,
    "policy": "solver",
    "seed": 7,
    "status": "feasible",
    "wall_s": 0.5,
    "limited_by": "the time limit of 30s",
    "objective": [
        {
            "tier": 1,
            "name": "placed",
            "value": 1,
            "bound": 2,
            "gap": 1.0,
            "more_is_better": True,
            "constant": False,
        }
    ],
    "decisions": [
        {
            "guest": "web-1",
            "host": "h1",
            "cells": [
                {
                    "cell": 0,
                    "vcpus": "0-1",
                    "cpus": "4-5",
                    "cpu_nodes": "2",
                    "pins": {"0": "4", "1": "5"},
                    "memory": [{"node": 2, "kib": 1048576, "page_kib": 4}],
                    "memory_mode": "strict",
                }
            ],
            "emulator_cpus": "4-5",
            "emulator": None,
            "dedicated": True,
            "dedicated_vcpus": "0-1",
            "smt": "prefer",
            "booked_cpus": "",
            "far_memory": False,
            "overhead_kib": 4096,
            "devices": [],
            "groups": [{"name": "shard", "rule": "fault-domains", "level": "rack", "part": "a"}],
        },
        {"guest": "big", "rejected": {"reason": "memory", "detail": "lacks", "fits_if": "less"}},
    ],
}


def test_a_plan_is_written_as_the_contract_says():
    """The keys and texts that scripts rely on."""
    assert plan_to_json(PLAN) == TEXT


@given(plan=plans)
def test_every_plan_comes_back_from_its_json(plan: Plan):
    """Also through text, where keys are texts and tuples are lists."""
    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan))), origin="plan.json") == plan


def test_other_keys_are_passed_over():
    """A plan file holds requests and templates beside the plan."""
    assert plan_from_json({**TEXT, "templates": {}}, origin="plan.json") == PLAN


@pytest.mark.parametrize(
    ("path", "wrong", "named"),
    [
        (("schema",), 2, "schema"),
        (("seed",), True, "seed"),
        (("wall_s",), float("nan"), "wall_s"),
        (("wall_s",), 10**400, "wall_s"),
        (("status",), "certain", "status"),
        (("decisions",), {}, "decisions"),
        (("decisions", 0), "web-1", "decisions[0]"),
        (("decisions", 0, "cells"), [], "decisions[0].cells"),
        (("decisions", 0, "cells", 0, "cpus"), "4-", "decisions[0].cells[0].cpus"),
        (("decisions", 0, "cells", 0, "pins"), {"01": "4"}, "decisions[0].cells[0].pins"),
        (("decisions", 0, "cells", 0, "pins"), {"99999999": "4"}, "decisions[0].cells[0].pins"),
        (("decisions", 0, "cells", 0, "pins", "1"), 5, "decisions[0].cells[0].pins.1"),
        (("decisions", 0, "cells", 0, "memory", 0, "kib"), -1, "decisions[0].cells[0].memory[0].kib"),
        (("decisions", 0, "cells", 0, "memory_mode"), "loose", "decisions[0].cells[0].memory_mode"),
        (("decisions", 0, "dedicated"), 1, "decisions[0].dedicated"),
        (("decisions", 1, "rejected", "reason"), "no", "decisions[1].rejected.reason"),
        (("objective", 0, "bound"), "2", "objective[0].bound"),
    ],
)
def test_a_malformed_plan_names_the_file_and_the_key_path(path: tuple[Any, ...], wrong: object, named: str):
    """One typed error, whatever is wrong where."""
    value = copy.deepcopy(TEXT)
    place: Any = value
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = wrong
    with pytest.raises(PlanMalformedError) as caught:
        plan_from_json(value, origin="plan.json")
    assert str(caught.value).startswith(f"plan.json: {named}: expected ")


@pytest.mark.parametrize("value", [None, [], "x", 1, {1: 2}])
def test_something_else_is_no_plan(value: object):
    """The top is an object, else the error says so."""
    with pytest.raises(PlanMalformedError, match=r"plan\.json: the plan: expected an object"):
        plan_from_json(value, origin="plan.json")


@pytest.mark.parametrize("key", sorted(set(TEXT) - {"limited_by"}))
def test_a_missing_key_is_named(key: str):
    """Nothing of the contract is optional at the top, but for what older plans do not tell."""
    with pytest.raises(PlanMalformedError, match=key):
        plan_from_json({k: v for k, v in TEXT.items() if k != key}, origin="plan.json")


def test_a_placement_of_before_there_was_far_memory_has_none():
    """Plans and claims that were written then are read."""
    first, *rest = TEXT["decisions"]
    older = {key: value for key, value in first.items() if key != "far_memory"}
    assert PLAN == plan_from_json({**TEXT, "decisions": [older, *rest]}, origin="plan.json")
