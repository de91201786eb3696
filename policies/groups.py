"""Who must live with whom, and who must not: the domains of a level, and the book of who is where."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set

from policies.capacity import HostCapacity, Resident
from policies.fleet import Fleet
from policies.plan import Placement
from policies.request import GroupRule, GuestRequest, HostName, Membership
from probe.cpuset import CpuSet, NodeSet
from probe.topology import HostTopology

Domain = tuple[str, ...]
"""A host, a package or node of it, or a kind and a name that hosts share."""

LEVELS_WITHIN_A_HOST = ("package", "node", "l3")
LEVELS_OF_A_HOST = ("host", *LEVELS_WITHIN_A_HOST)
"""Levels that every host has; others are kinds of `HostCapacity.domains`."""


def domains_of(level: str, host: HostCapacity, nodes: Iterable[int] | None) -> frozenset[Domain]:
    """The domains that a guest on these nodes of a host touches; None is all nodes.

    A host without packages, or L3 domains, that are known is one; a node without CPUs is of none. Which of
    the L3 domains of its nodes a guest's pCPUs are in is not looked at: it counts in all of them.
    """
    if level in LEVELS_WITHIN_A_HOST:
        touched = frozenset((n.node_id for n in host.nodes) if nodes is None else nodes)
        if level == "node":
            return frozenset((host.name, f"node {node}") for node in touched)
        cpus = CpuSet.union(node.cpus for node in host.topology.nodes if node.node_id in touched)
        parts = _packages(host.topology) if level == "package" else _l3_domains(host.topology)
        names = [name for name, of in parts if not of.isdisjoint(cpus)]
        return frozenset((host.name, name) for name in names) or frozenset({(host.name,)})
    shared = host.domains.get(level)
    return frozenset({(host.name,) if shared is None else (level, shared)})


def _packages(topology: HostTopology) -> list[tuple[str, CpuSet]]:
    return [(f"package {package.package_id}", package.cpus) for package in topology.packages]


def _l3_domains(topology: HostTopology) -> list[tuple[str, CpuSet]]:
    return [(f"l3 domain of pCPUs {domain.cpus}", domain.cpus) for domain in topology.l3]


def nodes_of(placement: Placement) -> NodeSet | None:
    """The nodes that a placement touches with CPUs or memory; None for unpinned."""
    return None if placement.cpu_nodes is None else placement.cpu_nodes | placement.memory_nodes


def away(name: HostName, domains: Mapping[str, str], residents: tuple[Resident, ...]) -> HostCapacity:
    """A host that cannot be reached: nobody goes there, and the members of groups that it has count."""
    nothing = HostTopology(nodes=(), online_cpus=CpuSet())
    return HostCapacity(name=name, topology=nothing, nodes=(), schedulable=False, domains=domains, residents=residents)


def whole_groups_of(request: GuestRequest) -> frozenset[str]:
    """The names of its all-or-nothing groups."""
    return frozenset(m.group.name for m in request.groups if m.group.rule is GroupRule.ALL_OR_NOTHING)


def broken_wishes(rule: GroupRule, there: Mapping[Domain, Mapping[str, int]]) -> int:
    """How much a soft group is broken whose members are in these domains, by their parts.

    With affinity each domain beyond the first counts; with anti-affinity each member beyond the first of a
    domain; of fault domains each part beyond the first of a domain.
    """
    if rule is GroupRule.AFFINITY:
        return max(0, len(there) - 1)
    if rule is GroupRule.ANTI_AFFINITY:
        return sum(max(0, sum(parts.values()) - 1) for parts in there.values())
    return sum(max(0, len(parts) - 1) for parts in there.values())


class GroupBook:
    """Where the members of each group are: residents of the fleet, and who is taken in and given back."""

    def __init__(self, fleet: Fleet) -> None:
        self._residents: dict[str, list[tuple[HostCapacity, NodeSet | None, str]]] = defaultdict(list)
        for host in fleet:
            for resident in host.residents:
                for member in resident.groups:
                    self._residents[member.group.name].append((host, resident.nodes, member.part))
        self._parts: dict[tuple[str, str], dict[Domain, Counter[str]]] = {}

    def conflict(self, groups: Sequence[Membership], host: HostCapacity, nodes: Iterable[int] | None) -> str:
        """Why a member may not live on these nodes, as a sentence without a full stop; "" where it may."""
        for member in groups:
            if not member.group.hard:
                continue
            found = self._conflict(member, domains_of(member.group.level, host, nodes))
            if found:
                group = member.group
                return f"group {group.name} ({group.rule}, {group.level}): {found}"
        return ""

    def domains_with(self, member: Membership) -> frozenset[Domain]:
        """The domains in which members of its group live."""
        return frozenset(self._parts_of(member))

    def domains_against(self, member: Membership) -> frozenset[Domain]:
        """Of a group whose members live apart: the domains in which one more, of this part, breaks its rule."""
        there, is_new = self._parts_of(member), member.group.rule is GroupRule.ANTI_AFFINITY
        return frozenset(domain for domain, parts in there.items() if is_new or member.part not in parts)

    def added_breaches(self, groups: Sequence[Membership], host: HostCapacity, nodes: Iterable[int] | None) -> int:
        """How much more soft groups are broken by a member on these nodes, each breach times the group's weight."""
        found = 0
        for member in (each for each in groups if not each.group.hard):
            domains = domains_of(member.group.level, host, nodes)
            found += member.group.weight * _added(member, self._parts_of(member), domains)
        return found

    def book(self, placement: Placement, host: HostCapacity, *, sign: int) -> None:
        """Take a placement in (1) or give it back (-1)."""
        for member in placement.groups:
            parts = self._parts_of(member)
            for domain in domains_of(member.group.level, host, nodes_of(placement)):
                parts[domain][member.part] += sign
                parts[domain] += Counter()  # drops what is gone
                if not parts[domain]:
                    del parts[domain]

    def _conflict(self, member: Membership, domains: Iterable[Domain]) -> str:
        parts = self._parts_of(member)
        if member.group.rule is GroupRule.AFFINITY:
            apart = parts.keys() | domains
            return f"members are in {_names(parts.keys() or apart)}" if len(apart) > 1 else ""
        for domain in sorted(domains):
            others = parts.get(domain, Counter())
            if member.group.rule is GroupRule.ANTI_AFFINITY and others:
                return f"a member is in {_names([domain])}"
            if member.group.rule is GroupRule.FAULT_DOMAINS and others.keys() - {member.part}:
                return f"part {min(others.keys() - {member.part})} is in {_names([domain])}"
        return ""

    def _parts_of(self, member: Membership) -> dict[Domain, Counter[str]]:
        key = member.group.name, member.group.level
        if key not in self._parts:
            parts: dict[Domain, Counter[str]] = defaultdict(Counter)
            for host, nodes, part in self._residents.get(member.group.name, ()):
                for domain in domains_of(member.group.level, host, nodes):
                    parts[domain][part] += 1
            self._parts[key] = parts
        return self._parts[key]


def _added(member: Membership, there: Mapping[Domain, Mapping[str, int]], domains: Set[Domain]) -> int:
    """How much more of `broken_wishes` there is with one more member, in these domains."""
    if member.group.rule is GroupRule.AFFINITY:
        return max(0, sum(domain not in there for domain in domains) - (not there))
    before = {domain: there[domain] for domain in domains if domain in there}
    after = {domain: Counter(before.get(domain, {})) + Counter([member.part]) for domain in domains}
    return broken_wishes(member.group.rule, after) - broken_wishes(member.group.rule, before)


def _names(domains: Iterable[Domain]) -> str:
    return ", ".join(" ".join(domain) for domain in sorted(domains))
