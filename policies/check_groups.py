"""Hard rules on groups: who lives together, who apart, residents of the hosts included."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from policies.capacity import HostCapacity
from policies.check_case import Case
from policies.request import GroupRule, Membership


class _Member(NamedTuple):
    """A member, the domains of its group's level that it touches, and whether this plan places it."""

    who: str
    part: str
    domains: frozenset[str]
    is_new: bool


class _Where(NamedTuple):
    """The nodes that a guest touches (None: any of the host), and the pCPUs of its vCPUs (None: any of these)."""

    nodes: set[int] | None
    cpus: set[int] | None


def placements_name_their_groups(case: Case) -> Iterator[str]:
    """*Hard.* Else later plans would not keep to them."""
    for p in case.placed:
        if p.placement.groups != p.request.groups:
            yield f"{p.request.name}: its placement names other groups than were asked for"


def members_with_affinity_share_a_domain(case: Case) -> Iterator[str]:
    """*Hard.* One domain of the level holds all members that have a place, each of them wholly."""
    for name, members in _members(case, GroupRule.AFFINITY):
        domains = frozenset[str]().union(*(member.domains for member in members))
        if len(domains) > 1 and any(member.is_new for member in members):
            yield f"group {name}: members are in {', '.join(sorted(domains))}"


def members_with_anti_affinity_share_no_domain(case: Case) -> Iterator[str]:
    """*Hard.* No two members touch one domain."""
    for name, members in _members(case, GroupRule.ANTI_AFFINITY):
        yield from _together(name, [member._replace(part=str(i)) for i, member in enumerate(members)])


def fault_domains_serve_one_part(case: Case) -> Iterator[str]:
    """*Hard.* Members of different parts touch no common domain."""
    for name, members in _members(case, GroupRule.FAULT_DOMAINS):
        yield from _together(name, members)


def all_have_a_place_or_none(case: Case) -> Iterator[str]:
    """*Hard.* Of the members of an all-or-nothing group that were asked for."""
    placed = {p.request.name for p in case.placed}
    asked: dict[str, set[str]] = defaultdict(set)
    for request in case.requests:
        for m in request.groups:
            if m.group.rule is GroupRule.ALL_OR_NOTHING:
                asked[m.group.name].add(request.name)
    for name, members in asked.items():
        if members & placed and members - placed:
            yield f"group {name}: {min(members & placed)} has a place, and {min(members - placed)} has none"


def _together(name: str, members: list[_Member]) -> Iterator[str]:
    there: dict[str, list[_Member]] = defaultdict(list)
    for member in members:
        for domain in member.domains:
            there[domain].append(member)
    for domain, some in sorted(there.items()):
        if len({member.part for member in some}) > 1 and any(member.is_new for member in some):
            yield f"group {name}: {' and '.join(sorted(member.who for member in some))} are in {domain}"


def _members(case: Case, rule: GroupRule) -> Iterator[tuple[str, list[_Member]]]:
    """Of each hard group of this rule that a guest of the plan is in: all members, residents too."""
    hard = [m for p in case.placed for m in p.request.groups if m.group.hard]
    asked = {m.group.name: m for m in hard if m.group.rule is rule}
    found: dict[str, list[_Member]] = {name: [] for name in asked}
    for p in case.placed:
        for m in p.request.groups:
            if m.group.name in found:
                nodes = {int(n) for n in p.cpu_nodes} | p.memory_nodes if p.pinned else None
                cpus = {cpu for _, pin in p.pins() for cpu in pin.ids} if p.pinned else None
                domains = _domains(m, p.host, _Where(nodes, cpus))
                found[m.group.name].append(_Member(p.request.name, m.part, domains, True))
    for host in case.hosts.values():
        for resident in host.residents:
            nodes = None if resident.nodes is None else {int(n) for n in resident.nodes}
            where = _Where(nodes, None if resident.cpus is None else set(resident.cpus.ids))
            for m in resident.groups:
                if m.group.name in found:
                    domains = _domains(asked[m.group.name], host, where)
                    found[m.group.name].append(_Member("a resident", m.part, domains, False))
    yield from found.items()


def _domains(member: Membership, host: HostCapacity, where: _Where) -> frozenset[str]:
    """What a guest touches that is there."""
    level, nodes = member.group.level, where.nodes
    if level not in ("package", "node", "l3"):
        kind = host.domains.get(level)
        return frozenset({f"{level} {kind}" if kind is not None else f"host {host.name}"})
    on = [n for n in host.topology.nodes if nodes is None or n.node_id in nodes]
    if level == "node":
        ids = nodes if nodes is not None else {int(n.node_id) for n in on}
        return frozenset(f"node {n} of {host.name}" for n in ids)
    if level == "l3":
        runs_on = {cpu for n in on for cpu in n.cpus.ids} if where.cpus is None else where.cpus
        caches = {cpu: f"L3 of {l3.cpus} of {host.name}" for l3 in host.topology.l3[::-1] for cpu in l3.cpus.ids}
        return frozenset(caches.get(cpu, f"host {host.name}") for cpu in runs_on) or frozenset({f"host {host.name}"})
    sockets = {p.package_id for p in host.topology.packages for n in on if not p.cpus.isdisjoint(n.cpus)}
    return frozenset(f"package {p} of {host.name}" for p in sockets) or frozenset({f"host {host.name}"})
