"""What the lab's real hypervisors did with a text is what the embedded one does with the same text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from probe.snapshot import Hypervisor, OccupantState
from probe.sources.registry import read_source
from scheduler.observers.numa_maps import parse_numa_maps
from scheduler.sim.errors import SimError
from scheduler.sim.hypervisor import SimHypervisor
from tests.scheduler.sim.hosts import make, pages_when_full, started

pytestmark = pytest.mark.data

KVM_DOMAINS = (
    "strict2", "strict2-nopin", "strict2-immediate", "pin2-nomem", "interleave", "vnuma", "huge3", "cross",
    "demo-strict2",
)  # fmt: skip
"""Those whose memory was on a node for a reason, and not by luck."""


@pytest.mark.parametrize("name", KVM_DOMAINS)
def test_kvm_pages_are_where_qemu_had_them(data: Path, tmp_path: Path, name: str) -> None:
    """The share of each node in the guest's RAM, to a tenth."""
    folder = data / "recorded/kvm/h1"
    text = (folder / f"dom/{name}.xml").read_text()
    sim = make(tmp_path / "h1.sim", Hypervisor.KVM, f"sysfs:{folder}/sysfs-node-cpu.tar.gz")
    mine = pages_when_full(sim, text)
    theirs = recorded_pages(folder / f"dom/{name}.numa_maps")
    for node in mine.keys() | theirs.keys():
        assert mine.get(node, 0) / sum(mine.values()) == pytest.approx(
            theirs.get(node, 0) / sum(theirs.values()), abs=0.1
        )


def recorded_pages(path: Path) -> dict[int, int]:
    """Node id to KiB of the guest's RAM: the mappings that hold most of what is resident."""
    resident = [pages.resident_kib for pages in parse_numa_maps(path.read_text(), origin=path.name).values()]
    largest = max(sum(each.values()) for each in resident)
    total: dict[int, int] = {}
    for each in resident:
        if sum(each.values()) > largest / 4:
            for node, kib in each.items():
                total[node] = total.get(node, 0) + kib
    return total


@pytest.mark.parametrize(("name", "code"), [("badnode", 67), ("badcpu", 38), ("huge3-toobig", 1), ("huge1-none", 1)])
def test_kvm_refuses_with_the_recorded_code(data: Path, tmp_path: Path, name: str, code: int) -> None:
    """libvirt's error number, and nothing is left running."""
    folder = data / "recorded/kvm/h1"
    sim = make(tmp_path / "h1.sim", Hypervisor.KVM, f"sysfs:{folder}/sysfs-node-cpu.tar.gz")
    with pytest.raises(SimError) as error:
        started(sim, (folder / f"dom/{name}.xml").read_text())
    assert error.value.code == code
    assert f"code={code} " in (folder / f"dom/{name}.txt").read_text()
    assert all(domain.state is OccupantState.SHUTOFF for domain in sim.domains())


def test_kvm_kills_the_guest_that_was_oom_killed(data: Path, tmp_path: Path) -> None:
    """`strict` on the small node: it starts, and dies when it has touched the node full."""
    folder = data / "recorded/kvm/h1"
    assert "CONSTRAINT_MEMORY_POLICY" in (folder / "oom-dmesg.txt").read_text()
    sim = make(tmp_path / "h1.sim", Hypervisor.KVM, f"sysfs:{folder}/sysfs-node-cpu.tar.gz")
    assert pages_when_full(sim, (folder / "dom/demo-strict4-oom.xml").read_text()) == {}


def xen_lab(data: Path, tmp_path: Path) -> SimHypervisor:
    return make(tmp_path / "x.sim", Hypervisor.XEN, f"xl:{data}/recorded/xen/xl/xl-info-n.txt")


def debug_u(text: str) -> list[dict[int, int]]:
    """Of each guest, in order of creation: node id to pages of 4 KiB."""
    found = []
    for part in text.split("Domain ")[2:]:
        pages = {int(node): int(count) for node, count in re.findall(r"Node (\d+): (\d+)", part)}
        found.append({node: count for node, count in pages.items() if count})
    return found


@pytest.mark.parametrize(
    ("configs", "counted"),
    [("xl/cfg-s[1-7]-*.cfg", "xl/run-debug-u.txt"), ("libvirt/cfg-l[1-7]-*.xml", "libvirt/lv-debug-u.txt")],
)
def test_xen_pages_are_where_debug_keys_counted_them(data: Path, tmp_path: Path, configs: str, counted: str) -> None:
    """Seven guests, created in the recorded order: the node of every page, automatic choices too."""
    folder = data / "recorded/xen"
    sim = xen_lab(data, tmp_path)
    for path, pages in zip(sorted(folder.glob(configs)), debug_u((folder / counted).read_text()), strict=True):
        domain = sim.find(started(sim, path.read_text()))
        assert domain is not None
        mine = {node: kib // 4 for node, kib in domain.resident_kib.items()}
        assert mine.keys() == pages.keys(), path.name
        assert all(abs(mine[node] - pages[node]) <= 64 for node in mine), path.name  # HVM's own pages


@pytest.mark.parametrize("config", ["xl/cfg-s8-toobig.cfg", "xl/cfg-s9-badcpu.cfg"])
def test_xen_refuses_what_was_refused(data: Path, tmp_path: Path, config: str) -> None:
    """Status 3 and 1 of `xl create`; no page stays taken."""
    sim = xen_lab(data, tmp_path)
    before = read_source(f"sim:{tmp_path}/x.sim").memory
    with pytest.raises(SimError):
        started(sim, (data / "recorded/xen" / config).read_text())
    assert read_source(f"sim:{tmp_path}/x.sim").memory == before
