"""How hosts count CPUs in arrays, where guests own pCPUs, share them, or both.

On an undivided host an owned pCPU leaves the shared ones: with an overcommit of n/d a node of S pCPUs holds p owned
ones and f floating vCPUs where d × f ≤ n × (S − p). So an owned pCPU counts n there, a floating vCPU d, and a node has
n × S. On a divided host the two are counted apart. What is owned is counted beside where that does not say it all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from policies.candidates import Kind
from policies.capacity import HostCapacity
from policies.fleet import Fleet
from policies.patterns.question import Floating, Ints, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """The CPUs of some hosts in the words of `patterns.question.Supply`, and what guests take of them.

    Attributes:
        weights: per scale, what an owned pCPU and a floating vCPU take of `cpus`.
    """

    scale: Ints
    cpus: Ints
    own: Ints | None
    has_gate: bool
    floating: Floating | None
    weights: tuple[tuple[int, int], ...]

    def shares(self, kinds: Collection[Kind], scale: int) -> tuple[Share, ...]:
        """What the parts of a guest take on hosts of a scale."""
        own, floating = self.weights[scale]
        return tuple(
            Share(
                vcpus=kind.pcpus * own + kind.floating * floating,
                memory_kib=kind.share.memory_kib,
                own=kind.pcpus,
                floating=kind.floating,
            )
            for kind in kinds
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nodes:
    """(rows,) pCPUs that may be owned, are shared, are both; vCPUs that float there, and that may in addition."""

    free: Ints
    shared: Ints
    both: Ints
    there: Ints
    room: Ints

    @classmethod
    def of(cls, fleet: Fleet, at: Ints) -> _Nodes:
        return cls(
            free=fleet.free_cpus[at],
            shared=fleet.shared_cpus[at],
            both=fleet.both_cpus[at],
            there=fleet.shared_vcpus[at],
            room=fleet.shared_room[at],
        )

    @property
    def either(self) -> Ints:
        """(rows,) pCPUs that are shared or may be owned."""
        return self.shared + self.free - self.both

    def floating(self, room: Ints) -> Floating:
        """With room for so many vCPUs that float."""
        return Floating(room=room, shared=self.shared, either=self.either)


def counting_of(
    kinds: Sequence[Kind], fleet: Fleet, hosts: Sequence[HostCapacity], at: Ints, first_row: Ints
) -> Counting:
    """The CPUs of hosts for guests whose parts are of these kinds.

    Args:
        at: (rows,) the rows of the fleet.
        first_row: (hosts + 1,) of each host among them.
    """
    nodes = _Nodes.of(fleet, at)
    widest = max((kind.floating for kind in kinds), default=0)
    if widest and any(kind.pcpus for kind in kinds):
        return _of_both(nodes, hosts, first_row, widest)
    room = nodes.room if widest else nodes.free
    surely = np.minimum(room, widest) <= nodes.shared
    return Counting(
        scale=np.zeros(len(hosts), dtype=np.int64),
        cpus=room,
        own=None,
        has_gate=False,
        floating=None if surely.all() else nodes.floating(room),
        weights=((1, 1),),
    )


def _of_both(nodes: _Nodes, hosts: Sequence[HostCapacity], first_row: Ints, widest: int) -> Counting:
    free, both = (np.add.reduceat(cpus, first_row[:-1]) for cpus in (nodes.free, nodes.both))
    apart = (both == 0) & (free > 0)
    ratios = [None if is_apart else host.overcommit for is_apart, host in zip(apart.tolist(), hosts, strict=True)]
    scales = list(dict.fromkeys(ratios))
    weights = tuple((0, 1) if ratio is None else (ratio.numerator, ratio.denominator) for ratio in scales)
    scale = np.array([scales.index(ratio) for ratio in ratios], dtype=np.int64)
    of_row = np.repeat(scale, np.diff(first_row))
    numerator, denominator = (np.array([pair[i] for pair in weights], dtype=np.int64)[of_row] for i in (0, 1))
    beside = np.maximum(0, numerator * nodes.either - denominator * nodes.there)
    cpus = np.where(numerator == 0, nodes.room, np.maximum(numerator * nodes.free, beside))
    is_said = (numerator == 0) | ((nodes.free == nodes.both) & (cpus == beside))
    surely = (
        is_said & ((numerator <= denominator) | (nodes.free == 0)) & (np.minimum(nodes.room, widest) <= nodes.shared)
    )
    is_implied = (numerator > 0) & (cpus // np.maximum(1, numerator) <= nodes.free)
    return Counting(
        scale=scale,
        cpus=cpus,
        own=None if is_implied.all() else nodes.free,
        has_gate=not is_implied.all() and bool((numerator > 0).all()),
        floating=None if surely.all() else nodes.floating(np.where((numerator > 0) & (cpus > beside), 0, nodes.room)),
        weights=weights,
    )
