"""One guest on one host: exact with proof, beside best fit; and a guest that has one node too few."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.online import CPUS_OF_NODE, GIB_KIB, GIB_OF_NODE
from policies.capacity import HostCapacity, NodeCapacity
from policies.fleet import Fleet
from policies.greedy import best_fit
from policies.plan import Answer, Placement, Rejection
from policies.policy import Effort, Policy
from policies.request import CpuPolicy, GuestName, GuestRequest, GuestShare, HostName
from policies.solver.solve import solver
from probe.cpuset import CpuSet, NodeId
from probe.topology import HostTopology, NumaNode

EXACT_MS, GREEDY_MS, REFUSED_MS = 50, 1, 5
"""The median of exact answers with proof, of best fit, and of refusals takes no longer."""
STOPPED_S = 0.04
"""Time limit of a search that must answer within `EXACT_MS`, proven or not."""
PROOF_S = 20
Row = dict[str, Any]
Slit = list[list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Guests of so many cells on hosts of so many nodes.

    Attributes:
        proof: whether each must be proven within `EXACT_MS`; else the search is stopped then.
    """

    cells: int
    nodes: int
    proof: bool = True

    @property
    def name(self) -> str:
        return f"{self.cells} cell{'s' * (self.cells > 1)} on {self.nodes} nodes"


CASES = tuple(
    Case(cells=cells, nodes=nodes, proof=(cells, nodes) != (8, 64)) for cells in (1, 2, 8) for nodes in (8, 16, 64)
)


def slits(nodes: int, rng: np.random.Generator) -> Iterator[Slit]:
    """Nodes in pairs, boards and cabinets; on a torus; and anyhow, each direction by itself."""
    ids = range(nodes)
    steps = ((1, 10), (2, 12), (4, 16), (16, 22), (nodes, 32))
    yield [[next(far for size, far in steps if a // size == b // size) for b in ids] for a in ids]
    side = {8: (2, 4), 16: (4, 4), 64: (4, 4, 4)}[nodes]
    points = list(itertools.product(*map(range, side)))
    yield [[10 + 5 * sum(_hops(p - q, n) for p, q, n in zip(a, b, side, strict=True)) for b in points] for a in points]
    anyhow = rng.integers(11, 60, (nodes, nodes))
    np.fill_diagonal(anyhow, 10)
    yield anyhow.tolist()


def _hops(apart: int, around: int) -> int:
    return min(abs(apart), around - abs(apart))


def topology_of(slit: Slit) -> HostTopology:
    """Equal nodes at these distances."""
    ids = [NodeId(node) for node in range(len(slit))]
    own = [CpuSet.of(*range(CPUS_OF_NODE * node, CPUS_OF_NODE * (node + 1))) for node in ids]
    kib = GIB_OF_NODE * GIB_KIB
    far = [dict(zip(ids, row, strict=True)) for row in slit]
    nodes = (NumaNode(node_id=i, cpus=own[i], memory_total_kib=kib, distances=far[i]) for i in ids)
    return HostTopology(nodes=tuple(nodes), online_cpus=CpuSet.union(own))


def host_of(topology: HostTopology, cpus_taken: Sequence[int], gib_taken: Sequence[int]) -> HostCapacity:
    """All pCPUs are for dedicated guests, and so much of each node is taken."""
    taken = zip(topology.nodes, cpus_taken, gib_taken, strict=True)
    left = (
        NodeCapacity(
            node_id=node.node_id,
            free_cpus=CpuSet(frozenset(sorted(node.cpus.ids)[cpus:])),
            shared_cpus=CpuSet(),
            shared_vcpus=0,
            memory_kib={4: (GIB_OF_NODE - gib) * GIB_KIB},
        )
        for node, cpus, gib in taken
    )
    return HostCapacity(name=HostName("h"), topology=topology, nodes=tuple(left))


def guest_of(cells: int, *, uneven: bool) -> GuestRequest:
    """A dedicated guest of cells of 4 vCPUs and 16 GiB, or of 2, 4, 6 and 8 with 4 GiB for each."""
    sizes = [2 + 2 * (i % 4) if uneven else 4 for i in range(cells)]
    shares = tuple(GuestShare(vcpus=n, memory_kib=4 * n * GIB_KIB) for n in sizes)
    return GuestRequest(
        name=GuestName("guest"),
        vcpus=sum(sizes),
        memory_kib=4 * sum(sizes) * GIB_KIB,
        cells=cells,
        cell_sizes=shares if uneven and cells > 1 else (),
        cpus=CpuPolicy.DEDICATED,
    )


def questions(case: Case, guests: int, seed: int = 1) -> Iterator[tuple[GuestRequest, Fleet]]:
    """A host each, of which about half of the nodes are partly full: three machines and two kinds of guests in turn."""
    rng = np.random.default_rng(seed)
    machines = [topology_of(slit) for slit in slits(case.nodes, rng)]
    for number in range(guests):
        some = rng.random(case.nodes) < 0.5
        cpus = np.where(some, rng.integers(0, CPUS_OF_NODE, case.nodes), 0)
        gib = np.where(some, rng.integers(0, GIB_OF_NODE, case.nodes), 0)
        host = host_of(machines[number % 3], cpus.tolist(), gib.tolist())
        yield guest_of(case.cells, uneven=number // 3 % 2 == 1), Fleet.of([host])


def measure_one_guest(case: Case, guests: int) -> Row:
    """Milliseconds of `solver` and of `best-fit` on the same questions, and how far the answers are proven.

    Where not all need be proven in time, the search is stopped, and its time to the proof is measured apart.
    """
    asked = list(questions(case, guests))
    stopped = Effort(time_limit_s=None if case.proof else STOPPED_S)
    exact, answers = _timed(solver, asked, stopped)
    greedy, _ = _timed(best_fit, asked, stopped)
    gaps = [_gap(answer) for answer in answers]
    proofs = exact if case.proof else _timed(solver, asked, Effort(time_limit_s=PROOF_S))[0]
    row = {
        "case": case.name,
        "guests": guests,
        "placed": sum(isinstance(answer.decisions[0], Placement) for answer in answers),
        "proven": gaps.count(0),
        **_times("exact", exact),
        "exact_limit_ms": EXACT_MS,
        **_times("greedy", greedy),
        "greedy_limit_ms": GREEDY_MS if case.proof else None,
        "mean_gap": float(np.mean(gaps)),
        "largest_gap": max(gaps),
        "proof_median_ms": float(np.median(proofs)),
        "proof_most_ms": max(proofs),
        "reason": "",
    }
    unproven = case.proof and row["proven"] < guests
    return {**row, "missed": _missed(row) + ["not all proven"] * unproven}


def measure_refusals(guests: int) -> Row:
    """The same for a guest of 8 cells of which only 7 find a node among 16: refused, with the reason."""
    rng = np.random.default_rng(1)
    request = guest_of(8, uneven=False)
    machine = topology_of(next(slits(16, rng)))
    asked = []
    for _ in range(guests):
        taken = np.full(16, CPUS_OF_NODE - 1)
        taken[rng.permutation(16)[:7]] = 0
        asked.append((request, Fleet.of([host_of(machine, taken.tolist(), [0] * 16)])))
    exact, answers = _timed(solver, asked, Effort(time_limit_s=None))
    greedy, _ = _timed(best_fit, asked, Effort())
    refused = [a.decisions[0] for a in answers if isinstance(a.decisions[0], Rejection)]
    row = {
        "case": "8 cells, 7 of 16 nodes hold one",
        "guests": guests,
        "placed": guests - len(refused),
        "proven": sum(_gap(answer) == 0 for answer in answers),
        **_times("exact", exact),
        "exact_limit_ms": REFUSED_MS,
        **_times("greedy", greedy),
        "greedy_limit_ms": REFUSED_MS,
        "mean_gap": 0.0,
        "largest_gap": 0.0,
        "proof_median_ms": float(np.median(exact)),
        "proof_most_ms": max(exact),
        "reason": refused[0].detail if refused else "",
    }
    unexplained = any("cells 0-7 want 8 nodes, and only nodes" not in one.detail for one in refused)
    wrong = len(refused) < guests or unexplained
    return {**row, "missed": _missed(row) + ["not refused with the cells and the nodes"] * wrong}


def _timed(
    policy: Policy, asked: Sequence[tuple[GuestRequest, Fleet]], effort: Effort
) -> tuple[list[float], list[Answer]]:
    took_ms, answers = [], []
    for request, fleet in asked:
        began = time.perf_counter()
        answers.append(policy([request], fleet, effort))
        took_ms.append((time.perf_counter() - began) * 1000)
    return took_ms, answers


def _times(name: str, took_ms: Sequence[float]) -> Row:
    return {
        f"{name}_median_ms": float(np.median(took_ms)),
        f"{name}_p99_ms": float(np.percentile(took_ms, 99)),
    }


def _gap(answer: Answer) -> float:
    """The largest of all tiers."""
    return max(tier.gap or 0.0 for tier in answer.objective)


def _missed(row: Row) -> list[str]:
    return [
        f"{name} median over {row[f'{key}_limit_ms']} ms"
        for name, key in (("exact", "exact"), ("best-fit", "greedy"))
        if row[f"{key}_limit_ms"] is not None and row[f"{key}_median_ms"] >= row[f"{key}_limit_ms"]
    ]
