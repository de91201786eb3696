"""Xen's libxl: automatic NUMA placement of a domain without affinities of its own.

Source: xen, `tools/libs/light/libxl_numa.c` (`libxl__get_numa_candidate`) and `libxl_dom.c`
(`numa_cmpf`), read at 41aea82; `docs/man/xl-numa-placement.7.pod`. Facts kept:

* From ceil(vCPUs ÷ CPUs of a node) nodes on (from 1 where nodes differ), all combinations of so many
  nodes; the first number with one that fits ends the search.
* A combination fits where the *sum* of free memory and the *sum* of CPUs do. No cell is looked at,
  nor any distance.
* Better is: fewer vCPUs that may run there, then more free memory. Both sums of memory are KiB in
  unsigned 32 bits, and their difference is a signed int: it wraps above 2 TiB.
* More than 16 nodes, one node, or nothing that fits: nothing is bound, and it is only logged.
* Memory follows the node affinity, over its nodes alike; vCPUs keep to them by soft affinity.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from policies.homes import has_own_pcpus
from policies.peers.peer import Choice, Refused, Unbound, evenly, peer
from policies.peers.seen import SeenHost
from policies.plan import Reason
from policies.request import GuestRequest
from probe.cpuset import NodeId

MOST_NODES = 16
_WRAPS = 2**32


def choose(request: GuestRequest, host: SeenHost) -> Choice:
    """The combination of nodes that libxl takes."""
    if has_own_pcpus(request) or request.cells not in (1, "auto") or request.page_kib != 4:
        what = "dedicated pCPUs, guest cells or huge pages"
        return Refused(reason=Reason.UNSUPPORTED, detail=f"libxl places no guest with {what} by itself")
    if not 1 < len(host.nodes) <= MOST_NODES:
        return Unbound()
    suitable = [node for node in host.nodes if host.cpus[node]]
    best = _best_candidate(request, host, suitable)
    return Unbound() if best is None else evenly(request, host, best)


def _best_candidate(request: GuestRequest, host: SeenHost, suitable: Sequence[NodeId]) -> tuple[NodeId, ...] | None:
    need_kib = request.memory_kib + request.overhead_kib
    for count in range(min(_least_nodes(request, host), len(suitable)), len(suitable) + 1):
        best: tuple[NodeId, ...] | None = None
        for nodes in itertools.combinations(suitable, count):
            fits = _free_kib(host, nodes) >= need_kib and sum(len(host.cpus[n]) for n in nodes) >= request.vcpus
            if fits and (best is None or _compared(host, nodes, best) < 0):
                best = nodes
        if best is not None:
            return best
    return None


def _least_nodes(request: GuestRequest, host: SeenHost) -> int:
    """By the CPUs of a node, where all nodes have as many: of the whole host, not only of its pool."""
    counts = {len(host.capacity.topology.node(node).cpus) for node in host.nodes}
    return -(-request.vcpus // counts.pop()) if len(counts) == 1 and counts != {0} else 1


def _free_kib(host: SeenHost, nodes: Sequence[NodeId]) -> int:
    return sum(host.free_kib[4][node] for node in nodes) % _WRAPS


def _compared(host: SeenHost, first: Sequence[NodeId], second: Sequence[NodeId]) -> int:
    """Negative where the first is better."""
    runnable = [sum(host.runnable[node] for node in nodes) for nodes in (first, second)]
    if runnable[0] != runnable[1]:
        return runnable[0] - runnable[1]
    difference = _free_kib(host, second) - _free_kib(host, first)
    return (difference + _WRAPS // 2) % _WRAPS - _WRAPS // 2


libxl = peer(choose)
"""As `xl create` does with a configuration that names no CPUs and no nodes."""
