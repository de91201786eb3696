"""A host's topology as a networkx graph, and back.

Schema. A `networkx.DiGraph`; every node has `kind`, every edge has `relation`.

====================== =========== ====================================================================
node key               kind        attributes
====================== =========== ====================================================================
("machine",)           machine     `offline_cpus`, `isolated_cpus`, `nohz_full_cpus` (Linux lists)
("package", id)        package
("die", package, id)   die         `package_id` (None where not told)
("group", kind, id)    group       `group_kind`: cluster, book or drawer
("node", id)           node        `memory_total_kib` (None where not told), `memory_side_caches`
("l3", i)              l3          `size_kib` (None where not told)
("core", i)            core        `package_id`, `node_id` (None where not told), `efficiency`
("cpu", id)            cpu         an online pCPU
("pool", node, size)   pool        `size_kib` (4, 2048, …), `total`, `free`, `surplus`: pages on a node
("pci", address)       pci         `class_code`
====================== =========== ====================================================================

Edges: `contains` from machine to packages, nodes and groups, and from each of package, die, group,
node, l3 and core to its cpus; from a node to its pools. `distance` from node to node with `value`
(SLIT), as told, also to itself. `attached` from a node to its PCI devices. Memory tiers and HMAT
figures are graph attributes, `graph.graph["memory_tiers"]` and `["memory_access"]`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import networkx as nx

from probe.cpuset import CpuSet, NodeId
from probe.snapshot import HostSnapshot, HugepagePool, NodeMemory
from probe.topology import Core, CpuGroup, Die, HostTopology, L3Domain, NumaNode, Package, PciDevice

MACHINE = ("machine",)


def topology_to_graph(topology: HostTopology, memory: Sequence[NodeMemory] = ()) -> nx.DiGraph[Any]:
    """The graph of a topology; with `memory`, also the pools of huge pages."""
    graph: nx.DiGraph[Any] = nx.DiGraph(memory_tiers=topology.memory_tiers, memory_access=topology.memory_access)
    sets = {name: str(getattr(topology, name)) for name in ("offline_cpus", "isolated_cpus", "nohz_full_cpus")}
    graph.add_node(MACHINE, kind="machine", **sets)
    for cpu in topology.online_cpus:
        graph.add_node(("cpu", cpu), kind="cpu")
    for key, attributes, cpus in _parts(topology):
        graph.add_node(key, **attributes)
        if key[0] in ("package", "node", "group"):
            graph.add_edge(MACHINE, key, relation="contains")
        graph.add_edges_from(((key, ("cpu", cpu)) for cpu in cpus), relation="contains")
    for node in topology.nodes:
        for other, value in (node.distances or {}).items():
            graph.add_edge(("node", node.node_id), ("node", other), relation="distance", value=value)
    for i, device in enumerate(topology.devices):
        key = ("pci", device.address)
        graph.add_node(key, kind="pci", class_code=device.class_code, position=i)
        if device.node_id is not None:
            graph.add_edge(("node", device.node_id), key, relation="attached")
    for each in memory:
        for pool in (*_base_pool(each), *each.hugepages):
            key = ("pool", each.node_id, pool.size_kib)
            sizes = {"size_kib": pool.size_kib, "total": pool.total, "free": pool.free, "surplus": pool.surplus}
            graph.add_node(key, kind="pool", **sizes)
            graph.add_edge(("node", each.node_id), key, relation="contains")
    return graph


def _base_pool(memory: NodeMemory) -> Iterator[HugepagePool]:
    """The 4 KiB pages of a node as a pool like the others; none where the total is not told."""
    if memory.total_kib is not None:
        total, free = memory.total_kib - memory.hugepages_kib, memory.free_kib
        yield HugepagePool(size_kib=4, total=total // 4, free=None if free is None else free // 4)


def topology_from_graph(graph: nx.DiGraph[Any]) -> HostTopology:
    """The topology that `topology_to_graph` made the graph of."""
    machine = graph.nodes[MACHINE]
    return HostTopology(
        nodes=tuple(_node(graph, key) for key in _keys(graph, "node")),
        online_cpus=CpuSet(frozenset(key[1] for key in _keys(graph, "cpu"))),
        offline_cpus=CpuSet.parse(machine["offline_cpus"]),
        isolated_cpus=CpuSet.parse(machine["isolated_cpus"]),
        nohz_full_cpus=CpuSet.parse(machine["nohz_full_cpus"]),
        packages=tuple(Package(package_id=key[1], cpus=_cpus(graph, key)) for key in _keys(graph, "package")),
        dies=tuple(
            Die(die_id=key[2], package_id=graph.nodes[key]["package_id"], cpus=_cpus(graph, key))
            for key in _keys(graph, "die")
        ),
        groups=tuple(CpuGroup(kind=key[1], group_id=key[2], cpus=_cpus(graph, key)) for key in _keys(graph, "group")),
        l3=tuple(L3Domain(cpus=_cpus(graph, key), size_kib=graph.nodes[key]["size_kib"]) for key in _keys(graph, "l3")),
        cores=tuple(_core(graph, key) for key in _keys(graph, "core")),
        devices=tuple(_device(graph, key) for key in _keys(graph, "pci")),
        memory_access=graph.graph["memory_access"],
        memory_tiers=graph.graph["memory_tiers"],
    )


def graph_to_json(snapshot: HostSnapshot) -> str:
    """The graph of a snapshot in networkx' node-link form, for other tools."""
    graph = topology_to_graph(snapshot.topology, snapshot.memory)
    plain = nx.relabel_nodes(graph, {key: "/".join(map(str, key)) for key in graph})
    plain.graph.clear()
    return json.dumps(nx.node_link_data(plain, edges="edges"), indent=1, default=str) + "\n"


def _parts(topology: HostTopology) -> Iterator[tuple[tuple[Any, ...], dict[str, Any], CpuSet]]:
    """Key, attributes and CPUs of everything that holds CPUs, in the topology's order."""
    for package in topology.packages:
        yield ("package", package.package_id), {"kind": "package"}, package.cpus
    for die in topology.dies:
        yield ("die", die.package_id, die.die_id), {"kind": "die", "package_id": die.package_id}, die.cpus
    for group in topology.groups:
        yield ("group", group.kind, group.group_id), {"kind": "group", "group_kind": group.kind}, group.cpus
    for node in topology.nodes:
        attributes = {
            "kind": "node",
            "memory_total_kib": node.memory_total_kib,
            "memory_side_caches": node.memory_side_caches,
            "has_distances": node.distances is not None,
        }
        yield ("node", node.node_id), attributes, node.cpus
    for i, domain in enumerate(topology.l3):
        yield ("l3", i), {"kind": "l3", "size_kib": domain.size_kib}, domain.cpus
    for i, core in enumerate(topology.cores):
        attributes = {
            "kind": "core",
            "package_id": core.package_id,
            "node_id": core.node_id,
            "efficiency": core.efficiency,
        }
        yield ("core", i), attributes, core.cpus


def _keys(graph: nx.DiGraph[Any], kind: str) -> list[Any]:
    """Keys of one kind, in the order in which they were added."""
    return [key for key, data in graph.nodes(data=True) if data.get("kind") == kind]


def _cpus(graph: nx.DiGraph[Any], key: Any) -> CpuSet:
    return CpuSet(frozenset(target[1] for target in graph.successors(key) if target[0] == "cpu"))


def _node(graph: nx.DiGraph[Any], key: Any) -> NumaNode:
    data = graph.nodes[key]
    distances = {
        NodeId(target[1]): edge["value"]
        for _, target, edge in graph.out_edges(key, data=True)
        if edge["relation"] == "distance"
    }
    return NumaNode(
        node_id=NodeId(key[1]),
        cpus=_cpus(graph, key),
        memory_total_kib=data["memory_total_kib"],
        distances=distances if data["has_distances"] else None,
        memory_side_caches=data["memory_side_caches"],
    )


def _core(graph: nx.DiGraph[Any], key: Any) -> Core:
    data = graph.nodes[key]
    return Core(
        cpus=_cpus(graph, key),
        node_id=data["node_id"],
        package_id=data["package_id"],
        efficiency=data["efficiency"],
    )


def _device(graph: nx.DiGraph[Any], key: Any) -> PciDevice:
    home = next((source[1] for source in graph.predecessors(key)), None)
    return PciDevice(address=key[1], node_id=home, class_code=graph.nodes[key]["class_code"])
