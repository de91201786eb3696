"""Which pCPUs of a host may still be dedicated, and which are shared, node by node.

* Only usable pCPUs count: online, and not withheld by a cgroup, a cpuset or (Xen) a cpupool;
  `HostSnapshot.usable_cpus` has that from the probe. Housekeeping pCPUs are nobody's.
* Isolated pCPUs (`isolcpus=`) may be dedicated and are never shared: the kernel's balancer does
  not spread threads over them, so guests would pile up on one (kernel-parameters.txt, `isolcpus`).
* Where two nodes list the same pCPUs (an interleaved machine, `numa=fake`: TRAPS.md 3) each such
  pCPU is given to one of these nodes, in even runs of whole cores. So none is promised twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from policies.host_rules import HostRules
from policies.tenants import Tenant
from probe.cpuset import CpuSet
from probe.snapshot import HostSnapshot
from probe.topology import HostTopology


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCpus:
    """The pCPUs of one node that may be dedicated, that are shared, and the vCPUs floating there."""

    free: CpuSet
    shared: CpuSet
    shared_vcpus: int


def partition(snapshot: HostSnapshot, rules: HostRules, tenants: Sequence[Tenant]) -> Mapping[int, NodeCpus]:
    """Split the pCPUs of every node; ids of nodes are the keys.

    A pCPU on which any tenant may run is not free. Only those that we dedicated leave the shared;
    a tenant that floats over them too counts as before, so that dedicating makes no room.
    """
    online = snapshot.topology.online_cpus
    dedicable, shared = divide(snapshot, rules)
    busy = CpuSet.union(t.may_run_on(online) for t in tenants)
    owned = CpuSet.union(t.dedicated_cpus for t in tenants)
    result: dict[int, NodeCpus] = {}
    for node_id, cpus in cpus_by_node(snapshot.topology).items():
        part = shared & cpus
        vcpus = sum(ceil(t.vcpus_on(part - t.dedicated_cpus, online)) for t in tenants)
        result[node_id] = NodeCpus(free=(dedicable & cpus) - busy, shared=part - owned, shared_vcpus=vcpus)
    return result


def divide(snapshot: HostSnapshot, rules: HostRules) -> tuple[CpuSet, CpuSet]:
    """The pCPUs that may be dedicated and those that may be shared, before anybody is counted."""
    usable = (snapshot.usable_cpus & snapshot.topology.online_cpus) - rules.housekeeping_cpus
    isolated = snapshot.topology.isolated_cpus
    dedicated, shared = rules.dedicated_cpus, rules.shared_cpus
    if dedicated is None and shared is None:
        return usable, usable - isolated
    if dedicated is None:
        dedicated = usable - (shared or CpuSet())
    if shared is None:
        shared = usable - dedicated
    return usable & dedicated, (usable & shared) - isolated


def cpus_by_node(topology: HostTopology) -> Mapping[int, CpuSet]:
    """Each online pCPU under exactly one of the nodes that list it."""
    listed: dict[int, list[int]] = {}
    for node in topology.nodes:
        for cpu in node.cpus.ids:
            listed.setdefault(cpu, []).append(node.node_id)
    owned: dict[int, set[int]] = {n.node_id: set() for n in topology.nodes}
    several: dict[tuple[int, ...], set[int]] = {}
    for cpu, node_ids in listed.items():
        if len(node_ids) == 1:
            owned[node_ids[0]].add(cpu)
        else:
            several.setdefault(tuple(sorted(node_ids)), set()).add(cpu)
    for node_ids_of, cpus in several.items():
        for node_id, run in zip(node_ids_of, _even_runs(topology, cpus, len(node_ids_of)), strict=True):
            owned[node_id] |= run
    return {node_id: CpuSet(frozenset(cpus)) for node_id, cpus in owned.items()}


def _even_runs(topology: HostTopology, cpus: set[int], parts: int) -> list[set[int]]:
    """Cut `cpus` into runs of whole cores; the lengths differ by one core at most."""
    cores = [set(core.cpus.ids & cpus) for core in topology.cores if core.cpus.ids & cpus]
    cores += [{cpu} for cpu in sorted(cpus - set().union(*cores))]
    cores.sort(key=min)
    bounds = [len(cores) * i // parts for i in range(parts + 1)]
    return [set().union(*cores[a:b]) for a, b in pairwise(bounds)]
