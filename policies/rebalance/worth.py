"""What the terms that look at nodes are in a state: room for reference flavours, and how evenly nodes are loaded."""

from __future__ import annotations

from collections.abc import Callable

from policies.capacity import HostCapacity
from policies.fleet import Fleet
from policies.objective import Term
from policies.rebalance.loads import Loads
from policies.rebalance.model import Model
from policies.usage import NodeUse, Use, kept_for, load_squares

OF_NODES = frozenset({Term.KEEP_LARGEST, Term.BALANCE})


class NodeTerms:
    """Counts the terms of `OF_NODES` that an objective has, host by host; no state of a host is counted twice.

    Guests who stay where they are belong to what a host had before.
    """

    def __init__(self, model: Model, loads: Loads) -> None:
        self._loads, self._fleet = loads, model.fleet
        guests = [*(guest.request for guest in model.question.guests), *model.question.wanted]
        self._flavours = model.question.objective.reference(guests)
        counts: dict[Term, Callable[[Fleet, Use], int]] = {
            Term.KEEP_LARGEST: lambda host, used: sum(kept_for(flavour, host, used) for flavour in self._flavours),
            Term.BALANCE: load_squares,
        }
        self._counts = {term: counts[term] for term in model.question.objective.terms if term in OF_NODES}
        self._alone = [Fleet.of([host]) for host in self._fleet] if self._counts else []
        self._known: dict[object, dict[Term, int]] = {}
        self._last: list[dict[Term, int]] = [{} for _ in self._fleet]
        self._sums = dict.fromkeys(self._counts, 0)
        self._loads.changed_hosts |= {*range(len(self._fleet))}

    def values(self) -> dict[Term, int]:
        """Of the state that the loads are in."""
        if not self._counts:
            return {}
        for host in self._loads.changed_hosts:
            now = self._of_host(self._fleet.hosts[host], self._alone[host])
            for term, value in now.items():
                self._sums[term] += value - self._last[host].get(term, 0)
            self._last[host] = now
        self._loads.changed_hosts.clear()
        return dict(self._sums)

    def _of_host(self, host: HostCapacity, alone: Fleet) -> dict[Term, int]:
        rows = self._fleet.rows(host.name)
        key = host.name, tuple(self._loads.held(row) for row in rows)
        if key not in self._known:
            used: dict[tuple[str, int], NodeUse] = {}
            for node, row in zip(host.nodes, rows, strict=True):
                used[host.name, node.node_id] = self._use(row)
            self._known[key] = {term: count(alone, used) for term, count in self._counts.items()}
        return self._known[key]

    def _use(self, row: int) -> NodeUse:
        own, lost, floating, largest, memory = self._loads.held(row)
        use = NodeUse(dedicated=own, lost=lost, shared=floating, largest=largest)
        use.memory_kib.update(dict(memory))
        return use
