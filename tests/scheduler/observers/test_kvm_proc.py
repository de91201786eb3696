"""QEMU processes as real kernels showed them: whose memory is where, guest cell by guest cell."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from probe.cpuset import CpuSet
from probe.errors import SourceMalformedError
from scheduler.executors.port import CellMemory, OutcomeUnknownError
from scheduler.observers.kernel_files import QemuFiles, parse_qemu_files
from scheduler.observers.kvm_proc import observe_process
from scheduler.observers.numa_maps import parse_mappings, parse_numa_maps
from tests.conftest import DATA

Cell = tuple[set[int], dict[int, int], set[int]]
"""Nodes that it may be on, node to resident 4 KiB pages (or 2 MiB ones), page sizes."""

ALL = {0, 1, 2, 3, 4}
EXPECTED: dict[str, list[Cell]] = {
    "default": [(ALL, {3: 154880}, {4})],
    "strict2": [({2}, {2: 154880}, {4})],
    "strict2-nopin": [({2}, {2: 154880}, {4})],
    "pin2-nomem": [(ALL, {2: 154880}, {4})],
    "interleave": [({0, 1, 2, 3}, {0: 19648, 1: 19136, 2: 19136, 3: 20160}, {4})],
    "preferred4": [(ALL, {4: 116870, 0: 43130}, {4})],
    "repin-restrictive": [(ALL, {1: 78080}, {4})],
    "vnuma": [({0}, {0: 65536}, {4}), ({1}, {1: 32512}, {4})],
    "huge3": [({3}, {3: 160}, {2048})],
    "huge-nopolicy": [(ALL, {3: 160}, {2048})],
    "auto": [({2}, {2: 78080}, {4})],
    "cross": [({4}, {4: 78080}, {4})],
}
"""Domains of the recorded host h1, with the pages of lab/kvm/NOTES.md. Its cpusets were not recorded."""

STATUS = ["Name:\tCPU 0/TCG", "Cpus_allowed_list:\t2-3", "Mems_allowed_list:\t0-4"]


def recorded(path: Path) -> QemuFiles:
    """The sizes of mappings were not recorded: each reaches to the next one."""
    lines = path.read_text().splitlines()
    starts = [int(line.split()[0], 16) for line in lines]
    ends = [*starts[1:], starts[-1] + 4096]
    maps = [f"{start:x}-{end:x} rw-p 00000000 00:00 0 " for start, end in zip(starts, ends, strict=True)]
    cmdline = path.with_suffix(".cmdline").read_text().splitlines()
    files = {"cmdline": cmdline, "maps": maps, "numa_maps": lines, "task/1/status": STATUS}
    return QemuFiles(origin=path.stem, lines=files)


def pages(cells: tuple[CellMemory, ...] | None) -> list[Cell]:
    assert cells is not None
    found = []
    for cell in cells:
        (size,) = cell.page_kib
        counts = {node: kib // size for node, kib in cell.resident_kib.items()}
        found.append((set(cell.nodes_allowed), counts, set(cell.page_kib)))
    return found


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_recorded_guests_are_where_they_were(data: Path, name: str) -> None:
    """Each guest cell by its own mapping: bound nodes, pages per node, page size."""
    seen = observe_process(recorded(data / f"recorded/kvm/h1/dom/{name}.numa_maps"))
    assert EXPECTED[name] == pages(seen.cells)
    summed: Counter[int] = Counter()
    for cell in seen.cells or ():
        summed.update(cell.resident_kib)
    assert (summed, {0: CpuSet.of(2, 3)}) == (seen.resident_kib, seen.vcpu_cpus)


def recordings(suffix: str) -> list[Path]:
    """Those with something in them: two guests had gone when their files were read."""
    found = sorted((DATA / "recorded/kvm").glob(f"*/dom/*.{suffix}"))
    return [path for path in found if path.read_text().strip()] or [DATA / "absent"]


@pytest.mark.data
@pytest.mark.parametrize("path", recordings("numa_maps"), ids=lambda path: path.stem)
def test_every_recorded_page_is_on_its_node(data: Path, path: Path) -> None:
    """Pages of each size on each node, summed over all mappings of a QEMU; its guest's RAM is found among them."""
    text = path.read_text()
    counted: Counter[int] = Counter()
    for line in text.splitlines():
        size = int(re.search(r"kernelpagesize_kB=(\d+)", line)[1]) if "kernelpagesize" in line else 0  # type: ignore[index]
        counted.update({int(node): int(count) * size for node, count in re.findall(r"\bN(\d+)=(\d+)", line)})
    summed: Counter[int] = Counter()
    for found in parse_numa_maps(text, origin=path.name).values():
        summed.update(found.resident_kib)
    assert summed == counted
    assert counted
    assert observe_process(recorded(path)).cells


def printed(processes: dict[int, dict[str, list[str]]]) -> str:
    """What the one command on the host prints for these processes."""
    lines = [
        f"proc/{pid}/{name}:{line}"
        for pid, files in processes.items()
        for name, content in files.items()
        for line in content
    ]
    return "\n".join([*lines, "numaplace-end", ""])


@pytest.mark.data
@pytest.mark.parametrize("path", recordings("cmdline"), ids=lambda path: path.stem)
def test_every_recorded_qemu_is_known_by_its_uuid(data: Path, path: Path) -> None:
    """Its own command line among others."""
    arguments = path.read_text().splitlines()
    if "-uuid" not in arguments:  # QEMU had gone, and the host's own was read
        return
    output = printed({42: {"cmdline": arguments}, 99: {"cmdline": ["qemu", "-uuid", "other"]}})
    mine, other = parse_qemu_files(output, origin="h")
    assert (arguments, arguments[arguments.index("-uuid") + 1]) == (mine.arguments, mine.uuid)
    assert ("h: /proc/99", "other") == (other.origin, other.uuid)


RAM = '{"qom-type":"memory-backend-ram","id":"pc.ram","size":134217728}'


def of_128_mib(*mappings: tuple[int, int, str]) -> QemuFiles:
    """A guest of 128 MiB; each mapping: address in MiB, size in MiB, its line of numa_maps."""
    return QemuFiles(
        origin="q",
        lines={
            "cmdline": ["qemu", "-machine", "q35,memory-backend=pc.ram", "-object", RAM],
            "maps": [f"{at << 20:x}-{(at + size) << 20:x} rw-p 00000000 00:00 0 " for at, size, _ in mappings],
            "numa_maps": [f"{at << 20:x} {rest}" for at, _, rest in mappings],
            "task/7/status": STATUS,
        },
    )


def test_tcgs_own_buffer_is_no_guest_memory() -> None:
    """It is of 1 GiB, larger than the guest, and on another node (seen in recorded/kvm)."""
    seen = observe_process(
        of_128_mib(
            (1024, 1024, "default anon=9 N0=9 kernelpagesize_kB=4"),
            (4096, 128, "bind:1 anon=32768 N1=32768 kernelpagesize_kB=4"),
        )
    )
    assert [({1}, {1: 32768}, {4})] == pages(seen.cells)


def test_memory_that_the_kernel_split_is_one_cell() -> None:
    """A part of it got another policy: two neighbours add up to the backend's size."""
    seen = observe_process(
        of_128_mib(
            (4096, 64, "bind:1 anon=10 N1=10 kernelpagesize_kB=4"),
            (4160, 64, "default anon=20 N0=20 kernelpagesize_kB=4"),
        )
    )
    assert [({0, 1, 2, 3, 4}, {1: 10, 0: 20}, {4})] == pages(seen.cells)


def test_what_cannot_be_told_apart_is_not_guessed() -> None:
    """No mapping of the guest's size, or none readable: threads are seen, memory is not known."""
    for files in (of_128_mib((4096, 64, "default")), QemuFiles(origin="q", lines={"task/7/status": STATUS})):
        seen = observe_process(files)
        assert (None, None, None) == (seen.cells, seen.resident_kib, seen.memory_nodes_allowed)
        assert {0: CpuSet.of(2, 3)} == seen.vcpu_cpus


@pytest.mark.parametrize(
    ("policy", "bound"),
    [("default", None), ("prefer:4", None), ("prefer (many):1,3", None), ("local", None), ("bind=static:0-1", {0, 1}),
     ("interleave:2", {2}), ("weighted interleave:0,2", {0, 2})],
)  # fmt: skip
def test_policies_bind_or_only_prefer(policy: str, bound: set[int] | None) -> None:
    """`bind` and `interleave` allow these nodes only; `prefer` spills."""
    (mapping,) = parse_mappings("0-1000 rw-p 0 00:00 0 ", f"0 {policy} anon=1 N0=1 kernelpagesize_kB=4\n", origin="q")
    assert bound == (None if mapping.pages.bound_nodes is None else set(mapping.pages.bound_nodes.ids))


lines = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["7f00 bind:9999999999 N0=1", "7f00 default N0=1", "zz default", "7f00 bind: N0=1", "0-0 rw-p 0 0 0"]
    ),
)


@given(st.lists(lines, max_size=4), st.lists(lines, max_size=4), st.lists(lines, max_size=4))
def test_whatever_a_host_sends_is_read_or_refused(maps: list[str], numa_maps: list[str], status: list[str]) -> None:
    """Only our own error."""
    files = {"cmdline": ["qemu"], "maps": maps, "numa_maps": numa_maps, "task/7/status": status}
    try:
        observe_process(QemuFiles(origin="q", lines=files))
    except SourceMalformedError as error:
        assert str(error).startswith("q")


@pytest.mark.parametrize("output", ["", "numaplace-end", "motd\nnumaplace-end\n", "proc/1/cmdline:qemu\n"])
def test_an_answer_that_is_no_answer_is_refused(output: str) -> None:
    """Broken off, or with a login's greeting in it."""
    with pytest.raises(SourceMalformedError):
        parse_qemu_files(output, origin="ssh://h")


def test_an_error_is_the_guests_own() -> None:
    """One guest whose files cannot be understood harms no other (`KvmObserver.look`)."""
    from scheduler.observers.kvm_proc import _observed

    broken = QemuFiles(origin="q", lines={"cmdline": ["qemu"], "maps": ["?"], "numa_maps": ["?"]})
    assert isinstance(_observed((broken,)), OutcomeUnknownError)
    assert isinstance(_observed((broken, broken)), OutcomeUnknownError)
