"""`numaplace bench locality` on embedded hosts: rows that add up, and nothing left behind, however it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.metrics import metric_of
from benchmarks.rows import row_from_json
from benchmarks.sweeps.results import read_results
from probe.cpuset import NodeId
from probe.snapshot import OccupantState
from probe.sources.registry import read_source
from scheduler.executors.port import DefiniteFailureError, DomainDefinition, HostUnreachableError
from scheduler.executors.sim import SimExecutor
from scheduler.sim.hypervisor import SimHypervisor
from tests.scheduler.cli.conftest import Run
from tests.scheduler.sim.hosts import domain_xml, started

HOST = "synthetic:node:4 core:4 memory:4GiB"
FLEET = """\
schema: 1
guests:
  - {name: web, count: 3, vcpus: 2, memory: 512MiB, template: guest.xml}
  - {name: two, vcpus: 2, memory: 512MiB, cells: 2, template: guest.xml}
  - {name: own, vcpus: 1, memory: 256MiB, cpus: dedicated, template: guest.xml}
"""
GUEST = """\
<domain type='qemu'><name>{name}</name><memoryBacking><allocation mode='immediate'/></memoryBacking>
<os><type>hvm</type></os></domain>
"""


@pytest.fixture
def hosts(run: Run, tmp_path: Path) -> Path:
    """A KVM host `k` and a Xen host `x` in hosts.yaml, and a fleet for the first."""
    for name, flavour in (("k", "kvm"), ("x", "xen")):
        made = run("sim", "create", f"{name}.sim", "--from", HOST, "--flavour", flavour, "--name", name)
        assert made.status == 0, made.err
    entries = "".join(f"  {name}: {{sources: ['sim:{name}.sim'], reserve: 64MiB}}\n" for name in "kx")
    (tmp_path / "hosts.yaml").write_text(f"schema: 1\nhosts:\n{entries}")
    (tmp_path / "fleet.yaml").write_text(FLEET)
    (tmp_path / "guest.xml").write_text(GUEST)
    return tmp_path


def guests_of(name: str = "k") -> list[str]:
    sim = SimHypervisor(Path(f"{name}.sim"))
    try:
        return sorted(domain.wanted.name for domain in sim.domains())
    finally:
        sim.close()


def bench(run: Run, *words: str) -> Any:
    done = run("bench", "locality", "--host", "k", "--yes", "--output", "json", *words)
    assert done.status == 0, done.err
    return done.json


def test_each_way_is_a_row_and_ours_is_wholly_local(run: Run, hosts: Path) -> None:
    """Every guest runs in each; unbound ones find a quarter of their memory local on four equal nodes."""
    told = bench(run, "--fleet", "fleet.yaml")
    rows = {row["policy"]: row_from_json(row, origin="here") for row in told["rows"]}
    assert ["default", "solver"] == list(rows)
    assert [(5, 0), (5, 0)] == [(row.metrics["placed"], row.metrics["refused"]) for row in rows.values()]
    assert {"locality idle"} == {row.scenario for row in rows.values()}
    assert len({row.digest for row in rows.values()}) == 1
    assert (0.25, 0.25, 0) == tuple(
        rows["default"].metrics[name] for name in ("local_ratio", "least_local_ratio", "wholly_local")
    )
    assert (1.0, 1.0, 5) == tuple(
        rows["solver"].metrics[name] for name in ("local_ratio", "least_local_ratio", "wholly_local")
    )
    assert {"10": 5} == rows["solver"].distances
    assert all(metric_of(name).formula for row in rows.values() for name in row.metrics)
    assert [] == guests_of()


def test_seeds_and_policies_are_rows_of_their_own(run: Run, hosts: Path) -> None:
    Path("fleet.yaml").write_text("schema: 1\nguests:\n  - {name: g, vcpus: 1, memory: 256MiB, template: guest.xml}\n")
    words = ("--fleet", "fleet.yaml", "--repeat", "2", "--policy", "first-fit", "--policy", "best-fit")
    keys = [(row["policy"], row["seed"]) for row in bench(run, *words)["rows"]]
    assert [(way, seed) for seed in (1, 2) for way in ("default", "first-fit", "best-fit")] == keys


def test_rows_are_kept_for_the_report(run: Run, hosts: Path) -> None:
    """The same that are printed; the command in them measures again."""
    told = bench(run, "--fleet", "fleet.yaml", "--results", "kept")
    assert {row["policy"]: row["metrics"] for row in told["rows"]} == {
        row.policy: row.metrics for row in read_results(Path("kept"))
    }


def test_a_host_that_is_away_ends_it_before_it_begins(run: Run, hosts: Path) -> None:
    Path("x.sim").unlink()
    done = run("bench", "locality", "--fleet", "fleet.yaml", "--yes")
    assert 6 == done.status
    assert "x.sim" in done.err
    assert [] == guests_of()


def test_filled_nodes_are_another_scenario_and_are_emptied_again(
    run: Run, hosts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While guests come, the nodes have what was to be left, and the filling guests do not run."""
    seen: list[tuple[int | None, list[OccupantState]]] = []
    define = SimExecutor.define

    def looking(executor: SimExecutor, definition: DomainDefinition) -> None:
        if not definition.guest.startswith("npbench-fill"):
            sim = SimHypervisor(Path("k.sim"))
            fillers = [d.state for d in sim.domains() if d.wanted.name.startswith("npbench-fill")]
            sim.close()
            seen.append((read_source("sim:k.sim").memory_of(NodeId(2)).free_kib, fillers))
        define(executor, definition)

    monkeypatch.setattr(SimExecutor, "define", looking)
    told = bench(run, "--fleet", "fleet.yaml", "--fill", "2=700MiB,0=1GiB", "--fill", "idle")
    assert [("locality filled", {"fill": "2=700MiB,0=1GiB"}), ("locality idle", {})] == list(
        {row["scenario"]: (row["scenario"], row["options"]) for row in told["rows"]}.values()
    )
    free_kib, fillers = seen[0]
    assert fillers == [OccupantState.PAUSED] * 2
    assert free_kib is not None
    assert 700 * 1024 <= free_kib < 800 * 1024
    assert [] == guests_of()
    ours = [row["metrics"] for row in told["rows"] if row["policy"] == "solver"]
    assert [(5, 1.0)] * 2 == [(metrics["placed"], metrics["local_ratio"]) for metrics in ours]


def test_xen_has_one_way_of_its_own(run: Run, hosts: Path) -> None:
    """libxl chooses wherever it is told nothing: that is its automatic placement."""
    done = run("bench", "locality", "--host", "x", "--yes", "--output", "json")
    assert done.status == 0, done.err
    rows = {row["policy"]: row["metrics"] for row in done.json["rows"]}
    assert ["auto", "solver"] == list(rows)
    assert (8, 1.0) == (rows["solver"]["placed"], rows["solver"]["local_ratio"])
    assert [] == guests_of("x")


def test_it_refuses_where_its_names_are_taken(run: Run, hosts: Path) -> None:
    """They are not touched, whatever they are; another prefix goes."""
    sim = SimHypervisor(Path("k.sim"))
    started(sim, domain_xml("npbench-of-mine"))
    sim.close()
    done = run("bench", "locality", "--host", "k", "--yes", "--output", "json")
    assert 5 == done.status
    assert "npbench-of-mine exist already" in done.err
    assert ["npbench-of-mine"] == guests_of()
    told = bench(run, "--prefix", "mine-")
    assert {True} == {guest["guest"].startswith("mine-") for guest in told["guests"]}
    assert ["npbench-of-mine"] == guests_of()


def test_others_are_left_alone_and_named_before(run: Run, hosts: Path) -> None:
    sim = SimHypervisor(Path("k.sim"))
    started(sim, domain_xml("theirs"))
    sim.close()
    done = run("bench", "locality", "--host", "k", "--dry-run")
    assert (0, True) == (done.status, "1 guests of others run and are left alone: theirs" in done.out), done.out
    bench(run)
    assert ["theirs"] == guests_of()


def test_a_dry_run_and_a_run_without_yes_create_nothing(run: Run, hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both say what would be created, and how often."""
    monkeypatch.setattr(SimExecutor, "define", lambda *_: pytest.fail("something was created"))
    done = run("bench", "locality", "--host", "k", "--fleet", "fleet.yaml", "--dry-run", "--fill", "0=1GiB")
    assert done.status == 0
    assert "creates 5 guests called npbench-…" in done.out
    assert "fill" in done.out
    assert "on node 0 of k" in done.out
    asked = run("bench", "locality", "--host", "k", "--fleet", "fleet.yaml")
    assert (2, True) == (asked.status, "--yes" in asked.err)


def _raising(error: BaseException) -> Callable[[], None]:
    def do() -> None:
        raise error

    return do


def _signalled(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


INTERRUPTIONS = {
    "Ctrl-C": (_signalled(signal.SIGINT), 130),
    "terminated": (_signalled(signal.SIGTERM), 130),
    "a bug": (_raising(RuntimeError("a bug")), 1),
}


@pytest.mark.parametrize("call", ["define", "start_paused", "resume"])
@pytest.mark.parametrize("way", INTERRUPTIONS)
def test_nothing_is_left_behind(run: Run, hosts: Path, monkeypatch: pytest.MonkeyPatch, call: str, way: str) -> None:
    """In the midst of creating, after the call was done and nobody had noted that: filling guests go too."""
    interrupt, status = INTERRUPTIONS[way]
    done, calls = getattr(SimExecutor, call), []

    def interrupted(executor: SimExecutor, what: Any) -> None:
        done(executor, what)
        calls.append(what)
        if len(calls) == 3:
            interrupt()

    monkeypatch.setattr(SimExecutor, call, interrupted)
    words = ("bench", "locality", "--host", "k", "--fleet", "fleet.yaml", "--fill", "0=1GiB", "--yes")
    if way == "a bug":
        with pytest.raises(RuntimeError):
            run(*words)
    else:
        assert status == run(*words).status
    assert len(calls) >= 3
    assert [] == guests_of()


def test_interrupted_while_ours_are_applied(run: Run, hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Books and workers of their own: all is ended, and the user's books were not touched."""
    resume, calls = SimExecutor.resume, []

    def interrupted(executor: SimExecutor, uuid: str) -> None:
        resume(executor, uuid)
        calls.append(uuid)
        if len(calls) == 7:  # five by the default, then ours
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(SimExecutor, "resume", interrupted)
    done = run("bench", "locality", "--host", "k", "--fleet", "fleet.yaml", "--yes", "--output", "json")
    assert (130, ["default"]) == (done.status, [row["policy"] for row in done.json["rows"]])
    assert [] == guests_of()
    assert not Path("ledger.sqlite").exists()


def test_guests_that_are_refused_are_counted_and_say_why(
    run: Run, hosts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = SimExecutor.start_paused
    refusals = iter([True])

    def refused(executor: SimExecutor, uuid: str) -> None:
        if next(refusals, False):
            raise DefiniteFailureError("no numad here")
        start(executor, uuid)

    monkeypatch.setattr(SimExecutor, "start_paused", refused)
    done = run("bench", "locality", "--host", "k", "--fleet", "fleet.yaml", "--yes")
    assert done.status == 0
    assert "4/5" in done.out
    assert "npbench-web-1 does not run: no numad here" in done.out
    assert [] == guests_of()


def test_what_cannot_be_ended_is_named(run: Run, hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host is away when it comes to that."""

    def away(executor: SimExecutor, uuid: str) -> None:
        raise HostUnreachableError("k is away")

    monkeypatch.setattr(SimExecutor, "destroy", away)
    done = run("bench", "locality", "--host", "k", "--fleet", "fleet.yaml", "--yes")
    assert 8 == done.status
    for name in guests_of():
        assert f"{name} on k" in done.err
    assert "k is away" in done.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--fill", "9=1GiB"), "k has no node 9"),
        (("--fill", "h9:0=1GiB"), "no host is called 'h9'"),
        (("--fill", "0=1MiB"), "too little to leave"),
        (("--fill", "0"), "expected idle or [HOST:]NODE=SIZE"),
        (("--policy", "no-such"), "no-such"),
        (("--prefix", "-x"), "is no name for a guest"),
        (("--prefix", ""), "is no name for a guest"),
        (("--fleet", "absent.yaml"), "absent.yaml"),
        (("--hosts", "absent.yaml"), "absent.yaml"),
    ],
)
def test_bad_input_is_refused_before_anything_is_created(
    run: Run, hosts: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], complaint: str
) -> None:
    monkeypatch.setattr(SimExecutor, "define", lambda *_: pytest.fail("something was created"))
    done = run("bench", "locality", "--host", "k", "--yes", *words)
    assert done.status in (2, 6)
    assert complaint in done.err


def test_a_bad_hosts_file_is_told_by_line(run: Run, hosts: Path) -> None:
    Path("hosts.yaml").write_text("schema: 1\nhosts:\n  k: {sources: ['sim:k.sim'], reserve: much}\n")
    done = run("bench", "locality", "--yes")
    assert 2 == done.status
    assert "hosts.yaml:3" in done.err
    Path("hosts.yaml").write_text("schema: 1\nhosts:\n  k: {sources: ['qemu+ssh://root@k/system?command=sh']}\n")
    done = run("bench", "locality", "--yes")
    assert (2, True) == (done.status, "command" in done.err)


def test_kvm_and_xen_together_need_templates(run: Run, hosts: Path) -> None:
    done = run("bench", "locality", "--yes")
    assert (2, True) == (done.status, "--fleet" in done.err)
