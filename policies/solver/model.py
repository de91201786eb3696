"""The variables of the model: how many guests of a class live in each possible way.

Guests that ask for the same are one class; a *way* is a host and the homes of the guest's parts on
it. One integer per class and way counts the guests that live so. All that a guest takes from a
node, and what it adds to the objective, is then a constant per way, and identical guests need no
symmetry breaking.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ortools.sat.python.cp_model import CpModel, IntVar

from policies.candidates import are_all, candidates
from policies.capacity import HostCapacity, NodeCapacity
from policies.fleet import Fleet
from policies.homes import Home, is_dedicated, split
from policies.request import GuestName, GuestRequest

Counts = Mapping[IntVar, int]
"""A way's variable to the number of guests that live so; ways that nobody uses are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestClass:
    """Guests that ask for the same, in request order."""

    request: GuestRequest
    members: tuple[GuestRequest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one part of a guest takes: vCPUs from one node, memory per page size from another."""

    home: Home
    vcpus: int
    memory_kib: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Way:
    """A class living on a host in one way, and the number of guests that do."""

    guest_class: GuestClass
    host: HostCapacity
    homes: tuple[Home, ...]
    parts: tuple[Part, ...]
    distance: int
    count: IntVar

    @property
    def is_dedicated(self) -> bool:
        return is_dedicated(self.guest_class.request)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetModel:
    """The variables, and the ways by class and by node.

    Attributes:
        complete: whether every way of every class is there; else nothing is proven.
        derived: each further variable with its value for given counts, so that a start is complete.
    """

    model: CpModel
    fleet: Fleet
    ways: tuple[Way, ...]
    classes: tuple[GuestClass, ...]
    complete: bool
    derived: list[tuple[IntVar, Callable[[Counts], int]]] = field(default_factory=list)

    def nodes(self) -> Iterator[tuple[HostCapacity, NodeCapacity, list[tuple[Way, Part]]]]:
        """Every node of every host with the parts that could take its pCPUs."""
        by_node: dict[tuple[str, int], list[tuple[Way, Part]]] = defaultdict(list)
        for way in self.ways:
            for part in way.parts:
                by_node[way.host.name, part.home.cpu_node].append((way, part))
        for host in self.fleet:
            for node in host.nodes:
                yield host, node, by_node[host.name, node.node_id]


def build(requests: Sequence[GuestRequest], fleet: Fleet) -> FleetModel:
    """The variables of a batch, without any rule."""
    model = CpModel()
    classes = tuple(classes_of(requests))
    ways: list[Way] = []
    complete = True
    for c, guest_class in enumerate(classes):
        request = guest_class.request
        for host in fleet:
            complete = complete and are_all(request, host)
            for w, candidate in enumerate(candidates(request, host)):
                count = model.new_int_var(0, len(guest_class.members), f"n_{c}_{host.name}_{w}")
                ways.append(
                    Way(
                        guest_class=guest_class,
                        host=host,
                        homes=candidate.homes,
                        parts=_parts(request, host, candidate.homes),
                        distance=candidate.distance,
                        count=count,
                    )
                )
    return FleetModel(model=model, fleet=fleet, ways=tuple(ways), classes=classes, complete=complete)


def classes_of(requests: Sequence[GuestRequest]) -> Iterator[GuestClass]:
    """Requests that differ in their name only, together; classes in order of their first guest."""
    members: dict[GuestRequest, list[GuestRequest]] = defaultdict(list)
    for request in requests:
        members[replace(request, name=GuestName("class"))].append(request)
    for alike in members.values():
        yield GuestClass(request=alike[0], members=tuple(alike))


def _parts(request: GuestRequest, host: HostCapacity, homes: tuple[Home, ...]) -> tuple[Part, ...]:
    parts = []
    for i, (home, share) in enumerate(zip(homes, split(request, host, len(homes)), strict=True)):
        memory = {request.page_kib: share.memory_kib}
        if i == 0 and request.overhead_kib:
            memory[4] = memory.get(4, 0) + request.overhead_kib
        parts.append(Part(home=home, vcpus=share.vcpus, memory_kib=memory))
    return tuple(parts)
