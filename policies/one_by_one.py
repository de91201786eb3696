"""Lift a rule for one guest to a policy for a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from policies.compose import settle_shared
from policies.explain import Loss, Rule, reject_all
from policies.fleet import Fleet
from policies.in_turn import take_in_turn
from policies.plan import Answer, Decision, Reason
from policies.policy import Effort
from policies.request import GuestRequest
from policies.tiers import objective_of

__all__ = ["Cannot", "OneByOne", "Rule", "in_order", "one_by_one"]

Cannot = Callable[[GuestRequest], tuple[Reason, str] | None]
"""Why a rule never places a guest, whatever the fleet: a reason and a sentence; None where it may."""

_LOST = Loss(reason=Reason.CONTENTION, detail="the guests that were placed before it left no room")


def _anything(_: GuestRequest) -> None:
    return None


def in_order(requests: Sequence[GuestRequest]) -> list[GuestRequest]:
    """The guests as they are asked for: higher priority first."""
    return sorted(requests, key=lambda request: -request.priority)


@dataclass(frozen=True, slots=True, kw_only=True)
class OneByOne:
    """The policy that asks a rule for one guest after the other, higher priority first.

    What the rule answers is taken before the next guest is asked for; a guest that it has no
    place for is rejected with the reason. Raises `DoesNotFitError` where the rule's placement
    does not fit. Whoever keeps a book of his own asks the rule himself.

    Attributes:
        rule_for: the rule, for an effort (its seed).
        cannot: what the rule can never place.
    """

    rule_for: Callable[[Effort], Rule]
    cannot: Cannot = _anything

    def __call__(self, requests: Sequence[GuestRequest], fleet: Fleet, effort: Effort, /) -> Answer:
        book, rule = fleet.open(), self.rule_for(effort)
        chosen = take_in_turn(in_order(requests), book, rule)
        refused = [r for r in requests if r.name not in chosen]
        rejections = reject_all(refused, book, rule=rule, lost=_LOST, cannot=self.cannot)
        decisions: list[Decision] = [chosen.get(r.name) or rejections[r.name] for r in requests]
        settled = settle_shared(decisions, fleet)
        return Answer(decisions=settled, objective=objective_of(settled, requests, fleet, effort.objective))


def one_by_one(rule: Rule, *, cannot: Cannot = _anything) -> OneByOne:
    """The policy that asks `rule` for one guest after the other (`OneByOne`)."""
    return OneByOne(rule_for=lambda _: rule, cannot=cannot)
