"""XAPI's xenopsd (XenServer, XCP-ng): best-effort NUMA placement.

Source: xen-api, `ocaml/xenopsd/lib/softaffinity.ml` and `topology.ml`, read at 5d231dc and 117b12e;
`doc/content/toolstack/features/NUMA/index.md`. Facts kept:

* All sets of up to 16 nodes (of more nodes: only single ones), by their largest, then mean distance,
  each node's to itself included: three nodes may come before two.
* A set fits where the sums of memory and of CPUs do. Of the sets that fit, those with the mean
  distance of the first (within 1e-3) are compared by how often their nodes were chosen since the
  toolstack started, then by the lists of their nodes, the last one first.
* Where a distance table has a self distance other than 10, or one below 10, and where nothing fits,
  nothing is bound. A node that cannot reach itself is left out.
* The affinity is soft, and the memory of a set of several nodes is striped over them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from policies.homes import has_own_pcpus
from policies.peers.peer import Choice, Refused, Unbound, evenly, peer
from policies.peers.seen import SeenHost
from policies.plan import Reason
from policies.request import GuestRequest
from probe.cpuset import NodeId
from probe.topology import LOCAL_DISTANCE, UNREACHABLE_DISTANCE

MOST_NODES = 16
_SAME = 1e-3
_UNREACHABLE = 2**32 - 1
"""What Xen says for "no path"; it counts in a mean."""

_Ranked = tuple[float, tuple[NodeId, ...]]
"""Mean distance, nodes ascending."""


def choose(request: GuestRequest, host: SeenHost) -> Choice:
    """The set of nodes that xenopsd takes."""
    if has_own_pcpus(request) or request.cells not in (1, "auto") or request.page_kib != 4:
        what = "dedicated pCPUs, guest cells or huge pages"
        return Refused(reason=Reason.UNSUPPORTED, detail=f"xenopsd places no guest with {what}")
    if not _is_reasonable(host):
        return Unbound()
    fitting = (ranked for ranked in _candidates(host) if _fits(request, host, ranked[1]))
    nodes = _least_used(host, _as_near_as_the_first(fitting))
    return Unbound() if nodes is None else evenly(request, host, nodes)


def _distance(host: SeenHost, a: NodeId, b: NodeId) -> int:
    told = host.capacity.topology.distance(a, b)
    return _UNREACHABLE if told >= UNREACHABLE_DISTANCE else told


def _is_reasonable(host: SeenHost) -> bool:
    selves = {_distance(host, n, n) for n in host.nodes}
    every = (_distance(host, a, b) for a, b in itertools.permutations(host.nodes, 2))
    return selves <= {LOCAL_DISTANCE, _UNREACHABLE} and all(d >= LOCAL_DISTANCE for d in every)


def _candidates(host: SeenHost) -> list[_Ranked]:
    """Sets of nodes in the order in which they are tried; equal ones in the order of their bit masks."""
    valid = [n for n in host.nodes if _distance(host, n, n) != _UNREACHABLE]
    sets = [(n,) for n in valid] if len(valid) > MOST_NODES else list(_subsets(valid))
    ranked = []
    for nodes in sets:
        distances = [_distance(host, a, b) for a, b in itertools.product(nodes, repeat=2)]
        ranked.append((max(distances), sum(distances) / len(distances), nodes))
    return [(mean, nodes) for _, mean, nodes in sorted(ranked, key=lambda entry: entry[:2])]


def _subsets(nodes: Sequence[NodeId]) -> Iterator[tuple[NodeId, ...]]:
    for mask in range(1, 2 ** len(nodes)):
        yield tuple(node for bit, node in enumerate(nodes) if mask >> bit & 1)


def _fits(request: GuestRequest, host: SeenHost, nodes: Sequence[NodeId]) -> bool:
    free_kib = sum(host.free_kib[4][node] for node in nodes)
    cpus = sum(len(host.cpus[node]) for node in nodes)
    return free_kib >= request.memory_kib + request.overhead_kib and cpus >= request.vcpus


def _as_near_as_the_first(ranked: Iterable[_Ranked]) -> Iterator[tuple[NodeId, ...]]:
    first: float | None = None
    for mean, nodes in ranked:
        first = mean if first is None else first
        if abs(mean - first) >= _SAME:
            return
        yield nodes


def _least_used(host: SeenHost, sets: Iterable[tuple[NodeId, ...]]) -> tuple[NodeId, ...] | None:
    return min(sets, key=lambda nodes: (sum(host.guests[n] for n in nodes), nodes[::-1]), default=None)


xenopsd = peer(choose)
"""With `numa_affinity_policy=best_effort`."""
