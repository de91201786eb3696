"""adopt, release, cordon, uncordon and `apply --share`, as people use them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from scheduler.sim.hypervisor import SimHypervisor
from tests.scheduler.cli.conftest import Run
from tests.scheduler.sim.hosts import domain_xml, numatune, pins, started

FLEET = "schema: 1\nguests:\n  - {name: web, count: 2, vcpus: 1, memory: 64MiB, overhead: 0MiB}\n"
HOST = "synthetic:node:2 core:4 memory:4GiB"
FILES = {
    "hosts.yaml": "schema: 1\nhosts:\n  h1: {sources: ['sim:h1.sim']}\n  h2: {sources: ['sim:h2.sim']}\n",
    "fleet.yaml": FLEET,
}
BOUND = pins("0", "1") + numatune("strict", "0")


@pytest.fixture
def fleet(run: Run, tmp_path: Path) -> Path:
    """Two hosts of two nodes with four CPUs each (h1 KVM, h2 Xen), each with a guest of somebody else."""
    for host, flavour in (("h1", "kvm"), ("h2", "xen")):
        made = run("sim", "create", f"{host}.sim", "--from", HOST, "--flavour", flavour, "--name", host)
        assert made.status == 0, made.err
        stranger(tmp_path / f"{host}.sim", f"on-{host}")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def stranger(host: Path, name: str, inner: str = BOUND) -> None:
    sim = SimHypervisor(host)
    sim.resume(started(sim, domain_xml(name, inner=inner)))
    sim.close()


def guests_of(host: Path) -> dict[str, str | None]:
    """Guest to the claim in its mark."""
    sim = SimHypervisor(host)
    found = {domain.wanted.name: domain.wanted.claim for domain in sim.domains()}
    sim.close()
    return found


def test_a_guest_comes_into_the_books_and_leaves_them(run: Run, fleet: Path) -> None:
    """adopt, status, plan, apply and release agree on it; a repeated adopt changes nothing."""
    done = run("adopt", "on-h1", "--output", "json")
    (row,) = done.json["guests"]
    assert (0, True, "h1", "", "") == (done.status, row["adopted"], row["host"], row["note"], row["why"])
    assert ("0-1", True) == (row["placement"]["cells"][0]["cpus"], row["placement"]["dedicated"])
    (standing,) = run("status", "--output", "json").json["guests"]
    assert ("active", True, True, []) == (
        standing["state"], standing["adopted"], standing["binding_ok"], standing["problems"],
    )  # fmt: skip
    assert standing["claim"] == guests_of(fleet / "h1.sim")["on-h1"]
    again = run("adopt", "on-h1")
    assert (0, True) == (again.status, "is in the books already" in again.out)
    gone = run("release", "on-h1")
    assert (0, "on-h1: let go\n") == (gone.status, gone.out)
    assert {"on-h1": None} == guests_of(fleet / "h1.sim")
    assert "no guests in the books" in run("status").out
    missing = run("release", "on-h1")
    assert (2, True) == (missing.status, "is not in the books" in missing.out)


def test_all_adopts_what_is_in_no_books(run: Run, fleet: Path) -> None:
    """On the hosts that are named, or on all; a table says what each has."""
    one = run("adopt", "--all", "--host", "h2")
    assert ["GUEST", "on-h2"] == [line.split()[0] for line in one.out.splitlines()]
    run("plan", "fleet.yaml", "-o", "plan.json")
    run("apply", "plan.json")
    both = run("adopt", "--all", "--output", "yaml")
    assert ["on-h1"] == [row["guest"] for row in yaml.safe_load(both.out)["guests"]]
    assert "no guests that are in no books" in run("adopt", "--all").out
    assert run("status").status == 0


def test_dry_runs_change_nothing(run: Run, fleet: Path) -> None:
    """Of all four; what they say is what would be done."""
    assert "0-1" in run("adopt", "--all", "--dry-run").out
    assert "no guests in the books" in run("status").out
    run("adopt", "on-h1")
    claim = guests_of(fleet / "h1.sim")
    assert "on-h1: would be let go" in run("release", "on-h1", "--dry-run").out
    assert claim == guests_of(fleet / "h1.sim")
    assert "h1: would be closed" in run("cordon", "h1", "--dry-run").out
    run("cordon", "h2")
    assert "h2: would be opened" in run("uncordon", "h2", "--dry-run").out
    assert ["h2"] == [each["host"] for each in run("status", "--output", "json").json["cordoned"]]


def test_what_is_asked_wrongly_is_exit_status_2(run: Run, fleet: Path) -> None:
    """Nobody named, both named, a guest that is nowhere, a host and a node that are not there."""
    assert run("adopt").status == 2
    assert run("adopt", "on-h1", "--all").status == 2
    nowhere = run("adopt", "nobody", "--output", "json")
    assert (2, False) == (nowhere.status, nowhere.json["guests"][0]["adopted"])
    for words, said in {
        ("cordon", "h9"): "no host of this name",
        ("cordon", "h1:7"): "h1 has no node 7; it has 0-1",
        ("cordon", "h1:x"): "a node is a number",
    }.items():
        refused = run(*words)
        assert (2, True) == (refused.status, said in refused.err), refused.err
    assert [] == run("status", "--output", "json").json["cordoned"]


def test_a_host_that_is_down_is_exit_status_6(run: Run, fleet: Path) -> None:
    """The others go on; a guest that nobody knows may be there. A node of it is closed unseen."""
    run("adopt", "on-h2")
    (fleet / "h2.sim").rename(fleet / "off")
    everybody = run("adopt", "--all", "--output", "json")
    assert (6, ["on-h1"], ["h2"]) == (
        everybody.status, [row["guest"] for row in everybody.json["guests"]], list(everybody.json["unreached"]),
    )  # fmt: skip
    assert run("adopt", "somebody").status == 6
    assert run("release", "on-h2").status == 6
    assert run("cordon", "h2:1").status == 0


def test_a_half_adopted_guest_is_finished_by_the_next_adopt(
    run: Run, fleet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply of the mark was lost: exit status 8, and the advice works."""
    assert run("sim", "inject", "h1.sim", "mark", "lose-reply").status == 0
    assert run("adopt", "on-h1").status == 8
    status = run("status", "--output", "json")
    assert (8, "unknown") == (status.status, status.json["guests"][0]["state"])
    assert run("adopt", "on-h1").status == 0
    assert run("status").status == 0


def test_a_cordoned_host_takes_no_new_guests(run: Run, fleet: Path) -> None:
    """plan goes elsewhere, or says so; status and probe show it; who is there stays and can be adopted."""
    assert run("cordon", "h1").status == 0
    decisions = run("plan", "fleet.yaml", "--output", "json").json["decisions"]
    assert {"h2"} == {decision["host"] for decision in decisions}
    run("cordon", "h2")
    refused = run("plan", "fleet.yaml")
    assert (3, True) == (refused.status, "no place (host): h1 is cordoned; h2 is cordoned" in refused.out)
    assert "h1 is cordoned: no new guests" in run("status").out
    assert "h1 is cordoned: no new guests" in run("probe", "--host", "h1").out
    assert "h2" not in run("probe", "--host", "h1").out
    assert run("adopt", "--all").status == 0
    opened = run("uncordon", "h1", "h2", "--output", "json")
    assert (0, [], [True, True]) == (
        opened.status, opened.json["cordoned"], [place["changed"] for place in opened.json["places"]],
    )  # fmt: skip
    assert run("plan", "fleet.yaml").status == 0
    assert "cordoned" not in run("status").out


def test_a_cordoned_node_offers_neither_cpus_nor_memory(run: Run, fleet: Path) -> None:
    """What fits the other node goes there; a refusal names the node; what needs both has no place."""
    run("cordon", "h1:0", "h2")
    (fleet / "fleet.yaml").write_text(FLEET.replace("count: 2", "count: 4"))
    decisions = run("plan", "fleet.yaml", "--output", "json").json["decisions"]
    assert {("h1", "1", 1)} == {
        (d["host"], d["cells"][0]["cpu_nodes"], d["cells"][0]["memory"][0]["node"]) for d in decisions
    }
    for guest in (
        "vcpus: 5, memory: 64MiB",
        "vcpus: 1, memory: 6GiB, cells: auto",
        "vcpus: 2, memory: 64MiB, cells: 2",
    ):
        (fleet / "fleet.yaml").write_text(f"schema: 1\nguests: [{{name: big, {guest}}}]\n")
        refused = run("plan", "fleet.yaml")
        assert (3, True) == (refused.status, "node 0 of h1 is cordoned; h2 is cordoned" in refused.out), refused.out
    kept = run("uncordon", "h1")
    assert "node 0 of h1 is cordoned" in kept.out
    assert run("uncordon", "h1:0", "h2").status == 0
    assert run("plan", "fleet.yaml").status == 0


def test_what_was_cordoned_since_the_plan_is_not_created(run: Run, fleet: Path) -> None:
    """Not where it was planned (exit status 5), and nowhere else (3); guests that are there stay as they are."""
    run("plan", "fleet.yaml", "-o", "plan.json")
    run("cordon", "h1", "h2")
    for retries, status in (("0", 5), ("2", 3)):
        refused = run("apply", "plan.json", "--retries", retries, "--output", "json")
        assert (status, {"failed"}) == (refused.status, {guest["state"] for guest in refused.json["guests"]})
        assert "is cordoned" in refused.json["guests"][0]["note"]
    run("uncordon", "h1", "h2")
    assert run("apply", "plan.json").status == 0
    run("cordon", "h1", "h2")
    assert run("apply", "plan.json").status == 0


def test_apply_leaves_a_host_alone_that_is_in_other_books(run: Run, fleet: Path) -> None:
    """Exit status 5 for its guests, the other host's are created; --share takes the others for strangers."""
    assert run("adopt", "on-h1", "--ledger", "theirs.sqlite").status == 0
    wanted = "  - {{name: web-{0}, vcpus: 1, memory: 64MiB, cpus: dedicated, hosts: [{0}]}}\n"
    (fleet / "fleet.yaml").write_text("schema: 1\nguests:\n" + wanted.format("h1") + wanted.format("h2"))
    run("plan", "fleet.yaml", "-o", "plan.json")
    for words in (("--dry-run",), ()):
        stopped = run("apply", "plan.json", "--output", "json", *words)
        assert (5, {"h1": 5, "h2": 0}) == (
            stopped.status, {guest["host"]: guest["exit_status"] for guest in stopped.json["guests"]},
        )  # fmt: skip
    assert "guest on-h1 bears the mark of another ledger" in stopped.json["guests"][0]["note"]
    assert ({"on-h1"}, {"on-h2", "web-h2"}) == (set(guests_of(fleet / "h1.sim")), set(guests_of(fleet / "h2.sim")))
    shared = run("apply", "plan.json", "--share", "--output", "json")
    assert 0 == shared.status, shared.out
    assert {"on-h1", "web-h1"} == set(guests_of(fleet / "h1.sim"))
    (home,) = [g["cpus"] for g in run("status", "--output", "json").json["guests"] if g["guest"] == "web-h1"]
    assert home not in ("0", "1")
    assert run("adopt", "on-h1").status == 5


def test_guests_and_hosts_are_completed(run: Run, fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """release: those in the books; adopt: those that are in none; cordon: hosts of the file."""
    from click.shell_completion import ShellComplete

    from scheduler.cli.main import cli

    def completed(*words: str) -> list[str]:
        done = ShellComplete(cli, {}, "numaplace", "_X").get_completions(list(words), "")
        return [item.value for item in done]

    run("adopt", "on-h1")
    assert ["on-h1"] == completed("release")
    assert ["on-h2"] == completed("adopt")
    assert ["h1", "h2"] == completed("cordon")


def test_an_adopted_guest_in_the_fleet_file_keeps_its_home(run: Run, fleet: Path) -> None:
    """Planned and applied like one of ours; its owner's definition, pins and all, is not made anew."""
    run("adopt", "on-h1")
    (fleet / "own.xml").write_text(domain_xml("{name}", inner=BOUND))
    (fleet / "fleet.yaml").write_text(FLEET + "  - {name: on-h1, cpus: dedicated, hosts: [h1], template: own.xml}\n")
    before = guests_of(fleet / "h1.sim")["on-h1"]
    assert run("plan", "fleet.yaml", "-o", "plan.json").status == 0
    done = run("apply", "plan.json", "--output", "json")
    assert (0, {"active"}) == (done.status, {guest["state"] for guest in done.json["guests"]}), done.out
    assert before == guests_of(fleet / "h1.sim")["on-h1"]
