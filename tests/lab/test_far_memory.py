"""A guest whose memory may be far, on a real host: its pages are on the node without pCPUs, its threads are not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import pytest

from probe.cpuset import CpuSet
from tests.lab.command import Command
from tests.lab.guests import KVM
from tests.lab.lab import Lab
from tests.lab.where import kvm_guest, wait_until_touched

HOSTS = ("h1",)
FAR_NODE, FAR_MIB = 4, 256
NEAR = [
    {"name": f"near-{mib}-{i}", "vcpus": 2, "memory": f"{mib}MiB", "priority": 5}
    for i, mib in enumerate((1152, 1152, 1152, 640))
]
"""They fill the four nodes with pCPUs, of which the last has huge pages, so that none holds what follows."""


@pytest.fixture(scope="module")
def command(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Command:
    command = Command(lab, tmp_path_factory.mktemp("far"))
    command.write("guest.xml", KVM)
    command.hosts(h1={"reserve": "64MiB", "overcommit": 2})
    return command


def test_its_pages_are_on_the_node_without_pcpus(lab: Lab, command: Command) -> None:
    """All of them, once it has touched them; it asks for far memory, and before it did, it was refused.

    QEMU's own memory is there too, as the books count it: libvirt confines the whole process.
    """
    far = {"name": "far", "vcpus": 1, "memory": f"{FAR_MIB}MiB"}
    command.fleet(*NEAR, far, template="guest.xml")
    refused = {d["guest"]: d["rejected"] for d in command.plan()["decisions"] if "rejected" in d}
    assert ["far"] == [*refused]
    assert "far_memory: true" == refused["far"]["fits_if"]
    command.fleet(*NEAR, far | {"far_memory": True}, template="guest.xml")
    decisions = {d["guest"]: d for d in command.plan()["decisions"]}
    (cell,) = decisions["far"]["cells"]
    assert [FAR_NODE] == [share["node"] for share in cell["memory"]]
    applied = command.apply()
    assert applied.status == 0, applied.complaint
    wait_until_touched(lab.hosts["h1"], ["far"])
    seen = kvm_guest(lab.hosts["h1"], "far", cell_mib=[FAR_MIB])
    print(f"far: {seen.kib} KiB, threads {seen.threads}")
    assert [FAR_NODE] == [*seen.kib]
    assert 0.95 * FAR_MIB * 1024 < seen.kib[FAR_NODE] <= 1.02 * FAR_MIB * 1024
    assert seen.vcpus == [CpuSet.parse(cell["pins"]["0"])]
    allowed, *maps = lab.hosts["h1"].run(_WHOLE_PROCESS).splitlines()
    whole = anonymous_kib(maps)
    print(f"may have memory of {allowed}, has {dict(whole)} KiB")
    assert str(FAR_NODE) == allowed
    assert whole[FAR_NODE] > 0.99 * whole.total()
    (row,) = [row for row in command.run("status", "--output", "json").json["guests"] if row["guest"] == "far"]
    assert (True, 0.0) == (row["binding_ok"], row["locality_ratio"])
    assert row["on_plan_ratio"] > 0.99


_WHOLE_PROCESS = """\
pid=$(cat /run/libvirt/qemu/far.pid)
sed -n 's/^Mems_allowed_list:[[:space:]]*//p' /proc/$pid/status
cat /proc/$pid/numa_maps
"""


def anonymous_kib(maps: Sequence[str]) -> Counter[int]:
    """KiB per node of what the process has for itself, its guest's memory included: lines of numa_maps (proc(5))."""
    found = Counter[int]()
    for line in maps:
        if " anon=" in line:
            found.update({int(node): 4 * int(pages) for node, pages in re.findall(r" N(\d+)=(\d+)", line)})
    return found
