"""topology → graph → topology, and what a graph must have."""

from __future__ import annotations

from hypothesis import given

from probe.graph import graph_to_json, topology_from_graph, topology_to_graph
from probe.snapshot import HostSnapshot
from tests.strategies import snapshots


@given(snapshots())
def test_topology_round_trips_through_the_graph(snapshot: HostSnapshot) -> None:
    """Nothing of a topology is lost in its graph."""
    assert snapshot.topology == topology_from_graph(topology_to_graph(snapshot.topology, snapshot.memory))


@given(snapshots())
def test_every_part_has_a_kind_and_every_edge_a_relation(snapshot: HostSnapshot) -> None:
    """The schema of the docstring holds; the graph can be written for other tools."""
    graph = topology_to_graph(snapshot.topology, snapshot.memory)
    assert all("kind" in data for _, data in graph.nodes(data=True))
    assert {data["relation"] for _, _, data in graph.edges(data=True)} <= {"contains", "distance", "attached"}
    assert graph_to_json(snapshot).startswith("{")


@given(snapshots())
def test_pools_hold_all_memory_of_their_node(snapshot: HostSnapshot) -> None:
    """Pages of all sizes add up to the node's total, to less than one base page."""
    graph = topology_to_graph(snapshot.topology, snapshot.memory)
    for memory in snapshot.memory:
        keys = [key for key in graph[("node", memory.node_id)] if key[0] == "pool"]
        if memory.total_kib is not None:
            held = sum(graph.nodes[key]["size_kib"] * graph.nodes[key]["total"] for key in keys)
            assert 0 <= memory.total_kib - held < 4
