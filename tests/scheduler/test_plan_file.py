"""The plan file: whole, and when it is damaged refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from policies.objective import DEFAULT_OBJECTIVE, parse_objective
from policies.policy import Effort
from policies.request import HostName
from probe.errors import NumaplaceError
from probe.sources.registry import read_source
from scheduler.definitions.size_of import template_size
from scheduler.files.fleet_file import read_fleet
from scheduler.files.hosts_file import host_of_source
from scheduler.plan_file import plan_file_from_json, plan_file_to_json, plan_hash, read_plan_file
from scheduler.planning import plan_fleet, view_hosts
from tests.conftest import ROOT
from tests.probe.damage import damaged

DEMO = ROOT / "scheduler/demo"


def demo_plan() -> Any:
    """The demo's fleet on one of its hosts, as the plan file's JSON."""
    guests, templates = read_fleet(DEMO / "fleet.yaml", template_size)
    config = host_of_source(str(DEMO / "h1.json"), HostName("h1"))
    views = view_hosts([config], {"h1": read_source(str(DEMO / "h1.json"))}, None)
    made = plan_fleet(guests, templates, views, "first-fit", Effort())
    assert plan_file_from_json(json.loads(json.dumps(plan_file_to_json(made))), origin="p") == made
    assert plan_hash(made) == plan_hash(plan_file_from_json(plan_file_to_json(made), origin="p"))
    return plan_file_to_json(made)


PLAN = demo_plan()


@given(damaged(PLAN))
def test_a_damaged_plan_file_is_read_or_refused(document: Any) -> None:
    """Only our errors, and they name the file."""
    try:
        plan_file_from_json(document, origin="plan.json")
    except NumaplaceError as error:
        assert error.exit_status == 2
        assert "plan.json" in str(error)


def test_what_is_no_plan_says_what_it_should_be(tmp_path: Path) -> None:
    """A fleet file, nothing, half a plan."""
    path = tmp_path / "p.json"
    for text in ("", "guests: []", json.dumps(PLAN)[:-9], "[" * 100_000):
        path.write_text(text)
        with pytest.raises(NumaplaceError, match=r"p\.json"):
            read_plan_file(path)


def test_a_hypothetical_plan_says_so_when_it_is_read(tmp_path: Path) -> None:
    """In words that are read, not passed over; a list of anything else is no plan."""
    (tmp_path / "p.json").write_text(json.dumps({**PLAN, "hypothetical": ["drain=h1"]}))
    assert ("drain=h1",) == read_plan_file(tmp_path / "p.json").hypothetical
    assert "hypothetical" not in PLAN
    for wrong in ("drain=h1", None, [1], {}):
        with pytest.raises(NumaplaceError, match="hypothetical"):
            plan_file_from_json({**PLAN, "hypothetical": wrong}, origin="p.json")


@pytest.mark.parametrize("text", ["placed, balance + 2*distance", "placed, nodes-spanned, distance, packing", ""])
def test_a_plan_file_tells_what_it_aimed_at(text: str) -> None:
    """By the names of its tiers; of words that are no terms (an older plan's, another policy's) the default is made."""
    tiers = [{**PLAN["objective"][0], "name": name, "tier": i} for i, name in enumerate(text.split(", "), 1)]
    file = plan_file_from_json({**PLAN, "objective": tiers if text else []}, origin="p")
    expected = parse_objective(text) if "balance" in text else DEFAULT_OBJECTIVE
    assert expected == file.objective
