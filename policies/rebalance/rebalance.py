"""The whole: room is made the quick way, then all states are searched, as far as the time goes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from policies.plan import Placement, Tier
from policies.rebalance.model import Model, model_of
from policies.rebalance.question import Question, Rebalancing, Step
from policies.rebalance.realize import realize
from policies.rebalance.room import Room
from policies.rebalance.search import Search
from policies.rebalance.seating import seats_in
from policies.rebalance.verify import violations_of_steps
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
    patience = Patience(math.inf if time_limit_s is None else time.monotonic() + time_limit_s, looks)
    in_time = patience.lasts
    model = model_of(question)
    keeper = _Keeper(model)
    stay = _stay(model, in_time)
    room = Room(model, patience.half().lasts)
    quick = room.for_wanted() if question.wanted else room.for_objective()
    best = quick if quick.rank < stay.rank and keeper.accept(quick) else stay
    search = Search(model, best, keeper.accept, in_time)
    search.run()
    steps, placed = keeper.of(search.best)
    return Rebalancing(
        steps=steps,
        placed=placed,
        before=_tiers(question, [], keeper.of(stay)[1]),
        after=_tiers(question, steps, placed),
        proven=search.complete and model.exact,
    )


class Patience:
    """How long may be searched: until a moment, and so many looks; None is without end."""

    def __init__(self, until: float, looks: int | None) -> None:
        self._until, self._looks = until, math.inf if looks is None else looks

    def lasts(self) -> bool:
        """Whether to go on. Each call is a look."""
        self._looks -= 1
        return self._looks >= 0 and time.monotonic() < self._until

    def half(self) -> Patience:
        """Half of what is left, taken off this one: of the looks; of the time what it has not used stays."""
        half = Patience((time.monotonic() + self._until) / 2, None)
        self._looks = half._looks = self._looks if math.isinf(self._looks) else self._looks // 2
        return half


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

    def accept(self, found: Found) -> bool:
        made = realize(self.model, found)
        return made is not None and not violations_of_steps(self.model.question, *made)

    def of(self, found: Found) -> tuple[tuple[Step, ...], tuple[Placement, ...]]:
        return realize(self.model, found) or ((), ())


def _tiers(question: Question, steps: Sequence[Step], placed: Sequence[Placement]) -> tuple[Tier, ...]:
    """The objective after these steps, over all guests of ours."""
    now = {guest.placement.guest: guest.placement for guest in question.guests}
    now |= {step.target.guest: step.target for step in steps}
    fixed = [replace(placement, groups=()) for placement in question.fixed]  # they are residents of the fleet
    requests = [replace(guest.request, priority=1) for guest in question.guests]
    requests += [GuestRequest(name=placement.guest, vcpus=1, memory_kib=1024) for placement in fixed]
    everybody = [*requests, *question.wanted]
    values = {**terms_of([*now.values(), *fixed, *placed], everybody, question.fleet, question.objective)}
    of_movable = terms_of([*now.values(), *placed], everybody, question.fleet, question.objective)
    values |= {term: value for term, value in of_movable.items() if term in OF_NODES}  # the fleet is without the fixed
    return tiers_with(values, question.objective)
