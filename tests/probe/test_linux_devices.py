"""PCI devices with their node: every one that a recording lists on its bus."""

from __future__ import annotations

import posixpath
import re
import tarfile
from pathlib import Path

import pytest

from probe.sources.registry import read_source
from tests.conftest import DATA

pytestmark = pytest.mark.data

ON_BUS = re.compile(r"(?:.*/)?sys/bus/pci/devices/(\S+)")
ARCHIVES = [
    DATA / name
    for name in (
        *(f"ghw/linux-amd64-{name}.tar.gz" for name in ("415ee03b8c4d1c4f07ae2e9d8b3d3d6d", "accel")),
        "ghw/linux-arm64-c288e0776090cd558ef793b2a4e61939.tar.gz",
        "hwloc/linux/2pa-pcidomain32bits.tar.bz2",
        "hwloc/linux/32intel64-2p8co2t+8ve.tar.bz2",
        "hwloc/linux/40intel64-2g2n4c+pcilocality.tar.bz2",
        "hwloc/linux/40intel64-4n10c+pci-conflicts.tar.bz2",
        "hwloc/linux/fakepcilocalities.tar.bz2",
        "node-tuning-operator/bare-metal-worker1.internal.sysinfo.tgz",
        "node-tuning-operator/sno-sno.sysinfo.tgz",
    )
]


def recorded(archive: Path) -> dict[str, tuple[str, str | None]]:
    """Address to `numa_node` and `class`: links followed by hand, files read by Python's own reader."""
    with tarfile.open(archive) as tar:
        members = {member.name: member for member in tar}
        links = {m[1]: member for name, member in members.items() if (m := ON_BUS.fullmatch(name))}

        def text(address: str, name: str) -> str | None:
            link = links[address]
            folder = posixpath.normpath(posixpath.join(posixpath.dirname(link.name), link.linkname))
            file = tar.extractfile(members[f"{folder}/{name}"]) if f"{folder}/{name}" in members else None
            return file.read().decode().strip("\n\0") if file else None

        return {address: (text(address, "numa_node") or "-1", text(address, "class")) for address in links}


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name)
def test_every_recorded_device_is_read_with_its_node(archive: Path) -> None:
    """As the kernel told it; -1 is no node. Domains of 32 bits (a real Parisc) and many nodes included."""
    topology = read_source(f"sysfs:{archive}").topology
    read = {
        device.address: (str(-1 if device.node_id is None else int(device.node_id)), device.class_code)
        for device in topology.devices
    }
    assert recorded(archive) == read
    assert read
