"""Lift a rule for one guest to a policy for a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from policies.compose import settle_shared
from policies.explain import Loss, Rule, reject_all
from policies.fleet import Fleet
from policies.in_turn import take_in_turn
from policies.plan import Answer, Decision, Reason
from policies.policy import Effort, Policy
from policies.request import GuestRequest
from policies.tiers import objective_of

__all__ = ["Cannot", "Rule", "one_by_one"]

Cannot = Callable[[GuestRequest], tuple[Reason, str] | None]
"""Why a rule never places a guest, whatever the fleet: a reason and a sentence; None where it may."""

_LOST = Loss(reason=Reason.CONTENTION, detail="the guests that were placed before it left no room")


def one_by_one(rule: Rule, *, cannot: Cannot = lambda _: None) -> Policy:
    """The policy that asks `rule` for one guest after the other, higher priority first.

    What the rule answers is taken before the next guest is asked for; a guest that it has no
    place for is rejected with the reason. Raises `DoesNotFitError` where the rule's placement
    does not fit.
    """

    def decide(requests: Sequence[GuestRequest], fleet: Fleet, effort: Effort, /) -> Answer:
        book = fleet.open()
        chosen = take_in_turn(sorted(requests, key=lambda r: -r.priority), book, rule)
        refused = [r for r in requests if r.name not in chosen]
        rejections = reject_all(refused, book, rule=rule, lost=_LOST, cannot=cannot)
        decisions: list[Decision] = [chosen.get(r.name) or rejections[r.name] for r in requests]
        settled = settle_shared(decisions, fleet)
        return Answer(decisions=settled, objective=objective_of(settled, requests, fleet, effort.objective))

    return decide
