"""Better than unpinned? One answer per policy and scenario, and one over all scenarios.

Two figures decide, because either alone can be had by giving up the other: guests placed, and local bytes. A policy is
better where one of them is shown to be better and the other one is shown to be better too, or no worse than by a point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

from benchmarks.report.paired import Difference, difference, mean_difference
from benchmarks.report.results import SHARE, Results

DECIDING = (SHARE, "local_ratio")
NO_WORSE = 0.01
"""A percentage point: with few seeds, "not shown to be worse" would be true of much that is."""


class Answer(StrEnum):
    """Better than the base?"""

    YES = "yes"
    NO = "no"
    MIXED = "mixed"
    """One of the two figures is better and the other one worse."""
    NOT_SHOWN = "not shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Of one policy.

    Attributes:
        answer: over all scenarios that both have, each with the same weight.
        overall: the difference of each deciding figure, mean over the scenarios, paired by seed; None where no
            scenario tells it.
        by_scenario: the answer in each scenario that both have.
        left_out: seeds that not all of these scenarios have, of both.
    """

    policy: str
    answer: Answer
    overall: tuple[Difference | None, ...]
    by_scenario: dict[str, Answer]
    left_out: tuple[int, ...] = ()


def verdicts(results: Results, base: str) -> list[Verdict]:
    """Of every policy but the base: by the answer, then by how much of both figures together."""
    found = [_verdict(results, policy, base) for policy in results.contenders if policy != base]
    order = [*Answer]
    return sorted(found, key=lambda one: (order.index(one.answer), -sum(map(_mean, one.overall)), one.policy))


def counts(verdict: Verdict) -> str:
    """`5 yes, 1 not shown`: of the scenarios."""
    answers = [*verdict.by_scenario.values()]
    return ", ".join(f"{answers.count(each)} {each.value}" for each in Answer if each in answers)


def answer(differences: Sequence[Difference | None]) -> Answer:
    """Of the deciding figures, in all of which more is better."""
    told = [margin for margin in differences if margin is not None]
    signs = {margin.sign for margin in told}
    if {1, -1} <= signs:
        return Answer.MIXED
    if 1 in signs:
        return (
            Answer.YES
            if all(margin.low is not None and margin.low > -NO_WORSE for margin in told)
            else Answer.NOT_SHOWN
        )
    if -1 in signs or (told and all(margin.is_none for margin in told)):
        return Answer.NO
    return Answer.NOT_SHOWN


def _verdict(results: Results, policy: str, base: str) -> Verdict:
    both = [s for s in results.scenarios if {policy, base} <= set(results.played(s))]
    seeds = {s: results.of(s, policy).keys() & results.of(s, base).keys() for s in both}
    every = {seed for s in both for seed in (*results.of(s, policy), *results.of(s, base))}
    common = set.intersection(*map(set, seeds.values())) if seeds else set()
    overall = tuple(_overall(results, policy, base, metric) for metric in DECIDING)
    return Verdict(
        policy=policy,
        answer=answer(overall),
        overall=overall,
        by_scenario={scenario: answer(_within(results, scenario, policy, base)) for scenario in both},
        left_out=tuple(sorted(every - common)),
    )


def _within(results: Results, scenario: str, policy: str, base: str) -> list[Difference | None]:
    repeat = results.repeats(scenario, policy) and results.repeats(scenario, base)
    return [
        difference(results.values(scenario, policy, m), results.values(scenario, base, m), repeat=repeat)
        for m in DECIDING
    ]


def _overall(results: Results, policy: str, base: str, metric: str) -> Difference | None:
    """For each seed the mean over the scenarios, then as any other difference; over the seeds that all of them have."""
    pairs = [(results.values(s, policy, metric), results.values(s, base, metric)) for s in results.scenarios]
    pairs = [(ours, theirs) for ours, theirs in pairs if ours and theirs]
    if not pairs:
        return None
    seeds = set.intersection(*({*ours} & {*theirs} for ours, theirs in pairs))
    if not seeds:
        return None
    by_seed = {seed: fmean(ours[seed] - theirs[seed] for ours, theirs in pairs) for seed in sorted(seeds)}
    scale = max(abs(side[seed]) for pair in pairs for side in pair for seed in seeds)
    repeat = all(results.repeats(s, c) for s in results.scenarios for c in (policy, base) if results.of(s, c))
    return mean_difference(by_seed, scale=scale, repeat=repeat)


def _mean(margin: Difference | None) -> float:
    return 0.0 if margin is None else margin.mean
