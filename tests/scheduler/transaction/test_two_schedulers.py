"""Two `numaplace apply` with different plans for one host at the same time: 200 guests, nothing promised twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from probe.cpuset import CpuSet
from scheduler.ledger import Ledger, State, fold
from scheduler.ledger.values import WHOLE_HOST
from scheduler.sim.hypervisor import SimHypervisor
from tests.conftest import ROOT
from tests.policies.hosts import GIB_KIB
from tests.scheduler.cli.conftest import Run, run as run

NODE_GIB = 24
MAIN = "from scheduler.cli.main import main; main()"
HOSTS = "schema: 1\nhosts:\n  h1: {sources: ['sim:h1.sim'], reserve: 0}\n"
FLEET = """\
schema: 1
defaults: {{vcpus: 1, overhead: 0}}
guests:
  - {{name: {0}-own, count: 60, memory: 512MiB, cpus: dedicated}}
  - {{name: {0}-float, count: 40, memory: 1GiB, cpus: shared}}
"""


def test_no_cpu_and_no_page_is_promised_twice(run: Run, tmp_path: Path) -> None:
    """Each plan was made for the empty host, so that guests must move; both finish with all placed."""
    shape = f"synthetic:package:2 node:4 core:26 memory:{NODE_GIB}GiB"
    run("sim", "create", "h1.sim", "--from", shape, "--name", "h1")
    (tmp_path / "hosts.yaml").write_text(HOSTS)
    for who in ("a", "b"):
        (tmp_path / f"{who}.yaml").write_text(FLEET.format(who))
        made = run("plan", f"{who}.yaml", "--policy", "first-fit", "-o", f"{who}.json")
        assert made.status == 0, made.err
    children = [_apply(tmp_path, who) for who in ("a", "b")]
    told = [child.communicate(timeout=240) for child in children]
    assert [0, 0] == [child.returncode for child in children], told
    guests = [guest for out, _ in told for guest in json.loads(out)["guests"]]
    assert (200, {"active"}) == (len(guests), {guest["state"] for guest in guests})
    assert any(guest["moves"] for guest in guests)
    _by_the_books(tmp_path)
    _by_the_hypervisor(tmp_path)


def _apply(folder: Path, who: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, "apply", f"{who}.json", "--output", "json", "--retries", "100"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _by_the_books(folder: Path) -> None:
    with closing(Ledger(folder / "ledger.sqlite")) as ledger:
        books = ledger.books()
        assert fold(ledger.events()) == books
        assert {State.ACTIVE: 200} == Counter(claim.state for claim in ledger.claims())
    own = [cpu for held in books.holdings.values() for cpu in held.own_cpus]
    floating = CpuSet.union(held.floating_cpus for held in books.holdings.values())
    assert (120, 120, True) == (len(own), len({*own}), floating.isdisjoint(CpuSet(frozenset(own))))
    promised: Counter[int] = Counter()
    for held in books.holdings.values():
        promised.update({node: kib for (node, _), kib in held.memory_kib.items() if node != WHOLE_HOST})
    assert max(promised.values()) <= NODE_GIB * GIB_KIB
    assert 140 * GIB_KIB == promised.total()


def _by_the_hypervisor(folder: Path) -> None:
    """What it binds, whatever the books say: dedicated pCPUs are one guest's, the others hold one vCPU each."""
    with closing(SimHypervisor(folder / "h1.sim")) as sim:
        masks = {domain.wanted.name: domain.wanted.affinity[0] for domain in sim.domains()}
        nodes = {node.node_id: node.cpus for node in sim.base.topology.nodes}
    own = [cpus for guest, cpus in masks.items() if "-own-" in guest]
    floats = [cpus for guest, cpus in masks.items() if "-float-" in guest]
    taken = CpuSet.union(own)
    assert (120, 80) == (len(taken), len(floats))
    assert all(cpus.isdisjoint(taken) for cpus in floats)
    for of_node in nodes.values():
        assert sum(cpus <= of_node for cpus in floats) <= len(of_node - taken)
