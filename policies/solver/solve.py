"""Solve the model tier by tier; what a higher tier reached is fixed for the lower ones."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ortools.sat.python.cp_model import FEASIBLE, OPTIMAL, UNKNOWN, CpSolver, IntVar, LinearExpr

from policies.compose import Assigned, compose_all
from policies.errors import DoesNotFitError
from policies.explain import reject_all
from policies.fleet import Fleet
from policies.greedy import Chooser, choose_first, choose_fullest
from policies.plan import Answer, SolveStatus, Tier
from policies.policy import Effort
from policies.request import GuestRequest
from policies.solver.model import Counts, FleetModel, build
from policies.solver.rules import HARD_RULES
from policies.tiers import TIERS
from probe.errors import NumaplaceError


class PolicyError(NumaplaceError):
    """The model is wrong: a bug of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """One tier: as the model counts it, and as it is counted on an answer.

    `trivial_bound` holds for every answer: all guests placed, or nothing spent.
    """

    name: str
    expression: LinearExpr
    value_of: Callable[[Counts], int]
    maximize: bool
    trivial_bound: int


def solver(requests: Sequence[GuestRequest], fleet: Fleet, effort: Effort, /) -> Answer:
    """Home as many guests as possible, on as few and as near nodes and as few hosts as possible.

    The best greedy answer is the start of the search, so the answer is never worse, and there is
    always one. Status `optimal` means that every tier is proven.
    """
    fleet_model = build(requests, fleet)
    for rule in HARD_RULES:
        rule(fleet_model)
    stages = _stages(fleet_model)
    counts = _best_start(fleet_model, stages, requests)
    tiers: list[Tier] = []
    deadline = None if effort.time_limit_s is None else time.monotonic() + effort.time_limit_s
    for number, stage in enumerate(stages, 1):
        left_s = None if deadline is None else (deadline - time.monotonic()) / (len(stages) + 1 - number)
        counts, bound = _improve(fleet_model, stage, counts, effort, left_s)
        value = stage.value_of(counts)
        tiers.append(Tier(tier=number, name=stage.name, value=value, bound=bound if fleet_model.complete else None))
        keep = stage.expression >= value if stage.maximize else stage.expression <= value
        fleet_model.model.add(keep)
    return _decoded(fleet_model, requests, counts, tuple(tiers))


def _stages(fleet: FleetModel) -> list[_Stage]:
    """The tiers, in order (`policies.tiers.TIERS`)."""
    ways = fleet.ways
    weights = (
        [way.guest_class.request.priority for way in ways],
        [len(way.homes) for way in ways],
        [way.distance for way in ways],
    )
    stages = [
        _Stage(
            name=name,
            expression=LinearExpr.weighted_sum([way.count for way in ways], weight),
            value_of=functools.partial(_weighted, dict(zip((way.count for way in ways), weight, strict=True))),
            maximize=name == "placed",
            trivial_bound=sum(len(c.members) * c.request.priority for c in fleet.classes) if name == "placed" else 0,
        )
        for name, weight in zip(TIERS, weights, strict=False)
    ]
    hosts_used = LinearExpr.sum(_hosts_used(fleet))
    packing = _Stage(
        name=TIERS[-1],
        expression=hosts_used,
        value_of=lambda counts: len({way.host.name for way in ways if way.count in counts}),
        maximize=False,
        trivial_bound=0,
    )
    return [*stages, packing]


def _weighted(weights: Mapping[IntVar, int], counts: Counts) -> int:
    return sum(weights[variable] * n for variable, n in counts.items())


def _hosts_used(fleet: FleetModel) -> list[IntVar]:
    """A 0-1 variable for each host: 1 where a guest of this batch lives."""
    used = []
    for host in fleet.fleet:
        some = fleet.model.new_bool_var(f"used_{host.name}")
        here = [way for way in fleet.ways if way.host is host]
        for way in here:
            fleet.model.add(way.count <= len(way.guest_class.members) * some)
        fleet.derived.append((some, functools.partial(_any_used, [way.count for way in here])))
        used.append(some)
    return used


def _any_used(variables: Sequence[IntVar], counts: Counts) -> int:
    return int(any(variable in counts for variable in variables))


def _improve(
    fleet: FleetModel, stage: _Stage, start: Counts, effort: Effort, time_limit_s: float | None
) -> tuple[Counts, int]:
    """Solve for one tier from a start; the better of the two, and a bound that holds."""
    model, cp = fleet.model, CpSolver()
    (model.maximize if stage.maximize else model.minimize)(stage.expression)
    model.clear_hints()
    for way in fleet.ways:
        model.add_hint(way.count, start.get(way.count, 0))
    for variable, value_of in fleet.derived:
        model.add_hint(variable, value_of(start))
    cp.parameters.num_workers = effort.workers
    cp.parameters.random_seed = effort.seed
    if time_limit_s is not None:
        cp.parameters.max_time_in_seconds = max(0.05, time_limit_s)
    if effort.deterministic_limit is not None:
        cp.parameters.max_deterministic_time = effort.deterministic_limit / len(TIERS)
    status = cp.solve(model)
    if status == UNKNOWN:
        return start, stage.trivial_bound
    if status not in (OPTIMAL, FEASIBLE):  # placing nobody is always feasible
        raise PolicyError(f"CP-SAT answered {cp.status_name(status)}: the model is wrong.")
    found = {way.count: n for way in fleet.ways if (n := cp.value(way.count))}
    if status == OPTIMAL:
        return found, stage.value_of(found)
    better = max if stage.maximize else min
    return better((start, found), key=stage.value_of), round(cp.best_objective_bound)


def _best_start(fleet: FleetModel, stages: Sequence[_Stage], requests: Sequence[GuestRequest]) -> Counts:
    """The best greedy answer, compared tier by tier: what first-fit and best-fit answer is among them."""
    starts = [
        _greedy(fleet, sorted(requests, key=order), choose)
        for choose in (choose_first, choose_fullest)
        for order in (_by_priority, _largest_first)
    ]

    def worth(counts: Counts) -> tuple[int, ...]:
        return tuple(stage.value_of(counts) * (1 if stage.maximize else -1) for stage in stages)

    return max(starts, key=worth)


def _by_priority(request: GuestRequest) -> tuple[int, ...]:
    return (-request.priority,)


def _largest_first(request: GuestRequest) -> tuple[int, ...]:
    return -request.priority, -request.memory_kib, -request.vcpus


def _greedy(fleet: FleetModel, requests: Sequence[GuestRequest], choose: Chooser) -> Counts:
    """A greedy answer in the model's terms: how many guests of each class live in each way."""
    variable = {(id(way.guest_class), way.host.name, way.homes): way.count for way in fleet.ways}
    class_of = {member.name: guest_class for guest_class in fleet.classes for member in guest_class.members}
    book = fleet.fleet.open()
    counts: Counter[IntVar] = Counter()
    for request in requests:
        choice = choose(request, book)
        if choice is not None:
            candidate, placement = choice
            book.take(placement)
            counts[variable[id(class_of[request.name]), placement.host, candidate.homes]] += 1
    return counts


def _decoded(fleet: FleetModel, requests: Sequence[GuestRequest], counts: Counts, tiers: tuple[Tier, ...]) -> Answer:
    """Counts to guests: the members of a class fill its ways in order."""
    waiting = {id(guest_class): list(guest_class.members) for guest_class in fleet.classes}
    assigned = [
        Assigned(request=waiting[id(way.guest_class)].pop(0), host=way.host.name, homes=way.homes)
        for way in fleet.ways
        for _ in range(counts.get(way.count, 0))
    ]
    try:
        placements = compose_all(assigned, fleet.fleet)
    except DoesNotFitError as error:
        raise PolicyError(f"the model let through what does not fit: {error}") from error
    proven = all(tier.gap == 0 for tier in tiers)
    refused = [request for request in requests if request.name not in placements]
    rejections = reject_all(refused, fleet.fleet, proven=tiers[0].gap == 0)
    decisions = tuple(placements.get(request.name) or rejections[request.name] for request in requests)
    status = SolveStatus.OPTIMAL if proven else SolveStatus.FEASIBLE
    return Answer(decisions=decisions, objective=tiers, status=status)
