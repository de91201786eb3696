"""Rows made up for the report's tests: nothing was measured."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.rows import Row

POLICIES = ("unpinned", "best-fit", "solver")


def row(policy: str, seed: int = 1, scenario: str = "lab", **changed: Any) -> Row:
    """A small row; `metrics` replaces all of its figures."""
    standard: dict[str, Any] = {"digest": f"digest of {scenario}", "metrics": {"placed": 10, "refused": 2}}
    return Row(scenario=scenario, policy=policy, seed=seed, **{**standard, **changed})


def rows_of(values: Mapping[str, Sequence[float]], metric: str = "placed", scenario: str = "lab") -> list[Row]:
    """One figure of each policy, one row for each seed from 1 on."""
    return [
        row(policy, seed, scenario, metrics={metric: value})
        for policy, of_seeds in values.items()
        for seed, value in enumerate(of_seeds, 1)
    ]


def measured(
    policies: Sequence[str] = POLICIES,
    scenarios: Sequence[str] = ("lab", "trace"),
    seeds: Sequence[int] = (1, 2, 3),
    *,
    nodes: int = 8,
    samples: int = 50,
) -> list[Row]:
    """Rows as full as real ones, different for each seed; the later a policy stands, the better it is."""
    return [
        _full(policy, place, scenario, seed, (nodes, samples))
        for scenario in scenarios
        for place, policy in enumerate(policies)
        for seed in seeds
    ]


def _full(policy: str, place: int, scenario: str, seed: int, size: tuple[int, int]) -> Row:
    chance = random.Random(f"{policy} {scenario} {seed}")  # noqa: S311 (numbers for a test)
    luck = random.Random(f"{scenario} {seed}")  # noqa: S311 (the events that all policies share)
    nodes, samples = size
    guests = 200 + luck.randrange(40)
    refused = max(0, 40 - 6 * place + luck.randrange(8) + chance.randrange(3))
    broken = 3 if place == 0 else 0
    placed = guests - refused - broken
    local = min(1.0, 0.25 + 0.12 * place + chance.random() / 20)
    far = round(placed * (1 - local))
    return Row(
        scenario=scenario,
        policy=policy,
        seed=seed,
        digest=f"sha256:{scenario}",
        metrics={
            "placed": placed,
            "refused": refused,
            "refused[memory]": refused - refused // 3,
            "refused[pcpus]": refused // 3,
            "broken": broken,
            "one_node_ratio": local,
            "mean_nodes": 1 + 3 * (1 - local),
            "mean_distance": 10 + 11 * (1 - local),
            "p99_distance": 21 if local < 0.99 else 10,
            "local_ratio": local,
            "l3_split": chance.randrange(20),
            "smt_shared": chance.randrange(9),
            "empty_hosts": 2 + chance.random(),
            "stranded_cpus": chance.random() * 12,
            "stranded_gib": chance.random() * 99,
            "room[m1.small]": chance.randrange(50),
            "room[m1.large]": chance.randrange(9),
            "p50_ms": 0.2 * (1 + place) + chance.random() / 9,
            "p99_ms": 2.0 * (1 + place) + chance.random(),
            "wall_s": 10 + chance.random(),
            "peak_mib": 150 + chance.random(),
        },
        series={
            "at_s": [60.0 * i for i in range(samples)],
            "refused": [round(refused * max(0.0, i / samples - 0.3) / 0.7) for i in range(samples)],
            "placed": [round(placed * i / samples) for i in range(samples)],
            "here": [min(90, i * 3) for i in range(samples)],
            "node_load": [[min(100, (i * 4 + 9 * n * place) % 120) for n in range(nodes)] for i in range(samples)],
        },
        distances={"10": placed - far, "16": far // 3, "21": far - far // 3},
        limited_by_clock=policy == "solver" and seed == 1,
        versions={"day": f"2026-11-{seed:02}", "numaplace": "0.1.0", "python": "3.11.7", "machine": "x86_64, 2 CPUs"},
        command=f"numaplace bench run {scenario} --policy {policy} --seeds {seed}",
    )
