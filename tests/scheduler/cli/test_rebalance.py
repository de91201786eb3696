"""`numaplace rebalance`, as people use it: on hosts of the embedded hypervisor, with books."""

from __future__ import annotations

from pathlib import Path

import pytest

from probe.cpuset import NodeSet
from scheduler.sim.hypervisor import SimHypervisor
from tests.scheduler.cli.conftest import Run

HOSTS = """\
hosts:
  h1: {sources: ["sim:h1.sim"], reserve: 256MiB, overcommit: 2}
  h2: {sources: ["sim:h2.sim"], reserve: 256MiB, overcommit: 2}
"""
WEB = "guests:\n  - {name: web, count: 2, vcpus: 2, memory: 3GiB, hosts: [h1]KEYS}\n"
BIG = "guests:\n  - {name: big, vcpus: 4, memory: 6GiB, hosts: [h1]}\n"


@pytest.fixture
def hosts(run: Run, tmp_path: Path) -> Path:
    for host in ("h1", "h2"):
        made = run("sim", "create", f"{host}.sim", "--from", "synthetic:node:2 core:4 memory:8GiB", "--name", host)
        assert made.status == 0, made.err
    (tmp_path / "hosts.yaml").write_text(HOSTS)
    (tmp_path / "big.yaml").write_text(BIG)
    return tmp_path


def stands(run: Run, folder: Path, text: str, policy: str = "worst-fit") -> None:
    """The guests of this fleet file are created."""
    (folder / "fleet.yaml").write_text(text)
    assert run("plan", "fleet.yaml", "--policy", policy, "-o", "plan.json").status == 0
    assert run("apply", "plan.json").status == 0


def test_a_refused_guest_is_made_to_fit(run: Run, hosts: Path) -> None:
    """One of two guests goes to the node of the other, with all its memory; the refused one gets its node."""
    stands(run, hosts, WEB.replace("KEYS", ""))
    assert 3 == run("plan", "big.yaml").status
    told = run("rebalance", "--for", "big.yaml")
    assert (0, True, True) == (
        told.status,
        "move-memory" in told.out,
        "3GiB of 64GiB copied: proven minimal" in told.out,
    )
    document = run("rebalance", "--for", "big.yaml", "--output", "json").json
    (step,) = document["steps"]
    assert (3 * 1024**2, "move-memory", True) == (step["moved_kib"], step["what"], document["proven_minimal"])
    assert step["from"]["cells"][0]["cpu_nodes"] == document["placed"][0]["cells"][0]["cpu_nodes"]
    assert [] == document["no_place"]


def test_the_budget_is_kept(run: Run, hosts: Path) -> None:
    """What would take more is not told, and the guest stays without a place."""
    stands(run, hosts, WEB.replace("KEYS", ""))
    for budget in (("--most-moves", "0"), ("--most-memory", "2GiB")):
        told = run("rebalance", "--for", "big.yaml", *budget)
        assert (3, True, True) == (told.status, "No place: big" in told.out, "nothing helps" in told.out)


def test_what_cannot_move_is_told_with_the_reason(run: Run, hosts: Path) -> None:
    """Strict memory stays while the guest runs; another host would take it, if that is allowed."""
    stands(run, hosts, WEB.replace("KEYS", ", memory_mode: strict").replace(", hosts: [h1]", ""))
    stays = run("rebalance", "--for", "big.yaml", "--host", "h1")
    assert (3, 2) == (stays.status, stays.out.count("stays on its nodes while it runs: memory mode strict holds"))
    told = run("rebalance", "--for", "big.yaml", "--migrate")
    assert (0, True) == (told.status, "migrate" in told.out)
    told = run("rebalance", "--for", "big.yaml", "--migrate", "--fleet", "only.yaml")
    assert 2 == told.status  # there is no such file
    (hosts / "only.yaml").write_text(WEB.replace("KEYS", ", memory_mode: strict"))
    assert 3 == run("rebalance", "--for", "big.yaml", "--migrate", "--fleet", "only.yaml").status


def test_an_adopted_guest_is_left_alone(run: Run, hosts: Path) -> None:
    """It is told, with what holds it."""
    stands(run, hosts, WEB.replace("KEYS", ""))
    assert run("release", "web-1", "web-2").status == 0
    assert run("adopt", "web-1").status == 0
    told = run("rebalance", "--for", "big.yaml")
    assert (3, True, True) == (told.status, "was adopted" in told.out, "Nothing can be moved." in told.out)


def test_a_cordoned_node_gets_nobody(run: Run, hosts: Path) -> None:
    """Neither those who make room nor the new guest; who stands there may leave."""
    stands(run, hosts, WEB.replace("KEYS", ""))
    assert run("cordon", "h1:1").status == 0
    assert 3 == run("rebalance", "--for", "big.yaml").status
    (hosts / "small.yaml").write_text("guests:\n  - {name: small, vcpus: 1, memory: 1GiB, hosts: [h1]}\n")
    assert "No step is needed" in run("rebalance", "--for", "small.yaml").out
    assert run("uncordon", "h1:1").status == 0
    assert 0 == run("rebalance", "--for", "big.yaml").status


def test_hosts_are_emptied_where_guests_may_migrate(run: Run, hosts: Path) -> None:
    """The objective: one host less in use; without --migrate nothing helps."""
    stands(run, hosts, "guests: [{name: a, vcpus: 2, memory: 3GiB}, {name: b, vcpus: 2, memory: 3GiB, hosts: [h2]}]\n")
    assert "nothing helps" in run("rebalance").out
    over = run("rebalance", "--migrate", "--time-limit", "0.000001").out
    assert "The time limit of 1e-06s was over before anything was found that helps" in over
    document = run("rebalance", "--migrate", "--output", "json").json
    assert [("migrate", 3 * 1024**2)] == [(step["what"], step["moved_kib"]) for step in document["steps"]]
    packing = next(tier for tier in document["objective"] if tier["name"] == "fewest-hosts")
    assert (2, 1) == (packing["before"], packing["after"])


def test_guests_that_are_there_are_not_asked_for_again(run: Run, hosts: Path) -> None:
    stands(run, hosts, WEB.replace("KEYS", ""))
    told = run("rebalance", "--for", "fleet.yaml")
    assert (2, True) == (told.status, "all in the books" in told.err)


def test_a_guest_that_nothing_binds_is_bound(run: Run, hosts: Path) -> None:
    """It may run on both nodes; bound to one it spans one, and its memory comes along."""
    stands(run, hosts, "guests: [{name: loose, vcpus: 2, memory: 3GiB, hosts: [h1]}]\n", policy="unpinned")
    document = run("rebalance", "--output", "json").json
    assert [("loose", "move-memory")] == [(step["guest"], step["what"]) for step in document["steps"]]
    spanned = next(tier for tier in document["objective"] if tier["name"] == "nodes-spanned")
    assert (2, 1, True) == (spanned["before"], spanned["after"], document["proven_minimal"])


def test_a_guest_that_drifted_is_repaired_first(run: Run, hosts: Path) -> None:
    """Where it really is nobody has promised; it is not moved from there."""
    stands(run, hosts, WEB.replace("KEYS", ""))
    sim = SimHypervisor(hosts / "h1.sim")
    for domain in sim.domains():
        sim.set_nodes(domain.wanted.uuid, sim.base.topology.node_ids - NodeSet(frozenset(domain.resident_kib)))
    sim.close()
    assert 4 == run("status", "--reconcile").status
    told = run("rebalance", "--for", "big.yaml")
    assert (3, 2) == (told.status, told.out.count("first: numaplace repair web-"))


def test_what_carries_the_steps_out_is_told(run: Run, hosts: Path) -> None:
    """In their order; a host of the embedded hypervisor takes no commands from outside. And what ended the search."""
    stands(run, hosts, WEB.replace("KEYS", ""))
    told = run("rebalance", "--for", "big.yaml", "--commands")
    assert (0, True) == (
        told.status,
        told.out.endswith("# h1 takes no such commands: it is embedded, or a recording\n"),
    )
    (step,) = run("rebalance", "--for", "big.yaml", "--output", "json").json["steps"]
    assert [] == step["commands"]
    text = (hosts / "hosts.yaml").read_text()
    (hosts / "hosts.yaml").write_text(
        text.replace('h1.sim"]', 'h1.sim"], executor: libvirt, connect: "qemu:///system"')
    )
    document = run("rebalance", "--for", "big.yaml", "--output", "json").json
    assert ("numaplace release web-1", "numaplace adopt web-1", "nothing", True) == (
        document["steps"][0]["commands"][0],
        document["steps"][0]["commands"][-1],
        document["limited_by"],
        document["quick_way_ended"],
    )
