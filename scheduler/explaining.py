"""A guest of a plan explained on the hosts as they are now, without what the plan itself has put there."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from policies.errors import DoesNotFitError
from policies.fleet import Fleet
from policies.plan import Placement
from policies.registry import load_policy
from policies.request import GuestName
from policies.solver.rejected import first_place
from policies.why.beside import Beside
from policies.why.explanation import Explanation, explanation_of
from policies.why.watch import Watch
from probe.errors import BadInputError
from scheduler.plan_file import PlanFile
from scheduler.planning import HostView
from scheduler.what_if.leaving import without_claims


def explain_guest(guest: str, file: PlanFile, views: Sequence[HostView], watch: Watch) -> Explanation:
    """Explain what a plan decided for a guest, on its hosts; those of a hypothetical plan are as it supposes them.

    Changes that would help are looked for as long as `watch` lets, in a new plan by the solver.

    Raises:
        BadInputError: the plan has no such guest, or does not fit the hosts any more.
    """
    asked = {each.request.name: each.request for each in file.guests}
    name = GuestName(guest)
    if name not in asked:
        raise BadInputError(f"guest {guest}: the plan asks for no guest of this name.", advice=_advice(guest, asked))
    placed = tuple(decision for decision in file.plan.decisions if isinstance(decision, Placement))
    fleet = Fleet.of([_before(view, {str(each) for each in asked}).capacity for view in views])
    beside = Beside(fleet=fleet, placed=placed, asked=asked, rule=first_place, solve=load_policy("solver"))
    try:
        beside.book()
    except (DoesNotFitError, KeyError) as error:
        raise BadInputError(
            f"the plan does not fit the hosts any more: {error}", advice="Maybe plan again: numaplace plan … -o PLAN"
        ) from error
    decision = next(decision for decision in file.plan.decisions if decision.guest == name)
    return explanation_of(asked[name], decision, beside, file.objective, watch)


def _before(view: HostView, guests: Collection[str]) -> HostView:
    """The host without what the plan has put there already."""
    return without_claims(view, {claim.claim_id for claim in view.claims if claim.placement.guest in guests})


def _advice(guest: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(guest, known, n=1)
    return f"Maybe {near[0]}." if near else f"Maybe one of {', '.join(sorted(known)[:5])}."
