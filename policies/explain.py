"""Why a guest has no home, with amounts and places, and the smallest change that would help."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from policies.asking_less import other_requests, smaller_requests
from policies.groups import whole_groups_of
from policies.homes import refusal
from policies.l3 import l3_groups
from policies.open_fleet import OpenFleet
from policies.plan import Placement, Reason, Rejection
from policies.request import GuestName, GuestRequest, HostName
from policies.shortfall import nearest_miss

Rule = Callable[[GuestRequest, OpenFleet], Placement | None]
"""Where one guest goes on what is left, or None. The caller takes it; a rule never does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Why a policy has no place for a guest that fits alone: `detail` ends "fits h1 alone, but"."""

    reason: Reason
    detail: str


def reject_all(
    requests: Sequence[GuestRequest],
    book: OpenFleet,
    *,
    rule: Rule,
    lost: Loss,
    cannot: Callable[[GuestRequest], tuple[Reason, str] | None] = lambda _: None,
    with_changes: bool = True,
) -> Mapping[GuestName, Rejection]:
    """The rejections of guests without a place, each worked out once per class of identical guests.

    Args:
        book: with the whole plan taken; what it has left is for nobody.
        rule: says whether a changed guest would fit.
        cannot: what the policy can never place.
        with_changes: whether a change is sought that would help each.
    """
    untouched = book.fleet.open()
    known: dict[GuestRequest, Rejection] = {}
    found = {}
    for request in requests:
        alike = replace(request, name=GuestName("alike"))
        if alike not in known:
            rejection = _beside(book, rule, alike, _reject(alike, untouched, rule, lost, cannot))
            fits_if = _change(alike, untouched, book, rule) if with_changes else ""
            known[alike] = replace(rejection, fits_if=fits_if)
        found[request.name] = replace(known[alike], guest=request.name)
    return found


def _reject(
    request: GuestRequest,
    untouched: OpenFleet,
    rule: Rule,
    lost: Loss,
    cannot: Callable[[GuestRequest], tuple[Reason, str] | None],
) -> Rejection:
    """A guest that fits alone lost to others or to the clock; another fits nowhere."""
    alone = rule(request, untouched)
    if alone is not None and lost.reason is not Reason.TIME_LIMIT and (groups := sorted(whole_groups_of(request))):
        detail = f"fits {alone.host} alone, but group {groups[0]} is all or nothing, and not all of it has a place"
        return Rejection(guest=request.name, reason=Reason.GROUP, detail=detail)
    if alone is not None:
        return Rejection(guest=request.name, reason=lost.reason, detail=f"fits {alone.host} alone, but {lost.detail}")
    reason, detail = (
        cannot(request)
        or _refused_by_all(request, untouched)
        or kept_out_by_groups(request, untouched, rule)
        or nearest_miss(request, untouched)
    )
    return Rejection(guest=request.name, reason=reason, detail=detail)


def _beside(book: OpenFleet, rule: Rule, request: GuestRequest, rejection: Rejection) -> Rejection:
    """The rejection, and where members of its groups keep the guest from L3 domains that have room, who does."""
    if rejection.reason is not Reason.CONTENTION or not l3_groups(request.groups, hard=True):
        return rejection
    found = _conflict(request, book, rule)
    return replace(rejection, detail=f"{rejection.detail}; beside them {found[1]}") if found else rejection


def _change(request: GuestRequest, untouched: OpenFleet, book: OpenFleet, rule: Rule) -> str:
    """What would make it fit beside the others; or, where nothing would, what would if it were alone.

    The others of an all-or-nothing group lack a place too, so what is tried is the guest without them.
    """
    if whole := whole_groups_of(request):
        rest = replace(request, groups=tuple(m for m in request.groups if m.group.name not in whole))
        without = [f"groups: without {name}" for name in sorted(whole)]
        if rule(rest, book) is not None:
            return ", ".join(without)
        change = _change(rest, untouched, book, rule)
        return ", ".join([*without, change]) if change else ""
    fits_if = smallest_change(request, book, rule)
    if not fits_if and rule(request, untouched) is None and (alone_if := smallest_change(request, untouched, rule)):
        return f"{alone_if}, and it were alone"
    return fits_if


def _refused_by_all(request: GuestRequest, book: OpenFleet) -> tuple[Reason, str] | None:
    """The reason where every host refuses the guest, however empty it is; None where one does not."""
    if not len(book.fleet):
        return Reason.HOST, "there are no hosts"
    refusals = []
    for host in book.fleet:
        refused = refusal(request, host)
        if refused is None:
            return None
        refusals.append(refused)
    telling = [r for r in refusals if r[0] is not Reason.HOST]
    if not telling and request.hosts is not None and not request.hosts & {h.name for h in book.fleet}:
        return Reason.HOST, f"none of its hosts is there: {', '.join(sorted(request.hosts))}"
    texts = list(dict.fromkeys(text for _, text in telling or refusals))
    more = f" (and {len(texts) - 3} more)" if len(texts) > 3 else ""
    return (telling or refusals)[0][0], "; ".join(texts[:3]) + more


def kept_out_by_groups(request: GuestRequest, book: OpenFleet, rule: Rule) -> tuple[Reason, str] | None:
    """The reason where the guest would fit if it were in no group; None where it would not."""
    found = _conflict(request, book, rule)
    return None if found is None else (Reason.GROUP, f"fits {found[0]}, but {found[1]}; so it is wherever it fits")


def _conflict(request: GuestRequest, book: OpenFleet, rule: Rule) -> tuple[HostName, str] | None:
    """Where the guest would go if it were in no group, and what its groups have against that."""
    free = rule(replace(request, groups=()), book) if request.groups else None
    if free is None:
        return None
    return free.host, book.groups.conflict_of(replace(free, groups=request.groups), book.fleet.host(free.host))


def smallest_change(request: GuestRequest, book: OpenFleet, rule: Rule) -> str:
    """The first of a closed list of changes that makes the guest fit, tried on the book; "" for none.

    In the order of what they cost the user: any host; more nodes; `cells: auto`; out of a group; far from a device;
    cores that others use too; emulator threads anywhere; shared pCPUs; smaller pages; far memory; less memory (the
    most that fits, in MiB or pages); fewer vCPUs (the most that fit); fewer vCPUs and less memory.
    """
    for text, changed in other_requests(request):
        if rule(changed, book) is not None:
            return text
    return next((text for text, _ in smaller_requests(request, lambda less: rule(less, book) is not None)), "")
