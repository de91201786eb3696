"""What a host is made of, as the figures of each guest ask for it: looked up, not searched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from policies.same import Same
from probe.topology import HostTopology


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Tables of one topology.

    Attributes:
        node_of: pCPU to its node; the first one of several that list it.
        pcpus: node to the number of its pCPUs; nodes without any are left out.
        distances: (from, to) to the SLIT distance.
        l3_of: pCPU to the number of its L3 domain; pCPUs whose L3 is not known are left out.
        l3_sizes: node to the pCPUs of each of its L3 domains there, the largest first.
        siblings: pCPU to the other pCPUs of its core.
    """

    node_of: Mapping[int, int]
    pcpus: Mapping[int, int]
    distances: Mapping[tuple[int, int], int]
    l3_of: Mapping[int, int]
    l3_sizes: Mapping[int, Sequence[int]]
    siblings: Mapping[int, frozenset[int]]


def hardware_of(topology: HostTopology) -> Hardware:
    """The tables, made once for each topology object."""
    return _hardware(Same(topology))


@lru_cache(maxsize=10_000)
def _hardware(same: Same[HostTopology]) -> Hardware:
    topology = same.value
    node_of = {cpu: int(node.node_id) for node in reversed(topology.nodes) for cpu in node.cpus.ids}
    ids = [int(node.node_id) for node in topology.nodes]
    l3_of = {cpu: number for number, domain in enumerate(topology.l3) for cpu in domain.cpus.ids}
    sizes = {}
    for node in ids:
        there = Counter(l3_of[cpu] for cpu, its in node_of.items() if its == node and cpu in l3_of)
        sizes[node] = sorted(there.values(), reverse=True)
    return Hardware(
        node_of=node_of,
        pcpus=Counter(node_of.values()),
        distances={(a, b): topology.distance(a, b) for a in ids for b in ids},
        l3_of=l3_of,
        l3_sizes=sizes,
        siblings={cpu: core.cpus.ids - {cpu} for core in topology.cores for cpu in core.cpus.ids},
    )
