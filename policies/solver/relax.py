"""A model that lets through a little too much, for bounds where there are too many ways to list.

A class with very many ways (`auto` over many nodes) is counted by host and number of nodes, and each
kind of its parts by node. Any such counts can be dealt out to guests with distinct nodes each (the
edges of a bipartite graph of degree n have n colours; König 1916). So no more is let through than
nodes that do not reach each other, and distances as small as the smallest between any two nodes.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ortools.sat.python.cp_model import FEASIBLE, OPTIMAL, UNKNOWN, CpModel

from policies.candidates import kinds_of_parts, part_of
from policies.capacity import HostCapacity
from policies.homes import homes, homes_for
from policies.places import counts_of_parts
from policies.room import Room
from policies.solver.budget import Budget
from policies.solver.improve import PolicyError, whole_bound
from policies.solver.model import FleetModel, Way, ways_of
from policies.solver.problem import Counts, GuestClass, Problem, WayId
from policies.solver.stages import stages_of


class Relaxation:
    """The relaxed problem: every answer to the real one has a counterpart there."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._model = CpModel()
        listed = [way for way in ways_of(problem, self._model) if way.guest_class.index not in problem.partial]
        self.fleet = FleetModel(problem=problem, model=self._model, ways=(*listed, *self._counted()))
        self._stages = stages_of(self.fleet)

    def keep(self, index: int, value: int) -> None:
        """Hard from here on: no answer is worse in this tier."""
        self._stages[index].keep(self._model, value)

    def bound(self, index: int, counts: Counts, budget: Budget, share: float) -> int | None:
        """A bound of one tier, `counts` being an answer; None where there was no time for any.

        Raises:
            PolicyError: the answer has no counterpart, so the model is wrong.
        """
        stage = self._stages[index]
        stage.aim(self._model)
        self.fleet.start_from(self.counterpart(counts))
        cp = budget.solver(share=share)
        status = cp.solve(self._model)
        budget.spend(cp)
        if status not in (OPTIMAL, FEASIBLE, UNKNOWN):
            raise PolicyError(f"CP-SAT answered {cp.status_name(status)}: the relaxed model is wrong.")
        return None if status == UNKNOWN else whole_bound(cp, stage)

    def counterpart(self, counts: Counts) -> Counts:
        """The same answer in the relaxed model's terms."""
        found: Counter[WayId] = Counter()
        request_of = {c.index: c.request for c in self.problem.classes}
        for told, n in counts.items():
            way = told.anywhere
            if way.of_class not in self.problem.partial:
                found[told] += n
                continue
            parts, request = len(way.homes), request_of[way.of_class].in_pages(way.page_kib)
            found[way._replace(homes=(), of=(parts, -1))] += n
            kinds = kinds_of_parts(request, self.problem.fleet.host(way.host), parts)
            for home, kind in zip(way.homes, kinds, strict=True):
                found[way._replace(homes=(home,), of=(parts, kinds.index(kind)))] += n
        return found

    def _counted(self) -> Iterator[Way]:
        book = self.problem.fleet.open()
        partial = [c for c in self.problem.classes if c.index in self.problem.partial]
        for of_class in (replace(c, request=concrete) for c in partial for concrete in c.request.by_pages()):
            for host in self.problem.fleet:
                nearest = _nearest_pair(host)
                for parts in counts_of_parts(of_class.request, host):
                    yield from self._on_so_many_nodes(of_class, host, parts, nearest, Room(book, host))

    def _on_so_many_nodes(
        self, of_class: GuestClass, host: HostCapacity, parts: int, nearest: int, room: Room
    ) -> Iterator[Way]:
        """Guests of a class over so many nodes of a host: how many, and each kind of part by node."""
        distance = nearest * parts * (parts - 1) // 2
        way_id = WayId(of_class.index, host.name, (), of_class.request.page_kib, (parts, -1))
        whole = self._way(of_class, host, way_id, (parts, distance))
        yield whole
        kinds = kinds_of_parts(of_class.request, host, parts)
        pieces: list[Way] = []
        for kind in dict.fromkeys(kinds):
            alike = [
                self._way(of_class, host, way_id._replace(homes=(home,), of=(parts, kinds.index(kind))))
                for home in homes_for(of_class.request, host)
                if room.holds(part_of(of_class.request, home, kind))
            ]
            self._model.add(sum(way.count for way in alike) == kinds.count(kind) * whole.count)
            pieces += alike
        yield from pieces
        for node in {home.cpu_node: None for home in homes(host)}:
            here = [way.count for way in pieces if way.way_id.homes[0].cpu_node == node]
            self._model.add(sum(here) <= whole.count)

    def _way(self, of_class: GuestClass, host: HostCapacity, way_id: WayId, costs: Sequence[int] = (0, 0)) -> Way:
        """A piece where `way_id` has a home, else a whole guest with these nodes and this distance."""
        parts, kind = way_id.of or (0, 0)
        kinds = kinds_of_parts(of_class.request, host, parts)
        return Way(
            way_id=way_id,
            guest_class=of_class,
            host=host,
            parts=tuple(part_of(of_class.request, home, kinds[kind]) for home in way_id.homes),
            guests=0 if way_id.homes else 1,
            nodes=costs[0],
            distance=costs[1],
            count=self._model.new_int_var(0, len(of_class.members), ""),
        )


def _nearest_pair(host: HostCapacity) -> int:
    """The smallest distance between two homes, each pair by its larger direction; 0 without a pair."""
    slit = host.topology.distance
    pairs = itertools.combinations([home.cpu_node for home in homes(host)], 2)
    return min((max(slit(a, b), slit(b, a)) for a, b in pairs), default=0)
