"""Rules that place one guest after the other: first, best and worst fit, in turn, at random, and no pins at all.

Sources: first, best and worst fit as in the bin-packing literature (Johnson 1974), applied to a
node's memory. How other systems decide stands in `policies.peers`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from operator import itemgetter
from random import Random

from policies.asked import EmulatorPolicy
from policies.candidates import Candidate
from policies.capacity import HostCapacity
from policies.compose import make_unpinned
from policies.homes import has_own_pcpus, refusal
from policies.nearest.ranked import Score
from policies.one_by_one import OneByOne, Rule, one_by_one
from policies.open_fleet import OpenFleet
from policies.places import all_ways, counts_of_parts, placed, ranked_ways
from policies.plan import Placement, Reason
from policies.request import AskedMemoryMode, GuestRequest

Choice = tuple[Candidate, Placement]
Chooser = Callable[[GuestRequest, OpenFleet], Choice | None]


def choose_first(request: GuestRequest, book: OpenFleet) -> Choice | None:
    """The first host that holds it; on it the fewest nodes, of these the nearest."""
    for host in book.fleet:
        for way in all_ways(request, book, host):
            placement = placed(request, book, host, way)
            if placement is not None:
                return way, placement
    return None


def choose_fullest(request: GuestRequest, book: OpenFleet) -> Choice | None:
    """Of all places on the fewest and nearest nodes, that with the least memory left, then pCPUs."""
    return _by_what_is_left(request, book, sign=1)


def choose_emptiest(request: GuestRequest, book: OpenFleet) -> Choice | None:
    """Of all places on the fewest and nearest nodes, that with the most memory left, then pCPUs."""
    return _by_what_is_left(request, book, sign=-1)


def _choose_next(request: GuestRequest, book: OpenFleet) -> Choice | None:
    """The next node that holds it, in the order of hosts and nodes, after where the last guest went."""
    names = [host.name for host in book.fleet]
    last = book.last
    start = (-1, -1) if last is None else (names.index(last.host), max(last.memory_nodes, default=-1))
    turns = [(i, way) for i, host in enumerate(book.fleet) for way in all_ways(request, book, host)]
    fewest_first = sorted(turns, key=lambda turn: (len(turn[1].parts), _turn(turn) <= start, _turn(turn)))
    for i, way in fewest_first:
        placement = placed(request, book, book.fleet.hosts[i], way)
        if placement is not None:
            return way, placement
    return None


def _turn(turn: tuple[int, Candidate]) -> tuple[int, int]:
    """Where in the round it is: index of the host, id of the last memory node."""
    return turn[0], max(home.memory_node for home in turn[1].homes)


def _at_random(seed: int) -> Chooser:
    def choose(request: GuestRequest, book: OpenFleet) -> Choice | None:
        """Any host that holds it; there on the fewest nodes, anywhere."""
        pick = Random(f"{seed} {request.name}")  # noqa: S311
        for host in pick.sample(book.fleet.hosts, len(book.fleet)):
            every = list(all_ways(request, book, host))
            pick.shuffle(every)
            for way in sorted(every, key=lambda way: (len(way.parts), way.missed, -way.page_kib)):
                placement = placed(request, book, host, way)
                if placement is not None:
                    return way, placement
        return None

    return choose


def _by_what_is_left(request: GuestRequest, book: OpenFleet, *, sign: int) -> Choice | None:
    counts = [(host, counts_of_parts(request, host)) for host in book.fleet]
    for parts in sorted({parts for _, some in counts for parts in some}):
        hosts = [host for host, some in counts if parts in some]
        scored = (_on_host(request, book, host, parts, sign) for host in hosts)
        for _, host, way in heapq.merge(*scored, key=itemgetter(0)):
            placement = placed(request, book, host, way)
            if placement is not None:
                return way, placement
    return None


def _on_host(
    request: GuestRequest, book: OpenFleet, host: HostCapacity, parts: int, sign: int
) -> Iterator[tuple[Score, HostCapacity, Candidate]]:
    return ((score, host, way) for score, way in ranked_ways(request, book, host, parts, sign=sign))


def _unpinned(request: GuestRequest, book: OpenFleet) -> Placement | None:
    """The first host whose sum holds it, bound to nothing."""
    if _needs_pins(request):
        return None
    for host in book.fleet:
        if refusal(request, host) is None:
            placement = make_unpinned(request, host)
            if book.fits(placement):
                return placement
    return None


def _needs_pins(request: GuestRequest) -> str:
    """What of the request cannot be had without pins; "" for nothing."""
    if has_own_pcpus(request):
        return "dedicated pCPUs"
    if request.memory_mode is not AskedMemoryMode.AUTO:
        return f"memory_mode {request.memory_mode}"
    if any(device.must for device in request.devices):
        return "a node near its device"
    if request.max_nodes is not None or request.max_distance is not None:
        return "few or near nodes"
    if request.emulator is not EmulatorPolicy.AUTO:
        return f"emulator threads ({request.emulator}) bound"
    return "" if request.cells in (1, "auto") else f"{request.cells} cells on nodes of their own"


def _why_not_unpinned(request: GuestRequest) -> tuple[Reason, str] | None:
    needs = _needs_pins(request)
    return (Reason.UNSUPPORTED, f"{needs} cannot be had without pins") if needs else None


def _placement_of(choose: Chooser) -> Rule:
    def rule(request: GuestRequest, book: OpenFleet) -> Placement | None:
        choice = choose(request, book)
        return None if choice is None else choice[1]

    return rule


first_fit = one_by_one(_placement_of(choose_first))
"""Each guest goes to the first place that holds it."""
best_fit = one_by_one(_placement_of(choose_fullest))
"""Each guest goes where the least is left, so that large holes stay."""
worst_fit = one_by_one(_placement_of(choose_emptiest))
"""Each guest goes where the most is left."""
round_robin = one_by_one(_placement_of(_choose_next))
"""Each guest goes to the next node in turn that holds it."""
unpinned = one_by_one(_unpinned, cannot=_why_not_unpinned)
"""What happens without us: the first host that holds it, vCPUs and memory anywhere."""
at_random = OneByOne(rule_for=lambda effort: _placement_of(_at_random(effort.seed)))
"""Each guest goes to any host that holds it, by the seed and its name."""
