"""What if the fleet were another: hosts drained or lost, memory added, nodes divided. Pure, and never applied."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from policies.host_rules import OutstandingClaim
from policies.plan import Decision, Rejection
from policies.policy import Effort
from scheduler.files.fleet_file import FleetGuest
from scheduler.plan_file import PlanFile
from scheduler.planning import plan_fleet
from scheduler.what_if.change import AddCxl, AddMemory, Change, Drain, Lose, NodesPerPackage
from scheduler.what_if.hardware import with_cxl, with_more_memory
from scheduler.what_if.leaving import drained, lost
from scheduler.what_if.nodes import with_nodes
from scheduler.what_if.supposed import Supposed


def suppose(start: Supposed, changes: Sequence[Change]) -> Supposed:
    """Make the changes, one after the other; each finds what those before it have left.

    Raises:
        BadInputError: there is no such host or node, or it cannot be changed so.
    """
    for change in changes:
        start = replace(_changed(start, change), changes=(*start.changes, change))
    return start


def _changed(supposed: Supposed, change: Change) -> Supposed:
    match change:
        case Drain():
            return drained(supposed, change)
        case Lose():
            return lost(supposed, change)
        case AddMemory():
            return with_more_memory(supposed, change)
        case AddCxl():
            return with_cxl(supposed, change)
        case NodesPerPackage():
            return with_nodes(supposed, change)


def plan_supposed(supposed: Supposed, templates: Mapping[str, str], policy: str, effort: Effort) -> PlanFile:
    """`plan_fleet` on what is supposed; where that is not so, the plan says it is hypothetical.

    Raises:
        BadInputError, PlanUnsoundError: as `plan_fleet`.
    """
    guests = _those_there_first(supposed)
    made = plan_fleet(guests, templates, supposed.views, policy, effort, standing=supposed.standing)
    return replace(made, hypothetical=supposed.hypothetical)


def rehoused(supposed: Supposed, policy: str, effort: Effort) -> tuple[Supposed, tuple[Rejection, ...]]:
    """The hosts with those who are asked for again where the policy puts them, and who finds no place.

    Raises:
        BadInputError, PlanUnsoundError: as `plan_fleet`.
    """
    if not supposed.asked_again:
        return supposed, ()
    made = plan_supposed(supposed, {}, policy, effort).plan
    promised: dict[str, list[OutstandingClaim]] = {}
    for home in made.placements:
        claim = OutstandingClaim(claim_id=f"supposed for {home.guest}", placement=home)
        promised.setdefault(home.host, []).append(claim)
    views = (replace(v, claims=(*v.claims, *promised.get(v.config.name, ()))) for v in supposed.views)
    return replace(supposed, views=tuple(views)), made.rejections


def _those_there_first(supposed: Supposed) -> list[FleetGuest]:
    """The guests with their weights: one that is there already weighs more than all new ones together."""
    again = {each.guest for each in supposed.asked_again}
    new = [g.request for g in supposed.guests if g.request.name not in again | supposed.standing.homes.keys()]
    factor = 1 + sum(request.priority for request in new)
    return [
        replace(g, request=replace(g.request, priority=g.request.priority * factor)) if g.request.name in again else g
        for g in supposed.guests
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One host lost, and the plan that is made then."""

    host: str
    supposed: Supposed
    made: PlanFile

    @property
    def guests(self) -> frozenset[str]:
        """Who was there by the books, and is asked for again."""
        return frozenset(again.guest for again in self.supposed.asked_again if again.host == self.host)

    @property
    def refused(self) -> tuple[Rejection, ...]:
        """Guests that were there and find no other place."""
        return tuple(rejection for rejection in self.made.plan.rejections if rejection.guest in self.guests)

    @property
    def new(self) -> tuple[Decision, ...]:
        """What becomes of the other guests that are asked for."""
        known = self.guests | self.supposed.standing.homes.keys()
        return tuple(decision for decision in self.made.plan.decisions if decision.guest not in known)


def lose_each(
    start: Supposed,
    templates: Mapping[str, str],
    policy: str,
    effort: Effort,
    step: Callable[[], None] = lambda: None,
) -> Iterator[Loss]:
    """Lose each host that was read in turn, and plan; `effort` is for each, and `step` is called after it."""
    for host, supposed in each_lost(start):
        yield Loss(host=host, supposed=supposed, made=plan_supposed(supposed, templates, policy, effort))
        step()


def each_lost(start: Supposed) -> Iterator[tuple[str, Supposed]]:
    """Each host that was read, and what is supposed where it is lost."""
    for view in start.views:
        yield view.config.name, suppose(start, [Lose(host=view.config.name)])
