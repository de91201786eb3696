"""What must be done at least before a state is as good as one that is known: bounds for the search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import Protocol

from policies.groups import LEVELS_WITHIN_A_HOST
from policies.objective import Term
from policies.rebalance.loads import Loads
from policies.rebalance.model import GuestClass, Model
from policies.rebalance.places import Place
from policies.rebalance.question import Standing
from policies.rebalance.walk import Cost, Value, Walk, tiers_of
from policies.rebalance.worth import NodeTerms
from policies.request import GroupRule

MOST_PLACES = 500
"""Places of a wanted guest that are looked at for each state; with more there is no bound."""


class Bound(Protocol):
    """Attributes: `ideal`: no state has a lower value."""

    ideal: Value

    def onward(self, walk: Walk, value: Value, *, better: bool) -> Cost | None:
        """What it costs at least, from the walk's state on, to have this value or a better one; None for never."""


def bound_of(model: Model) -> Bound:
    return SeatsBound(model) if model.wanted else ObjectiveBound(model)


class SeatsBound:
    """For wanted guests.

    Who must have a place if so much weight is to be placed needs memory there; what others hold of it
    must go, and a guest that goes gives back no more than so much for each KiB that is copied.
    """

    def __init__(self, model: Model) -> None:
        empty = Loads(model)
        self._places: list[tuple[int, list[Place]]] = []
        self._most_weight = 0
        for kind in model.wanted:
            fitting = [place for place in kind.places if empty.fits(kind, place)]
            if fitting:
                self._places.append((kind.request.priority, fitting))
                self._most_weight += kind.request.priority * len(kind.names)
        self.ideal: Value = (-self._most_weight,)
        self._copied = min(
            (
                Fraction(kind.request.memory_kib, max(1, sum(kib for _, kib in place.memory)))
                for kind in model.standing
                for place in kind.places
            ),
            default=Fraction(1),
        )

    def onward(self, walk: Walk, value: Value, *, better: bool) -> Cost | None:
        weight, most = better - value[0], 0
        if weight > self._most_weight:
            return None
        for priority, places in self._places:
            if self._most_weight - priority < weight and len(places) <= MOST_PLACES:
                most = max(most, min(walk.loads.missing_kib(place) for place in places))
        kib = int(most * self._copied)
        return kib, int(kib > 0)


class ObjectiveBound:
    """For the objective.

    Whatever a first tier is to lose must be lost by guests who lie better somewhere, each of whom is moved
    once at least. A tier counts where all before it are as good as they can be.
    """

    def __init__(self, model: Model) -> None:
        self.ideal: Value = tiers_of(model, least_terms(model))
        self._tiers: list[list[list[tuple[int, int]]]] = []
        """Per tier, class and place: what it adds, and how much more that is than at the best place."""
        for tier in model.question.objective.tiers[1:]:
            if not {*tier.weights} <= {Term.NODES_SPANNED, Term.DISTANCE}:
                break
            self._tiers.append([_scores(kind, tier.weights) for kind in model.standing])
        self._known: dict[tuple[int, int], int] = {}

    def onward(self, walk: Walk, value: Value, *, better: bool) -> Cost | None:
        if better and value == self.ideal:
            return None
        kib, steps = 0, 0
        for tier, scores in enumerate(self._tiers):
            needed, gains = -value[tier], []
            for number, at in enumerate(walk.at):
                for place, count in at.items():
                    score, gain = scores[number][place]
                    needed += score * count
                    if gain and count:
                        gains += [(gain, self._kib(walk.model.standing[number], number, place))] * count
            least = _cover(needed, gains)
            if least is None:
                return None
            kib, steps = max(kib, least[0]), max(steps, least[1])
            if value[tier] > self.ideal[tier]:
                break
        return kib, steps

    def _kib(self, kind: GuestClass, number: int, place: int) -> int:
        if (number, place) not in self._known:
            self._known[number, place] = _least_kib(kind, place)
        return self._known[number, place]


def least_terms(model: Model) -> Mapping[Term, int]:
    """No state is better in any: each guest as if it were alone, on no more hosts than their memory needs; room as if
    nobody were there."""
    counts = [(kind, len(kind.members)) for kind in model.standing]
    return {
        Term.PLACED: sum(count for _, count in counts),
        Term.NODES_SPANNED: sum(min(place.spanned for place in kind.places) * count for kind, count in counts),
        Term.DISTANCE: sum(min(place.distance for place in kind.places) * count for kind, count in counts),
        Term.SOFT_WISHES: sum(min(place.missed for place in kind.places) * count for kind, count in counts),
        Term.FEWEST_HOSTS: _fewest_hosts(model),
        Term.KEEP_LARGEST: NodeTerms(model, Loads(model)).values().get(Term.KEEP_LARGEST, 0),
        Term.BALANCE: 0,
    }


def _fewest_hosts(model: Model) -> int:
    """Of each hypervisor; nobody goes to another."""
    used = set(model.fixed_hosts)
    for kind in model.standing:
        if not kind.may_migrate:
            used |= {kind.places[start].host for start in kind.starts}
    guests = [guest for kind in model.standing for guest in kind.members]
    found = 0
    for hypervisor in {host.hypervisor for host in model.fleet}:
        alike = [i for i, host in enumerate(model.fleet) if host.hypervisor == hypervisor]
        here = [guest for guest in guests if model.fleet.host(guest.placement.host).hypervisor == hypervisor]
        found += _fewest_of(model, alike, used, here)
    return found


def _fewest_of(model: Model, hosts: Sequence[int], used: Collection[int], guests: Sequence[Standing]) -> int:
    """Hosts in use anyway, and then the largest, until all memory is there; one for each who must be alone.

    `hosts` and `guests` are those of one hypervisor.
    """
    left = sum(guest.request.memory_kib for guest in guests)
    room = {i: sum(sum(node.memory_kib.values()) for node in model.fleet.hosts[i].nodes) for i in hosts}
    left -= sum(room[i] for i in hosts if i in used)
    count = sum(i in used for i in hosts)
    for kib in sorted((room[i] for i in hosts if i not in used), reverse=True):
        if left > 0:
            left -= kib
            count += 1
    apart = Counter(
        member.group.name
        for guest in guests
        for member in guest.request.groups
        if member.group.hard and member.group.rule is GroupRule.ANTI_AFFINITY
        if member.group.level not in LEVELS_WITHIN_A_HOST
    )
    return max([count, *apart.values()])


def _scores(kind: GuestClass, weights: Mapping[Term, int]) -> list[tuple[int, int]]:
    spanned, distance = weights.get(Term.NODES_SPANNED, 0), weights.get(Term.DISTANCE, 0)
    scores = [spanned * place.spanned + distance * place.distance for place in kind.places]
    least = min(scores)
    return [(score, score - least) for score in scores]


def _least_kib(kind: GuestClass, place: int) -> int:
    """What is copied at least where a guest leaves the place for another that takes something else."""
    free = any(not kind.is_same(place, way.target) for way in kind.ways_to_be_pinned(place))
    return 0 if free else kind.request.memory_kib


def _cover(needed: int, gains: list[tuple[int, int]]) -> Cost | None:
    """The least KiB, and the least number, of guests who gain so much together; the last one in part."""
    if needed <= 0:
        return 0, 0
    if sum(gain for gain, _ in gains) < needed:
        return None
    kib, left = Fraction(0), needed
    for gain, cost in sorted(gains, key=lambda pair: Fraction(pair[1], pair[0])):
        kib += Fraction(cost * min(gain, left), gain)
        left -= min(gain, left)
        if not left:
            break
    steps, left = 0, needed
    for gain in sorted((gain for gain, _ in gains), reverse=True):
        steps, left = steps + 1, left - gain
        if left <= 0:
            break
    return int(kib), steps
