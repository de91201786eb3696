"""All that is to be said of one guest of a plan."""

from __future__ import annotations

from dataclasses import dataclass, replace

from policies.groups import whole_groups_of
from policies.objective import Objective
from policies.plan import Decision, Placement
from policies.request import GuestRequest
from policies.why.account import Account, account
from policies.why.again import AS_IT_IS
from policies.why.beside import Beside
from policies.why.causes import Cause, causes
from policies.why.change import Change
from policies.why.changes import NO_CHANGES, Changes, changes
from policies.why.holders import Holders, holders_of
from policies.why.watch import Watch
from probe.cpuset import CpuSet

PINNED_ANEW = "these are pinned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a guest has this place, or none.

    Attributes:
        causes: per host what keeps it off when it is alone there; empty where it fits somewhere alone.
        holders: who holds its place, where it fits alone.
        whole_groups: its all-or-nothing groups: without their other members is how it is looked at.
        changes: what would make it fit; for a guest that has no place.
        account: what its place costs; for a guest that has one.
    """

    decision: Decision
    causes: tuple[Cause, ...] = ()
    holders: Holders | None = None
    whole_groups: tuple[str, ...] = ()
    changes: Changes = NO_CHANGES
    account: Account | None = None


def explanation_of(
    request: GuestRequest, decision: Decision, beside: Beside, objective: Objective, watch: Watch | None = None
) -> Explanation:
    """Explain what a plan decided for a guest; changes are looked for as long as `watch` lets."""
    if isinstance(decision, Placement):
        return Explanation(decision=decision, account=account(request, beside, objective))
    whole = whole_groups_of(request)
    request = replace(request, groups=tuple(m for m in request.groups if m.group.name not in whole))
    if whole and (place := beside.rule(request, beside.book())) is not None:
        text = ", ".join(f"groups: without {name}" for name in sorted(whole))
        only = Change(text=text, placement=place)
        return Explanation(decision=decision, whole_groups=tuple(sorted(whole)), changes=Changes(found=(only,)))
    if (place := beside.rule(request, beside.book())) is not None:
        return Explanation(decision=decision, changes=Changes(found=(_nobody_in_the_way(place, beside),)))
    watch = watch or Watch()
    watch.tell("each host")
    untouched = beside.fleet.open()
    alone = beside.rule(request, untouched) is not None
    return Explanation(
        decision=decision,
        causes=() if alone else tuple(c for host in beside.fleet for c in causes(request, untouched, host)),
        holders=_holders(request, beside) if alone else None,
        whole_groups=tuple(sorted(whole)),
        changes=changes(request, beside, watch),
    )


def _nobody_in_the_way(place: Placement, beside: Beside) -> Change:
    """It fits beside all: a better plan has a place for it, or guests that run float where it would own pCPUs."""
    here = (p for p in beside.placed if p.host == place.host)
    own = place.own_cpus | place.booked_cpus
    floats = sorted(p.guest for p in here if not own.isdisjoint(CpuSet.union(p.floating_pins.values())))
    if not floats:
        return Change(text=AS_IT_IS, placement=place, new_plan=True)
    return Change(text=f"{PINNED_ANEW} elsewhere on their nodes: {', '.join(floats)}", placement=place)


def _holders(request: GuestRequest, beside: Beside) -> Holders | None:
    weights = {name: other.priority for name, other in beside.asked.items()}
    return holders_of(request, beside.placed, beside.fleet, weights)
