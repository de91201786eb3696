"""Counts a question: which classes of guests there are, and all places of each.

Of very many classes on very many hosts, and where the time is over, some hosts only are looked at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from policies.asked import SmtPolicy
from policies.capacity import HostCapacity
from policies.l3 import l3_groups
from policies.rebalance.model import GuestClass, Model
from policies.rebalance.places import PlaceMaker
from policies.rebalance.question import Question, Standing
from policies.request import GuestName, GuestRequest, HostName

MOST_CLASS_NODES = 200_000
"""Classes of guests times nodes: of more, guests are moved to some of the hosts only."""


def model_of(question: Question, has_time: Callable[[], bool] = lambda: True) -> Model:
    """Count the question.

    Args:
        has_time: whether there is time to look at all hosts for a further class; else it stays on those where it is.

    Raises:
        DoesNotFitError: a guest stands where it cannot.
    """
    maker = PlaceMaker(question)
    standing, wanted = _all_standing(maker, has_time), _all_wanted(maker)
    plain = all(_is_counted_wholly(kind.request) for kind in (*standing, *wanted))
    exact = maker.complete and plain and all(_is_simple(host) for host in question.fleet)
    return Model(question=question, standing=standing, wanted=wanted, exact=exact)


def _all_standing(maker: PlaceMaker, has_time: Callable[[], bool]) -> tuple[GuestClass, ...]:
    """The classes of those who are there."""
    by_kind: dict[object, list[Standing]] = defaultdict(list)
    for guest in sorted(maker.question.guests, key=lambda g: g.request.name):
        by_kind[_kind(guest.request), guest.memory_follows, guest.may_migrate].append(guest)
    elsewhere = _elsewhere(maker.question, sum(members[0].may_migrate for members in by_kind.values()))
    maker.complete = maker.complete and elsewhere is None
    found = []
    for members in by_kind.values():
        here = frozenset(guest.placement.host for guest in members)
        leaves = members[0].may_migrate and has_time()
        maker.complete = maker.complete and leaves == members[0].may_migrate
        everywhere = None if elsewhere is None else here | elsewhere
        found.append(_standing(members, maker, everywhere if leaves else here))
    return tuple(found)


def _standing(members: Sequence[Standing], maker: PlaceMaker, hosts: frozenset[HostName] | None) -> GuestClass:
    """A class of those who are there: the places where they stand first, then those to which they may go."""
    ways = maker.places(members[0].request, hosts)
    stands = [maker.where_it_stands(guest) for guest in members]
    places = (*dict.fromkeys(stands), *ways)
    index = {place: i for i, place in enumerate(places)}
    return GuestClass(
        request=members[0].request,
        members=tuple(members),
        names=tuple(guest.request.name for guest in members),
        places=places,
        starts=tuple(index[place] for place in stands),
        hypervisors=maker.hypervisors,
    )


def _all_wanted(maker: PlaceMaker) -> tuple[GuestClass, ...]:
    """The classes of those who look for a place."""
    classes: dict[object, list[GuestRequest]] = defaultdict(list)
    for request in maker.question.wanted:
        classes[_kind(request), request.priority].append(request)
    reach = _elsewhere(maker.question, len(classes))
    maker.complete = maker.complete and reach is None
    return tuple(_wanted(same, maker, reach) for same in classes.values())


def _wanted(same: Sequence[GuestRequest], maker: PlaceMaker, hosts: frozenset[HostName] | None) -> GuestClass:
    """A class of those who look for a place: the places on the fewest and nearest nodes first."""
    places = [place for place in maker.places(same[0], hosts) if not place.closed]
    return GuestClass(
        request=same[0],
        members=(),
        names=tuple(request.name for request in same),
        places=tuple(sorted(places, key=lambda p: (p.spanned, p.distance, -p.page_kib))),
        starts=(),
        hypervisors=maker.hypervisors,
    )


def _elsewhere(question: Question, kinds: int) -> frozenset[HostName] | None:
    """Of very many classes on very many hosts, the hosts with the most memory left; None: all."""
    fleet = question.fleet
    rows = sum(len(host.nodes) for host in fleet)
    if kinds * rows <= MOST_CLASS_NODES:
        return None
    left = {host.name: sum(sum(node.memory_kib.values()) for node in host.nodes) for host in fleet}
    for guest in question.guests:
        left[guest.placement.host] -= guest.request.memory_kib
    some = max(1, MOST_CLASS_NODES * len(fleet) // (kinds * rows))
    return frozenset(sorted(left, key=lambda host: (-left[host], host))[:some])


def _kind(request: GuestRequest) -> GuestRequest:
    return replace(request, name=GuestName("any"), priority=1, lifetime_s=None)


def _is_counted_wholly(request: GuestRequest) -> bool:
    """Whether numbers of pCPUs tell all: not which of them are whole cores, nor in which L3 domains they are."""
    return request.smt is SmtPolicy.PREFER and not l3_groups(request.groups)


def _is_simple(host: HostCapacity) -> bool:
    """Whether it does not matter which free pCPUs a dedicated guest takes: all are shared, or none."""
    return all(n.free_cpus <= n.shared_cpus or n.free_cpus.isdisjoint(n.shared_cpus) for n in host.nodes)
