"""Where a running Xen guest's memory is, as far as its affinities tell.

A guest's memory is all there when it has been created, so it is resident in full. It is on the node
of the hard affinity, when that is one node and the soft affinity does not point elsewhere:
`cpus = "4-5"` as a string gives hard 4-5 and soft 2-3, and the memory is at 2-3 (measured;
lab/xen/NOTES.md), so there it is among both. Re-pinning later moves no memory, and a guest larger
than its node's free memory spills: neither can be seen but by `xl debug-keys u`.
"""

from __future__ import annotations

from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.snapshot import OccupantMemory
from probe.topology import HostTopology


def xen_memory(kib: int, hard: CpuSet | None, soft: CpuSet, topology: HostTopology) -> OccupantMemory:
    """One share. `hard` is None where nobody tells; `soft` is empty for "all", and through libvirt."""
    nodes = NodeSet() if hard is None else topology.nodes_of_cpus(hard)
    if len(nodes) != 1:
        return OccupantMemory(node_id=None, kib=kib, resident_kib=kib)
    among = nodes | topology.nodes_of_cpus(soft)
    if len(among) == 1:
        return OccupantMemory(node_id=NodeId(min(nodes)), kib=kib, resident_kib=kib)
    return OccupantMemory(node_id=None, kib=kib, resident_kib=kib, nodes=among)
