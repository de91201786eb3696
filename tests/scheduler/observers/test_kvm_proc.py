"""numa_maps as real kernels wrote it, read back as the nodes of a guest's memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from probe.cpuset import NodeSet
from scheduler.observers.kvm_proc import parse_mappings

EXPECTED = {
    "default": (None, {3: 154880 * 4}),
    "strict2": (NodeSet.of(2), {2: 154880 * 4}),
    "preferred4": (None, {4: 116870 * 4, 0: 43130 * 4}),
    "huge3": (NodeSet.of(3), {3: 160 * 2048}),
    "cross": (NodeSet.of(4), {4: 78080 * 4}),
}
"""Domain of the recorded host h1: the nodes that its RAM mapping is bound to, and its pages (lab/kvm/NOTES.md)."""


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_recorded_numa_maps_say_where_the_memory_was(data: Path, name: str) -> None:
    """The largest resident mapping is the guest's RAM, on the nodes that were seen."""
    text = (data / f"recorded/kvm/h1/dom/{name}.numa_maps").read_text()
    mappings = parse_mappings("", text)
    ram = max(mappings, key=lambda mapping: sum(mapping.resident_kib.values()))
    assert EXPECTED[name] == (ram.bound_nodes, dict(ram.resident_kib))


def test_sizes_come_from_maps() -> None:
    """A mapping of which nothing was touched still has its size."""
    maps = "7f0000000000-7f0020000000 rw-p 00000000 00:00 0 \n"
    numa_maps = "7f0000000000 bind:1 anon=2 N1=2 kernelpagesize_kB=2048\n"
    (mapping,) = parse_mappings(maps, numa_maps)
    assert (512 * 1024, NodeSet.of(1), {1: 4096}) == (
        mapping.size_kib,
        mapping.bound_nodes,
        mapping.resident_kib,
    )


@pytest.mark.parametrize(
    ("policy", "bound"),
    [
        ("default", None),
        ("prefer:4", None),
        ("bind=static:0-1", NodeSet.of(0, 1)),
        ("interleave:2", NodeSet.of(2)),
    ],
)
def test_policies_bind_or_only_prefer(policy: str, bound: NodeSet | None) -> None:
    """`bind` and `interleave` allow these nodes only; `prefer` spills."""
    (mapping,) = parse_mappings("0-1000 rw-p", f"0 {policy} anon=1 N0=1 kernelpagesize_kB=4\n")
    assert bound == mapping.bound_nodes
