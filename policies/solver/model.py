"""The variables of the model: how many guests of a class live in each possible way.

All that a guest takes from a node, and what it adds to the objective, is a constant per way, and
identical guests need no symmetry breaking, because they are counted and not named.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from ortools.sat.python.cp_model import CpModel, IntVar, LinearExpr

from policies.candidates import Part, own_units
from policies.capacity import HostCapacity, NodeCapacity
from policies.l3 import l3_groups, l3_rooms
from policies.solver.problem import Counts, GuestClass, Problem, WayId, without_l3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Way:
    """A class living on a host in one way, and the number of guests that do.

    Attributes:
        guests: whole guests that one of `count` stands for: 1; 0 for a part of one (`relaxed`).
        nodes: what it adds to the tiers "nodes-spanned" and
        distance: "distance".
        missed: devices that such a guest should be near, and is not.
        l3: where its groups look at L3 domains: of each part, the domains in which it may own whole cores, or else
            pCPUs, and how many all guests of this way together do.
    """

    way_id: WayId
    guest_class: GuestClass
    host: HostCapacity
    parts: tuple[Part, ...]
    guests: int
    nodes: int
    distance: int
    count: IntVar
    missed: int = 0
    l3: tuple[Mapping[int, IntVar], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetModel:
    """The variables of a problem.

    Attributes:
        derived: each further variable with its value for given counts, so that a start is complete; these are of
            ways with their L3 domains, where they are told, and of all ways whatever these are.
    """

    problem: Problem
    model: CpModel
    ways: tuple[Way, ...]
    derived: list[tuple[IntVar, Callable[[Counts], int]]] = field(default_factory=list)

    def nodes(self) -> Iterator[tuple[HostCapacity, NodeCapacity, list[tuple[Way, Part]]]]:
        """Every node of every host with the parts that could take its pCPUs."""
        by_node: dict[tuple[str, int], list[tuple[Way, Part]]] = defaultdict(list)
        for way in self.ways:
            for part in way.parts:
                by_node[way.host.name, part.home.cpu_node].append((way, part))
        for host in self.problem.fleet:
            for node in host.nodes:
                yield host, node, by_node[host.name, node.node_id]

    def start_from(self, counts: Counts) -> None:
        """Hint at an answer, with a value for every variable."""
        self.model.clear_hints()  # type: ignore[no-untyped-call]
        every = {**without_l3(counts), **counts}
        told = l3_totals(counts)
        for way in self.ways:
            self.model.add_hint(way.count, every.get(way.way_id, 0))
            for number, uses in enumerate(way.l3):
                for domain, variable in uses.items():
                    self.model.add_hint(variable, told[way.way_id, number, domain])
        for variable, value_of in self.derived:
            self.model.add_hint(variable, value_of(every))


def l3_totals(counts: Counts) -> Counter[tuple[WayId, int, int]]:
    """By way, part and L3 domain: what all guests of the way have there."""
    found: Counter[tuple[WayId, int, int]] = Counter()
    for way, n in counts.items():
        for number, uses in enumerate(way.l3):
            for domain, amount in uses:
                found[way.anywhere, number, domain] += n * amount
    return found


Terms = Sequence[tuple[int, Way]]
"""An amount for each guest that lives in a way."""


def total(terms: Terms) -> LinearExpr:
    """Σ amount × guests."""
    return LinearExpr.weighted_sum([way.count for _, way in terms], [amount for amount, _ in terms])


def build(problem: Problem) -> FleetModel:
    """The variables of a problem, without any rule."""
    model = CpModel()
    return FleetModel(problem=problem, model=model, ways=tuple(ways_of(problem, model)))


def ways_of(problem: Problem, model: CpModel) -> list[Way]:
    """A variable for each way of the problem."""
    class_of = {of_class.index: of_class for of_class in problem.classes}
    host_of: dict[str, HostCapacity] = {host.name: host for host in problem.fleet}
    ways = []
    for way_id, candidate in problem.ways.items():
        way = Way(
            way_id=way_id,
            guest_class=class_of[way_id.of_class],
            host=host_of[way_id.host],
            parts=candidate.parts,
            guests=1,
            nodes=len(candidate.parts),
            distance=candidate.distance,
            missed=candidate.missed,
            count=model.new_int_var(0, len(class_of[way_id.of_class].members), ""),
        )
        ways.append(replace(way, l3=l3_variables(model, way)) if l3_groups(way.guest_class.request.groups) else way)
    return ways


def l3_variables(model: CpModel, way: Way) -> tuple[Mapping[int, IntVar], ...]:
    """`Way.l3`: what its guests own in all L3 domains together is what they take."""
    found = []
    for number, part in enumerate(way.parts):
        units = own_units(way.guest_class.request, part, is_first=number == 0)
        rooms = l3_rooms(way.host, way.host.node(part.home.cpu_node)) if units else {}
        most = {i: len(room.cores) if part.cores else room.free for i, room in rooms.items()}
        uses = {i: model.new_int_var(0, n, "") for i, n in most.items() if n}
        if units:
            model.add(LinearExpr.sum(list(uses.values())) == units * way.count)
        found.append(uses)
    return tuple(found)


def pcpus_of(host: HostCapacity) -> int:
    """More vCPUs than this never live on a host: dedicated and shared together, overcommit included."""
    ratio = max(Fraction(1), host.overcommit)
    return int(sum((len(n.free_cpus - n.shared_cpus) + len(n.shared_cpus) * ratio for n in host.nodes), Fraction(0)))
