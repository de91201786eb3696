"""Two sources of one host: one snapshot, and a list of what they tell differently."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from probe.combine import combine
from probe.cpuset import CpuSet
from probe.errors import BadInputError
from probe.snapshot import HostSnapshot
from probe.sources.registry import read_source
from tests.strategies import snapshots


@given(snapshots())
def test_a_snapshot_combined_with_itself_is_itself(snapshot: HostSnapshot) -> None:
    """Nothing is invented and nothing disagrees."""
    if snapshot.topology.online_cpus and snapshot.usable_cpus:
        assert snapshot == combine([snapshot, snapshot])


def host() -> HostSnapshot:
    return read_source("sysfs:")


def test_what_differs_is_listed_and_the_first_is_believed() -> None:
    """Two totals of one node: the first stands in the snapshot, both in the disagreement."""
    first = replace(host(), sources=("a",))
    node = replace(first.topology.nodes[0], memory_total_kib=1)
    second = replace(first, sources=("b",), topology=replace(first.topology, nodes=(node, *first.topology.nodes[1:])))
    both = combine([first, second])
    assert first.topology == both.topology
    assert ["node 0 memory total"] == [d.what for d in both.disagreements]
    assert {"a", "b"} == set(both.disagreements[0].readings)


def test_what_the_first_lacks_comes_from_the_second() -> None:
    """Distances and the hostname are filled in."""
    whole = replace(host(), hostname="h", sources=("b",))
    bare_nodes = tuple(replace(node, distances=None) for node in whole.topology.nodes)
    bare = replace(whole, hostname="", sources=("a",), topology=replace(whole.topology, nodes=bare_nodes))
    both = combine([bare, whole])
    assert ("h", whole.topology) == (both.hostname, both.topology)


def test_different_hosts_are_not_combined() -> None:
    """No CPU in common: an error, not a chimera."""
    first = host()
    shifted = replace(
        first.topology,
        nodes=tuple(replace(n, cpus=CpuSet()) for n in first.topology.nodes),
        online_cpus=CpuSet.of(9000),
        packages=(),
        dies=(),
        groups=(),
        l3=(),
        cores=(),
    )
    with pytest.raises(BadInputError, match="different hosts"):
        combine([first, replace(first, topology=shifted, usable_cpus=CpuSet.of(9000))])
