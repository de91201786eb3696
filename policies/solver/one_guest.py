"""One guest alone: the nearest homes on each host, one host after the other, without a CP-SAT model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from policies.compose import Assigned
from policies.compose_all import compose_all
from policies.errors import DoesNotFitError
from policies.explain import reject_all
from policies.fleet import Fleet
from policies.greedy import choose_fullest
from policies.homes import Home, is_bound_to_places
from policies.l3 import l3_groups
from policies.nearest.on_host import Asked, floor_of, nearest_way, questions
from policies.nearest.question import FAR
from policies.nearest.seats import Seats
from policies.objective import Objective, Term
from policies.pages import in_largest_pages
from policies.places import counts_of_parts
from policies.plan import Answer, Decision, SolveStatus, Tier
from policies.policy import Effort
from policies.request import GuestRequest, HostName
from policies.solver.budget import Budget
from policies.solver.improve import PolicyError
from policies.solver.rejected import LOST, UNPROVEN, first_place

SETS_PER_DETERMINISTIC_S = 1_000_000
"""Sets of homes that count as one of CP-SAT's deterministic seconds: about as many as a real one has time for."""

_FIRST = (Term.PLACED, Term.NODES_SPANNED, Term.DISTANCE)
_SETTLED = {Term.SOFT_WISHES, Term.FEWEST_HOSTS}
"""What is the same wherever one guest without soft groups lives."""


def can_be_placed_alone(request: GuestRequest, objective: Objective) -> bool:
    """Whether `place_alone` answers for such a guest.

    The tiers of the default objective, no soft groups, none that look at L3 domains, any homes.
    """
    tiers = [[term for term, _ in tier.terms] for tier in objective.tiers]
    first, rest = tiers[: len(_FIRST)], [term for terms in tiers[len(_FIRST) :] for term in terms]
    settled = set(rest) <= _SETTLED and all(member.group.hard for member in request.groups)
    bound = request.devices or is_bound_to_places(request) or l3_groups(request.groups)
    return first == [[term] for term in _FIRST] and settled and not bound


def place_alone(request: GuestRequest, fleet: Fleet, effort: Effort) -> Answer:
    """The answer for a batch of one guest: tier by tier what CP-SAT would find, with bounds.

    `best-fit` says where to start from, and is only left for what is better.
    """
    search = _Search(request, fleet, effort)
    search.run()
    terms = search.terms()
    tiers = tuple(
        Tier(
            tier=number,
            name=tier.name,
            value=tier.value({term: terms[term].value for term, _ in tier.terms}),
            bound=tier.value({term: terms[term].bound for term, _ in tier.terms}),
            more_is_better=tier.more_is_better,
            constant=all(terms[term].is_only for term, _ in tier.terms),
        )
        for number, tier in enumerate(effort.objective.tiers, 1)
    )
    proven = all(tier.gap == 0 for tier in tiers)
    status = SolveStatus.OPTIMAL if proven else SolveStatus.FEASIBLE
    limited_by = "" if proven else search.limited_by
    return Answer(decisions=(search.decision(),), objective=tiers, status=status, limited_by=limited_by)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Best:
    """The best place so far."""

    host: HostName
    homes: tuple[Home, ...]
    distance: int
    page_kib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """Of a term: what is reached, what no answer does better (that reaches the tiers above), if all do so."""

    value: int
    bound: int
    is_only: bool = False


class _Search:
    """Over ever more nodes, until a number of them holds the guest on some host."""

    def __init__(self, request: GuestRequest, fleet: Fleet, effort: Effort) -> None:
        self._request, self._fleet, self._effort, self._budget = request, fleet, effort, Budget(effort)
        self._book = fleet.open()
        self._looked_at, self._searched = 0, False
        self._open: dict[int, int] = {}
        self.best = self._start()

    def run(self) -> None:
        """Improve `best`, and find bounds."""
        for parts in self._counts():
            if self.best is not None and len(self.best.homes) < parts:
                return
            bounds = [self._on(host, parts, concrete) for host, concrete in self._places(parts)]
            if (least := min(bounds)) < FAR:
                self._open[parts] = least

    @property
    def limited_by(self) -> str:
        """What ended the search before a proof: the clock, or else the effort."""
        limit = self._effort.deterministic_limit
        return self._budget.what_ended() or ("" if limit is None else f"the effort of {limit:g}")

    def terms(self) -> Mapping[Term, _Known]:
        """What is known of each term."""
        none, weight = _Known(value=0, bound=0, is_only=True), self._request.priority
        known = dict.fromkeys((*_FIRST, *_SETTLED), none)
        if self.best is None:
            return known | ({Term.PLACED: _Known(value=0, bound=weight)} if self._open else {})
        nodes, distance = len(self.best.homes), self.best.distance
        return known | {
            Term.PLACED: _Known(value=weight, bound=weight),
            Term.NODES_SPANNED: _Known(value=nodes, bound=min(self._open), is_only=self._is_only_count(nodes)),
            Term.DISTANCE: _Known(
                value=distance, bound=min(self._open.values()), is_only=self._is_only_distance(nodes)
            ),
            Term.FEWEST_HOSTS: _Known(value=1, bound=1, is_only=True),
        }

    def decision(self) -> Decision:
        """The guest in its best place, or why it has none."""
        best, request = self.best, self._request
        if best is None:
            lost = UNPROVEN if self._open else LOST
            return reject_all([request], self._book, rule=first_place, lost=lost)[request.name]
        place = Assigned(request=request, host=best.host, homes=best.homes, page_kib=best.page_kib)
        try:
            return compose_all(in_largest_pages([place], self._fleet), self._fleet)[request.name]
        except DoesNotFitError as error:
            raise PolicyError(f"the search chose homes that do not hold the guest: {error}") from error

    def _start(self) -> _Best | None:
        choice = choose_fullest(self._request, self._book)
        if choice is None:
            return None
        way, placement = choice
        page_kib = placement.cells[0].memory[0].page_kib
        return _Best(host=placement.host, homes=way.homes, distance=way.distance, page_kib=page_kib)

    def _counts(self) -> list[int]:
        """Over how many nodes it may be split somewhere."""
        pages = self._request.by_pages()
        return sorted({n for host in self._fleet for concrete in pages for n in counts_of_parts(concrete, host)})

    def _places(self, parts: int) -> list[tuple[HostName, GuestRequest]]:
        """The hosts that may be, with the guest in each of its page sizes."""
        pages = self._request.by_pages()
        return [(h.name, one) for h in self._fleet for one in pages if parts in counts_of_parts(one, h)]

    def _on(self, name: HostName, parts: int, concrete: GuestRequest) -> int:
        """Look for something better on a host; a bound of what there is on so many of its nodes."""
        best, looked_at, host = self.best, self._looked_at, self._fleet.host(name)
        below = best.distance if best is not None and len(best.homes) == parts else FAR
        floor = floor_of(concrete, host, parts)
        if floor >= below or (best is not None and self._searched and self._is_spent(looked_at)):
            return min(floor, below)
        self._searched = True
        found = nearest_way(
            concrete,
            self._book,
            host,
            parts,
            below=below,
            enough=lambda more: self._is_spent(looked_at + more),
        )
        self._looked_at += found.looked_at
        if found.homes:
            self.best = _Best(host=name, homes=found.homes, distance=found.distance, page_kib=concrete.page_kib)
        return found.bound

    def _is_spent(self, looked_at: int) -> bool:
        limit = self._effort.deterministic_limit
        return self._budget.is_spent() or (limit is not None and looked_at > limit * SETS_PER_DETERMINISTIC_S)

    def _asked(self, parts: int) -> list[Asked]:
        found: list[Asked] = []
        for name, concrete in self._places(parts):
            found += questions(Seats.now(concrete, self._book, self._fleet.host(name), parts))
        return found

    def _is_only_count(self, nodes: int) -> bool:
        """Whether it shows that the guest can be on no other number of nodes."""
        return all(parts == nodes or not self._asked(parts) for parts in self._counts())

    def _is_only_distance(self, nodes: int) -> bool:
        """Whether it shows that all ways on as many nodes are as near."""
        distances = {one.only_distance for one in self._asked(nodes)}
        return len(distances) == 1 and None not in distances
