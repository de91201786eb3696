"""Lift a rule for one guest to a policy for a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from policies.compose import settle_shared
from policies.explain import reject_all
from policies.fleet import Fleet
from policies.open_fleet import OpenFleet
from policies.plan import Answer, Decision, Placement
from policies.policy import Effort, Policy
from policies.request import GuestRequest
from policies.tiers import objective_of

Rule = Callable[[GuestRequest, OpenFleet], Placement | None]
"""Where one guest goes on what is left, or None. The lift takes it; a rule never does."""


def one_by_one(rule: Rule) -> Policy:
    """The policy that asks `rule` for one guest after the other, higher priority first.

    What the rule answers is taken before the next guest is asked for; a guest that it has no
    place for is rejected with the reason.
    """

    def decide(requests: Sequence[GuestRequest], fleet: Fleet, effort: Effort, /) -> Answer:
        del effort  # one pass, no search
        book = fleet.open()
        chosen: dict[str, Placement] = {}
        for request in sorted(requests, key=lambda r: -r.priority):
            placement = rule(request, book)
            if placement is not None:
                book.take(placement)
                chosen[request.name] = placement
        rejections = reject_all([r for r in requests if r.name not in chosen], fleet)
        decisions: list[Decision] = [chosen.get(r.name) or rejections[r.name] for r in requests]
        settled = settle_shared(decisions, fleet)
        return Answer(decisions=settled, objective=objective_of(settled, requests, fleet))

    return decide
