"""The whole: room is made the quick way, then all states are searched, as far as the time goes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from policies.objective import Term
from policies.plan import Placement, Tier
from policies.rebalance.counting import model_of
from policies.rebalance.model import Model
from policies.rebalance.question import Limit, Question, Rebalancing, Step
from policies.rebalance.realize import realize
from policies.rebalance.room import Room
from policies.rebalance.search import Search
from policies.rebalance.seating import seats_in
from policies.rebalance.verify import is_sound
from policies.rebalance.walk import Found, Walk, weight
from policies.rebalance.worth import OF_NODES
from policies.request import GuestRequest
from policies.tiers import terms_of, tiers_with


def rebalance(question: Question, time_limit_s: float | None, *, looks: int | None = None) -> Rebalancing:
    """The best steps that are found in time.

    What counts is how many of the wanted guests find a place (by priority), or without any the objective
    of those who are there, tier by tier; then that little memory is copied; then that the steps are few.

    Args:
        time_limit_s: wall clock; None for `looks` alone.
        looks: how often it may be looked whether to go on: the same steps on every machine, where no clock ends it.

    Raises:
        DoesNotFitError: a guest stands where it cannot.
    """
    began, limit = time.monotonic(), math.inf if time_limit_s is None else time_limit_s
    patience = Patience(began + limit, looks)
    in_time = patience.lasts
    model = model_of(question, lambda: time.monotonic() < began + limit / 3)
    keeper = _Keeper(model)
    stay = _stay(model, in_time)
    scale = _Scale(question)
    with patience.holding_back():  # it is asked again at the end
        before = scale.tiers([], keeper.of(stay)[1])
    room = Room(model, patience.half().lasts)
    quick = room.for_wanted() if question.wanted else room.for_objective()
    with patience.holding_back():
        best = quick if quick.rank < stay.rank and keeper.accept(quick) else stay
    search = Search(model, best, keeper.accept, in_time)
    search.run()
    steps, placed = keeper.of(search.best)
    return Rebalancing(
        steps=steps,
        placed=placed,
        before=before,
        after=before if search.best is stay else scale.tiers(steps, placed),
        limit=Limit.NONE if search.complete and model.exact else search.limit or Limit.WAYS,
        looked_through=room.ended,
    )


class Patience:
    """How long may be searched: until a moment, and so many looks; None is without end."""

    def __init__(self, until: float, looks: int | None) -> None:
        self._until, self._looks = until, math.inf if looks is None else looks

    def lasts(self) -> bool:
        """Whether to go on. Each call is a look."""
        self._looks -= 1
        return self._looks >= 0 and time.monotonic() < self._until

    @contextmanager
    def holding_back(self) -> Iterator[None]:
        """As much time as this takes is kept for later."""
        began = time.monotonic()
        yield
        self._until -= time.monotonic() - began

    def half(self) -> Patience:
        """Half of what is left, taken off this one: of the looks; of the time what it has not used stays."""
        half = Patience((time.monotonic() + self._until) / 2, None)
        self._looks = half._looks = self._looks if math.isinf(self._looks) else self._looks // 2
        return half


_Made = tuple[tuple[Step, ...], tuple[Placement, ...]]
"""Steps, and where wanted guests go after them."""


def _stay(model: Model, in_time: Callable[[], bool]) -> Found:
    """Nobody moves."""
    walk = Walk(model)
    if not model.wanted:
        return Found(value=walk.value, moves=(), seats=())
    seats = seats_in(walk, 0, in_time).seats
    return Found(value=(-weight(model, seats),), moves=(), seats=seats)


@dataclass(slots=True)
class _Keeper:
    """Turns what was found into steps, and lets only sound ones through."""

    model: Model
    _last: tuple[Found, _Made] | None = None

    def accept(self, found: Found) -> bool:
        made = realize(self.model, found)
        if made is None or not is_sound(self.model.question, *made):
            return False
        self._last = found, made
        return True

    def of(self, found: Found) -> _Made:
        if self._last is not None and self._last[0] is found:
            return self._last[1]
        return realize(self.model, found) or ((), ())


class _Scale:
    """The objective over all guests of ours."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._fixed = [replace(placement, groups=()) for placement in question.fixed]  # they are residents of the fleet
        requests = [guest.request for guest in question.guests]
        requests = [r if r.priority == 1 else replace(r, priority=1) for r in requests]
        requests += [GuestRequest(name=placement.guest, vcpus=1, memory_kib=1024) for placement in self._fixed]
        self._everybody = [*requests, *question.wanted]

    def tiers(self, steps: Sequence[Step], placed: Sequence[Placement]) -> tuple[Tier, ...]:
        """After these steps."""
        now = {guest.placement.guest: guest.placement for guest in self._question.guests}
        now |= {step.target.guest: step.target for step in steps}
        values = dict(self._terms([*now.values(), *self._fixed, *placed]))
        if self._fixed and OF_NODES & {*self._question.objective.terms}:  # the fleet is without the fixed
            of_movable = self._terms([*now.values(), *placed])
            values |= {term: value for term, value in of_movable.items() if term in OF_NODES}
        return tiers_with(values, self._question.objective)

    def _terms(self, placements: Sequence[Placement]) -> Mapping[Term, int]:
        return terms_of(placements, self._everybody, self._question.fleet, self._question.objective)
