"""The node level: which pCPUs or cores of a node a dedicated guest gets. Deterministic.

In this order: pCPUs that nobody shares, as they cost no shared room; the L3 domain with the fewest
free pCPUs that holds the guest, else the emptiest domains one after the other; whole cores; for an
odd vCPU a core that is broken already. So L3 domains and cores stay whole for the next guest.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from policies.same import Same
from probe.cpuset import CpuId, CpuSet
from probe.topology import HostTopology


def choose_cpus(topology: HostTopology, free: CpuSet, count: int, *, shared: CpuSet) -> tuple[CpuId, ...]:
    """`count` of the `free` pCPUs of one node, thread siblings side by side.

    Args:
        shared: pCPUs that are shared; those of `free` among them are chosen last.

    Raises:
        ValueError: `free` has fewer.
    """
    if len(free) < count:
        raise ValueError(f"needs {count} pCPUs, and {len(free)} are free.")
    unshared = free - shared
    first = min(count, len(unshared))
    chosen = _from_domains(topology, unshared.ids, first)
    if first < count:
        chosen += _from_domains(topology, (free & shared).ids, count - first)
    return tuple(CpuId(cpu) for cpu in chosen)


def threads_per_core(topology: HostTopology) -> int:
    """Thread siblings of the host's largest cores: 1 is no SMT; 0 where the source tells no cores."""
    return max((len(core.cpus) for core in topology.cores), default=0)


def whole_cores(topology: HostTopology, free: frozenset[int]) -> list[frozenset[int]]:
    """The cores of the host's largest kind whose siblings are all among `free`, first pCPU first.

    Those whose siblings a source tells in several L3 domains, which no hardware has, are nobody's.
    """
    return [core for core in _cores(Same(topology)) if core <= free]


@lru_cache(maxsize=10_000)
def _cores(topology: Same[HostTopology]) -> tuple[frozenset[int], ...]:
    threads, domains = threads_per_core(topology.value), [domain.cpus.ids for domain in topology.value.l3]
    cores = (core.cpus.ids for core in topology.value.cores if len(core.cpus) == threads)
    whole = [core for core in cores if all(core <= cpus or core.isdisjoint(cpus) for cpus in domains)]
    return tuple(sorted(whole, key=min))


def choose_cores(topology: HostTopology, free: CpuSet, count: int, *, shared: CpuSet) -> list[list[CpuId]]:
    """The siblings of `count` whole cores: those with the fewest `shared` ones first; of these as for pCPUs.

    Raises:
        ValueError: there are fewer.
    """
    cores = whole_cores(topology, free.ids)
    if len(cores) < count:
        raise ValueError(f"needs {count} whole cores, and {len(cores)} are free.")
    chosen: list[list[CpuId]] = []
    for level in range(threads_per_core(topology) + 1):
        there = {min(core): core for core in cores if len(core & shared.ids) == level}
        firsts = _from_domains(topology, frozenset(there), min(count - len(chosen), len(there)))
        chosen += [[CpuId(cpu) for cpu in sorted(there[first])] for first in firsts]
    return chosen


def _from_domains(topology: HostTopology, free: frozenset[int], count: int) -> list[int]:
    """Best fit over L3 domains; pCPUs without a known L3 are one domain together."""
    domains = [domain.cpus.ids & free for domain in topology.l3]
    domains.append(free - frozenset().union(*domains))
    chosen: list[int] = []
    while count > 0:
        holding = [d for d in domains if len(d) >= count]
        domain = min(holding, key=_size_then_first) if holding else min(domains, key=_largest_then_first)
        domains.remove(domain)
        picked = _from_cores(topology, domain - set(chosen), min(count, len(domain)))
        chosen += picked
        count -= len(picked)
    return chosen


def _from_cores(topology: HostTopology, free: frozenset[int], count: int) -> list[int]:
    """Whole free cores while they fit; the rest from the most broken core."""
    cores = [(core.cpus.ids & free, len(core.cpus)) for core in topology.cores]
    known = frozenset().union(*(ids for ids, _ in cores))
    parts = [(ids, size) for ids, size in cores if ids] + [(frozenset({cpu}), 1) for cpu in free - known]
    whole = sorted((sorted(ids) for ids, size in parts if len(ids) == size), key=min)
    broken = sorted((sorted(ids) for ids, size in parts if len(ids) < size), key=lambda ids: (len(ids), ids))
    chosen: list[int] = []
    left_over: list[list[int]] = []
    for ids in whole:
        if len(ids) <= count - len(chosen):
            chosen += ids
        else:
            left_over.append(ids)
    rest: Iterable[int] = (cpu for ids in (*broken, *left_over) for cpu in ids)
    return chosen + [cpu for cpu, _ in zip(rest, range(count - len(chosen)), strict=False)]


def _size_then_first(cpus: frozenset[int]) -> tuple[int, int]:
    return len(cpus), min(cpus, default=-1)


def _largest_then_first(cpus: frozenset[int]) -> tuple[int, int]:
    return -len(cpus), min(cpus, default=-1)
