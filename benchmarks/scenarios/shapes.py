"""Named hosts: what common servers look like to a placement.

Distances are what the firmware of such servers tells; memory and core counts are those of common models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType

from probe import read_source
from probe.cpuset import NodeId
from probe.snapshot import HostSnapshot
from probe.topology import NumaNode

GIB_KIB = 1 << 20
BEGAN = datetime(2000, 1, 1, tzinfo=UTC)
"""Hosts were looked at then, so that the same scenario is the same at any time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A named host.

    Attributes:
        title: for people.
        spec: as the source `synthetic:` reads it.
        blocks: (nodes, distance), smallest first: two nodes are as far apart as the smallest block of nodes in turn
            that holds both. Empty where `spec` or `slit` tells.
        slit: the distances, row by row.
        memory_gib: of each node in turn; empty where all have what `spec` tells.
    """

    title: str
    spec: str
    blocks: tuple[tuple[int, int], ...] = ()
    slit: tuple[tuple[int, ...], ...] = ()
    memory_gib: tuple[int, ...] = ()


SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "one-node": Shape(title="one socket, one node (EPYC NPS1)", spec="l3:4 core:8 pu:2 memory:256GiB"),
        "two-socket-small": Shape(
            title="two sockets of 8 cores", spec="package:2 core:8 pu:2 memory:64GiB distance:10,21"
        ),
        "two-socket": Shape(
            title="two sockets of 32 cores (Xeon)", spec="package:2 core:32 pu:2 memory:256GiB distance:10,21"
        ),
        "snc4": Shape(
            title="two sockets in four sub-NUMA clusters each (Xeon SNC4)",
            spec="package:2 node:4 core:14 pu:2 memory:64GiB distance:10,12,21",
        ),
        "nps4": Shape(
            title="two sockets of four nodes, two L3 domains in each (EPYC NPS4)",
            spec="package:2 node:4 l3:2 core:8 pu:2 memory:64GiB distance:10,12,32",
        ),
        "eight-node": Shape(
            title="eight sockets on two boards",
            spec="package:8 core:24 pu:2 memory:192GiB",
            blocks=((1, 10), (4, 21), (8, 31)),
        ),
        "cxl": Shape(
            title="two sockets, and CXL memory behind each: nodes 2 and 3 without pCPUs",
            spec="package:2 core:32 pu:2 memory:256GiB memory-only:2",
            slit=((10, 21, 14, 24), (21, 10, 24, 14), (14, 24, 10, 26), (24, 14, 26, 10)),
            memory_gib=(256, 256, 128, 128),
        ),
        "sixty-four-node": Shape(
            title="64 sockets: pairs, boards of four, cabinets of sixteen",
            spec="package:64 core:8 pu:2 memory:64GiB",
            blocks=((1, 10), (2, 12), (4, 16), (16, 22), (64, 32)),
        ),
    }
)


def snapshot_of_shape(name: str) -> HostSnapshot:
    """The host of this name, with nobody on it. Raises `KeyError` where there is none."""
    shape = SHAPES[name]
    snapshot = read_source(f"synthetic:{shape.spec}", now=BEGAN)
    if shape.blocks or shape.slit:
        snapshot = _with_distances(snapshot, shape.slit or _slit(len(snapshot.memory), shape.blocks))
    return with_memory(snapshot, [gib * GIB_KIB for gib in shape.memory_gib])


def resized(name: str, cpus: int, memory_kib: int) -> HostSnapshot:
    """A host built like the shape, with other amounts, evenly over its nodes; what does not divide is left away.

    The shape's threads per core are kept where that many pCPUs divide by them.
    """
    words = dict(word.split(":", 1) for word in SHAPES[name].spec.split())
    nodes = int(words.get("package", 1)) * int(words.get("die", 1)) * int(words.get("node", 1))
    l3 = int(words.get("l3", 1))
    each = max(1, cpus // nodes)
    threads = next(n for n in (int(words.get("pu", 1)), 1) if each % (n * l3) == 0 or n == 1)
    if each % (threads * l3):
        l3 = 1
    order: dict[str, str] = {key: words[key] for key in ("package", "die", "node") if key in words}
    order |= {"l3": str(l3), "core": str(each // (threads * l3)), "pu": str(threads)}
    order["memory"] = f"{memory_kib // nodes // 1024}MiB"
    if "distance" in words:
        order["distance"] = words["distance"]
    snapshot = read_source("synthetic:" + " ".join(f"{key}:{value}" for key, value in order.items()), now=BEGAN)
    blocks = SHAPES[name].blocks
    return _with_distances(snapshot, _slit(nodes, blocks)) if blocks else snapshot


def with_memory(snapshot: HostSnapshot, of_node_kib: list[int]) -> HostSnapshot:
    """The host with other memory on its nodes in turn, all of it free; nodes beyond the list keep theirs."""
    kib = dict(zip((n.node_id for n in snapshot.topology.nodes), of_node_kib, strict=False))
    nodes = tuple(
        replace(node, memory_total_kib=kib.get(node.node_id, node.memory_total_kib)) for node in snapshot.topology.nodes
    )
    memory = tuple(
        replace(of, total_kib=kib[of.node_id], free_kib=kib[of.node_id], reclaimable_kib=0, hugepages=())
        if of.node_id in kib
        else of
        for of in snapshot.memory
    )
    return replace(snapshot, topology=replace(snapshot.topology, nodes=nodes), memory=memory)


def _slit(nodes: int, blocks: tuple[tuple[int, int], ...]) -> tuple[tuple[int, ...], ...]:
    def distance(one: int, other: int) -> int:
        return next(far for size, far in blocks if one // size == other // size)

    return tuple(tuple(distance(one, other) for other in range(nodes)) for one in range(nodes))


def _with_distances(snapshot: HostSnapshot, slit: tuple[tuple[int, ...], ...]) -> HostSnapshot:
    def moved(node: NumaNode, row: tuple[int, ...]) -> NumaNode:
        return replace(node, distances={NodeId(other): far for other, far in enumerate(row)})

    nodes = tuple(moved(node, row) for node, row in zip(snapshot.topology.nodes, slit, strict=True))
    return replace(snapshot, topology=replace(snapshot.topology, nodes=nodes))
