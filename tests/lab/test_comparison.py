"""One fleet on a real KVM host, created by libvirt's default, by `placement='auto'` with numad, and by us.

Measured alike, from outside: the masks of the vCPUs and the pages of the guest's memory by the host's kernel.
Locality is the README's: the share of a guest's bytes on the node of the pCPU that touches them, a vCPU being
on each pCPU that it may use for the same time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from probe.cpuset import CpuSet
from tests.lab.command import Command
from tests.lab.guests import KVM
from tests.lab.lab import Lab, LabHost
from tests.lab.memory import taking
from tests.lab.where import kvm_guest, wait_until_touched_or_gone

HOSTS = ("h1",)
FLEET = {**{f"db-{n}": (2, 192) for n in (1, 2)}, **{f"web-{n}": (1, 96) for n in range(1, 7)}}
"""Guest to vCPUs and MiB."""

LEFT_MIB: Mapping[str, Mapping[int, int]] = {"idle": {}, "pre-filled": {0: 350, 1: 650, 2: 1000}}
"""Node to what somebody else leaves free there."""

AUTO = "<vcpu placement='auto'>{vcpus}</vcpu><numatune><memory mode='strict' placement='auto'/></numatune>"
BINDINGS = {"default": "<vcpu>{vcpus}</vcpu>", "auto": AUTO}
"""What a domain of libvirt's own placement says of its CPUs and nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way on one host: the locality of each guest that came to run and touched its memory."""

    host: str
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
        return f"{self.host:<12}{self.way:<12}{ran:>6}{self.mean:>10.1%}{min(shares):>10.1%}{local:>8}"


@pytest.fixture(scope="module")
def table(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Sequence[Row]:
    """All ways on all hosts, printed."""
    rows = []
    for state, left in LEFT_MIB.items():
        for way in (*BINDINGS, "numaplace"):
            lab.restart("h1")
            host = lab.hosts["h1"]
            for node, mib in left.items():
                host.run(taking(host, node, leave_mib=mib))
            if way in BINDINGS:
                _created_by_libvirt(host, BINDINGS[way])
            else:
                _created_by_us(lab, tmp_path_factory.mktemp(state))
            rows.append(_measured(host, state, way))
    print("\n" + f"{'NODES':<12}{'PLACED BY':<12}{'RAN':>6}{'LOCALITY':>10}{'WORST':>10}{'100 %':>8}")
    print("\n".join(map(str, rows)))
    return rows


def _created_by_libvirt(host: LabHost, bindings: str) -> None:
    """One after the other, as an operator's script does; those that libvirt refuses are left out."""
    for name, (vcpus, mib) in FLEET.items():
        size = f"<memory unit='MiB'>{mib}</memory>{bindings.format(vcpus=vcpus)}"
        host.put(KVM.format(name=name).replace("<os>", f"{size}<os>"), f"/tmp/{name}.xml")
    names = " ".join(FLEET)
    host.run(f"for name in {names}; do virsh -q create /tmp/$name.xml || echo $name: refused; done", timeout_s=600)


def _created_by_us(lab: Lab, folder: Path) -> None:
    command = Command(lab, folder)
    command.write("guest.xml", KVM)
    command.hosts(h1={"reserve": "64MiB", "overcommit": 2})
    guests = [{"name": name, "vcpus": vcpus, "memory": f"{mib}MiB"} for name, (vcpus, mib) in FLEET.items()]
    command.fleet(*guests, template="guest.xml")
    command.plan()
    applied = command.apply()
    assert applied.status == 0, applied.out + applied.complaint
    wait_until_touched_or_gone(lab.hosts["h1"], list(FLEET))
    ratios = [guest["on_plan_ratio"] for guest in command.run("status", "--output", "json").json["guests"]]
    assert [1.0] * len(FLEET) == ratios


def _measured(host: LabHost, state: str, way: str) -> Row:
    locality: dict[str, float] = {}
    resident: dict[str, float] = {}
    for name in wait_until_touched_or_gone(host, list(FLEET)):
        seen = kvm_guest(host, name, cell_mib=[FLEET[name][1]])
        total = sum(seen.kib.values())
        local = [_local(cpus, seen.kib) / total for cpus in seen.vcpus]
        locality[name] = sum(local) / len(local)
        resident[name] = total / 1024 / FLEET[name][1]
    return Row(host=state, way=way, locality=locality, resident=resident)


def _local(cpus: CpuSet, kib: Mapping[int, int]) -> float:
    """h1 has two pCPUs on each node, and none on node 4."""
    return sum(kib.get(cpu // 2, 0) for cpu in cpus) / len(cpus)


def test_no_way_is_more_local_than_ours(table: Sequence[Row]) -> None:
    """Every guest created and wholly local, on idle nodes and where they are filled to different levels."""
    ways = {(row.host, row.way): row for row in table}
    for state in LEFT_MIB:
        ours = ways[state, "numaplace"]
        assert set(FLEET) == set(ours.locality)
        assert {1.0} == set(ours.locality.values())
        assert min(ours.resident.values()) > 0.8
        assert ways[state, "default"].mean < ours.mean
        assert ways[state, "auto"].mean <= ours.mean
