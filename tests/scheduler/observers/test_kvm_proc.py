"""numa_maps as real kernels wrote it, read back as the nodes of a guest's memory."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from probe.cpuset import NodeSet
from scheduler.observers.kvm_proc import find_qemu, parse_mappings
from tests.conftest import DATA

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


def recordings(suffix: str) -> list[Path]:
    """Those with something in them: two guests had gone when their files were read."""
    found = sorted((DATA / "recorded/kvm").glob(f"*/dom/*.{suffix}"))
    return [path for path in found if path.read_text().strip()] or [DATA / "absent"]


@pytest.mark.data
@pytest.mark.parametrize("path", recordings("numa_maps"), ids=lambda path: path.stem)
def test_every_recorded_page_is_on_its_node(data: Path, path: Path) -> None:
    """Pages of each size on each node, summed over all mappings of a QEMU."""
    text = path.read_text()
    counted: Counter[int] = Counter()
    for line in text.splitlines():
        size = int(re.search(r"kernelpagesize_kB=(\d+)", line)[1]) if "kernelpagesize" in line else 0  # type: ignore[index]
        counted.update({int(node): int(pages) * size for node, pages in re.findall(r"\bN(\d+)=(\d+)", line)})
    summed: Counter[int] = Counter()
    for mapping in parse_mappings("", text):
        summed.update(mapping.resident_kib)
    assert summed == counted
    assert counted


@pytest.mark.data
@pytest.mark.parametrize("path", recordings("cmdline"), ids=lambda path: path.stem)
def test_every_recorded_qemu_is_found_by_its_uuid(data: Path, path: Path, tmp_path: Path) -> None:
    """Its own command line, as the kernel keeps it (NUL after each argument), among others."""
    arguments = path.read_text().splitlines()
    if "-uuid" not in arguments:  # QEMU had gone, and the host's own was read
        return
    for pid, line in ((7, ["sleep", "1"]), (42, arguments), (99, ["qemu", "-uuid", "other"])):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / f"{pid}/cmdline").write_text("\0".join([*line, ""]))
    uuid = arguments[arguments.index("-uuid") + 1]
    assert find_qemu(uuid, proc=tmp_path) == 42
    assert find_qemu("absent", proc=tmp_path) is None


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
