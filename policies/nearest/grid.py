"""How far the homes of a host are from each other: arrays, made once per topology."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from policies.capacity import HostCapacity
from policies.homes import Home, homes_for
from policies.nearest.question import FAR, Counts
from policies.request import GuestRequest
from policies.same import Same
from probe.topology import LOCAL_DISTANCE, UNREACHABLE_DISTANCE, HostTopology


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """Distances between homes, by their place in `policies.homes.homes_for`; of two directions the larger.

    Attributes:
        cpus: between the CPU nodes.
        same: which homes are on one CPU node; nothing on the diagonal.
        widest: between any two of the nodes of both homes, of their memory too; on the diagonal within one home.
        detour: what a home's memory is farther than local; 0 where it has its own.
    """

    cpus: Counts
    same: npt.NDArray[np.bool_]
    widest: Counts
    detour: Counts

    def apart(self, max_distance: int | None) -> Counts:
        """What two homes cost a guest; `FAR` where it may not have both, on the diagonal where not even one.

        No guest has two homes on one CPU node. Nodes that do not reach each other are never spanned, nor those
        beyond its `max_distance`.
        """
        far = self.cpus >= UNREACHABLE_DISTANCE
        np.fill_diagonal(far, val=False)
        far |= self.same
        if max_distance is not None:
            far |= self.widest > max_distance
        apart = np.where(far, FAR, self.cpus)
        np.fill_diagonal(apart, np.where(far.diagonal(), FAR, 0))
        return apart


def grid_of(request: GuestRequest, host: HostCapacity) -> Grid:
    """The distances between the homes that a guest may have on a host."""
    return _grid(Same(host.topology), homes_for(request, host))


@lru_cache(maxsize=1000)
def _grid(topology: Same[HostTopology], there: tuple[Home, ...]) -> Grid:
    slit = _slit(topology.value)
    place = {node.node_id: i for i, node in enumerate(topology.value.nodes)}
    cpus = np.array([place[home.cpu_node] for home in there], dtype=np.int64)
    memory = np.array([place[home.memory_node] for home in there], dtype=np.int64)
    within = slit[cpus, memory]
    widest = slit[np.ix_(cpus, cpus)]
    if (cpus != memory).any():
        alone = np.maximum(within, slit[memory, cpus])
        for a, b in ((cpus, memory), (memory, cpus), (memory, memory)):
            widest = np.maximum(widest, slit[np.ix_(a, b)])
        widest = np.maximum(widest, np.maximum(alone[:, None], alone))
    return Grid(
        cpus=np.maximum(slit, slit.T)[np.ix_(cpus, cpus)],
        same=(cpus[:, None] == cpus) & ~np.eye(len(cpus), dtype=np.bool_),
        widest=np.maximum(widest, widest.T),
        detour=np.where(cpus == memory, 0, np.maximum(within - LOCAL_DISTANCE, 0)),
    )


def _slit(topology: HostTopology) -> Counts:
    """`HostTopology.distance` between all nodes."""
    ids = [node.node_id for node in topology.nodes]
    rows = [node.distances or {} for node in topology.nodes]
    slit = np.array([[row.get(other, 2 * LOCAL_DISTANCE) for other in ids] for row in rows], dtype=np.int64)
    slit = slit.reshape(len(ids), len(ids))
    np.fill_diagonal(slit, [topology.distance(i, i) for i in ids])
    return slit
