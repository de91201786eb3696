"""Hosts on which guests can live in the same ways, so that arrays answer for all of them at once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from policies.capacity import HostCapacity
from policies.cores import threads_per_core
from policies.fleet import Counts, Fleet
from policies.homes import Home, far_homes
from probe.cpuset import CpuSet
from probe.snapshot import Hypervisor

_Key = tuple[bool, tuple[int, ...], tuple[Home, ...], tuple[int, ...], int, CpuSet]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shape:
    """Hosts with the same node ids, homes, distances, threads per core and housekeeping pCPUs, all on Xen or none.

    Attributes:
        example: one of them.
        hosts: (n,) their indices in the fleet.
        rows: (n, nodes) the fleet's row of each node, in the order of the example's nodes.
        column: node id to its column in `rows`.
    """

    example: HostCapacity
    hosts: Counts
    rows: Counts
    column: dict[int, int]


def shapes_of(fleet: Fleet) -> tuple[Shape, ...]:
    """Every host with a node is in one shape."""
    members: dict[_Key, list[int]] = defaultdict(list)
    known: dict[
        tuple[int, bool, CpuSet], _Key
    ] = {}  # many hosts have the same topology object, and keys are slow to make
    for index, host in enumerate(fleet):
        seen = id(host.topology), host.hypervisor is Hypervisor.XEN, host.housekeeping_cpus
        if seen not in known:
            known[seen] = _key(host)
        if host.nodes:
            members[known[seen]].append(index)
    return tuple(_shape(fleet, np.array(indices)) for indices in members.values())


def _key(host: HostCapacity) -> _Key:
    ids = [node.node_id for node in host.topology.nodes]
    distances = tuple(host.topology.distance(a, b) for a in ids for b in ids)
    threads = threads_per_core(host.topology)
    return host.hypervisor is Hypervisor.XEN, tuple(ids), far_homes(host), distances, threads, host.housekeeping_cpus


def _shape(fleet: Fleet, hosts: Counts) -> Shape:
    example = fleet.hosts[int(hosts[0])]
    return Shape(
        example=example,
        hosts=hosts,
        rows=fleet.first_row[hosts][:, None] + np.arange(len(example.nodes)),
        column={node.node_id: column for column, node in enumerate(example.nodes)},
    )
