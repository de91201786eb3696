"""A state of all guests, and how it came about: steps made one after the other, and taken back."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from policies.groups import whole_groups_of
from policies.objective import Term
from policies.rebalance.loads import Loads, more_own
from policies.rebalance.model import GuestClass, Model, Way
from policies.rebalance.places import Place
from policies.rebalance.worth import NodeTerms

State = tuple[tuple[int, int, int], ...]
"""Class, place, and how many more stand there than at the start, ascending: guests of one class are interchangeable."""

Cost = tuple[int, int]
"""KiB copied, then steps."""

Value = tuple[int, ...]
"""How good a state is; less is better, the first number counts first."""

MOST_PINS = 8
"""Sets of pCPUs on one node that guests stand on: of more, only all are re-pinned together."""


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


def cost_of(moves: Sequence[Move]) -> Cost:
    return sum(move.way.kib for move in moves), len(moves)


START: State = ()
"""Everybody is where he stands."""


def after(state: State, moves: Sequence[Move]) -> State:
    more = Counter({(kind, place): n for kind, place, n in state})
    for move in moves:
        more[move.kind, move.origin] -= 1
        more[move.kind, move.way.target] += 1
    return tuple(sorted((kind, place, n) for (kind, place), n in more.items() if n))


class Walk:
    """A state that steps are made in, and taken back. Mutable; `go_to` finds it as it left it.

    Attributes:
        at: per class how many stand at each place.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._state = START
        self.at = [Counter(kind.starts) for kind in model.standing]
        self.loads = Loads(model)
        self._spanned = self._distance = self._missed = 0
        for kind, at in zip(model.standing, self.at, strict=True):
            for place in at.elements():
                self._add(kind, kind.places[place], 1)
        self._of_nodes = NodeTerms(model, self.loads)

    def go_to(self, state: State) -> None:
        """Be in this state, however it is reached."""
        more = Counter({(kind, place): n for kind, place, n in state})
        more.subtract({(kind, place): n for kind, place, n in self._state})
        for (number, place), n in more.items():
            kind = self.model.standing[number]
            self.at[number][place] += n
            for _ in range(abs(n)):
                self._add(kind, kind.places[place], 1 if n > 0 else -1)
        self._state = state

    def do(self, moves: Sequence[Move]) -> None:
        for move in moves:
            self._go(move.kind, move.origin, move.way.target)

    def undo(self, moves: Sequence[Move]) -> None:
        for move in reversed(moves):
            self._go(move.kind, move.way.target, move.origin)

    def room_for(self, kind: GuestClass, place: Place, beside: Place | None = None) -> Sequence[tuple[Move, ...]]:
        """Who is to be re-pinned before such a guest can come: nobody, or each set of which nobody can be left out.

        Nothing where that does not help. `beside` is what the guest holds already.
        """
        if not self.loads.fits(kind, place, beside):
            return ()
        needed = dict(more_own(kind, place, beside))
        short = [row for row, n in needed.items() if n > self.loads.unowned(row)]
        return tuple(self._yielding(needed, short)) if short else ((),)

    def _yielding(self, needed: Mapping[int, int], rows: Sequence[int]) -> Iterator[tuple[Move, ...]]:
        """Run it to its end: between two answers the first moves are made."""
        if not rows:
            yield ()
            return
        for moves in self._minimal(rows[0], needed[rows[0]]):
            self.do(moves)
            more = [other for other in rows[1:] if needed[other] > self.loads.unowned(other)]
            for rest in self._yielding(needed, more):
                yield (*moves, *rest)
            self.undo(moves)

    def _minimal(self, row: int, needed: int) -> Iterator[tuple[Move, ...]]:
        """Sets of guests in whose way nobody is left who needs so many pCPUs of the row."""
        by_pins: dict[int, list[Move]] = defaultdict(list)
        for move in self._yielders(row):
            pins = dict(self.model.standing[move.kind].places[move.origin].pins)
            by_pins[pins[row]].append(move)
        tried: list[frozenset[int]] = []
        sizes = range(1, len(by_pins) + 1) if len(by_pins) <= MOST_PINS else (len(by_pins),)
        for size in sizes:
            for some in map(frozenset, itertools.combinations(by_pins, size)):
                if not any(fewer <= some for fewer in tried) and self.loads.unowned(row, without=some) >= needed:
                    tried.append(some)
                    yield tuple(move for pins in sorted(some) for move in by_pins[pins])

    def _yielders(self, row: int) -> Iterator[Move]:
        """Each guest that has pins on the row, and may be pinned anew."""
        for i, origin in self.on_host(int(self.model.fleet.node_host[row])):
            kind = self.model.standing[i]
            if any(pinned == row for pinned, _ in kind.places[origin].pins):
                way = kind.way_to_yield(origin)
                if way is not None:
                    yield from [Move(i, origin, way)] * self.at[i][origin]

    def _go(self, kind: int, origin: int, target: int) -> None:
        of_kind = self.model.standing[kind]
        self._add(of_kind, of_kind.places[origin], -1)
        self._add(of_kind, of_kind.places[target], 1)
        self.at[kind][origin] -= 1
        self.at[kind][target] += 1

    def _add(self, kind: GuestClass, place: Place, sign: int) -> None:
        self.loads.add(kind, place, sign)
        self._spanned += sign * place.spanned
        self._distance += sign * place.distance
        self._missed += sign * place.missed

    def on_host(self, host: int) -> Iterator[tuple[int, int]]:
        """Class and place of those who are on a host, one for all who are at one place."""
        for number, (kind, at) in enumerate(zip(self.model.standing, self.at, strict=True)):
            yield from ((number, place) for place in kind.on_host(host) if at[place])

    def moves(self, cost: Cost) -> Iterator[tuple[Move, ...]]:
        """Every step that is possible now and within the budget, after those that make room for it."""
        budget = self.model.question.budget
        for i, (kind, at) in enumerate(zip(self.model.standing, self.at, strict=True)):
            for origin in [place for place, count in at.items() if count]:
                here = kind.places[origin]
                for way in kind.ways_from(origin):
                    if cost[0] + way.kib > budget.most_memory_kib:
                        break  # least memory comes first
                    if kind.is_same(origin, way.target):
                        continue  # nobody is re-pinned but for a dedicated guest
                    for first in self.room_for(kind, kind.places[way.target], here):
                        if cost[1] + len(first) < budget.most_moves:
                            yield (*first, self._from_there(Move(i, origin, way), first))

    def _from_there(self, move: Move, first: Sequence[Move]) -> Move:
        """The move after these: from where its guest is pinned anew, where a mixed one has stood in its own way."""
        gone = [other for other in first if (other.kind, other.origin) == (move.kind, move.origin)]
        if len(gone) < self.at[move.kind][move.origin]:
            return move
        return replace(move, origin=gone[0].way.target)

    @property
    def value(self) -> Value:
        """The tiers of the objective but the first: nobody who is there loses his place."""
        values = {
            Term.PLACED: len(self.model.question.guests),
            Term.NODES_SPANNED: self._spanned,
            Term.DISTANCE: self._distance,
            Term.SOFT_WISHES: self.loads.wishes_broken() + self._missed,
            Term.FEWEST_HOSTS: self.loads.hosts_in_use,
            **self._of_nodes.values(),
        }
        return tiers_of(self.model, values)


def tiers_of(model: Model, values: Mapping[Term, int]) -> Value:
    """The value of a state whose terms have these; less is better."""
    tiers = model.question.objective.tiers[1:]
    return tuple(-tier.value(values) if tier.more_is_better else tier.value(values) for tier in tiers)


def weight(model: Model, seats: Sequence[Seat]) -> int:
    return sum(model.wanted[seat.kind].request.priority for seat in seats)


def broken_groups(model: Model, seats: Sequence[Seat]) -> frozenset[str]:
    """All-or-nothing groups of the wanted guests of which some have a seat, and some have none."""
    taken = Counter(seat.kind for seat in seats)
    placed, asked = Counter[str](), Counter[str]()
    for number, kind in enumerate(model.wanted):
        for name in whole_groups_of(kind.request):
            placed[name] += taken[number]
            asked[name] += len(kind.names)
    return frozenset(name for name, count in placed.items() if count not in (0, asked[name]))
