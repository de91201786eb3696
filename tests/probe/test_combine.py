"""Two sources of one host: one snapshot, and a list of what they tell differently."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from probe.combine import combine
from probe.cpuset import CpuSet
from probe.errors import BadInputError
from probe.snapshot import HostSnapshot, HugepagePool, Occupant, OccupantState
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


@pytest.mark.parametrize(
    ("total_kib", "free_kib", "other_kib", "differ"),
    [
        (None, 1302768, 1302528, False),  # libvirt and xl of one Xen host, which tells no totals
        (None, 1302768, 1202528, True),
        (1 << 20, 900_000, 860_000, False),
        (1 << 20, 900_000, 800_000, True),
        (2048, 1500, 600, False),  # xl and numactl tell whole MiB
    ],
)
def test_free_memory_may_move_a_little(total_kib: int | None, free_kib: int, other_kib: int, differ: bool) -> None:
    """A twentieth of the node, or of what is free where the total is unknown; and never less than 1 MiB."""
    one = host()
    memory = replace(one.memory[0], total_kib=total_kib, free_kib=free_kib)
    first = replace(one, sources=("a",), memory=(memory, *one.memory[1:]))
    second = replace(first, sources=("b",), memory=(replace(memory, free_kib=other_kib), *one.memory[1:]))
    assert differ == ("node 0 memory free" in [d.what for d in combine([first, second]).disagreements])


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


def test_a_guest_of_both_sources_is_one_occupant_with_what_each_tells() -> None:
    """The uuid and the claim of one, the real affinity of the other; two vCPU counts are listed."""
    bare = Occupant(guest="g", uuid=None, state=OccupantState.RUNNING, vcpus=2, effective_cpus=CpuSet.of(0))
    known = replace(bare, uuid="u", vcpus=4, effective_cpus=None, declared_cpus=CpuSet.of(1), claim="c")
    first = replace(host(), sources=("xl:",), occupants=(bare,), disagreements=())
    other = replace(known, guest="other", uuid="v")
    second = replace(first, sources=("xen:///system",), occupants=(known, other))
    both = combine([first, second])
    assert both.occupants == (replace(bare, uuid="u", declared_cpus=CpuSet.of(1), claim="c"), other)
    assert {d.what: dict(d.readings) for d in both.disagreements} == {
        "vcpus of guest g": {"xl:": "2", "xen:///system": "4"}
    }


def test_free_pages_come_from_the_source_that_tells_them() -> None:
    """Capabilities tell a pool's total alone."""
    pool = HugepagePool(size_kib=2048, total=8, free=5)
    whole = host()
    told, total_only = (
        replace(whole, sources=(name,), memory=tuple(replace(m, hugepages=(p,)) for m in whole.memory))
        for name, p in (("sysfs:", pool), ("capabilities:f", replace(pool, free=None)))
    )
    assert {m.hugepages for m in combine([total_only, told]).memory} == {(pool,)}


@pytest.mark.data
def test_three_sources_of_a_lab_host_agree_on_its_topology(data: Path) -> None:
    """sysfs, libvirt and hwloc; hwloc was asked in another boot, with no huge pages yet."""
    folder = data / "recorded/kvm/h1"
    specs = ("sysfs:{}/sysfs-node-cpu.tar.gz", "capabilities:{}/capabilities.xml", "hwloc:{}/lstopo.xml")
    both = combine([read_source(spec.format(folder)) for spec in specs])
    assert [d.what for d in both.disagreements] == [
        "node 2 memory total",
        "node 3 memory total",
        "node 3 pages of 2048 KiB",
    ]


@pytest.mark.data
def test_whole_mib_of_numactl_is_no_disagreement(data: Path) -> None:
    """It shows whole MiB; nodes 2 and 3 did change by 32 MiB between the two boots."""
    folder = data / "recorded/kvm/h1"
    sources = (f"sysfs:{folder}/sysfs-node-cpu.tar.gz", f"numactl:{folder}/numactl-H.txt")
    listed = {d.what for d in combine([read_source(source) for source in sources]).disagreements}
    assert {what for what in listed if what.endswith("total")} == {"node 2 memory total", "node 3 memory total"}
