"""One fleet on a real KVM host, created by libvirt's default, by `placement='auto'` with numad, and by us.

Measured alike: the masks of the vCPUs and the pages of each guest cell as the host's kernel tells them.
Locality is the README's: the share of a guest's bytes on the node of the pCPU that touches them, a vCPU being
on each pCPU that it may use for the same time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from probe.cpuset import CpuSet
from probe.sources.ssh import parse_ssh_target
from scheduler.executors.port import Observation
from scheduler.observers.kvm_proc import KvmObserver
from tests.lab.command import Command
from tests.lab.guests import KVM
from tests.lab.lab import Lab, LabHost
from tests.lab.memory import taking
from tests.lab.test_kvm_fleet import FLEET as KVM_FLEET
from tests.lab.where import wait_until_touched_or_gone

HOSTS = ("h1",)
FLEET: Mapping[str, Mapping[str, Any]] = {
    name: {key: value for key, value in guest.items() if key not in ("name", "count")}
    for guest in KVM_FLEET
    if guest["name"] != "too-big"
    for name in ([f"{guest['name']}-{n + 1}" for n in range(guest["count"])] if "count" in guest else [guest["name"]])
}
"""Each guest by its own name: one with two cells, one in huge pages, one with a pCPU of its own; all can be placed."""

LEFT_MIB: Mapping[str, Mapping[int, int]] = {"idle": {}, "pre-filled": {0: 500, 1: 850, 2: 1100}}
"""Node to what somebody else leaves free there. The host itself takes some 15 MiB of a node now and then."""

AUTO = "<vcpu placement='auto'>{vcpus}</vcpu><numatune><memory mode='strict' placement='auto'/></numatune>"
BINDINGS = {"default": "<vcpu>{vcpus}</vcpu>", "auto": AUTO}
"""What a domain of libvirt's own placement says of its CPUs and nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way: the locality of each guest that came to run and touched its memory."""

    nodes: str
    way: str
    locality: Mapping[str, float]
    resident: Mapping[str, float]

    @property
    def mean(self) -> float:
        return sum(self.locality.values()) / len(self.locality)

    def __str__(self) -> str:
        shares = self.locality.values()
        local = sum(share > 0.99 for share in shares)
        ran = f"{len(shares)}/{len(FLEET)}"
        return f"{self.nodes:<12}{self.way:<12}{ran:>6}{self.mean:>10.1%}{min(shares):>10.1%}{local:>8}"


def _created_by_libvirt(host: LabHost, bindings: str) -> None:
    """One after the other, as an operator's script does; those that libvirt refuses are left out."""
    for name, guest in FLEET.items():
        host.put(_domain(guest, bindings).format(name=name), f"/tmp/{name}.xml")
    names = " ".join(FLEET)
    host.run(f"for name in {names}; do virsh -q create /tmp/$name.xml || echo $name: refused; done", timeout_s=600)


def _domain(guest: Mapping[str, Any], bindings: str) -> str:
    """The guest's size, cells and pages as libvirt's XML has them."""
    mib, cells = _mib(guest), _cells(guest)
    parts = f"<memory unit='MiB'>{mib}</memory>{bindings.format(vcpus=guest['vcpus'])}"
    if "page_size" in guest:
        parts += "<memoryBacking><hugepages/></memoryBacking>"
    if cells > 1:
        each = "".join(f"<cell id='{c}' cpus='{c}' memory='{mib // cells}' unit='MiB'/>" for c in range(cells))
        parts += f"<cpu><numa>{each}</numa></cpu>"
    return KVM.replace("<os>", f"{parts}<os>", 1)


def _mib(guest: Mapping[str, Any]) -> int:
    return int(guest["memory"].removesuffix("MiB"))


def _cells(guest: Mapping[str, Any]) -> int:
    """Of a guest with more than one, each has one vCPU."""
    return int(guest.get("cells", 1))


def _created_by_us(lab: Lab, folder: Path) -> None:
    command = Command(lab, folder)
    command.write("guest.xml", KVM)
    command.hosts(h1={"reserve": "64MiB", "overcommit": 2})
    command.fleet(*({"name": name, **guest} for name, guest in FLEET.items()), template="guest.xml")
    command.plan()
    applied = command.apply()
    assert applied.status == 0, applied.out + applied.complaint
    wait_until_touched_or_gone(lab.hosts["h1"], list(FLEET))
    ratios = [guest["on_plan_ratio"] for guest in command.run("status", "--output", "json").json["guests"]]
    assert [1.0] * len(FLEET) == ratios


def _measured(host: LabHost, nodes: str, way: str) -> Row:
    locality: dict[str, float] = {}
    resident: dict[str, float] = {}
    uuids = {name: host.run(f"virsh -q domuuid {name}").strip() for name in wait_until_touched_or_gone(host, [*FLEET])}
    looks = KvmObserver(parse_ssh_target(f"//{host.ssh}", spec=host.ssh)).look(uuids.values())
    for name, uuid in uuids.items():
        seen = looks[uuid]
        assert isinstance(seen, Observation), seen
        assert seen.cells is not None, name
        kib = [cell.resident_kib for cell in seen.cells]
        own = [kib[vcpu % len(kib)] for vcpu in sorted(seen.vcpu_cpus)]  # one cell, or one vCPU in each
        local = [_local(cpus, own[vcpu]) / sum(own[vcpu].values()) for vcpu, cpus in seen.vcpu_cpus.items()]
        locality[name] = sum(local) / len(local)
        resident[name] = sum(map(sum, (cell.values() for cell in kib))) / 1024 / _mib(FLEET[name])
    return Row(nodes=nodes, way=way, locality=locality, resident=resident)


def _local(cpus: CpuSet, kib: Mapping[int, int]) -> float:
    """h1 has two pCPUs on each node, and none on node 4."""
    return sum(kib.get(cpu // 2, 0) for cpu in cpus) / len(cpus)


@pytest.mark.parametrize("nodes", LEFT_MIB)
def test_no_way_is_more_local_than_ours(lab: Lab, tmp_path: Path, nodes: str) -> None:
    """Every guest created and wholly local, on idle nodes and where they are filled to different levels."""
    print(f"\n{'NODES':<12}{'PLACED BY':<12}{'RAN':>6}{'LOCALITY':>10}{'WORST':>10}{'100 %':>8}")
    rows = {}
    for way in (*BINDINGS, "numaplace"):
        lab.restart("h1")
        host = lab.hosts["h1"]
        for node, mib in LEFT_MIB[nodes].items():
            host.run(taking(host, node, leave_mib=mib))
        if way in BINDINGS:
            _created_by_libvirt(host, BINDINGS[way])
        else:
            _created_by_us(lab, tmp_path)
        rows[way] = _measured(host, nodes, way)
        print(rows[way], flush=True)
    ours = rows["numaplace"]
    assert set(FLEET) == set(ours.locality)
    assert {1.0} == set(ours.locality.values())
    assert min(ours.resident.values()) > 0.8
    assert rows["default"].mean < ours.mean
    assert rows["auto"].mean <= ours.mean
