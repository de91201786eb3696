"""L3 domains: which pCPUs share an L3 cache, who is in which, and what of each a node has left.

pCPUs of which no source tells the L3 are one domain of their host together. An L3 domain may span nodes, and a
node may have several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

from policies.capacity import HostCapacity, NodeCapacity
from policies.cores import threads_per_core, whole_cores
from policies.plan import Placement
from policies.request import GroupRule, Membership
from policies.same import Same
from probe.cpuset import CpuSet
from probe.topology import HostTopology

L3_LEVEL = "l3"

L3Use = tuple[tuple[tuple[int, int], ...], ...]
"""Of each part of a guest: the L3 domains of its own vCPUs, each with how many pCPUs, or whole cores, it has there."""


def looks_at_l3(member: Membership) -> bool:
    """Whether its group counts L3 domains."""
    return member.group.level == L3_LEVEL and member.group.rule is not GroupRule.ALL_OR_NOTHING


def l3_groups(groups: Sequence[Membership], *, hard: bool | None = None) -> list[Membership]:
    """Those that look at L3 domains: the hard ones, the soft ones, or all."""
    return [member for member in groups if looks_at_l3(member) and hard in (None, member.group.hard)]


def l3_domains(topology: HostTopology) -> tuple[CpuSet, ...]:
    """The L3 domains of a host, in the topology's order, and last what is in none, if there is any.

    A pCPU that a source tells in several is in the first of these.
    """
    return _l3_domains(Same(topology))


def is_known_l3(topology: HostTopology, index: int) -> bool:
    """Whether this one of `l3_domains` is an L3 domain, and not what is in none."""
    return not l3_domains(topology)[index].isdisjoint(CpuSet.union(domain.cpus for domain in topology.l3))


@lru_cache(maxsize=10_000)
def _l3_domains(topology: Same[HostTopology]) -> tuple[CpuSet, ...]:
    found, told = list[CpuSet](), CpuSet()
    for domain in topology.value.l3:
        found.append(domain.cpus - told)
        told |= domain.cpus
    found.append(CpuSet.union(node.cpus for node in topology.value.nodes) - told)
    return tuple(cpus for cpus in found if cpus)


def cpus_of(placement: Placement, shared: Iterable[CpuSet]) -> CpuSet | None:
    """The pCPUs that its vCPUs may use; None for unpinned, which may use all.

    A vCPU that floats may use all that are shared on its node, also those that a dedicated guest of the same plan
    owns: where that guest goes, it floats there again.

    Args:
        shared: the shared pCPUs of each node of its host, as they were before the plan.
    """
    if placement.cpus is None:
        return None
    floating = CpuSet.union(placement.floating_pins.values())
    around = CpuSet.union(cpus for cpus in shared if not cpus.isdisjoint(floating))
    return placement.cpus | around


def l3_use(placement: Placement, host: HostCapacity, nodes: Sequence[int], *, by_core: bool) -> L3Use:
    """What its own vCPUs have of each L3 domain, node by node.

    Args:
        by_core: count whole cores.
    """
    pins = (pin for cell in placement.cells for vcpu, pin in cell.pins.items() if vcpu in placement.dedicated_vcpus)
    own = CpuSet.union(pins)
    if by_core:
        own = CpuSet.of(*(min(core.cpus) for core in host.topology.cores if not core.cpus.isdisjoint(own)))
    domains = l3_domains(host.topology)
    found = []
    for node in nodes:
        here = own & (host.node(node).free_cpus | host.node(node).shared_cpus)
        found.append(tuple((i, len(here & cpus)) for i, cpus in enumerate(domains) if not here.isdisjoint(cpus)))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class L3Room:
    """What a node has free in one L3 domain.

    Attributes:
        free: pCPUs.
        unshared: how many of these nobody floats on.
        cores: whole cores by how many of their siblings are shared, the fewest first.
        threads: siblings of a whole core.
    """

    free: int
    unshared: int
    cores: tuple[int, ...]
    threads: int

    def most_cores(self, single: int) -> int:
        """Whole cores that can be had beside so many single pCPUs."""
        return min(len(self.cores), (self.free - single) // self.threads) if self.threads else 0

    def lost(self, cores: int, single: int) -> int:
        """The fewest shared pCPUs among so many whole cores and single pCPUs."""
        return max(0, sum(self.cores[:cores]), single + self.threads * cores - self.unshared)


def l3_rooms(host: HostCapacity, node: NodeCapacity) -> Mapping[int, L3Room]:
    """What the node has free in each L3 domain, by its place in `l3_domains`."""
    threads, cores = threads_per_core(host.topology), whole_cores(host.topology, node.free_cpus.ids)
    return {
        i: L3Room(
            free=len(node.free_cpus & cpus),
            unshared=len((node.free_cpus & cpus) - node.shared_cpus),
            cores=tuple(sorted(len(core & node.shared_cpus.ids) for core in cores if core <= cpus.ids)),
            threads=threads,
        )
        for i, cpus in enumerate(l3_domains(host.topology))
        if not node.free_cpus.isdisjoint(cpus)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class L3Need:
    """What guests whose L3 domains are told take in one domain: whole cores, and single pCPUs."""

    cores: int = 0
    single: int = 0

    def and_also(self, amount: int, *, are_cores: bool) -> L3Need:
        """With so many more whole cores, or else single pCPUs."""
        more = {"cores": self.cores + amount} if are_cores else {"single": self.single + amount}
        return replace(self, **more)


NO_NEEDS: Mapping[int, L3Need] = MappingProxyType({})


def deal_cores(rooms: Mapping[int, L3Room], needs: Mapping[int, L3Need], cores: int) -> Mapping[int, int]:
    """How many of so many whole cores, those that are told included, come from each domain: the fewest are shared.

    What a domain loses grows ever faster with its cores (`L3Room.lost` is convex), so each next core goes where it
    costs the least. Where there are too few, fewer are dealt.
    """
    dealt = {i: needs[i].cores if i in needs else 0 for i in rooms}
    for _ in range(cores - sum(dealt.values())):
        more = []
        for i, room in rooms.items():
            single, there = needs[i].single if i in needs else 0, dealt[i]
            if there < room.most_cores(single):
                more.append((room.lost(there + 1, single) - room.lost(there, single), i))
        if not more:
            break
        dealt[min(more)[1]] += 1
    return dealt
