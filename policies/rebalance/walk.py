"""A state of all guests, and how it came about: steps made one after the other, and taken back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from policies.objective import Term
from policies.rebalance.loads import Loads
from policies.rebalance.model import Model, Way

State = tuple[tuple[int, ...], ...]
"""Per class the places of its guests, ascending: guests of one class are interchangeable."""

Cost = tuple[int, int]
"""KiB copied, then steps."""

Value = tuple[int, ...]
"""How good a state is; less is better, the first number counts first."""


@dataclass(frozen=True, slots=True)
class Move:
    """One guest of a class leaves a place in some way."""

    kind: int
    origin: int
    way: Way


@dataclass(frozen=True, slots=True)
class Seat:
    """One guest of a wanted class gets a place."""

    kind: int
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found: moves in order, and who of the wanted guests has a place after them."""

    value: Value
    moves: tuple[Move, ...]
    seats: tuple[Seat, ...]

    @property
    def cost(self) -> Cost:
        return cost_of(self.moves)

    @property
    def rank(self) -> tuple[Value, Cost]:
        return self.value, self.cost


def cost_of(moves: tuple[Move, ...] | list[Move]) -> Cost:
    return sum(move.way.kib for move in moves), len(moves)


def start_of(model: Model) -> State:
    """Where everybody stands."""
    return tuple(tuple(sorted(kind.starts)) for kind in model.standing)


def loads_of(model: Model, state: State) -> Loads:
    loads = Loads(model)
    for kind, places in zip(model.standing, state, strict=True):
        for place in places:
            loads.add(kind, kind.places[place])
    return loads


def after(state: State, move: Move) -> State:
    places = list(state[move.kind])
    places.remove(move.origin)
    places.append(move.way.target)
    return (*state[: move.kind], tuple(sorted(places)), *state[move.kind + 1 :])


def moves_from(model: Model, state: State, loads: Loads, cost: Cost) -> Iterator[Move]:
    """Every step that is possible now and within the budget."""
    budget = model.question.budget
    if cost[1] >= budget.most_moves:
        return
    for i, (kind, places) in enumerate(zip(model.standing, state, strict=True)):
        for origin in dict.fromkeys(places):
            here = kind.places[origin]
            for way in kind.ways_from(origin):
                if cost[0] + way.kib > budget.most_memory_kib:
                    break  # least memory comes first
                there = kind.places[way.target]
                if (model.makes_room or here.needs != there.needs) and loads.fits(kind, there, here):
                    yield Move(i, origin, way)


COUNTED = frozenset({Term.PLACED, Term.NODES_SPANNED, Term.DISTANCE, Term.SOFT_WISHES, Term.FEWEST_HOSTS})
"""The terms of an objective that a state is judged by here."""


def objective_value(model: Model, state: State, loads: Loads) -> Value:
    """The tiers of the objective but the first: nobody who is there loses his place."""
    held = [kind.places[p] for kind, places in zip(model.standing, state, strict=True) for p in places]
    used = _hosts_in_use(model) | {host for host, n in loads.hosts.items() if n}
    values = {
        Term.PLACED: len(held),
        Term.NODES_SPANNED: sum(place.spanned for place in held),
        Term.DISTANCE: sum(place.distance for place in held),
        Term.SOFT_WISHES: loads.wishes_broken(),
        Term.FEWEST_HOSTS: len(used),
    }
    return _tiers(model, values)


def least_value(model: Model) -> Value:
    """No state has a lower one: each guest as if it were alone, on the hosts that are in use anyway."""
    kinds = [kind for kind in model.standing for _ in kind.members]
    values = {
        Term.PLACED: len(kinds),
        Term.NODES_SPANNED: sum(min(place.spanned for place in kind.places) for kind in kinds),
        Term.DISTANCE: sum(min(place.distance for place in kind.places) for kind in kinds),
        Term.SOFT_WISHES: 0,
        Term.FEWEST_HOSTS: max(len(_hosts_in_use(model)), min(1, len(kinds))),
    }
    return _tiers(model, values)


def _hosts_in_use(model: Model) -> set[int]:
    """Hosts of guests who stay where they are."""
    return {model.fleet.host_index(placement.host) for placement in model.question.fixed}


def _tiers(model: Model, values: Mapping[Term, int]) -> Value:
    return tuple(tier.value(values) for tier in model.question.objective.tiers[1:])


def weight(model: Model, seats: tuple[Seat, ...] | list[Seat]) -> int:
    return sum(model.wanted[seat.kind].request.priority for seat in seats)
