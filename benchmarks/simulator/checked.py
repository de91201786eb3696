"""What of a policy's answer the independent checker lets through; the rest is broken, and is not taken."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from policies import check_groups
from policies.check import HARD_RULES, Violation, violations
from policies.check_groups import all_have_a_place_or_none
from policies.fleet import Fleet
from policies.plan import Decision, Placement
from policies.request import GuestName, GuestRequest, HostName, Membership

Broken = Mapping[GuestName, str]
"""Guests whose placement breaks a rule, and how."""

OF_GROUPS = (
    check_groups.members_with_affinity_share_a_domain,
    check_groups.members_with_anti_affinity_share_no_domain,
    check_groups.fault_domains_serve_one_part,
)
OF_A_HOST = tuple(rule for rule in HARD_RULES if rule not in (*OF_GROUPS, all_have_a_place_or_none))
"""Rules by which guests of different hosts do not touch each other."""


def broken_by(decisions: Sequence[Decision], requests: Sequence[GuestRequest], fleet: Fleet) -> Broken:
    """The placements that are not let through, so that the others together break no rule.

    `fleet` is as it was before the batch. Only the hosts and groups concerned are looked at. Where the guests of
    a host, or of a group, break a rule together, they are gone through in the order of the batch, and who breaks one
    beside those before is broken. Of an all-or-nothing group all are, where one is.
    """
    asked = {request.name: request for request in requests}
    told = Counter(decision.guest for decision in decisions)
    broken = {guest: f"each_request_has_one_decision: it has {told[guest]}" for guest in asked if told[guest] != 1}
    of_host: dict[HostName, list[Placement]] = defaultdict(list)
    for decision in decisions:
        if isinstance(decision, Placement) and decision.guest in asked and decision.guest not in broken:
            of_host[decision.host].append(decision)
    for name, placements in of_host.items():
        hosts = Fleet.of([fleet.host(name)]) if fleet.has_host(name) else Fleet.of([])
        broken |= _in_turn(placements, asked, hosts)
    kept = [p for placements in of_host.values() for p in placements if p.guest not in broken]
    broken |= _of_groups(kept, asked, fleet)
    return {**broken, **incomplete(decisions, requests, broken)}


def _in_turn(placements: Sequence[Placement], asked: Mapping[GuestName, GuestRequest], hosts: Fleet) -> Broken:
    """Of the guests of one host."""
    if not _breaches(placements, asked, hosts):
        return {}
    kept: list[Placement] = []
    broken: dict[GuestName, str] = {}
    for placement in placements:
        if found := _breaches([*kept, placement], asked, hosts):
            broken[placement.guest] = str(found[0])
        else:
            kept.append(placement)
    return broken


def _breaches(
    placements: Sequence[Placement], asked: Mapping[GuestName, GuestRequest], hosts: Fleet
) -> Sequence[Violation]:
    return violations(placements, [asked[placement.guest] for placement in placements], hosts, rules=OF_A_HOST)


def _of_groups(placements: Sequence[Placement], asked: Mapping[GuestName, GuestRequest], fleet: Fleet) -> Broken:
    broken: dict[GuestName, str] = {}
    members: dict[str, list[tuple[Placement, Membership]]] = defaultdict(list)
    for placement in placements:
        for member in asked[placement.guest].groups:
            members[member.group.name].append((placement, member))
    for name, those in members.items():
        own = [replace(p, groups=(member,)) for p, member in those if p.guest not in broken]
        wanted = {p.guest: replace(asked[p.guest], groups=p.groups) for p in own}
        hosts = _hosts_of(name, {p.host for p in own}, fleet)
        kept: list[Placement] = []
        if not violations(own, [wanted[p.guest] for p in own], hosts, rules=OF_GROUPS):
            continue
        for p in own:
            found = violations([*kept, p], [wanted[k.guest] for k in (*kept, p)], hosts, rules=OF_GROUPS)
            if found:
                broken[p.guest] = str(found[0])
            else:
                kept.append(p)
    return broken


def _hosts_of(group: str, more: Iterable[HostName], fleet: Fleet) -> Fleet:
    """Hosts with residents of the group, and more."""
    named = set(more)
    for host in fleet:
        if any(member.group.name == group for resident in host.residents for member in resident.groups):
            named.add(host.name)
    return Fleet.of([fleet.host(name) for name in sorted(named)])


def incomplete(decisions: Sequence[Decision], requests: Sequence[GuestRequest], broken: Broken) -> Broken:
    """The guests with a place whose all-or-nothing group has not all of its members now, once the broken are gone."""
    kept = {d.guest: d for d in decisions if isinstance(d, Placement) and d.guest not in broken}
    lost: dict[GuestName, str] = {}
    groups = {m.group.name for request in requests for m in request.groups if _is_whole(m)}
    shrinks = bool(groups)
    while shrinks:
        shrinks = False
        for name in groups:
            members = [r.name for r in requests if any(m.group.name == name and _is_whole(m) for m in r.groups)]
            there = [guest for guest in members if guest in kept]
            if there and len(there) < len(members):
                shrinks = True
                for guest in there:
                    lost[guest] = f"{all_have_a_place_or_none.__name__}: group {name} has not all of its members"
                    del kept[guest]
    return lost


def _is_whole(member: Membership) -> bool:
    return member.group.rule == "all-or-nothing"


def audit(placements: Sequence[Placement], requests: Sequence[GuestRequest], fleet: Fleet) -> Sequence[Violation]:
    """What the guests of a host break together, counted anew from the host as it was when nobody was there."""
    return violations(placements, requests, fleet, rules=OF_A_HOST)
