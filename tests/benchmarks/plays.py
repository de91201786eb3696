"""Small scenarios for the tests of the simulator, and streams of any length."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.events import Event, Play
from policies.fleet import Fleet
from policies.request import CpuPolicy, GuestName, GuestRequest
from tests.policies.hosts import GIB_KIB, host_of, topology_of


@dataclass(frozen=True)
class Told:
    """A scenario of hosts and events that a test tells."""

    fleet: Fleet
    events: Callable[[int], Iterator[Event]]
    count: int | None = None
    flavours: tuple[GuestRequest, ...] = ()
    name: str = "told"

    @property
    def digest(self) -> str:
        """Of the hosts and of how it begins."""
        begins = [*itertools.islice(self.events(1), 50)]
        return hashlib.sha256(repr((self.fleet.hosts, begins, self.count)).encode()).hexdigest()

    def play(self, seed: int) -> Play:
        return Play(fleet=self.fleet, events=lambda: self.events(seed), count=self.count, flavours=self.flavours)


def told(fleet: Fleet, *events: Event, flavours: tuple[GuestRequest, ...] = ()) -> Told:
    return Told(fleet=fleet, events=lambda _: iter(events), count=len(events), flavours=flavours)


def ask(name: str, vcpus: int = 1, gib: int = 1, **more: object) -> GuestRequest:
    return GuestRequest(name=GuestName(name), vcpus=vcpus, memory_kib=gib * GIB_KIB, **more)  # type: ignore[arg-type]


FLAVOURS = (
    ask("small", 1, 2),
    ask("medium", 2, 8),
    ask("own", 4, 8, cpus=CpuPolicy.DEDICATED),
    ask("wide", 4, 16, cells=2),
    ask("wide-own", 8, 16, cells=2, cpus=CpuPolicy.DEDICATED),
)


def hosts(count: int, *, nodes: int = 4, cpus: int = 16, gib: int = 64) -> Fleet:
    topology = topology_of(nodes=nodes, cpus=cpus, memory_gib=gib, smt=2, l3_of=8)
    return Fleet.of([host_of(f"h{number}", topology=topology) for number in range(count)])


def stream(count: int, *, here: int, flavours: Sequence[GuestRequest] = FLAVOURS) -> Callable[[int], Iterator[Event]]:
    """`count` events of one arrival or departure each; about so many guests are there at a time."""

    def events(seed: int) -> Iterator[Event]:
        rng = random.Random(seed)  # noqa: S311
        leaving: list[tuple[float, str]] = []
        at_s, number = 0.0, 0
        for _ in range(count):
            next_s = at_s + rng.expovariate(1.0)
            if leaving and leaving[0][0] <= next_s:
                at_s, guest = heapq.heappop(leaving)
                yield Event(at_s=at_s, departures=(GuestName(guest),))
                continue
            at_s, number = next_s, number + 1
            kind = rng.choice(flavours)
            name = f"g{number}"
            heapq.heappush(leaving, (at_s + rng.expovariate(1 / here), name))
            guest = GuestRequest(
                name=GuestName(name), vcpus=kind.vcpus, memory_kib=kind.memory_kib, cells=kind.cells, cpus=kind.cpus
            )
            yield Event(at_s=at_s, arrivals=(guest,))

    return events


def streamed(hosts_: Fleet, count: int, *, here: int) -> Told:
    return Told(fleet=hosts_, events=stream(count, here=here), count=count, flavours=FLAVOURS)
