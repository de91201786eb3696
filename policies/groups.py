"""Who must live with whom, and who must not: the domains of a level, and the book of who is where."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache

from policies.capacity import HostCapacity, Resident
from policies.fleet import Fleet
from policies.l3 import L3_LEVEL, cpus_of, is_known_l3, l3_domains, l3_groups, looks_at_l3
from policies.plan import Placement
from policies.request import GroupRule, GuestRequest, HostName, Membership
from policies.same import Same
from probe.cpuset import CpuSet, NodeSet
from probe.topology import HostTopology

Domain = tuple[str, ...]
"""A host, a package or node of it, or a kind and a name that hosts share."""

LEVELS_WITHIN_A_HOST = ("package", "node", "l3")
LEVELS_OF_A_HOST = ("host", *LEVELS_WITHIN_A_HOST)
"""Levels that every host has; others are kinds of `HostCapacity.domains`."""


def domains_of(
    level: str, host: HostCapacity, nodes: Iterable[int] | None, cpus: CpuSet | None = None
) -> frozenset[Domain]:
    """The domains that a guest on these nodes of a host touches; None is all nodes.

    A host without packages that are known is one; a node without CPUs is of none.

    Args:
        cpus: the pCPUs that its vCPUs may use, whose L3 domains it is in; None is all of its nodes.
    """
    if level in LEVELS_WITHIN_A_HOST:
        touched = frozenset((n.node_id for n in host.nodes) if nodes is None else nodes)
        if level == "node":
            return frozenset((host.name, f"node {node}") for node in touched)
        every = CpuSet.union(node.cpus for node in host.topology.nodes if node.node_id in touched)
        if level == L3_LEVEL:
            return l3_domains_with(host, every if cpus is None else cpus)
        names = [f"package {each.package_id}" for each in host.topology.packages if not each.cpus.isdisjoint(every)]
        return frozenset((host.name, name) for name in names) or frozenset({(host.name,)})
    shared = host.domains.get(level)
    return frozenset({(host.name,) if shared is None else (level, shared)})


def l3_domains_with(host: HostCapacity, cpus: CpuSet) -> frozenset[Domain]:
    """Those that have some of these pCPUs; of none, what is in no known one."""
    found = [name_of_l3(host, i) for i, of in enumerate(l3_domains(host.topology)) if not of.isdisjoint(cpus)]
    return frozenset(found) or frozenset({(host.name,)})


def name_of_l3(host: HostCapacity, index: int) -> Domain:
    """The domain of its place in `l3_domains`; the pCPUs of no known one are the host."""
    return _name_of_l3(Same(host.topology), host.name, index)


@lru_cache(maxsize=100_000)
def _name_of_l3(topology: Same[HostTopology], host: HostName, index: int) -> Domain:
    known = is_known_l3(topology.value, index)
    return (host, f"l3 domain of pCPUs {l3_domains(topology.value)[index]}") if known else (host,)


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
        self._residents: dict[str, list[tuple[HostCapacity, Resident, str]]] = defaultdict(list)
        for host in fleet:
            for resident in host.residents:
                for member in resident.groups:
                    self._residents[member.group.name].append((host, resident, member.part))
        self._parts: dict[tuple[str, str], dict[Domain, Counter[str]]] = {}

    def conflict(self, groups: Sequence[Membership], host: HostCapacity, nodes: Iterable[int] | None) -> str:
        """Why a member may not live on these nodes, as a sentence without a full stop; "" where it may.

        L3 domains are not looked at: which of them it is in depends on its pCPUs (`l3_choices`).
        """
        at_l3 = l3_groups(groups)
        return self._conflict_of([(m, domains_of(m.group.level, host, nodes)) for m in groups if m not in at_l3])

    def conflict_of(self, placement: Placement, host: HostCapacity) -> str:
        """Why a member may not live so, in any L3 domain too; `host` is as in the fleet."""
        conflict = self._conflict_of(list(_where(placement, host)))
        floats = conflict and placement.floating_pins and l3_groups(placement.groups, hard=True)
        return f"{conflict} (vCPUs that float are in the L3 domains of all shared pCPUs)" if floats else conflict

    def l3_choices(
        self, groups: Sequence[Membership], host: HostCapacity, *, hard: bool = True
    ) -> tuple[CpuSet, ...] | None:
        """The sets of pCPUs of which one must have all that a member's vCPUs may use; None where any will do.

        With affinity each is one L3 domain, else there is one of all L3 domains where it may be. A vCPU that
        floats may use all that are shared on its node (`l3.cpus_of`).

        Args:
            hard: else those of which one should, so that no soft group is broken.
        """
        members = l3_groups(groups, hard=hard)
        if not members:
            return None
        domains = {name_of_l3(host, i): cpus for i, cpus in enumerate(l3_domains(host.topology))}
        allowed = [cpus for name, cpus in domains.items() if not any(self._conflict(m, {name}) for m in members)]
        if any(member.group.rule is GroupRule.AFFINITY for member in members):
            return tuple(allowed)
        return (CpuSet.union(allowed),) if allowed else ()

    def domains_with(self, member: Membership) -> frozenset[Domain]:
        """The domains in which members of its group live."""
        return frozenset(self._parts_of(member))

    def domains_against(self, member: Membership) -> frozenset[Domain]:
        """Of a group whose members live apart: the domains in which one more, of this part, breaks its rule."""
        there, is_new = self._parts_of(member), member.group.rule is GroupRule.ANTI_AFFINITY
        return frozenset(domain for domain, parts in there.items() if is_new or member.part not in parts)

    def added_breaches(self, groups: Sequence[Membership], host: HostCapacity, nodes: Iterable[int] | None) -> int:
        """How much more soft groups are broken by a member on these nodes, each breach times the group's weight.

        Of those that look at L3 domains, as much as by one in the best of these nodes' L3 domains.
        """
        found = 0
        for member in (each for each in groups if not each.group.hard):
            domains, parts = domains_of(member.group.level, host, nodes), self._parts_of(member)
            choices = [{domain} for domain in domains] if looks_at_l3(member) else [domains]
            found += member.group.weight * min(_added(member, parts, some) for some in choices)
        return found

    def added_by(self, placement: Placement, host: HostCapacity) -> int:
        """How much more soft groups are broken by this placement, each breach times the group's weight."""
        soft = [(member, domains) for member, domains in _where(placement, host) if not member.group.hard]
        return sum(m.group.weight * _added(m, self._parts_of(m), domains) for m, domains in soft)

    def book(self, placement: Placement, host: HostCapacity, *, sign: int) -> None:
        """Take a placement in (1) or give it back (-1)."""
        for member, domains in _where(placement, host):
            parts = self._parts_of(member)
            for domain in domains:
                parts[domain][member.part] += sign
                parts[domain] += Counter()  # drops what is gone
                if not parts[domain]:
                    del parts[domain]

    def _conflict_of(self, touched: Sequence[tuple[Membership, frozenset[Domain]]]) -> str:
        for member, domains in touched:
            if member.group.hard and (found := self._conflict(member, domains)):
                return f"group {member.group.name} ({member.group.rule}, {member.group.level}): {found}"
        return ""

    def _conflict(self, member: Membership, domains: Collection[Domain]) -> str:
        parts = self._parts_of(member)
        if member.group.rule is GroupRule.AFFINITY:
            apart = parts.keys() | domains
            if len(apart) > 1:
                return f"members are in {_names(parts)}" if parts else f"it would be in {_names(apart)}"
            return ""
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
            for host, resident, part in self._residents.get(member.group.name, ()):
                for domain in domains_of(member.group.level, host, resident.nodes, resident.cpus):
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


def _where(placement: Placement, host: HostCapacity) -> Iterator[tuple[Membership, frozenset[Domain]]]:
    """The domains that it touches, for each group that it is in."""
    cpus = cpus_of(placement, (node.shared_cpus for node in host.nodes)) if l3_groups(placement.groups) else None
    for member in placement.groups:
        yield member, domains_of(member.group.level, host, nodes_of(placement), cpus)


def _names(domains: Collection[Domain]) -> str:
    """Four at most."""
    names = [" ".join(domain) for domain in sorted(domains)]
    more = f" and {len(names) - 3} more" if len(names) > 4 else ""
    return ", ".join(names[:3] if more else names) + more
