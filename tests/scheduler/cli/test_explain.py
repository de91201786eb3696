"""`numaplace explain`: a guest of a plan file on the hosts as they are, before and after the plan is applied."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.scheduler.cli.conftest import Run

FLEET = """\
guests:
  - {name: web, count: 3, vcpus: 2, memory: 256MiB}
  - {name: big, vcpus: 2, memory: 64GiB}
  - {name: late, vcpus: 4, memory: 512MiB, cpus: dedicated}
"""
HOSTS = "hosts:\n  h1: {sources: ['synthetic:node:2 core:4 memory:2GiB'], reserve: 0MiB}\n"


@pytest.fixture
def planned(run: Run, tmp_path: Path) -> Path:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    (tmp_path / "hosts.yaml").write_text(HOSTS)
    assert 3 == run("plan", "fleet.yaml", "-o", "plan.json").status
    return tmp_path


def test_a_guest_that_fits_nowhere_is_told_of_every_node(run: Run, planned: Path) -> None:
    told = run("explain", "big", "plan.json")
    assert 0 == told.status
    assert "big has no place (memory)" in told.out
    lines = [line.strip() for line in told.out.splitlines() if line.startswith("  node")]
    assert ["node 0 of h1 lacks", "node 1 of h1 lacks"] == [line.rsplit(" ", 1)[0] for line in lines]
    document = run("explain", "big", "plan.json", "--output", "json").json
    assert [{4}, {4}] == [{lack["page_kib"] for lack in cause["lacks"]} for cause in document["causes"]]
    assert document["changes"][0]["text"].startswith("memory: ")


def test_a_guest_that_lost_its_place_is_told_to_whom(run: Run, planned: Path) -> None:
    document = run("explain", "late", "plan.json", "--output", "json").json
    assert [] == document["causes"]
    assert document["holders"]["guests"]
    told = run("explain", "late", "plan.json").out
    assert "It fits on" in told
    assert "A change with a colon is made in the fleet file" in told


def test_it_is_told_how_changes_are_made(run: Run, tmp_path: Path) -> None:
    """Of each kind that was found: keys of the fleet file, another guest, and a new plan where nothing else helps."""
    (tmp_path / "hosts.yaml").write_text(HOSTS.replace("memory:2GiB", "memory:8GiB"))
    own = "cpus: dedicated, overhead: 0MiB"
    small = "".join(f"  - {{name: {name}, vcpus: 2, memory: 2GiB, {own}}}\n" for name in ("c1", "c2"))
    large = "".join(f"  - {{name: {name}, vcpus: 1, memory: 4GiB, {own}}}\n" for name in "ab")
    (tmp_path / "fleet.yaml").write_text(f"guests:\n{small}{large}  - {{name: g, vcpus: 1, memory: 1GiB, {own}}}\n")
    assert run("plan", "fleet.yaml", "--policy", "first-fit", "-o", "plan.json").status == 3
    told = run("explain", "g", "plan.json").out
    assert "No single change makes it fit beside the plan as it stands. In a new plan of h1" in told
    assert "all are planned again, as they ask" in told
    assert "A new plan is made by `numaplace plan FLEET --policy solver`." in told
    assert "a key of the guest" not in told
    search = run("explain", "g", "plan.json", "--output", "json").json["search"]
    assert search == {"could_move": 4, "moved": 4, "planned_again": ["h1"], "limited_by": ""}
    assert run("plan", "fleet.yaml", "--policy", "solver", "-o", "plan.json").status == 0


def test_a_guest_that_has_one_is_told_what_it_costs(run: Run, planned: Path) -> None:
    account = run("explain", "web-1", "plan.json", "--output", "json").json["account"]
    placed = account["tiers"][0]
    assert (1, "placed") == (placed["plan"] - placed["without"], placed["name"])
    assert "THE GUEST ADDS" in run("explain", "web-1", "plan.json").out


def test_what_the_plan_has_put_there_is_not_in_its_own_way(run: Run, demo: Path) -> None:
    """The same is told of every guest before and after apply."""
    assert 3 == run("plan", "fleet.yaml", "--hosts", "hosts.yaml", "-o", "plan.json").status
    guests = [decision["guest"] for decision in json.loads((demo / "plan.json").read_text())["decisions"]]

    def told() -> dict[str, object]:
        asked = ("--hosts", "hosts.yaml", "--output", "json")
        return {guest: run("explain", guest, "plan.json", *asked).json["decision"] for guest in guests}

    before = told()
    assert 3 == run("apply", "plan.json", "--hosts", "hosts.yaml").status
    assert before == told()


def test_what_cannot_be_explained(run: Run, planned: Path) -> None:
    """No such guest, and hosts that have changed."""
    unknown = run("explain", "wbe-1", "plan.json")
    assert (2, True) == (unknown.status, "Maybe web-1" in unknown.err)
    (planned / "hosts.yaml").write_text(HOSTS.replace("memory:2GiB", "memory:128MiB"))
    changed = run("explain", "web-1", "plan.json")
    assert (2, True) == (changed.status, "does not fit the hosts any more" in changed.err)


def test_a_hypothetical_plan_is_explained_on_what_it_supposes(run: Run, demo: Path) -> None:
    """A guest that finds no place where a host is lost lacks it on the other alone, whatever the lost one has."""
    hosts = ("--hosts", "hosts.yaml")
    assert 3 == run("plan", "fleet.yaml", *hosts, "-o", "plan.json").status
    assert 3 == run("apply", "plan.json", *hosts).status
    for change in ("lose=h1", "drain=h1", "nodes=h2:2"):
        assert 3 == run("plan", "fleet.yaml", *hosts, "--what-if", change, "-o", "other.json").status
        decided = json.loads((demo / "other.json").read_text())["decisions"]
        told = {d["guest"]: run("explain", d["guest"], "other.json", *hosts, "--output", "json") for d in decided}
        assert {0} == {each.status for each in told.values()}
        assert decided == [each.json["decision"] for each in told.values()]
        if change == "lose=h1":
            refused = [told[d["guest"]].json["causes"] for d in decided if "rejected" in d]
            assert {"h2"} == {cause["host"] for causes in refused for cause in causes}
