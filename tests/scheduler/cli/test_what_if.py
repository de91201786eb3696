"""`--what-if`: a plan of a fleet that is not so, said on top, and refused by `apply`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.scheduler.cli.conftest import Run

HOSTS = ("--hosts", "hosts.yaml")
EXTRA = "guests: [{name: extra, vcpus: 1, memory: 256MiB, priority: 9}]\n"


@pytest.fixture
def applied(run: Run, demo: Path) -> Path:
    """The demo's fleet, created; and a fleet file with one more guest."""
    assert 3 == run("plan", "fleet.yaml", *HOSTS, "-o", "plan.json").status
    assert 3 == run("apply", "plan.json", *HOSTS).status
    (demo / "extra.yaml").write_text(EXTRA)
    return demo


def test_drain_a_host(run: Run, applied: Path) -> None:
    """It says so on top and who is asked for again; nothing is written but the file, and that is not applied."""
    books, shown = (applied / "ledger.sqlite").read_bytes(), run("status", *HOSTS, "--output", "json").out
    drained = run("plan", "fleet.yaml", *HOSTS, "--what-if", "drain=h1", "-o", "hypothetical.json")
    assert drained.out.startswith("What if h1 is drained? Nothing is changed anywhere.\n")
    assert "\nAsked for again, as the fleet file says: " in drained.out
    assert "it is hypothetical, and apply refuses it" in drained.err
    document = json.loads((applied / "hypothetical.json").read_text())
    assert ["drain=h1"] == document["hypothetical"]
    again = {each["guest"] for each in document["what_if"]["asked_again"]}
    there = {row["guest"] for row in json.loads(shown)["guests"] if row["host"] == "h1"}
    assert there == again
    assert not any(decision.get("host") == "h1" for decision in document["decisions"])
    refused = run("apply", "hypothetical.json", *HOSTS, "--dry-run")
    assert 2 == refused.status
    assert "the plan is hypothetical (drain=h1): nothing of it is applied.\nMaybe plan again without" in refused.err
    assert shown == run("status", *HOSTS, "--output", "json").out
    assert books == (applied / "ledger.sqlite").read_bytes()


def test_a_cxl_node_makes_a_refused_guest_fit(run: Run, tmp_path: Path) -> None:
    """Its memory is on the new node, its vCPUs on another, and the plan says so; who may not is told to ask."""
    shape = "synthetic:node:2 core:4 memory:2GiB"
    assert 0 == run("sim", "create", "h1.sim", "--from", shape, "--name", "h1").status
    (tmp_path / "hosts.yaml").write_text("hosts: {h1: {sources: ['sim:h1.sim'], reserve: 0}}\n")
    for far in ("true", "false"):
        entry = f"{{name: big, vcpus: 2, memory: 5GiB, far_memory: {far}}}"
        (tmp_path / "fleet.yaml").write_text(f"guests: [{entry}]\n")
        assert 3 == run("plan", "fleet.yaml", *HOSTS).status
        plan = run("plan", "fleet.yaml", *HOSTS, "--what-if", "cxl=h1:8GiB", "--output", "json")
        (decision,) = plan.json["decisions"]
        if far == "false":
            assert (3, "far_memory: true") == (plan.status, decision["rejected"]["fits_if"])
            continue
        (cell,) = decision["cells"]
        assert (0, [2]) == (plan.status, [share["node"] for share in cell["memory"]])
        assert (True, "0") == (decision["far_memory"], cell["cpu_nodes"])
        said = run("plan", "fleet.yaml", *HOSTS, "--what-if", "cxl=h1:8GiB").out
        assert (
            "Node 2 of h1 has no pCPUs: only guests that ask for `far_memory: true` may have their memory there."
            in said
        )


def test_without_changes_it_is_the_plan(run: Run, applied: Path) -> None:
    """No word of what is supposed, in no output; the demo's plan is proven, and the same each time."""
    plan = run("plan", "fleet.yaml", *HOSTS, "--output", "json").json
    assert not {"hypothetical", "what_if"} & plan.keys()


def test_guests_that_are_in_another_fleet_file(run: Run, applied: Path) -> None:
    """They are asked for as they are."""
    told = run("plan", "extra.yaml", *HOSTS, "--what-if", "lose=h1", "--output", "json").json
    again = told["what_if"]["asked_again"]
    assert again
    assert all(each["as_it_is"] for each in again)
    assert ["extra", *(each["guest"] for each in again)] == [decision["guest"] for decision in told["decisions"]]


def test_each_host_lost_in_turn(run: Run, applied: Path) -> None:
    """A row for each, which is the plan by hand; the refusals with their reasons."""
    plan = ("plan", "extra.yaml", *HOSTS, "--deterministic", "1", "--output", "json", "--what-if")
    each = run(*plan, "lose=each")
    assert 3 == each.status
    for loss in each.json["losses"]:
        by_hand = run(*plan, f"lose={loss['host']}").json
        passing = {"wall_s": 0, "hosts": []}  # when they were looked at
        assert by_hand | passing == loss["plan"] | passing
        assert loss["guests"] == sorted(again["guest"] for again in by_hand["what_if"]["asked_again"])
    table = run("plan", "extra.yaml", *HOSTS, "--what-if", "lose=each").out
    rows = [line.split() for line in table.splitlines() if line.startswith(("h1 ", "h2 "))]
    assert [[r["host"], str(len(r["guests"])), str(len(r["no_place"]))] for r in each.json["losses"]] == [
        [row[0], row[1], row[3]] for row in rows
    ]
    assert all(int(row[1]) == int(row[2]) + int(row[3]) for row in rows)
    assert "Without h1, " in table
    assert "Not all guests find another place where one of these is lost: h1, h2" in table


def test_a_host_that_is_down_is_lost(run: Run, applied: Path) -> None:
    """The books tell who was there; of its nodes nothing is known."""
    (applied / "h1.sim").unlink()
    lost = run("plan", "fleet.yaml", *HOSTS, "--what-if", "lose=h1")
    assert 6 == lost.status
    assert "h1 could not be read: its guests are those of the books." in lost.out
    assert "Asked for again, as the fleet file says: " in lost.out
    node = run("plan", "fleet.yaml", *HOSTS, "--what-if", "drain=h1:0")
    assert (2, True) == (node.status, "drain=h1:0: h1 could not be read, so what it has is not known" in node.err)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("drain=h9", "--what-if drain=h9: no host of this name; there are h1, h2."),
        ("drain=h1:9", "--what-if drain=h1:9: h1 has no node 9; it has 0-4."),
        ("move=h1", "--what-if 'move=h1': expected drain=HOST"),
    ],
)
def test_what_cannot_be_supposed(run: Run, demo: Path, change: str, expected: str) -> None:
    """One line that says what there is, and exit status 2."""
    refused = run("plan", "fleet.yaml", *HOSTS, "--what-if", change)
    assert (2, True) == (refused.status, expected in refused.err)


def test_nobody_is_there_yet(run: Run, tmp_path: Path) -> None:
    """For a new fleet it tells how much of it is placed without each host, and who is not."""
    (tmp_path / "many.yaml").write_text("guests: [{name: g, count: 12, vcpus: 2, memory: 1GiB}]\n")
    hosts = ["--host", "synthetic:node:2 core:4 memory:8GiB"] * 2
    each = run("plan", "many.yaml", *hosts, "--what-if", "lose=each")
    lines = [line for line in each.out.splitlines() if line]
    assert (3, "No guest is there yet.") == (each.status, lines[-1])
    assert [["synthetic", "0", "0", "0", "4", "of", "12"], ["synthetic-2", "0", "0", "0", "4", "of", "12"]] == [
        line.split() for line in lines if line.startswith("synthetic")
    ]
    assert 2 == each.out.count("new guests without a place: ") == each.out.count(" and 3 more")


def test_each_loss_has_a_plan_of_its_own(run: Run, demo: Path) -> None:
    """So there is none to write."""
    refused = run("plan", "fleet.yaml", *HOSTS, "--what-if", "lose=each", "-o", "p.json")
    assert (2, False) == (refused.status, (demo / "p.json").exists())


CAPACITY = ("capacity", "--flavours", "fleet.yaml", *HOSTS, "--output", "json")


def test_room_on_another_fleet(run: Run, demo: Path) -> None:
    """On empty hosts: without one, what the other has; with more memory and nodes, what they make room for."""
    now = run(*CAPACITY).json
    alone = {host["host"]: host["fits"] for host in now["hosts"]}
    for lost, kept in (("h1", "h2"), ("h2", "h1")):
        gone = run(*CAPACITY, "--what-if", f"lose={lost}")
        assert (0, [kept], alone[kept]) == (gone.status, [h["host"] for h in gone.json["hosts"]], gone.json["fleet"])
        closed = run(*CAPACITY, "--what-if", f"drain={lost}").json
        assert closed["fleet"] == gone.json["fleet"]
        assert {"vcpus_without_memory": 0, "memory_without_cpus_kib": {}, "odd_pages_kib": {}} in [
            host["stranded"] for host in closed["hosts"] if host["host"] == lost
        ]
    more = run(*CAPACITY, "--what-if", "memory=h1:0:+64GiB", "--what-if", "memory=h1:1:+64GiB").json
    assert all(more["fleet"][flavour]["count"] >= now["fleet"][flavour]["count"] for flavour in alone["h1"])
    assert more["fleet"]["warehouse"]["count"] > now["fleet"]["warehouse"]["count"]
    assert ["memory=h1:0:+64GiB", "memory=h1:1:+64GiB"] == more["hypothetical"]
    halved = run(*CAPACITY, "--what-if", "nodes=h1:2").json
    assert halved["fleet"]["db"]["count"] < now["fleet"]["db"]["count"]


def test_room_once_the_others_have_moved(run: Run, applied: Path) -> None:
    """Who is asked for again takes room first; who finds none is named, and the exit status is 3."""
    each = run(*CAPACITY, "--what-if", "lose=each")
    assert 3 == each.status
    now = run(*CAPACITY).json
    assert now["fleet"] == each.json["fleet"]
    for loss in each.json["losses"]:
        by_hand = run(*CAPACITY, "--what-if", f"lose={loss['host']}").json
        assert (by_hand["fleet"], by_hand["no_place"]) == (loss["fleet"], loss["no_place"])
        other = next(host["fits"] for host in now["hosts"] if host["host"] != loss["host"])
        assert all(loss["fleet"][flavour]["count"] <= other[flavour]["count"] for flavour in other)
    table = run(*CAPACITY[:-2], "--what-if", "lose=each").out
    assert table.startswith(
        "What if one host is lost, each in turn? Nothing is changed anywhere.\n\nLOST  NO PLACE  web"
    )
    assert [["none", "0"], ["h1", "2"], ["h2", str(len(each.json["losses"][1]["no_place"]))]] == [
        line.split()[:2] for line in table.splitlines() if line.startswith(("none ", "h1 ", "h2 "))
    ]
    assert "\nWithout h1, db-1: no place (pcpus): " in table
    assert "\nAsked for again, as they are in the books: " in run(*CAPACITY[:-2], "--what-if", "drain=h1").out


def test_the_level_that_only_the_lost_host_names_is_known(run: Run, tmp_path: Path) -> None:
    """Its guests are planned elsewhere; a level that no host names stays a slip of the pen."""
    rack = "groups: {far: {rule: anti-affinity, level: rack}}\n"
    (tmp_path / "fleet.yaml").write_text(f"{rack}guests: [{{name: a, vcpus: 1, memory: 256MiB, groups: [far]}}]\n")
    source = "sources: ['synthetic:node:2 core:4 memory:2GiB'], reserve: 0MiB"
    (tmp_path / "hosts.yaml").write_text(f"hosts:\n  h1: {{{source}, rack: r1}}\n  h2: {{{source}}}\n")
    planned = run("plan", "fleet.yaml", *HOSTS, "--what-if", "lose=h1", "--output", "json")
    assert (0, "h2") == (planned.status, planned.json["decisions"][0]["host"])
    (tmp_path / "hosts.yaml").write_text(f"hosts:\n  h1: {{{source}}}\n  h2: {{{source}}}\n")
    slip = run("plan", "fleet.yaml", *HOSTS, "--what-if", "lose=h1")
    assert (2, True) == (slip.status, "level 'rack' is none of" in slip.err)
